// windows_in_process w3|w4 EVENTS SEED: runs a window rule over the workload in this process, from
// wire bytes to result records, without Kafka. One line for each result on stdout, for windows.py
// to compare; on stderr the events per second of CPU time.
#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>
#include <google/protobuf/text_format.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <ctime>
#include <iostream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "bench/correlation/window_events.h"
#include "lib/base/status.h"
#include "lib/base/text.h"
#include "lib/base/time.h"
#include "lib/schema/wire_format.h"
#include "services/correlation/engine/keys.h"
#include "services/correlation/engine/task.h"
#include "tocsin/correlation/v1/aggregate.pb.h"

namespace {

using namespace tocsin;               // NOLINT(google-build-using-namespace): a program of one file
using namespace tocsin::correlation;  // NOLINT(google-build-using-namespace)

constexpr char kSessions[] =
    "{id: w3, stream: events, order: event_time, max-disorder: 3s, idle-timeout: 1s, window: "
    "{type: "
    "session, gap: 10s, grace: 4s, group-by: [user], aggregates: [{name: n, function: count}]}}";
constexpr char kHotItems[] =
    "{id: w4, stream: events, order: event_time, idle-timeout: 1s, window: {type: hopping, size: "
    "10s, slide: 2s, grace: 0s, aggregates: [{name: hot, function: top_k, field: user, k: 1}]}}";

// { string user = 1; }
constexpr char kEventFile[] =
    "name: 'event.proto' package: 'bench' syntax: 'proto3' message_type { name: 'Event' field { "
    "name: 'user' number: 1 type: TYPE_STRING label: LABEL_OPTIONAL } }";

class Bench {
 public:
  explicit Bench(bool sessions) {
    google::protobuf::FileDescriptorProto file;
    google::protobuf::TextFormat::ParseFromString(kEventFile, &file);
    const auto* event = pool_.BuildFile(file)->FindMessageTypeByName("Event");
    const FixedStreams streams({{"events", event, "user", nullptr}});
    auto rule = CompileRule(sessions ? kSessions : kHotItems, "rule.yaml", streams);
    if (!rule.ok()) {
      std::cerr << Message(rule.status()) << '\n';
      std::exit(EXIT_FAILURE);
    }
    StreamSpec stream;
    stream.topic = "events";
    plan_ = RulePlan::Make(stream, {{*rule, 1}});
    TaskOptions options;
    options.aggregate_schema.id = schema::SchemaId(1);
    options.max_release = 1'000'000;
    task_ = std::make_unique<Task>(0, plan_, options);
  }

  void Run(const std::vector<bench::WindowEvent>& events) {
    constexpr std::size_t kBatch = 2'000;
    for (std::size_t begin = 0; begin < events.size(); begin += kBatch) {
      std::vector<kafka::Record> records;
      const std::size_t end = std::min(events.size(), begin + kBatch);
      for (std::size_t i = begin; i < end; ++i) records.push_back(MakeRecord(events[i]));
      Measure(records, {});
    }
    // Silence: what is open closes.
    const std::vector<Duration> idle = plan_->idle_timeouts();
    Measure({}, {{idle.front(), std::nullopt, std::chrono::hours(1)}});
  }

  double cpu_seconds() const { return cpu_seconds_; }

 private:
  static kafka::Record MakeRecord(const bench::WindowEvent& event) {
    const std::string user = std::to_string(event.key);
    const std::int32_t first[] = {0};
    kafka::Record record;
    record.topic = "events";
    record.offset = event.id;
    record.key = user;
    std::string payload = "\x0a";
    payload.push_back(static_cast<char>(user.size()));
    record.value = schema::EncodeFrame(schema::SchemaId(7), first, payload + user);
    record.headers.Set("ce_id", std::to_string(event.id));
    record.headers.Set("ce_source", "/bench");
    record.headers.Set("ce_type", "bench.Event");
    record.headers.Set("ce_time", FormatTime(FromMicros(event.time_ms * 1'000)));
    return record;
  }

  // What goes to the repartition topic comes back in the next step.
  void Measure(std::vector<kafka::Record> records, std::vector<DueSilence> silences) {
    for (bool more = true; more || !records.empty();) {
      TaskInput input;
      kafka::HeaderMemory headers;
      std::vector<kafka::RecordView> views;
      views.reserve(records.size());
      for (const kafka::Record& record : records) {
        input.records.push_back(&views.emplace_back(kafka::AsView(record, headers)));
      }
      input.silences = std::exchange(silences, {});
      Overlay overlay(state_);
      const std::clock_t before = std::clock();
      TaskResult result = task_->Run(input, overlay);
      cpu_seconds_ += static_cast<double>(std::clock() - before) / CLOCKS_PER_SEC;
      state_.Apply(overlay.changes());
      more = result.more;
      records.clear();
      for (OutputRecord& output : result.outputs) {
        if (output.kind == OutputKind::kAggregate) {
          Print(*output.record.value);
        } else if (output.kind == OutputKind::kForward || output.kind == OutputKind::kMark) {
          records.push_back({.topic = output.record.topic,
                             .offset = next_offset_++,
                             .key = std::move(output.record.key),
                             .value = std::move(output.record.value),
                             .headers = std::move(output.record.headers)});
        }
      }
    }
  }

  static void Print(std::string_view value) {
    v1::WindowResult result;
    const auto frame = schema::DecodeFrame(value);
    if (!frame.ok() || !result.ParseFromString(std::string(frame->payload))) std::abort();
    const auto ms = [](const google::protobuf::Timestamp& time) {
      return time.seconds() * 1'000 + time.nanos() / 1'000'000;
    };
    if (result.group_key_size() == 1) {
      std::cout << result.group_key(0) << ' ' << result.aggregates(0).integer() << ' '
                << ms(result.window_start()) << ' ' << ms(result.window_end()) << '\n';
      return;
    }
    std::cout << ms(result.window_end()) << ' ' << result.aggregates(0).top().entries(0).count();
    for (const v1::TopEntry& entry : result.aggregates(0).top().entries()) {
      std::cout << ' ' << entry.value();
    }
    std::cout << '\n';
  }

  google::protobuf::DescriptorPool pool_;
  std::shared_ptr<const RulePlan> plan_;
  std::unique_ptr<Task> task_;
  MemoryState state_;
  std::int64_t next_offset_ = 0;
  double cpu_seconds_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) {
    std::cerr << "windows_in_process w3|w4 EVENTS SEED\n";
    return 2;
  }
  const bool sessions = std::string_view(argv[1]) == "w3";
  const std::int64_t count = std::atoll(argv[2]);
  const auto seed = static_cast<std::uint64_t>(std::atoll(argv[3]));
  constexpr std::uint32_t kUsers = 20'000;
  Bench bench(sessions);
  bench.Run(sessions ? tocsin::bench::MakeW3(count, kUsers, seed)
                     : tocsin::bench::MakeW4(count, seed));
  std::cerr << static_cast<std::int64_t>(static_cast<double>(count) / bench.cpu_seconds())
            << " events per CPU second\n";
  return 0;
}
