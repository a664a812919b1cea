// Workload W1 in process, from wire bytes, on one core: what the engine itself costs, without Kafka
// and without a disk.
//
//   rules   the value's bytes → the fields that the rule reads → filter, group key, window, firing.
//           Time comes decoded; what becomes evidence is packed.
//   task    the whole of Task::Run over record views: envelope, identity, fields, filter, window,
//           detection and incident, and every 100 ms of its time the flush of its state to an
//           overlay, as for a commit. What that commit would do (Kafka, RocksDB) is not timed.
//
//   in_process --rule FILE --schema FILE [--events N] [--keys K] [--seed S] [--batch N] [--cpu C]
//              [--store FOLDER] [--firings FILE]
//
// Prints one JSON object. Times are CPU times of the thread. --store keeps the state in RocksDB in
// that folder instead of in memory; --firings writes what fired, for the oracle: key, time, ids.
#include <google/protobuf/dynamic_message.h>
#include <sched.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <iostream>
#include <iterator>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "bench/correlation/w1_events.h"
#include "lib/base/status.h"
#include "lib/base/text.h"
#include "lib/base/time.h"
#include "lib/schema/compiled_schema.h"
#include "lib/schema/wire_format.h"
#include "services/correlation/engine/keys.h"
#include "services/correlation/engine/task.h"
#include "services/correlation/engine/window.h"
#include "services/correlation/store/state_store.h"
#include "tocsin/correlation/v1/detection.pb.h"

namespace {

using namespace tocsin;               // NOLINT(google-build-using-namespace): a program of one file
using namespace tocsin::correlation;  // NOLINT(google-build-using-namespace)

struct Options {
  std::string rule;
  std::string schema;
  std::string store;
  std::string firings;
  std::size_t batch = 1'000;
  int cpu = -1;
  bench::W1Options workload;
};

[[noreturn]] void Fail(const std::string& message) {
  std::cerr << "in_process: " << message << '\n';
  std::exit(1);
}

template <typename Value>
Value Require(absl::StatusOr<Value> value) {
  if (!value.ok()) Fail(std::string(Message(value.status())));
  return *std::move(value);
}

Options Parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string_view name = argv[i];
    const char* const value = argv[i + 1];
    if (name == "--rule") {
      options.rule = value;
    } else if (name == "--schema") {
      options.schema = value;
    } else if (name == "--store") {
      options.store = value;
    } else if (name == "--firings") {
      options.firings = value;
    } else if (name == "--events") {
      options.workload.background = std::strtoll(value, nullptr, 10);
    } else if (name == "--keys") {
      options.workload.keys = static_cast<std::uint32_t>(std::strtoul(value, nullptr, 10));
    } else if (name == "--seed") {
      options.workload.seed = std::strtoull(value, nullptr, 10);
    } else if (name == "--batch") {
      options.batch = std::strtoull(value, nullptr, 10);
    } else if (name == "--cpu") {
      options.cpu = std::atoi(value);
    } else {
      Fail(Concat("unknown option ", name));
    }
  }
  if (options.rule.empty() || options.schema.empty()) Fail("--rule and --schema are needed");
  if (options.batch == 0) Fail("--batch must be 1 or more");
  return options;
}

std::string ReadFile(const std::string& path) {
  std::ifstream file(path);
  if (!file.is_open()) Fail(Concat("cannot read ", path));
  return {std::istreambuf_iterator<char>(file), {}};
}

double CpuSeconds() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

std::int64_t ResidentBytes() {
  std::ifstream file("/proc/self/statm");
  std::int64_t total = 0;
  std::int64_t resident = 0;
  file >> total >> resident;
  return resident * sysconf(_SC_PAGESIZE);
}

void AppendVarint(std::string& out, std::uint64_t value) {
  for (; value >= 0x80; value >>= 7) out += static_cast<char>(value | 0x80);
  out += static_cast<char>(value);
}
void AppendNumber(std::string& out, int field, std::uint64_t value) {
  if (value == 0) return;
  out += static_cast<char>(field << 3);
  AppendVarint(out, value);
}

// Some of the workload's events as they come from a consumer. Written before the clock runs, into
// memory that is used again.
class Wire {
 public:
  void Fill(const bench::W1Event* events, std::size_t count, std::int64_t first_offset) {
    bytes_.clear();
    parts_.clear();
    headers_.clear();
    records_.clear();
    for (std::size_t i = 0; i < count; ++i) Add(events[i]);
    headers_.reserve(kHeaders * count);
    for (std::size_t i = 0; i < count; ++i) {
      const Parts& parts = parts_[i];
      const std::size_t first = headers_.size();
      headers_.emplace_back("ce_specversion", "1.0");
      headers_.emplace_back("ce_id", View(parts.id));
      headers_.emplace_back("ce_source", "/bench/w1");
      headers_.emplace_back("ce_type", "tocsin.bench.v1.Event");
      headers_.emplace_back("ce_time", View(parts.time));
      kafka::RecordView record;
      record.topic = "bench.w1";
      record.offset = first_offset + static_cast<std::int64_t>(i);
      record.key = View(parts.key);
      record.value = View(parts.value);
      record.headers = kafka::HeaderViews({headers_.data() + first, kHeaders});
      record.timestamp = WallTime(std::chrono::milliseconds(events[i].time_ms));
      records_.push_back(record);
    }
  }

  const std::vector<kafka::RecordView>& records() const { return records_; }
  // Behind Confluent's prefix.
  std::string_view payload(std::size_t i) const { return records_[i].value->substr(6); }

 private:
  static constexpr std::size_t kHeaders = 5;
  struct Part {
    std::size_t at = 0;
    std::size_t size = 0;
  };
  struct Parts {
    Part id;
    Part time;
    Part key;
    Part value;
  };

  std::string_view View(const Part& part) const {
    return std::string_view(bytes_).substr(part.at, part.size);
  }
  Part Append(std::string_view text) {
    const Part part{bytes_.size(), text.size()};
    bytes_.append(text);
    return part;
  }

  void Add(const bench::W1Event& event) {
    Parts& parts = parts_.emplace_back();
    parts.id = Append(std::to_string(event.id));
    parts.time = Append(FormatTime(WallTime(std::chrono::milliseconds(event.time_ms))));
    const std::string key = std::to_string(event.key);
    parts.key = Append(key);
    value_.assign("\0\0\0\0\1\0", 6);
    AppendNumber(value_, 1, static_cast<std::uint64_t>(event.id));
    AppendNumber(value_, 2, static_cast<std::uint64_t>(event.time_ms));
    AppendNumber(value_, 3, event.key);
    AppendNumber(value_, 4, event.type);
    AppendNumber(value_, 5, static_cast<std::uint64_t>(event.value));
    value_ += '\x32';
    value_ += static_cast<char>(key.size() + 1);
    value_ += 'u';
    value_ += key;
    parts.value = Append(value_);
  }

  std::string bytes_;
  std::string value_;
  std::vector<Parts> parts_;
  std::vector<kafka::HeaderViews::Entry> headers_;
  std::vector<kafka::RecordView> records_;
};

struct Outcome {
  double seconds = 0;
  std::int64_t firings = 0;
};

// The events come in pieces as a consumer hands them out, still in the processor's cache; and what
// all of them take is not part of what is measured.
constexpr std::size_t kPiece = 8'000;

Outcome MeasureRules(const RulePlan& plan, const std::vector<bench::W1Event>& events) {
  const PlannedRule& rule = plan.local().front();
  // As in Task::Run: the fields of some events are read before the first window is looked at.
  constexpr std::size_t kLookAhead = 16;
  struct Passed {
    std::size_t number = 0;
    std::string key;
    std::string value;
    std::uint64_t hash = 0;
    const TypedCache<Window>::Entry* window = nullptr;
  };
  schema::ProjectedMessage message(plan.messages()[rule.message].projection,
                                   *plan.messages()[rule.message].prototype);
  const MemoryState state;
  TypedCache<Window> windows(WindowKey(rule.prefix, ""));
  std::vector<Passed> passed(kLookAhead);
  std::string packed;
  Wire wire;
  Outcome outcome;
  for (std::size_t begin = 0; begin < events.size(); begin += kPiece) {
    const std::size_t count = std::min(kPiece, events.size() - begin);
    wire.Fill(&events[begin], count, static_cast<std::int64_t>(begin));
    const double started = CpuSeconds();
    for (std::size_t at = 0; at < count; at += kLookAhead) {
      std::size_t passing = 0;
      for (std::size_t i = at; i < std::min(at + kLookAhead, count); ++i) {
        if (!message.Read(wire.payload(i))) Fail("an event that is none");
        const schema::FieldView fields(message, rule.slots.data());
        Passed& next = passed[passing];
        if (!rule.rule->Matches(fields) || !rule.rule->JoinedGroupKey(fields, next.key) ||
            !rule.rule->JoinedValue(fields, next.value)) {
          continue;
        }
        next.number = i;
        next.hash = TypedCache<Window>::Hash(next.key);
        windows.ExpectSoon(next.hash);
        ++passing;
      }
      for (std::size_t i = 0; i < passing; ++i) passed[i].window = windows.Expect(passed[i].hash);
      for (std::size_t i = 0; i < passing; ++i) {
        if (passed[i].window != nullptr) passed[i].window->value.Prefetch();
      }
      for (std::size_t i = 0; i < passing; ++i) {
        const kafka::RecordView& record = wire.records()[passed[i].number];
        Envelope envelope;
        const auto& headers = record.headers.entries();
        envelope.id = headers[1].second;
        envelope.source = headers[2].second;
        envelope.time = record.timestamp;
        packed.clear();
        AppendPacked(envelope, "bench.w1", 0, record.offset, passed[i].value, packed);
        std::string_view rest = packed;
        Window& window = windows.Change(state, passed[i].key, passed[i].hash);
        const auto firing = window.Add(*rule.rule, *TakePacked(rest), Micros(envelope.time));
        if (firing.has_value()) ++outcome.firings;
      }
    }
    outcome.seconds += CpuSeconds() - started;
  }
  return outcome;
}

struct TaskOutcome {
  Outcome whole;
  double flushing = 0;
  std::int64_t commits = 0;
  std::int64_t passed = 0;
  std::int64_t changes = 0;
  std::int64_t change_bytes = 0;
};

void TellFiring(const OutputRecord& output, std::ofstream& file) {
  if (output.kind != OutputKind::kDetection || !file.is_open()) return;
  const auto frame = Require(schema::DecodeFrame(*output.record.value));
  v1::Detection detection;
  if (!detection.ParseFromArray(frame.payload.data(), static_cast<int>(frame.payload.size()))) {
    Fail("a detection that is none");
  }
  file << detection.group_key(0) << ' '
       << detection.time().seconds() * 1000 + detection.time().nanos() / 1'000'000;
  for (const auto& evidence : detection.evidence()) file << ' ' << evidence.id();
  file << '\n';
}

TaskOutcome MeasureTask(const std::shared_ptr<const RulePlan>& plan, const Options& options,
                        const std::vector<bench::W1Event>& events) {
  TaskOptions task_options;
  task_options.detection_schema.id = schema::SchemaId(2);
  task_options.incident_schema.id = schema::SchemaId(3);
  Task task(0, plan, task_options);
  MemoryState memory;
  std::unique_ptr<StateStore> store;
  if (!options.store.empty()) {
    StateStoreOptions store_options;
    store_options.folder = options.store;
    store = Require(StateStore::Open(store_options, WallTime()));
  }
  const StateReader& base = store != nullptr ? static_cast<const StateReader&>(*store) : memory;
  std::ofstream firings;
  if (!options.firings.empty()) firings.open(options.firings);

  constexpr double kCommitSeconds = 0.1;
  auto overlay = std::make_unique<Overlay>(base);
  Wire wire;
  TaskOutcome outcome;
  double since_commit = 0;
  for (std::size_t begin = 0; begin < events.size(); begin += kPiece) {
    const std::size_t count = std::min(kPiece, events.size() - begin);
    wire.Fill(&events[begin], count, static_cast<std::int64_t>(begin));
    for (std::size_t at = 0; at < count; at += options.batch) {
      const std::size_t size = std::min(options.batch, count - at);
      const bool last = begin + at + size == events.size();
      TaskInput input;
      const double started = CpuSeconds();
      for (std::size_t i = at; i < at + size; ++i) input.records.push_back(&wire.records()[i]);
      input.next_offsets["bench.w1"] = wire.records()[at + size - 1].offset + 1;
      input.flush = last || since_commit >= kCommitSeconds;
      TaskResult result = task.Run(input, *overlay);
      const double seconds = CpuSeconds() - started;
      outcome.whole.seconds += seconds;
      since_commit += seconds;
      outcome.passed += result.counts.rules["w1"].taken;
      for (const OutputRecord& output : result.outputs) {
        if (output.kind == OutputKind::kDetection) ++outcome.whole.firings;
        TellFiring(output, firings);
      }
      if (!input.flush) continue;
      since_commit = 0;
      ++outcome.commits;
      for (const auto& [key, value] : overlay->changes()) {
        ++outcome.changes;
        outcome.change_bytes +=
            static_cast<std::int64_t>(key.size() + (value.has_value() ? value->size() : 0));
      }
      if (store != nullptr) {
        const absl::Status applied = store->Apply(overlay->changes(), outcome.commits, WallTime());
        if (!applied.ok()) Fail(std::string(Message(applied)));
      } else {
        memory.Apply(overlay->changes());
      }
      overlay = std::make_unique<Overlay>(base);
    }
  }
  return outcome;
}

std::string Part(const Outcome& outcome, std::size_t events, std::int64_t passed) {
  const double per_event = 1e6 * outcome.seconds / static_cast<double>(events);
  return Concat("{\"events_per_second\": ", static_cast<std::int64_t>(1e6 / per_event),
                ", \"us_per_event\": ", per_event, ", \"us_per_event_that_passes\": ",
                1e6 * outcome.seconds / static_cast<double>(passed),
                ", \"firings\": ", outcome.firings);
}

}  // namespace

int main(int argc, char** argv) {
  const Options options = Parse(argc, argv);
  if (options.cpu >= 0) {
    cpu_set_t cpus;
    CPU_ZERO(&cpus);
    CPU_SET(options.cpu, &cpus);
    if (sched_setaffinity(0, sizeof(cpus), &cpus) != 0) Fail("cannot be pinned to that processor");
  }
  const auto compiled =
      Require(schema::CompiledSchema::Compile({"event.proto", ReadFile(options.schema)}));
  const FixedStreams streams(
      {{"bench.w1", compiled->FindMessage("tocsin.bench.v1.Event"), "key", compiled}});
  const auto rule = Require(CompileRule(ReadFile(options.rule), options.rule, streams));
  StreamSpec stream;
  stream.topic = "bench.w1";
  stream.message_type = "tocsin.bench.v1.Event";
  const auto plan = RulePlan::Make(stream, {{rule, 1}});

  const std::vector<bench::W1Event> events = bench::MakeW1(options.workload);
  const auto failures = std::count_if(events.begin(), events.end(),
                                      [](const bench::W1Event& event) { return event.type < 20; });
  const Outcome rules = MeasureRules(*plan, events);
  const std::int64_t resident_before = ResidentBytes();
  const TaskOutcome task = MeasureTask(plan, options, events);
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  std::cout << "{\"events\": " << events.size() << ", \"keys\": " << options.workload.keys
            << ", \"pass\": " << failures
            << ",\n \"rules\": " << Part(rules, events.size(), failures)
            << "},\n \"task\": " << Part(task.whole, events.size(), task.passed)
            << ", \"commits\": " << task.commits << ", \"state_changes\": " << task.changes
            << ", \"state_change_bytes\": " << task.change_bytes
            << "},\n \"rss_mb\": " << ResidentBytes() / 1'000'000
            << ", \"rss_mb_before\": " << resident_before / 1'000'000
            << ", \"peak_rss_mb\": " << usage.ru_maxrss / 1000 << "}\n";
  return 0;
}
