#include "services/correlation/engine/task.h"

#include <algorithm>
#include <array>
#include <utility>

#include "google/protobuf/descriptor.h"
#include "lib/base/status.h"
#include "lib/base/text.h"
#include "services/correlation/engine/admission.h"
#include "services/correlation/engine/envelope.h"
#include "services/correlation/engine/keys.h"
#include "services/correlation/engine/lateness.h"
#include "services/correlation/engine/watermarks.h"
#include "services/correlation/engine/window_operator.h"
#include "tocsin/correlation/v1/repartition.pb.h"

namespace tocsin::correlation {
namespace {

// So many records are looked into ahead of being worked on, so that the memory that they will ask
// for is under way.
constexpr std::size_t kLookAhead = 16;

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
        deduplicator_(task.deduplicator_),
        buffer_(task.buffer_),
        rule_counts_(plan_.rule_count()),
        watermarks_(state, plan_),
        outputs_(plan_, task.options_, result.outputs),
        detector_(state, task.window_caches_, outputs_, rule_counts_),
        windows_(task.windows_, state, buffer_, outputs_, rule_counts_, task.options_.max_release) {
    deduplicator_.Begin(state);
    buffer_.Begin(state);
    before_matters_ = !plan_.repartitions().empty() ||
                      std::any_of(plan_.local().begin(), plan_.local().end(),
                                  [](const PlannedRule& rule) { return rule.event_time(); });
  }

  void Run() {
    const bool new_plan = task_.garbage_.TakeUpPlan(plan_, state_);
    if (new_plan) NoteFormat();
    const bool stream_spoke = TakeRecords();
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
    windows_.Store();
    if (input_.flush) Flush();
    for (const auto& [topic, next] : input_.next_offsets) {
      const std::string key = OffsetKey(topic);
      const std::string value = EncodeInt64(next);
      if (state_.Get(key) != value) state_.Put(key, value);
    }
    TellCounts();
  }

 private:
  RuleCounts& counts(const PlannedRule& rule) { return rule_counts_[rule.number]; }

  // A state of an older format is read as it is; what is written from now on an older program could
  // not read.
  void NoteFormat() {
    const std::string format = std::to_string(kStateFormat);
    if (state_.Get(kFormatKey) != format) state_.Put(kFormatKey, format);
  }

  // What the caches hold goes to the state; then what is old there can go.
  void Flush() {
    for (TypedCache<Window>& windows : task_.window_caches_) {
      windows.Flush(state_);
      windows.Shrink(task_.options_.cache_bytes / task_.window_caches_.size());
    }
    const bool worked = !input_.records.empty() || buffer_.released() > 0;
    if (worked) {
      task_.garbage_.Sweep(plan_, deduplicator_.highest_timestamp_us(), buffer_,
                           task_.window_caches_, state_);
    }
    if (!task_.garbage_.RemoveRetired(plan_, state_)) result_.more = true;
    buffer_.Store();
    deduplicator_.Store();
  }

  void TellCounts() {
    result_.counts.kept_late += windows_.kept_late();
    const auto tell = [this](const PlannedRule& rule) {
      const RuleCounts& counted = counts(rule);
      if (counted != RuleCounts()) result_.counts.rules[rule.rule->id()] += counted;
    };
    for (const PlannedRule& rule : plan_.local()) tell(rule);
    for (const Repartition& repartition : plan_.repartitions()) {
      for (const PlannedRule& rule : repartition.rules) tell(rule);
    }
  }

  // --- records ---

  // An event that was looked into ahead of its turn.
  struct Decoded {
    // nullptr: the stream's own.
    const Repartition* repartition = nullptr;
    bool known_topic = false;
    absl::StatusOr<Envelope> envelope;
    Hash128 identity;
  };

  // True when the stream's own partition has spoken.
  bool TakeRecords() {
    bool stream_spoke = false;
    std::array<Decoded, kLookAhead> decoded;
    const auto& records = input_.records;
    for (std::size_t begin = 0; begin < records.size(); begin += kLookAhead) {
      const std::size_t count = std::min(kLookAhead, records.size() - begin);
      for (std::size_t i = 0; i < count; ++i) Decode(*records[begin + i], decoded[i]);
      for (std::size_t i = 0; i < count; ++i) {
        const kafka::RecordView& record = *records[begin + i];
        deduplicator_.ObserveTimestamp(record.timestamp);
        outputs_.NextCause(record.topic);
        if (!decoded[i].known_topic) continue;
        if (decoded[i].repartition == nullptr) {
          stream_spoke = true;
          OnStreamRecord(record, decoded[i]);
        } else {
          OnRepartitionRecord(*decoded[i].repartition, record, decoded[i]);
        }
      }
    }
    return stream_spoke;
  }

  void Decode(const kafka::RecordView& record, Decoded& decoded) {
    const bool own = record.topic == plan_.stream().topic;
    decoded.repartition = own ? nullptr : plan_.FindRepartition(record.topic);
    decoded.known_topic = own || decoded.repartition != nullptr;
    if (!decoded.known_topic) return;
    decoded.envelope = ReadEnvelope(record);
    if (!own || !decoded.envelope.ok()) return;
    decoded.identity = deduplicator_.Identify(decoded.envelope->source, decoded.envelope->id);
    deduplicator_.Prefetch(decoded.identity);
  }

  // --- the stream itself ---

  void OnStreamRecord(const kafka::RecordView& record, const Decoded& decoded) {
    ++result_.counts.in;
    absl::Status read = ReadEvent(decoded.envelope);
    if (read.ok()) read = CheckAdmissible(record.key.has_value(), decoded.envelope->time);
    if (!read.ok()) {
      ++result_.counts.invalid;
      outputs_.WriteDeadLetter(record, read, input_.now);
      return;
    }
    const Envelope& envelope = *decoded.envelope;
    if (!deduplicator_.Admit(decoded.identity, envelope.source, envelope.id, record.timestamp)) {
      ++result_.counts.duplicate;
      return;
    }
    ++result_.counts.accepted;

    PartitionTime before;
    if (before_matters_) before = watermarks_.own();
    watermarks_.Observe(envelope.time);
    const Origin origin{record.topic, record.partition, record.offset};
    late_.clear();
    for (const PlannedRule& rule : plan_.local()) {
      if (!Admit(rule)) continue;
      std::optional<WallTime> watermark;
      if (rule.event_time()) {
        watermark = before.OwnWatermark(rule.rule->max_disorder(), rule.rule->idle_timeout(),
                                        rule.closes_in_silence());
      }
      const std::optional<Taken> taken = Take(rule, record, envelope, origin, watermark);
      if (!taken.has_value()) {
        ++counts(rule).missing_key;
        continue;
      }
      Count(rule, taken->verdict);
      if (taken->verdict == Verdict::kLate) late_.push_back({rule.rule->id(), taken->watermark});
    }
    for (const Repartition& repartition : plan_.repartitions()) {
      Forward(repartition, record, envelope, origin, before);
    }
    KeepLate(record, envelope, origin);
    if (plan_.stream().processed) outputs_.WriteProcessed(record, envelope, origin);
  }

  // To the rules that read this topic, unless it is late for all of them.
  void Forward(const Repartition& repartition, const kafka::RecordView& record,
               const Envelope& envelope, const Origin& origin, const PartitionTime& before) {
    bool wanted = false;
    std::string late_for;
    for (const PlannedRule& rule : repartition.rules) {
      if (!Admit(rule)) continue;
      // The rules of one topic have one group key.
      forward_key_ = group_key_;
      const CompiledWindow* window = rule.rule->window();
      if (window == nullptr && !rule.rule->JoinedValue(FieldsOf(rule), value_)) {
        ++counts(rule).missing_key;
        continue;
      }
      Verdict verdict = Verdict::kTaken;
      if (rule.event_time()) {
        const std::optional<WallTime> watermark = before.Watermark(
            rule.rule->max_disorder(), rule.rule->idle_timeout(), rule.closes_in_silence());
        verdict = Judge(*rule.rule, envelope.time, watermark);
        if (verdict == Verdict::kLate) {
          late_.push_back({rule.rule->id(), watermark.value_or(envelope.time)});
          late_for = late_for.empty() ? rule.rule->id() : Concat(late_for, ",", rule.rule->id());
        }
      } else if (window != nullptr && window->type != WindowType::kSliding) {
        // In order of arrival, at the partition that it goes to.
        verdict = Verdict::kUndecided;
      }
      Count(rule, verdict);
      wanted = wanted || verdict != Verdict::kLate;
    }
    if (!wanted) return;
    ++result_.counts.forwarded;
    outputs_.WriteForward(repartition, forward_key_, record, envelope, origin,
                          before.ToMark(task_.partition_), late_for);
  }

  void Count(const PlannedRule& rule, Verdict verdict) {
    switch (verdict) {
      case Verdict::kTaken:
        ++counts(rule).taken;
        break;
      case Verdict::kLate:
        ++counts(rule).late;
        break;
      case Verdict::kUndecided:
        ++counts(rule).undecided;
    }
  }

  // One record for all rules that the event was late for.
  void KeepLate(const kafka::RecordView& record, const Envelope& envelope, const Origin& origin) {
    if (late_.empty()) return;
    if (outputs_.WriteLate(record, envelope, origin, late_)) ++result_.counts.kept_late;
    late_.clear();
  }

  // Reads the event's fields into task_.messages_.
  absl::Status ReadEvent(const absl::StatusOr<Envelope>& envelope) {
    if (!envelope.ok()) return envelope.status();
    const std::string& expected = plan_.stream().message_type;
    if (!expected.empty() && envelope->type != expected) {
      return InvalidArgument(Concat("ce_type is ", envelope->type, ", but the stream ",
                                    plan_.stream().topic, " carries ", expected));
    }
    for (schema::ProjectedMessage& message : task_.messages_) {
      if (!message.Read(envelope->payload)) {
        return InvalidArgument(Concat("the value is not a message of type ",
                                      message.projection().descriptor()->full_name()));
      }
    }
    return absl::OkStatus();
  }

  schema::FieldView FieldsOf(const PlannedRule& rule) {
    return {task_.messages_[rule.message], rule.slots.data()};
  }

  // Does the event take part in the rule? Then group_key_ is its key. Counts why not.
  bool Admit(const PlannedRule& rule) {
    const schema::FieldView fields = FieldsOf(rule);
    absl::Status error;
    if (!rule.rule->Matches(fields, &error)) {
      if (!error.ok()) ++counts(rule).where_errors;
      ++counts(rule).filtered;
      return false;
    }
    if (!rule.rule->JoinedGroupKey(fields, group_key_)) {
      ++counts(rule).missing_key;
      return false;
    }
    return true;
  }

  // --- repartition topics ---

  void OnRepartitionRecord(const Repartition& repartition, const kafka::RecordView& record,
                           const Decoded& decoded) {
    if (record.headers.Find(kKindHeader) == kKindMark) {
      if (!watermarks_.TakeMark(repartition, record)) {
        ++result_.counts.refused;
        outputs_.WriteDeadLetter(record, InvalidArgument("not a watermark mark"), input_.now);
      }
      return;
    }
    absl::Status read = ReadEvent(decoded.envelope);
    const std::optional<Origin> origin =
        DecodeOrigin(record.headers.Find(kOriginHeader).value_or(""));
    v1::WatermarkMark before;
    const std::optional<std::string_view> before_bytes = record.headers.Find(kBeforeHeader);
    if (read.ok() &&
        (!origin.has_value() || !before_bytes.has_value() ||
         !before.ParseFromArray(before_bytes->data(), static_cast<int>(before_bytes->size())))) {
      read = InvalidArgument("a forwarded event without its origin");
    }
    if (!read.ok()) {
      ++result_.counts.refused;
      outputs_.WriteDeadLetter(record, read, input_.now);
      return;
    }
    const std::string_view late_for = record.headers.Find(kLateHeader).value_or("");
    late_.clear();
    const PartitionTime upstream = PartitionTime::FromMark(before);
    for (const PlannedRule& rule : repartition.rules) {
      // Why an event does not take part was counted where it came in.
      const schema::FieldView fields = FieldsOf(rule);
      if (!rule.rule->Matches(fields) || !rule.rule->JoinedGroupKey(fields, group_key_)) continue;
      if (IsNamed(rule.rule->id(), late_for)) continue;
      std::optional<WallTime> watermark;
      if (rule.event_time()) {
        watermark = upstream.Watermark(rule.rule->max_disorder(), rule.rule->idle_timeout(),
                                       rule.closes_in_silence());
      }
      const std::optional<Taken> taken = Take(rule, record, *decoded.envelope, *origin, watermark);
      if (!taken.has_value()) continue;
      const CompiledWindow* window = rule.rule->window();
      if (window != nullptr && !rule.event_time() && window->type != WindowType::kSliding) {
        --counts(rule).undecided;
        Count(rule, taken->verdict);
      } else if (taken->verdict == Verdict::kLate) {
        // Its own partition ran another version of the rule.
        ++counts(rule).dropped["rule_changed"];
      }
      if (taken->verdict == Verdict::kLate) late_.push_back({rule.rule->id(), taken->watermark});
    }
    KeepLate(record, *decoded.envelope, *origin);
  }

  static bool IsNamed(std::string_view rule_id, std::string_view comma_separated) {
    while (!comma_separated.empty()) {
      const std::size_t comma = std::min(comma_separated.find(','), comma_separated.size());
      if (comma_separated.substr(0, comma) == rule_id) return true;
      comma_separated.remove_prefix(std::min(comma + 1, comma_separated.size()));
    }
    return false;
  }

  // --- rules ---

  using Taken = WindowOperator::Outcome;

  // The event takes part, with group_key_: hold it, or evaluate the rule at once. `watermark`: what
  // the event's own partition had promised to this rule before it. nullopt: it has no value.
  std::optional<Taken> Take(const PlannedRule& rule, const kafka::RecordView& record,
                            const Envelope& envelope, const Origin& origin,
                            std::optional<WallTime> watermark) {
    if (const CompiledWindow* window = rule.rule->window()) {
      return windows_.Take(rule, SplitKey(group_key_, rule.key_fields()),
                           window->Values(FieldsOf(rule).message()), record, envelope, origin,
                           watermark, deduplicator_.highest_timestamp_us());
    }
    if (!rule.rule->JoinedValue(FieldsOf(rule), value_)) return std::nullopt;
    if (!rule.event_time()) {
      packed_.clear();
      AppendPacked(envelope, origin.topic, origin.partition, origin.offset, value_, packed_);
      std::string_view rest = packed_;
      Evaluate(rule, group_key_, *TakePacked(rest));
      return Taken();
    }
    if (Judge(*rule.rule, envelope.time, watermark) == Verdict::kLate ||
        buffer_.Passed(rule, envelope.time)) {
      return Taken{Verdict::kLate,
                   watermark.value_or(FromMicros(buffer_.WatermarkUs(rule).value_or(0)))};
    }
    buffer_.Hold(rule, envelope, origin, group_key_, value_);
    return Taken();
  }

  void Release(const PlannedRule& rule) {
    const std::string& topic =
        rule.rule->local() ? plan_.stream().topic : rule.rule->repartition_topic();
    if (rule.rule->window() != nullptr) {
      if (!windows_.Release(rule, topic, deduplicator_.highest_timestamp_us())) result_.more = true;
      return;
    }
    const bool complete =
        buffer_.Release(rule, [&](std::string_view group_key, const PackedEvent& event) {
          outputs_.NextCause(topic);
          Evaluate(rule, group_key, event);
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

  void Evaluate(const PlannedRule& rule, std::string_view group_key, const PackedEvent& event) {
    detector_.Evaluate(rule, group_key, event, deduplicator_.highest_timestamp_us());
  }

  Task& task_;
  const RulePlan& plan_;
  StateView& state_;
  const TaskInput& input_;
  TaskResult& result_;

  // Some rule asks what the partition had seen and promised before an event.
  bool before_matters_ = false;
  Deduplicator& deduplicator_;
  ReorderBuffer& buffer_;
  // By the rule's number.
  std::vector<RuleCounts> rule_counts_;
  Watermarks watermarks_;
  OutputWriter outputs_;
  Detector detector_;
  WindowOperator windows_;

  // Of the event at hand; used again for the next.
  std::string group_key_;
  std::string forward_key_;
  std::string value_;
  std::string packed_;
  std::vector<LateFor> late_;
};

Task::Task(std::int32_t partition, std::shared_ptr<const RulePlan> plan, TaskOptions options)
    : partition_(partition),
      options_(std::move(options)),
      deduplicator_(options_),
      buffer_(options_.max_release),
      garbage_(options_.max_sweep) {
  SetPlan(std::move(plan));
}
Task::~Task() = default;

void Task::SetPlan(std::shared_ptr<const RulePlan> plan) {
  // Messages go before the plan whose factory made them.
  messages_.clear();
  plan_ = std::move(plan);
  for (const RulePlan::MessageType& message : plan_->messages()) {
    messages_.emplace_back(message.projection, *message.prototype);
  }
  window_caches_.clear();
  std::vector<const PlannedRule*> rules(plan_->rule_count());
  for (const PlannedRule& rule : plan_->local()) rules[rule.number] = &rule;
  for (const Repartition& repartition : plan_->repartitions()) {
    for (const PlannedRule& rule : repartition.rules) rules[rule.number] = &rule;
  }
  for (const PlannedRule* rule : rules) window_caches_.emplace_back(WindowKey(rule->prefix, ""));
  buffer_.Drop();
  windows_.Drop();
  garbage_.Restart();
}

void Task::Rewind() {
  deduplicator_.Drop();
  buffer_.Drop();
  for (TypedCache<Window>& windows : window_caches_) windows.Drop();
  windows_.Drop();
  garbage_.Restart();
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
  if (!format.has_value()) return absl::OkStatus();
  for (int known = 1; known <= kStateFormat; ++known) {
    if (*format == std::to_string(known)) return absl::OkStatus();
  }
  return FailedPrecondition(Concat("the state was written in format ", *format,
                                   ", this program knows format ", kStateFormat,
                                   ": run the newer program, or let it rebuild the state"));
}

}  // namespace tocsin::correlation
