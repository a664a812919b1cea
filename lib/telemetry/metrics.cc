#include "lib/telemetry/metrics.h"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <sstream>
#include <system_error>

#include "lib/base/clock.h"
#include "lib/base/mutex.h"

namespace tocsin::telemetry {
namespace {

struct State {
  // Merge: the same name and help give the family that is there already.
  prometheus::Registry registry{prometheus::Registry::InsertBehavior::Merge};
  Mutex mutex;
  std::map<std::size_t, std::function<void()>> collectors ABSL_GUARDED_BY(mutex);
  std::size_t next_collector ABSL_GUARDED_BY(mutex) = 1;
};

State& GetState() {
  static auto* state = new State;  // handles must stay good until the last thread has ended
  return *state;
}

template <typename Make>
auto OrDie(std::string_view name, Make make) {
  try {
    return make();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "metric %.*s: %s\n", static_cast<int>(name.size()), name.data(),
                 error.what());
    std::abort();
  }
}

// Field 22 of stat, after the name in parentheses, which may hold anything: ticks since boot.
double StartTime() {
  static const double start = [] {
    std::ifstream file("/proc/self/stat");
    std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
    std::istringstream fields(text.substr(std::min(text.size(), text.rfind(')') + 1)));
    std::string field;
    for (int i = 3; i <= 22; ++i) fields >> field;
    double uptime = 0;
    std::ifstream("/proc/uptime") >> uptime;
    const double since_boot =
        std::strtod(field.c_str(), nullptr) / static_cast<double>(sysconf(_SC_CLK_TCK));
    const auto now = std::chrono::duration<double>(Clock::Real().Now().time_since_epoch()).count();
    return now - uptime + since_boot;
  }();
  return start;
}

void UpdateProcessFigures() {
  static const Gauge resident = GetGauge("process_resident_memory_bytes", "Resident memory.");
  static const Gauge virtual_memory = GetGauge("process_virtual_memory_bytes", "Virtual memory.");
  static const Counter processor =
      GetCounter("process_cpu_seconds_total", "User and system processor time.");
  static const Gauge start =
      GetGauge("process_start_time_seconds", "When the process began, since 1970.");
  start.Set(StartTime());
  static const Gauge files = GetGauge("process_open_fds", "Open file descriptors.");
  static const Gauge threads = GetGauge("process_threads", "Threads.");

  const auto page = static_cast<double>(sysconf(_SC_PAGESIZE));
  if (std::ifstream statm("/proc/self/statm"); statm) {
    double total = 0;
    double rss = 0;
    if (statm >> total >> rss) {
      virtual_memory.Set(total * page);
      resident.Set(rss * page);
    }
  }
  rusage usage{};
  if (getrusage(RUSAGE_SELF, &usage) == 0) {
    const auto seconds = [](const timeval& time) {
      return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
    };
    const double total = seconds(usage.ru_utime) + seconds(usage.ru_stime);
    if (const double more = total - processor.value(); more > 0) processor.Increment(more);
  }
  const auto count = [](const char* folder) {
    std::error_code error;
    double entries = 0;
    for (std::filesystem::directory_iterator it(folder, error), end; !error && it != end;
         it.increment(error)) {
      ++entries;
    }
    return entries;
  };
  files.Set(count("/proc/self/fd"));
  threads.Set(count("/proc/self/task"));
}

}  // namespace

void Counter::Increment(double by) const { counter_->Increment(by); }
double Counter::value() const { return counter_->Value(); }
void Gauge::Set(double value) const { gauge_->Set(value); }
void Gauge::Add(double by) const { gauge_->Increment(by); }
double Gauge::value() const { return gauge_->Value(); }
void Histogram::Observe(double value) const { histogram_->Observe(value); }

const std::vector<double>& DurationBuckets() {
  static const auto* buckets = new std::vector<double>{0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25,
                                                       0.5,   0.75, 1,     2.5,  5,     7.5, 10};
  return *buckets;
}

Counter GetCounter(std::string_view name, std::string_view help, const Labels& labels) {
  return OrDie(name, [&] {
    auto& family = prometheus::BuildCounter()
                       .Name(std::string(name))
                       .Help(std::string(help))
                       .Register(GetState().registry);
    return Counter(&family.Add(labels));
  });
}

Gauge GetGauge(std::string_view name, std::string_view help, const Labels& labels) {
  return OrDie(name, [&] {
    auto& family = prometheus::BuildGauge()
                       .Name(std::string(name))
                       .Help(std::string(help))
                       .Register(GetState().registry);
    return Gauge(&family.Add(labels));
  });
}

Histogram GetHistogram(std::string_view name, std::string_view help, const Labels& labels,
                       const std::vector<double>& buckets) {
  return OrDie(name, [&] {
    auto& family = prometheus::BuildHistogram()
                       .Name(std::string(name))
                       .Help(std::string(help))
                       .Register(GetState().registry);
    return Histogram(&family.Add(labels, buckets));
  });
}

Collector::Collector(std::function<void()> update) {
  State& state = GetState();
  MutexLock lock(state.mutex);
  id_ = state.next_collector++;
  state.collectors.emplace(id_, std::move(update));
}

Collector::~Collector() {
  State& state = GetState();
  MutexLock lock(state.mutex);
  state.collectors.erase(id_);
}

std::string RenderMetrics() {
  State& state = GetState();
  UpdateProcessFigures();
  {
    MutexLock lock(state.mutex);
    for (const auto& [id, update] : state.collectors) update();
  }
  return prometheus::TextSerializer().Serialize(state.registry.Collect());
}

}  // namespace tocsin::telemetry
