#include "lib/telemetry/trace.h"

#include <gmock/gmock.h>

#include "lib/base/status.h"
#include "lib/telemetry/testing/span_recorder.h"

namespace tocsin::telemetry {
namespace {

using ::testing::ElementsAre;
using ::testing::SizeIs;

constexpr char kParent[] = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

TEST(Traceparent, GoesInAndOut) {
  const auto context = TraceContext::FromTraceparent(kParent, "vendor=1");
  EXPECT_TRUE(context.valid());
  EXPECT_TRUE(context.sampled());
  EXPECT_EQ(context.TraceIdHex(), "4bf92f3577b34da6a3ce929d0e0e4736");
  EXPECT_EQ(context.ToTraceparent(), kParent);
  EXPECT_EQ(context.tracestate(), "vendor=1");
}

TEST(Traceparent, OfALaterVersionIsReadAsFarAsItIsKnown) {
  EXPECT_TRUE(
      TraceContext::FromTraceparent("01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00-more")
          .valid());
}

struct BrokenCase {
  const char* name;
  const char* header;
};

class BrokenTraceparent : public ::testing::TestWithParam<BrokenCase> {};

TEST_P(BrokenTraceparent, StartsANewTrace) {
  const auto context = TraceContext::FromTraceparent(GetParam().header);
  EXPECT_FALSE(context.valid());
  EXPECT_EQ(context.ToTraceparent(), "");
  const Span span("s", {.parent = context});
  EXPECT_TRUE(span.context().valid());
}

INSTANTIATE_TEST_SUITE_P(
    Headers, BrokenTraceparent,
    ::testing::Values(
        BrokenCase{"empty", ""}, BrokenCase{"short", "00-4bf92f3577b34da6a3ce929d0e0e4736-01"},
        BrokenCase{"upper_case", "00-4BF92F3577B34DA6A3CE929D0E0E4736-00F067AA0BA902B7-01"},
        BrokenCase{"zero_trace", "00-00000000000000000000000000000000-00f067aa0ba902b7-01"},
        BrokenCase{"zero_span", "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01"},
        BrokenCase{"version_ff", "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"},
        BrokenCase{"long_version_0", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x"},
        BrokenCase{"not_hex", "00-4bf92f3577b34da6a3ce929d0e0e473g-00f067aa0ba902b7-01"},
        BrokenCase{"no_dashes", "00_4bf92f3577b34da6a3ce929d0e0e4736_00f067aa0ba902b7_01"}),
    [](const auto& param) { return param.param.name; });

TEST(Span, WithoutAnExporterContinuesTheTraceUnderItsOwnId) {
  const auto parent = TraceContext::FromTraceparent(kParent, "vendor=1");
  const Span span("s", {.parent = parent});
  EXPECT_EQ(span.context().TraceIdHex(), parent.TraceIdHex());
  EXPECT_NE(span.context().SpanIdHex(), parent.SpanIdHex());
  EXPECT_TRUE(span.context().sampled());
  EXPECT_EQ(span.context().tracestate(), "vendor=1");
}

TEST(Span, TakesTheThreadsCurrentSpanAsItsParent) {
  const Span outer("outer", {.parent = TraceContext()});
  {
    const ScopedCurrent current(outer);
    const Span inner("inner");
    EXPECT_EQ(inner.context().TraceIdHex(), outer.context().TraceIdHex());
  }
  EXPECT_FALSE(CurrentTraceContext().valid());
  const Span other("other");
  EXPECT_NE(other.context().TraceIdHex(), outer.context().TraceIdHex());
}

TEST(Span, IsExportedWithKindParentLinksAttributesAndStatus) {
  testing::SpanRecorder recorder;
  const auto parent = TraceContext::FromTraceparent(kParent);
  const auto link =
      TraceContext::FromTraceparent("00-aaaabbbbccccddddaaaabbbbccccdddd-1111222233334444-01");
  {
    Span span("process alerts.raw",
              {.kind = SpanKind::kConsumer, .parent = parent, .links = {link, TraceContext()}});
    span.SetAttribute("messaging.system", "kafka");
    span.SetAttribute("messaging.kafka.offset", std::int64_t{42});
    span.SetStatus(Unavailable("no broker"));
  }
  const auto spans = recorder.Find("process alerts.raw");
  ASSERT_THAT(spans, SizeIs(1));
  EXPECT_EQ(spans[0].kind, SpanKind::kConsumer);
  EXPECT_EQ(spans[0].trace_id, parent.TraceIdHex());
  EXPECT_EQ(spans[0].parent_span_id, parent.SpanIdHex());
  EXPECT_THAT(spans[0].links, ElementsAre("1111222233334444"));
  EXPECT_EQ(spans[0].attributes.at("messaging.system"), "kafka");
  EXPECT_EQ(spans[0].attributes.at("messaging.kafka.offset"), "42");
  EXPECT_EQ(spans[0].attributes.at("error.type"), "UNAVAILABLE");
  EXPECT_TRUE(spans[0].error);
}

TEST(Span, OfATraceThatIsNotSampledIsNotExportedAndSaysSo) {
  testing::SpanRecorder recorder;
  {
    const Span span("s", {.parent = TraceContext::FromTraceparent(
                              "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00")});
    EXPECT_FALSE(span.context().sampled());
    EXPECT_EQ(span.context().TraceIdHex(), "4bf92f3577b34da6a3ce929d0e0e4736");
  }
  EXPECT_THAT(recorder.spans(), SizeIs(0));
}

TEST(Span, EndsOnceAndMoves) {
  testing::SpanRecorder recorder;
  {
    Span first("first");
    Span second = std::move(first);
    second.End();
    second.SetAttribute("late", "ignored");
  }
  EXPECT_THAT(recorder.spans(), SizeIs(1));
}

}  // namespace
}  // namespace tocsin::telemetry
