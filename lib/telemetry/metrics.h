// Metrics in the text form of Prometheus, over one registry per process.
//
//   static const Counter accepted = telemetry::GetCounter(
//       "tocsin_ingest_events_total", "Events by outcome.", {{"outcome", "accepted"}});
//   accepted.Increment();
//
// Names: snake case, `_total` for counters, `_seconds`/`_bytes` for units. Label values come from a
// small fixed set, never from input: each combination is a time series kept until the process ends.
//
// Threads: everything from any thread. A handle is two words, copied freely, good as long as the
// process lives; updating one takes no lock. Getting one takes a lock and allocates: keep it.
// Errors: a name or label that Prometheus does not allow, or one name used for two kinds, ends the
// process: it is a mistake in the program that the first run shows.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace prometheus {
class Counter;
class Gauge;
class Histogram;
}  // namespace prometheus

namespace tocsin::telemetry {

using Labels = std::map<std::string, std::string>;

class Counter {
 public:
  void Increment(double by = 1) const;
  double value() const;

 private:
  friend Counter GetCounter(std::string_view, std::string_view, const Labels&);
  explicit Counter(prometheus::Counter* counter) : counter_(counter) {}
  prometheus::Counter* counter_;
};

class Gauge {
 public:
  void Set(double value) const;
  void Add(double by) const;
  double value() const;

 private:
  friend Gauge GetGauge(std::string_view, std::string_view, const Labels&);
  explicit Gauge(prometheus::Gauge* gauge) : gauge_(gauge) {}
  prometheus::Gauge* gauge_;
};

class Histogram {
 public:
  void Observe(double value) const;

 private:
  friend Histogram GetHistogram(std::string_view, std::string_view, const Labels&,
                                const std::vector<double>&);
  explicit Histogram(prometheus::Histogram* histogram) : histogram_(histogram) {}
  prometheus::Histogram* histogram_;
};

// Upper bounds for durations in seconds, those of OpenTelemetry's rpc conventions.
const std::vector<double>& DurationBuckets();

// The same name, help and labels give the same series.
Counter GetCounter(std::string_view name, std::string_view help, const Labels& labels = {});
Gauge GetGauge(std::string_view name, std::string_view help, const Labels& labels = {});
Histogram GetHistogram(std::string_view name, std::string_view help, const Labels& labels = {},
                       const std::vector<double>& buckets = DurationBuckets());

// Calls `update` just before each rendering, for gauges that are read rather than kept (queue
// lengths, lag). The destructor waits for a running update and ends the calls; `update` must be
// quick and must not make or end a collector itself.
class Collector {
 public:
  explicit Collector(std::function<void()> update);
  ~Collector();
  Collector(const Collector&) = delete;
  Collector& operator=(const Collector&) = delete;

 private:
  std::size_t id_;
};

// The whole registry, and the process's own figures (memory, processor time, open files, start).
std::string RenderMetrics();

}  // namespace tocsin::telemetry
