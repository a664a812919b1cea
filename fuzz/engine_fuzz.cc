// What producers and other workers may write into correlation's input topics, line by line: events
// in the stream ('e') and forwarded ones ('f'), marks ('m'), bytes that are no event ('g'), Kafka
// timestamps of what follows ('t'); and what happens to the task: the end of a batch ('b'), silence
// ('s'), a restart ('r'). Whatever comes, two tasks that read the same do the same, nothing is
// counted twice, what is written out can be read, and corrections are of what was told.
#include <google/protobuf/dynamic_message.h>
#include <google/protobuf/stubs/logging.h>

#include <charconv>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <deque>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/status.h"
#include "lib/base/text.h"
#include "lib/schema/compiled_schema.h"
#include "lib/schema/wire_format.h"
#include "services/correlation/engine/task.h"
#include "tocsin/correlation/v1/aggregate.pb.h"
#include "tocsin/correlation/v1/detection.pb.h"
#include "tocsin/correlation/v1/repartition.pb.h"
#include "tocsin/incident/v1/incident.pb.h"

namespace {

using namespace tocsin::correlation;  // NOLINT(google-build-using-namespace): a program of one file
using tocsin::WallTime;
using tocsin::kafka::Record;

constexpr char kSchema[] =
    "syntax = 'proto3'; package test;"
    "message Call { string place = 1; string township = 2; string agency = 3; }";
constexpr std::string_view kRules[] = {
    "{id: township, stream: calls, correlation: {type: event_count, group-by: township, "
    "timespan: 10m, condition: {gte: 2}}}",
    "{id: agencies, stream: calls, order: event_time, max-disorder: 5s, correlation: {type: "
    "value_count, group-by: township, timespan: 10m, condition: {field: agency, gte: 2}}}",
    "{id: place, stream: calls, order: event_time, where: agency != 'no', correlation: {type: "
    "event_count, group-by: place, timespan: 1m, condition: {gte: 2}}, incident: {join-within: "
    "1m}}",
    "{id: place-now, stream: calls, correlation: {type: event_count, group-by: place, timespan: "
    "366d, condition: {gte: 3}}}",
    "{id: hours, stream: calls, order: event_time, max-disorder: 5s, window: {type: hopping, size: "
    "1h, slide: 20m, grace: 1m, emit: on_change, group-by: township, aggregates: [{name: n, "
    "function: count}, {name: who, function: top_k, field: agency, k: 1}]}}",
    "{id: sessions, stream: calls, order: event_time, window: {type: session, gap: 10s, grace: 5s, "
    "emit: every, every: 1s, group-by: place, aggregates: [{name: d, function: distinct, field: "
    "agency}]}}",
    "{id: sliding, stream: calls, window: {type: sliding, size: 1m, group-by: township, "
    "aggregates: "
    "[{name: r, function: rate}]}}",
    "{id: corrected, stream: calls, order: event_time, max-disorder: 5s, correct-within: 30m, "
    "correlation: {type: event_count, group-by: township, timespan: 10m, condition: {gte: 2}}, "
    "incident: {join-within: 1m}}",
    "{id: corrected-place, stream: calls, order: event_time, correct-within: 1h, correlation: "
    "{type: value_count, group-by: place, timespan: 1h, condition: {field: agency, gte: 2}}}",
    "{id: corrected-hours, stream: calls, order: event_time, correct-within: 2h, window: {type: "
    "tumbling, size: 1h, grace: 1m, group-by: township, aggregates: [{name: n, function: count}]}}",
    "{id: arrival, stream: calls, window: {type: tumbling, size: 1m, ttl: 1h, max-keys: 2, "
    "group-by: "
    "township, aggregates: [{name: n, function: count}]}}"};

void Require(bool holds) {
  if (!holds) std::abort();
}

std::shared_ptr<const RulePlan> MakePlan(const tocsin::schema::CompiledSchema& schema) {
  const FixedStreams streams({{"calls", schema.FindMessage("test.Call"), "township", nullptr}});
  std::vector<RuleEntry> entries;
  for (const std::string_view yaml : kRules) {
    entries.push_back({CompileRule(yaml, "rule.yaml", streams).value(), 1});
  }
  StreamSpec stream;
  stream.topic = "calls";
  stream.partitions = 2;
  stream.message_type = "test.Call";
  stream.processed = true;
  return RulePlan::Make(stream, entries);
}

// "a|b|c", read from left to right; what is not there is empty or zero.
class Fields {
 public:
  explicit Fields(std::string_view line) : rest_(line) {}
  std::string_view Text() {
    const std::size_t end = rest_.find('|');
    const std::string_view field = rest_.substr(0, end);
    rest_.remove_prefix(end == std::string_view::npos ? rest_.size() : end + 1);
    return field;
  }
  std::int64_t Number() {
    const std::string_view text = Text();
    std::int64_t number = 0;
    std::from_chars(text.data(), text.data() + text.size(), number);
    return number;
  }

 private:
  std::string_view rest_;
};

// upstream partition, highest time (s, ns), idle for (s), until (s)
std::string ReadMark(Fields& fields) {
  v1::WatermarkMark mark;
  mark.set_upstream_partition(static_cast<std::int32_t>(fields.Number() & 3));
  mark.mutable_highest_time()->set_seconds(fields.Number());
  mark.mutable_highest_time()->set_nanos(static_cast<std::int32_t>(fields.Number()));
  if (const std::int64_t idle = fields.Number(); idle != 0) {
    v1::SilencePromise& promise = *mark.add_promises();
    promise.mutable_idle_for()->set_seconds(idle);
    promise.mutable_until()->set_seconds(fields.Number());
  }
  return mark.SerializeAsString();
}

class Script {
 public:
  explicit Script(std::shared_ptr<const RulePlan> plan) : plan_(std::move(plan)) { Restart(); }

  void Do(std::string_view line) {
    Fields fields(line.substr(1));
    switch (line[0]) {
      case 'e':
      case 'f':
        AddEvent(fields, line[0] == 'f');
        break;
      case 'm': {
        Record& record = Add(plan_->repartitions().front().topic);
        record.headers.Set(kKindHeader, kKindMark);
        record.value = ReadMark(fields);
        break;
      }
      case 'g':
        Add("calls").value = std::string(line.substr(1));
        break;
      case 't':
        timestamp_ = WallTime(std::chrono::microseconds(fields.Number() / 1024));
        break;
      case 's': {
        // What is due comes from the worker's own count: one of the rules' timeouts, after what has
        // been seen.
        const auto& timeouts = plan_->idle_timeouts();
        const auto chosen = static_cast<std::uint64_t>(fields.Number()) % timeouts.size();
        Run({{timeouts[chosen], task_->HighestSeen(state_)}});
        break;
      }
      case 'r':
        Restart();
        break;
      default:
        Run({});
    }
  }

  // Everything that is left; then all has been said.
  const std::vector<OutputRecord>& Finish() {
    Run({});
    for (int i = 0; i < 8 && more_; ++i) Run({});
    return outputs_;
  }

 private:
  void Restart() {
    TaskOptions options;
    options.detection_schema.id = tocsin::schema::SchemaId(1);
    options.aggregate_schema.id = tocsin::schema::SchemaId(3);
    options.incident_schema.id = tocsin::schema::SchemaId(2);
    task_ = std::make_unique<Task>(0, plan_, std::move(options));
  }

  Record& Add(std::string_view topic) {
    Record& record = records_.emplace_back();
    record.topic = topic;
    record.offset = ++offset_;
    record.timestamp = timestamp_;
    return record;
  }

  // place, township, agency, ce_time, ce_sequence, ce_id; of a forwarded one its origin and what
  // its partition had promised
  void AddEvent(Fields& fields, bool forwarded) {
    Record& record = Add(forwarded ? plan_->repartitions().front().topic : "calls");
    std::string value;
    for (const char tag : {'\x0a', '\x12', '\x1a'}) {
      const std::string_view text = fields.Text().substr(0, 100);
      value.push_back(tag);
      value.push_back(static_cast<char>(text.size()));
      value.append(text);
    }
    record.value = tocsin::schema::EncodeFrame(tocsin::schema::SchemaId(1), {{0}}, value);
    record.headers.Set("ce_source", "/calls");
    record.headers.Set("ce_type", "test.Call");
    record.headers.Set("ce_time", fields.Text());
    record.headers.Set("ce_sequence", fields.Text());
    record.headers.Set("ce_id", fields.Text());
    if (!forwarded) return;
    record.headers.Set(kOriginHeader, fields.Text());
    record.headers.Set(kBeforeHeader, ReadMark(fields));
  }

  void Run(std::vector<DueSilence> silences) {
    TaskInput input;
    tocsin::kafka::HeaderMemory headers;
    std::deque<tocsin::kafka::RecordView> views;
    for (const Record& record : records_) {
      input.records.push_back(&views.emplace_back(tocsin::kafka::AsView(record, headers)));
      input.next_offsets[record.topic] = record.offset + 1;
    }
    input.silences = std::move(silences);
    static_cast<void>(task_->WouldPromise(input.silences, state_));
    Overlay overlay(state_);
    TaskResult result = task_->Run(input, overlay);
    Require(result.counts.duplicate + result.counts.accepted <= result.counts.in);
    Require(std::cmp_less_equal(result.counts.in, records_.size()));
    for (OutputRecord& output : result.outputs) outputs_.push_back(std::move(output));
    state_.Apply(overlay.changes());
    records_.clear();
    more_ = result.more;
    Require(Task::CheckFormat(state_).ok());
    for (const auto& [topic, next] : input.next_offsets) {
      Require(Task::Offsets(state_).at(topic) == next);
    }
    static_cast<void>(task_->HighestSeen(state_));
    static_cast<void>(task_->HasWork(state_));
  }

  const std::shared_ptr<const RulePlan> plan_;
  std::unique_ptr<Task> task_;
  MemoryState state_;
  std::deque<Record> records_;
  std::int64_t offset_ = 0;
  WallTime timestamp_{};
  bool more_ = false;
  std::vector<OutputRecord> outputs_;
};

template <typename Message>
Message ReadOwn(const OutputRecord& output) {
  const auto frame = tocsin::schema::DecodeFrame(output.record.value.value());
  Message message;
  Require(frame.ok() &&
          message.ParseFromArray(frame->payload.data(), static_cast<int>(frame->payload.size())));
  return message;
}

void CheckReadable(const OutputRecord& output) {
  const auto& headers = output.record.headers;
  switch (output.kind) {
    case OutputKind::kForward:
    case OutputKind::kProcessed:
    case OutputKind::kLate:
      Require(DecodeOrigin(headers.Find(kOriginHeader).value()).has_value());
      break;
    case OutputKind::kDetection: {
      const auto detection = ReadOwn<v1::Detection>(output);
      Require(!detection.id().empty() && detection.evidence_size() > 0);
      break;
    }
    case OutputKind::kIncident: {
      const auto incident = ReadOwn<tocsin::incident::v1::Incident>(output);
      Require(!incident.id().empty() && incident.revision() > 0);
      Require(incident.detection_count() > 0 || incident.corrected());
      break;
    }
    case OutputKind::kAggregate: {
      const auto result = ReadOwn<v1::WindowResult>(output);
      Require(result.revision() > 0 && (result.events() > 0 || result.final()));
      break;
    }
    case OutputKind::kDeadLetter:
      Require(!headers.Find("dlq.message").value_or("").empty());
      break;
    case OutputKind::kMark:
      Require(headers.Find(kKindHeader) == kKindMark);
      break;
  }
}

// What is retracted, and what something else comes in place of, was told and still stands.
void CheckCorrections(const std::vector<OutputRecord>& outputs) {
  std::multiset<std::string> standing;
  for (const OutputRecord& output : outputs) {
    if (output.kind != OutputKind::kDetection) continue;
    const auto detection = ReadOwn<v1::Detection>(output);
    const std::string& gone = detection.retracted() ? detection.id() : detection.corrects();
    if (!gone.empty()) {
      const auto told = standing.find(gone);
      Require(detection.revision() > 1 && told != standing.end());
      standing.erase(told);
    }
    if (!detection.retracted()) standing.insert(detection.id());
  }
}

void CheckSame(const OutputRecord& one, const OutputRecord& other) {
  Require(one.kind == other.kind && one.cause == other.cause && one.parent == other.parent);
  Require(one.record.topic == other.record.topic && one.record.key == other.record.key &&
          one.record.partition == other.record.partition &&
          one.record.value == other.record.value && one.record.headers == other.record.headers);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const bool quiet = google::protobuf::SetLogHandler(nullptr) != nullptr;
  static_cast<void>(quiet);
  static const auto* const schema =
      new auto(*tocsin::schema::CompiledSchema::Compile({"call.proto", kSchema}));
  static const auto* const plan = new auto(MakePlan(**schema));
  Script one(*plan);
  Script other(*plan);
  std::string_view input(reinterpret_cast<const char*>(data), size);
  for (int lines = 0; !input.empty() && lines < 200; ++lines) {
    const std::string_view line = input.substr(0, input.find('\n'));
    input.remove_prefix(std::min(input.size(), line.size() + 1));
    if (line.empty()) continue;
    one.Do(line);
    other.Do(line);
  }
  const std::vector<OutputRecord>& outputs = one.Finish();
  const std::vector<OutputRecord>& again = other.Finish();
  Require(outputs.size() == again.size());
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    CheckReadable(outputs[i]);
    CheckSame(outputs[i], again[i]);
  }
  CheckCorrections(outputs);
  return 0;
}
