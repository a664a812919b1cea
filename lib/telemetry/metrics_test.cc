#include "lib/telemetry/metrics.h"

#include <gmock/gmock.h>

namespace tocsin::telemetry {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(Metrics, TheSameNameAndLabelsGiveTheSameSeries) {
  GetCounter("test_events_total", "Events.", {{"outcome", "accepted"}}).Increment();
  GetCounter("test_events_total", "Events.", {{"outcome", "accepted"}}).Increment(2);
  GetCounter("test_events_total", "Events.", {{"outcome", "refused"}}).Increment();
  const std::string text = RenderMetrics();
  EXPECT_THAT(text, HasSubstr("# TYPE test_events_total counter\n"));
  EXPECT_THAT(text, HasSubstr("test_events_total{outcome=\"accepted\"} 3\n"));
  EXPECT_THAT(text, HasSubstr("test_events_total{outcome=\"refused\"} 1\n"));
}

TEST(Metrics, HistogramsHaveTheBucketsOfTheRpcConventions) {
  GetHistogram("test_duration_seconds", "Time.").Observe(0.02);
  const std::string text = RenderMetrics();
  EXPECT_THAT(text, HasSubstr("test_duration_seconds_bucket{le=\"0.01\"} 0\n"));
  EXPECT_THAT(text, HasSubstr("test_duration_seconds_bucket{le=\"0.025\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("test_duration_seconds_count 1\n"));
}

TEST(Metrics, ACollectorIsAskedBeforeEachRenderingUntilItEnds) {
  const Gauge lag = GetGauge("test_lag", "Lag.");
  double value = 7;
  {
    const Collector collector([&] { lag.Set(value); });
    EXPECT_THAT(RenderMetrics(), HasSubstr("test_lag 7\n"));
    value = 8;
    EXPECT_THAT(RenderMetrics(), HasSubstr("test_lag 8\n"));
    value = 9;
  }
  EXPECT_THAT(RenderMetrics(), HasSubstr("test_lag 8\n"));
}

TEST(Metrics, TellTheProcessItself) {
  const std::string text = RenderMetrics();
  EXPECT_THAT(text, HasSubstr("process_resident_memory_bytes "));
  EXPECT_THAT(text, Not(HasSubstr("process_resident_memory_bytes 0\n")));
  EXPECT_THAT(text, HasSubstr("process_open_fds "));
}

TEST(MetricsDeathTest, ANameThatPrometheusRefusesEndsTheProcessWithTheName) {
  EXPECT_DEATH(GetCounter("not-a-name", "x"), "metric not-a-name");
}

}  // namespace
}  // namespace tocsin::telemetry
