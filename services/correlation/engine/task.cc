#include "services/correlation/engine/task.h"

#include <utility>

#include "google/protobuf/message.h"
#include "google/protobuf/util/time_util.h"
#include "lib/base/status.h"
#include "lib/base/text.h"
#include "services/correlation/engine/deduplicator.h"
#include "services/correlation/engine/detector.h"
#include "services/correlation/engine/envelope.h"
#include "services/correlation/engine/keys.h"
#include "services/correlation/engine/reorder_buffer.h"
#include "services/correlation/engine/watermarks.h"
#include "services/correlation/engine/window_operator.h"
#include "tocsin/correlation/v1/repartition.pb.h"
#include "tocsin/correlation/v1/state.pb.h"

namespace tocsin::correlation {
namespace {

using google::protobuf::util::TimeUtil;

v1::StoredEvent MakeStored(const Envelope& envelope, const Origin& origin, std::string value) {
  v1::StoredEvent stored;
  tocsin::event::v1::EventReference* reference = stored.mutable_reference();
  reference->set_topic(origin.where.topic);
  reference->set_partition(origin.where.partition);
  reference->set_offset(origin.offset);
  reference->set_source(envelope.source);
  reference->set_id(envelope.id);
  reference->set_sequence(envelope.sequence);
  *reference->mutable_time() = TimeUtil::MicrosecondsToTimestamp(Micros(envelope.time));
  stored.set_traceparent(envelope.traceparent);
  stored.set_value(std::move(value));
  return stored;
}

}  // namespace

// One call of Run.
class Task::Batch {
 public:
  Batch(Task& task, StateView& state, const TaskInput& input, TaskResult& result)
      : task_(task),
        plan_(*task.plan_),
        state_(state),
        input_(input),
        result_(result),
        deduplicator_(state, task.options_),
        watermarks_(state, plan_),
        buffer_(state, task.options_.max_release),
        outputs_(plan_, task.options_, result.outputs),
        detector_(state, outputs_, result.counts),
        windows_(task.windows_, state, buffer_, outputs_, result.counts,
                 task.options_.max_release) {}

  void Run() {
    const bool new_plan = task_.garbage_.TakeUpPlan(plan_, state_);
    if (new_plan && !state_.Get(kFormatKey).has_value()) {
      state_.Put(kFormatKey, std::to_string(kStateFormat));
    }
    bool stream_spoke = false;
    for (const kafka::Record* record : input_.records) {
      deduplicator_.ObserveTimestamp(record->timestamp);
      outputs_.NextCause(record->topic);
      if (record->topic == plan_.stream().topic) {
        stream_spoke = true;
        OnStreamRecord(*record);
      } else if (const Repartition* repartition = plan_.FindRepartition(record->topic)) {
        OnRepartitionRecord(*repartition, *record);
      }
    }
    if (!stream_spoke) {
      for (const DueSilence& due : input_.silences) watermarks_.Promise(due);
    }
    for (const PlannedRule& rule : plan_.local()) {
      if (!rule.event_time()) continue;
      watermarks_.AdvanceLocal(rule, buffer_);
      Release(rule);
    }
    for (const Repartition& repartition : plan_.repartitions()) {
      watermarks_.AdvanceRepartition(repartition, new_plan, buffer_);
      for (const PlannedRule& rule : repartition.rules) {
        if (rule.event_time()) Release(rule);
      }
    }
    if (!input_.records.empty()) ExpireWindows();
    watermarks_.Store(task_.partition_, outputs_);
    deduplicator_.Expire(input_.records.size());
    if (!input_.records.empty() || buffer_.released() > 0) {
      task_.garbage_.Sweep(plan_, deduplicator_.highest_timestamp_us(), buffer_, state_);
    }
    if (!task_.garbage_.RemoveRetired(plan_, state_)) result_.more = true;
    for (const auto& [topic, next] : input_.next_offsets) {
      const std::string key = OffsetKey(topic);
      const std::string value = EncodeInt64(next);
      if (state_.Get(key) != value) state_.Put(key, value);
    }
    windows_.Store();
    buffer_.Store();
    deduplicator_.Store();
  }

 private:
  RuleCounts& counts(const PlannedRule& rule) { return result_.counts.rules[rule.rule->id()]; }

  // --- the stream itself ---

  void OnStreamRecord(const kafka::Record& record) {
    ++result_.counts.in;
    const absl::StatusOr<Envelope> envelope = ReadEvent(record);
    if (!envelope.ok()) {
      ++result_.counts.invalid;
      outputs_.WriteDeadLetter(record, envelope.status(), input_.now);
      return;
    }
    if (!deduplicator_.Admit(envelope->source, envelope->id, record.timestamp)) {
      ++result_.counts.duplicate;
      return;
    }
    ++result_.counts.accepted;

    const PartitionTime before = watermarks_.own();
    watermarks_.Observe(envelope->time);
    const Origin origin{record.where(), record.offset};
    for (const PlannedRule& rule : plan_.local()) {
      std::optional<std::vector<std::string>> key = Admit(rule);
      if (!key.has_value()) continue;
      std::optional<WallTime> watermark;
      if (rule.event_time()) {
        watermark = before.OwnWatermark(rule.rule->max_disorder(), rule.rule->idle_timeout(),
                                        rule.closes_in_silence());
      }
      Take(rule, *std::move(key), *envelope, origin, watermark);
    }
    for (const Repartition& repartition : plan_.repartitions()) {
      std::optional<std::vector<std::string>> key;
      for (const PlannedRule& rule : repartition.rules) {
        std::optional<std::vector<std::string>> candidate = Admit(rule);
        if (candidate.has_value()) key = std::move(candidate);
      }
      if (!key.has_value()) continue;
      ++result_.counts.forwarded;
      outputs_.WriteForward(repartition, JoinKey(*key), record, *envelope, origin,
                            before.ToMark(task_.partition_));
    }
    if (plan_.stream().processed) outputs_.WriteProcessed(record, *envelope, origin);
  }

  // The event, parsed into task_.messages_ as well.
  absl::StatusOr<Envelope> ReadEvent(const kafka::Record& record) {
    TOCSIN_ASSIGN_OR_RETURN(Envelope envelope, ReadEnvelope(record));
    const std::string& expected = plan_.stream().message_type;
    if (!expected.empty() && envelope.type != expected) {
      return InvalidArgument(Concat("ce_type is ", envelope.type, ", but the stream ",
                                    plan_.stream().topic, " carries ", expected));
    }
    for (const std::unique_ptr<google::protobuf::Message>& message : task_.messages_) {
      if (!message->ParseFromArray(envelope.payload.data(),
                                   static_cast<int>(envelope.payload.size()))) {
        return InvalidArgument(
            Concat("the value is not a message of type ", message->GetDescriptor()->full_name()));
      }
    }
    return envelope;
  }

  // Does the event take part in the rule? Counts why not.
  std::optional<std::vector<std::string>> Admit(const PlannedRule& rule) {
    const google::protobuf::Message& message = *task_.messages_[rule.message];
    absl::Status error;
    if (!rule.rule->Matches(message, &error)) {
      if (!error.ok()) ++counts(rule).where_errors;
      ++counts(rule).filtered;
      return std::nullopt;
    }
    std::optional<std::vector<std::string>> key = rule.rule->GroupKey(message);
    if (!key.has_value()) ++counts(rule).missing_key;
    return key;
  }

  // --- repartition topics ---

  void OnRepartitionRecord(const Repartition& repartition, const kafka::Record& record) {
    if (record.headers.Find(kKindHeader) == kKindMark) {
      if (!watermarks_.TakeMark(repartition, record)) {
        outputs_.WriteDeadLetter(record, InvalidArgument("not a watermark mark"), input_.now);
      }
      return;
    }
    absl::StatusOr<Envelope> envelope = ReadEvent(record);
    const std::optional<Origin> origin =
        DecodeOrigin(record.headers.Find(kOriginHeader).value_or(""));
    v1::WatermarkMark before;
    const std::optional<std::string_view> before_bytes = record.headers.Find(kBeforeHeader);
    if (envelope.ok() &&
        (!origin.has_value() || !before_bytes.has_value() ||
         !before.ParseFromArray(before_bytes->data(), static_cast<int>(before_bytes->size())))) {
      envelope = InvalidArgument("a forwarded event without its origin");
    }
    if (!envelope.ok()) {
      ++result_.counts.invalid;
      outputs_.WriteDeadLetter(record, envelope.status(), input_.now);
      return;
    }
    const PartitionTime upstream = PartitionTime::FromMark(before);
    for (const PlannedRule& rule : repartition.rules) {
      const google::protobuf::Message& message = *task_.messages_[rule.message];
      // Why an event does not take part was counted where it came in.
      if (!rule.rule->Matches(message)) continue;
      std::optional<std::vector<std::string>> key = rule.rule->GroupKey(message);
      if (!key.has_value()) continue;
      std::optional<WallTime> watermark;
      if (rule.event_time()) {
        watermark = upstream.Watermark(rule.rule->max_disorder(), rule.rule->idle_timeout(),
                                       rule.closes_in_silence());
      }
      Take(rule, *std::move(key), *envelope, *origin, watermark);
    }
  }

  // --- rules ---

  // The event takes part: hold it, or evaluate the rule at once. `watermark`: what the event's own
  // partition had promised to this rule before it.
  void Take(const PlannedRule& rule, std::vector<std::string> group_key, const Envelope& envelope,
            const Origin& origin, std::optional<WallTime> watermark) {
    if (const CompiledWindow* window = rule.rule->window()) {
      windows_.Take(rule, std::move(group_key), window->Values(*task_.messages_[rule.message]),
                    envelope, origin, watermark, deduplicator_.highest_timestamp_us());
      return;
    }
    std::optional<std::vector<std::string>> value =
        rule.rule->Value(*task_.messages_[rule.message]);
    if (!value.has_value()) {
      ++counts(rule).missing_key;
      return;
    }
    v1::StoredEvent stored = MakeStored(envelope, origin, JoinKey(*value));
    if (!rule.event_time()) {
      ++counts(rule).taken;
      Evaluate(rule, group_key, std::move(stored));
      return;
    }
    if ((watermark.has_value() && envelope.time <= *watermark) ||
        buffer_.Passed(rule, envelope.time)) {
      ++counts(rule).late;
      return;
    }
    ++counts(rule).taken;
    v1::HeldEvent held;
    *held.mutable_event() = std::move(stored);
    for (std::string& part : group_key) held.add_group_key(std::move(part));
    buffer_.Hold(rule, envelope, origin, held);
  }

  void Release(const PlannedRule& rule) {
    const std::string& topic =
        rule.rule->local() ? plan_.stream().topic : rule.rule->repartition_topic();
    if (rule.rule->window() != nullptr) {
      if (!windows_.Release(rule, topic, deduplicator_.highest_timestamp_us())) result_.more = true;
      return;
    }
    const bool complete = buffer_.Release(rule, [&](v1::HeldEvent held) {
      outputs_.NextCause(topic);
      Evaluate(rule, {held.group_key().begin(), held.group_key().end()},
               std::move(*held.mutable_event()));
    });
    if (!complete) result_.more = true;
  }

  // order: arrival only.
  void ExpireWindows() {
    const auto expire = [&](const PlannedRule& rule) {
      if (rule.rule->window() == nullptr || rule.event_time()) return;
      if (!windows_.Expire(rule, deduplicator_.highest_timestamp_us())) result_.more = true;
    };
    for (const PlannedRule& rule : plan_.local()) expire(rule);
    for (const Repartition& repartition : plan_.repartitions()) {
      for (const PlannedRule& rule : repartition.rules) expire(rule);
    }
  }

  void Evaluate(const PlannedRule& rule, const std::vector<std::string>& group_key,
                v1::StoredEvent event) {
    detector_.Evaluate(rule, group_key, std::move(event), deduplicator_.highest_timestamp_us());
  }

  Task& task_;
  const RulePlan& plan_;
  StateView& state_;
  const TaskInput& input_;
  TaskResult& result_;

  Deduplicator deduplicator_;
  Watermarks watermarks_;
  ReorderBuffer buffer_;
  OutputWriter outputs_;
  Detector detector_;
  WindowOperator windows_;
};

Task::Task(std::int32_t partition, std::shared_ptr<const RulePlan> plan, TaskOptions options)
    : partition_(partition), options_(std::move(options)), garbage_(options_.max_sweep) {
  SetPlan(std::move(plan));
}
Task::~Task() = default;

void Task::SetPlan(std::shared_ptr<const RulePlan> plan) {
  // Messages go before the plan whose factory made them.
  messages_.clear();
  plan_ = std::move(plan);
  for (const google::protobuf::Message* prototype : plan_->prototypes()) {
    messages_.emplace_back(prototype->New());
  }
  Rewind();
}

void Task::Rewind() {
  garbage_.Restart();
  windows_.Drop();
}

TaskResult Task::Run(const TaskInput& input, StateView& state) {
  TaskResult result;
  Batch(*this, state, input, result).Run();
  return result;
}

bool Task::WouldPromise(const std::vector<DueSilence>& silences, const StateReader& state) const {
  PartitionTime time = LoadPartitionTime(state);
  bool changed = false;
  for (const DueSilence& due : silences) {
    if (time.Promise(due.idle_for, due.follows, plan_->TimeInSilence(due.beyond))) changed = true;
  }
  return changed;
}

std::optional<WallTime> Task::HighestSeen(const StateReader& state) const {
  return HighestEventTime(*plan_, state);
}

bool Task::HasWork(const StateReader& state) const {
  return garbage_.HasWork() || LacksMark(*plan_, state);
}

std::map<std::string, std::int64_t> Task::Offsets(const StateReader& state) {
  std::map<std::string, std::int64_t> offsets;
  const std::string prefix = OffsetKey("");
  state.Range(prefix, PrefixEnd(prefix), [&](std::string_view key, std::string_view value) {
    const std::optional<std::int64_t> next = DecodeInt64(value);
    if (next.has_value()) offsets.emplace(key.substr(prefix.size()), *next);
    return true;
  });
  return offsets;
}

absl::Status Task::CheckFormat(const StateReader& state) {
  const std::optional<std::string> format = state.Get(kFormatKey);
  if (!format.has_value() || *format == std::to_string(kStateFormat)) return absl::OkStatus();
  return FailedPrecondition(Concat("the state was written in format ", *format,
                                   ", this program knows format ", kStateFormat,
                                   ": run the newer program, or let it rebuild the state"));
}

}  // namespace tocsin::correlation
