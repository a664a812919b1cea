#include "services/correlation/engine/task.h"

#include <algorithm>
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
namespace {}  // namespace

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
        joins_(state, task.window_caches_, task.pair_messages_, detector_, rule_counts_),
        windows_(task.windows_, state, buffer_, outputs_, rule_counts_, task.options_.max_release) {
    deduplicator_.Begin(state);
    buffer_.Begin(state);
    before_matters_ = !plan_.repartitions().empty() || !plan_.forwards().empty() ||
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
      if (rule.rule->join() != nullptr) {
        watermarks_.AdvanceJoin(rule, buffer_);
      } else {
        watermarks_.AdvanceLocal(rule, buffer_);
      }
      Release(rule);
    }
    for (const Repartition& repartition : plan_.repartitions()) {
      watermarks_.AdvanceRepartition(repartition, new_plan, buffer_);
      for (const PlannedRule& rule : repartition.rules) {
        if (rule.rule->join() != nullptr) watermarks_.AdvanceJoin(rule, buffer_);
        if (rule.event_time()) Release(rule);
      }
    }
    if (!input_.records.empty()) ExpireWindows();
    watermarks_.Store(task_.partition_, outputs_);
    deduplicator_.Expire(input_.records.size());
    if (!input_.records.empty() || buffer_.released() > 0) ++task_.unswept_;
    if (!task_.garbage_.RemoveRetired(plan_, state_)) result_.more = true;
    if (input_.flush) task_.Flush(state_);
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

  void TellCounts() {
    result_.counts.kept_late += windows_.kept_late();
    const auto tell = [this](const PlannedRule& rule) {
      const RuleCounts& counted = counts(rule);
      if (counted != RuleCounts()) result_.counts.rules[rule.rule->id()] += counted;
    };
    for (const PlannedRule& rule : plan_.local()) tell(rule);
    for (const auto* topics : {&plan_.repartitions(), &plan_.forwards()}) {
      for (const Repartition& repartition : *topics) {
        for (const PlannedRule& rule : repartition.rules) tell(rule);
      }
    }
  }

  // --- records ---

  // Does an event take part in a rule?
  struct Part {
    enum class Kind { kFiltered, kWhereError, kMissingKey, kTakesPart };
    Kind kind = Kind::kFiltered;
    // Joined, and its hash.
    std::string group_key;
    std::uint64_t hash = 0;
    // Where the window of that key most likely is.
    const TypedCache<Window>::Entry* window = nullptr;
    // Of a rule that looks rows up.
    Enricher::LookedUp rows;
  };

  // An event that was looked into ahead of its turn: what of it does not depend on those before it.
  struct Decoded {
    // nullptr: the stream's own.
    const Repartition* repartition = nullptr;
    bool known_topic = false;
    bool mark = false;
    // What is wrong with it.
    absl::Status read;
    Envelope envelope;
    Hash128 identity;
    // The first of its messages, one for each of the plan's.
    schema::ProjectedMessage* messages = nullptr;
    // nullptr: no rule looks rows up.
    Enricher* enricher = nullptr;
    // By the rule's number; of the rules that read its topic.
    std::vector<Part> parts;
  };

  // True when the stream's own partition has spoken. Records are looked into some ahead of being
  // worked on, and their bytes asked for before that, so that memory is under way when it is
  // needed.
  bool TakeRecords() {
    bool stream_spoke = false;
    auto refused = input_.refused.begin();
    const auto& records = input_.records;
    std::vector<Decoded> decoded(std::min(kLookAhead, records.size()));
    for (Decoded& each : decoded) each.parts.resize(plan_.rule_count());
    for (std::size_t begin = 0; begin < records.size(); begin += kLookAhead) {
      const std::size_t count = std::min(kLookAhead, records.size() - begin);
      for (std::size_t i = begin + kLookAhead; i < std::min(begin + 2 * kLookAhead, records.size());
           ++i) {
        PrefetchBytes(*records[i]);
      }
      for (std::size_t i = 0; i < count; ++i) {
        decoded[i].messages = task_.messages_.data() + i * plan_.messages().size();
        if (!task_.enrichers_.empty()) decoded[i].enricher = &task_.enrichers_[i];
        Decode(*records[begin + i], decoded[i]);
        if (refused != input_.refused.end() && refused->first == records[begin + i]) {
          decoded[i].read = refused->second;
          ++refused;
        }
      }
      for (std::size_t i = 0; i < count; ++i) ExpectWindows(decoded[i]);
      for (std::size_t i = 0; i < count; ++i) {
        for (const Part& part : decoded[i].parts) {
          if (part.window != nullptr) part.window->value.Prefetch();
        }
      }
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

  static void PrefetchBytes(const kafka::RecordView& record) {
    const auto headers = record.headers.entries();
    const auto* const begin = reinterpret_cast<const char*>(headers.data());
    for (std::size_t at = 0; at < headers.size_bytes(); at += 64) __builtin_prefetch(begin + at);
    if (record.value.has_value()) __builtin_prefetch(record.value->data());
  }

  void Decode(const kafka::RecordView& record, Decoded& decoded) {
    const bool own = record.topic == plan_.stream().topic;
    decoded.repartition = own ? nullptr : plan_.FindRepartition(record.topic);
    decoded.known_topic = own || decoded.repartition != nullptr;
    decoded.mark = !own && record.headers.Find(kKindHeader) == kKindMark;
    for (Part& part : decoded.parts) part.window = nullptr;
    if (!decoded.known_topic || decoded.mark) return;
    decoded.read = ReadEvent(record, decoded);
    if (decoded.read.ok() && own) {
      decoded.read = CheckAdmissible(record.key.has_value(), decoded.envelope.time);
    }
    if (!decoded.read.ok()) return;
    if (decoded.enricher != nullptr) {
      decoded.enricher->Begin(decoded.messages, decoded.envelope.payload, decoded.envelope.time,
                              own ? std::nullopt : record.headers.Find(kRowsHeader));
    }
    if (!own) {
      for (const PlannedRule& rule : decoded.repartition->rules) Examine(rule, decoded);
      return;
    }
    decoded.identity = deduplicator_.Identify(decoded.envelope.source, decoded.envelope.id);
    deduplicator_.Prefetch(decoded.identity);
    for (const PlannedRule& rule : plan_.local()) Examine(rule, decoded);
    for (const auto* topics : {&plan_.repartitions(), &plan_.forwards()}) {
      for (const Repartition& repartition : *topics) {
        for (const PlannedRule& rule : repartition.rules) Examine(rule, decoded);
      }
    }
  }

  // Reads the envelope and the fields.
  absl::Status ReadEvent(const kafka::RecordView& record, Decoded& decoded) {
    TOCSIN_RETURN_IF_ERROR(ReadEnvelope(record, decoded.envelope));
    // Another stream's own tasks have looked at its types.
    const std::size_t source = decoded.repartition == nullptr ? 0 : decoded.repartition->source;
    const std::string& expected = plan_.stream().message_type;
    if (source == 0 && !expected.empty() && decoded.envelope.type != expected) {
      return InvalidArgument(Concat("ce_type is ", decoded.envelope.type, ", but the stream ",
                                    plan_.stream().topic, " carries ", expected));
    }
    for (std::size_t i = 0; i < plan_.messages().size(); ++i) {
      if (plan_.messages()[i].joined || plan_.messages()[i].source != source) continue;
      if (!decoded.messages[i].Read(decoded.envelope.payload)) {
        return InvalidArgument(Concat("the value is not a message of type ",
                                      decoded.messages[i].projection().descriptor()->full_name()));
      }
    }
    return absl::OkStatus();
  }

  static schema::FieldView FieldsOf(const PlannedRule& rule, const Decoded& decoded) {
    return {decoded.messages[rule.message], rule.slots.data()};
  }

  void Examine(const PlannedRule& rule, Decoded& decoded) {
    Part& part = decoded.parts[rule.number];
    if (rule.enrichment != nullptr) {
      part.rows = decoded.enricher->Enrich(rule);
      if (!part.rows.complete) {
        part.kind = Part::Kind::kMissingKey;
        return;
      }
    }
    const schema::FieldView fields = FieldsOf(rule, decoded);
    absl::Status error;
    if (!rule.rule->Matches(fields, &error)) {
      part.kind = error.ok() ? Part::Kind::kFiltered : Part::Kind::kWhereError;
      return;
    }
    if (!rule.rule->JoinedGroupKey(fields, part.group_key)) {
      part.kind = Part::Kind::kMissingKey;
      return;
    }
    part.kind = Part::Kind::kTakesPart;
    part.hash = TypedCache<Window>::Hash(part.group_key);
    if (!AtOnce(rule)) return;
    task_.window_caches_[rule.number].ExpectSoon(part.hash);
  }

  // Does the rule ask for a window of its cache as soon as an event comes?
  static bool AtOnce(const PlannedRule& rule) {
    return !rule.event_time() && rule.rule->window() == nullptr;
  }

  void ExpectWindows(Decoded& decoded) {
    if (!decoded.known_topic || decoded.mark || !decoded.read.ok()) return;
    const std::vector<PlannedRule>& rules =
        decoded.repartition != nullptr ? decoded.repartition->rules : plan_.local();
    for (const PlannedRule& rule : rules) {
      Part& part = decoded.parts[rule.number];
      if (part.kind != Part::Kind::kTakesPart || !AtOnce(rule)) continue;
      part.window = task_.window_caches_[rule.number].Expect(part.hash);
    }
  }

  // --- the stream itself ---

  void OnStreamRecord(const kafka::RecordView& record, const Decoded& decoded) {
    ++result_.counts.in;
    if (!decoded.read.ok()) {
      ++result_.counts.invalid;
      outputs_.WriteDeadLetter(record, decoded.read, input_.now);
      return;
    }
    const Envelope& envelope = decoded.envelope;
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
      if (!Admit(rule, decoded)) continue;
      std::optional<WallTime> watermark;
      if (rule.event_time()) {
        watermark = OwnWatermark(rule, before);
      }
      const std::optional<Taken> taken = Take(rule, record, decoded, origin, watermark);
      if (!taken.has_value()) {
        ++counts(rule).missing_key;
        continue;
      }
      Count(rule, taken->verdict);
      if (taken->verdict == Verdict::kLate) late_.push_back({rule.rule->id(), taken->watermark});
    }
    for (const Repartition& repartition : plan_.repartitions()) {
      Forward(repartition, record, decoded, origin, before);
    }
    for (const Repartition& forward : plan_.forwards()) {
      Forward(forward, record, decoded, origin, before);
    }
    KeepLate(record, envelope, origin);
    if (plan_.stream().processed) outputs_.WriteProcessed(record, envelope, origin);
  }

  static std::optional<WallTime> OwnWatermark(const PlannedRule& rule,
                                              const PartitionTime& before) {
    const CompiledRule& compiled = *rule.rule;
    // A join goes on while its own partition is silent and the other stream is not.
    return compiled.join() != nullptr
               ? before.Watermark(compiled.max_disorder(), compiled.idle_timeout())
               : before.OwnWatermark(compiled.max_disorder(), compiled.idle_timeout(),
                                     rule.closes_in_silence());
  }

  // To the rules that read this topic, unless it is late for all of them.
  void Forward(const Repartition& repartition, const kafka::RecordView& record,
               const Decoded& decoded, const Origin& origin, const PartitionTime& before) {
    const Envelope& envelope = decoded.envelope;
    bool wanted = false;
    const std::string* forward_key = nullptr;
    std::string late_for;
    for (const PlannedRule& rule : repartition.rules) {
      if (!Admit(rule, decoded)) continue;
      // The rules of one topic have one group key.
      forward_key = &decoded.parts[rule.number].group_key;
      const CompiledWindow* window = rule.rule->window();
      if (window == nullptr && !rule.rule->JoinedValue(FieldsOf(rule, decoded), value_)) {
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
    rows_.Clear();
    for (const PlannedRule& rule : repartition.rules) {
      if (rule.enrichment != nullptr) decoded.enricher->Describe(rule, rows_);
    }
    outputs_.WriteForward(repartition, *forward_key, record, envelope, origin,
                          before.ToMark(task_.partition_), rows_, late_for);
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

  // Does the event take part in the rule? Counts why not.
  bool Admit(const PlannedRule& rule, const Decoded& decoded) {
    const Part& part = decoded.parts[rule.number];
    if (rule.enrichment != nullptr) {
      counts(rule).found_rows += part.rows.found;
      counts(rule).absent_rows += part.rows.absent;
      counts(rule).unreadable_rows += part.rows.unreadable;
    }
    switch (part.kind) {
      case Part::Kind::kTakesPart:
        return true;
      case Part::Kind::kMissingKey:
        ++counts(rule).missing_key;
        return false;
      case Part::Kind::kWhereError:
        ++counts(rule).where_errors;
        [[fallthrough]];
      case Part::Kind::kFiltered:
        ++counts(rule).filtered;
        return false;
    }
    return false;
  }

  // --- repartition topics ---

  void OnRepartitionRecord(const Repartition& repartition, const kafka::RecordView& record,
                           const Decoded& decoded) {
    if (decoded.mark) {
      if (!watermarks_.TakeMark(repartition, record)) {
        ++result_.counts.refused;
        outputs_.WriteDeadLetter(record, InvalidArgument("not a watermark mark"), input_.now);
      }
      return;
    }
    absl::Status read = decoded.read;
    std::optional<Origin> origin = DecodeOrigin(record.headers.Find(kOriginHeader).value_or(""));
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
      origin->right = rule.join != nullptr;
      // Why an event does not take part was counted where it came in.
      if (decoded.parts[rule.number].kind != Part::Kind::kTakesPart) continue;
      if (IsNamed(rule.rule->id(), late_for)) continue;
      std::optional<WallTime> watermark;
      if (rule.event_time()) {
        watermark = upstream.Watermark(rule.rule->max_disorder(), rule.rule->idle_timeout(),
                                       rule.closes_in_silence());
      }
      const std::optional<Taken> taken = Take(rule, record, decoded, *origin, watermark);
      if (!taken.has_value()) continue;
      const CompiledWindow* window = rule.rule->window();
      if (window != nullptr && !rule.event_time() && window->type != WindowType::kSliding) {
        --counts(rule).undecided;
        Count(rule, taken->verdict);
      } else if (taken->verdict == Verdict::kLate) {
        // Its own partition ran another version of the rule.
        ++counts(rule.join != nullptr ? *rule.join : rule).dropped["rule_changed"];
      }
      if (taken->verdict == Verdict::kLate) late_.push_back({rule.rule->id(), taken->watermark});
    }
    KeepLate(record, decoded.envelope, *origin);
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

  // The event takes part: hold it, or evaluate the rule at once. `watermark`: what
  // the event's own partition had promised to this rule before it. nullopt: it has no value.
  std::optional<Taken> Take(const PlannedRule& rule, const kafka::RecordView& record,
                            const Decoded& decoded, const Origin& origin,
                            std::optional<WallTime> watermark) {
    const Envelope& envelope = EnvelopeFor(rule, decoded);
    const Part& part = decoded.parts[rule.number];
    if (const CompiledWindow* window = rule.rule->window()) {
      return windows_.Take(rule, SplitKey(part.group_key, rule.key_fields()),
                           window->Values(FieldsOf(rule, decoded).message()), record, envelope,
                           origin, watermark, deduplicator_.highest_timestamp_us());
    }
    const PlannedRule& holder = rule.join != nullptr ? *rule.join : rule;
    if (holder.rule->join() != nullptr) {
      value_ = JoinValue(holder, origin.right, envelope.payload);
    } else if (!rule.rule->JoinedValue(FieldsOf(rule, decoded), value_)) {
      return std::nullopt;
    }
    if (!rule.event_time()) {
      packed_.clear();
      AppendPacked(envelope, origin.topic, origin.partition, origin.offset, value_, packed_);
      std::string_view rest = packed_;
      Evaluate(rule, part.group_key, part.hash, *TakePacked(rest));
      return Taken();
    }
    const std::optional<WallTime> position = PlaceInOrder(*rule.rule, envelope.time, watermark);
    if (!position.has_value() || buffer_.Passed(holder, *position)) {
      return Taken{Verdict::kLate,
                   watermark.value_or(FromMicros(buffer_.WatermarkUs(holder).value_or(0)))};
    }
    buffer_.Hold(holder, envelope, origin, part.group_key, value_, *position);
    return Taken();
  }

  // With what is kept of the rows that it was judged with. Good until the next call.
  const Envelope& EnvelopeFor(const PlannedRule& rule, const Decoded& decoded) {
    if (rule.enrichment == nullptr || rule.rule->window() != nullptr) return decoded.envelope;
    enriched_ = decoded.envelope;
    enriched_.enrichment = decoded.enricher->Evidence(rule);
    return enriched_;
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
          if (const CompiledJoin* join = rule.rule->join()) {
            outputs_.NextCause(IsRight(event) ? join->right->repartition_topic() : topic);
            joins_.Meet(rule, group_key, event, deduplicator_.highest_timestamp_us());
            return;
          }
          outputs_.NextCause(topic);
          Evaluate(rule, group_key, TypedCache<Window>::Hash(group_key), event);
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

  void Evaluate(const PlannedRule& rule, std::string_view group_key, std::uint64_t hash,
                const PackedEvent& event) {
    detector_.Evaluate(rule, group_key, hash, event, deduplicator_.highest_timestamp_us());
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
  JoinOperator joins_;
  WindowOperator windows_;

  // Of the event at hand; used again for the next.
  std::string value_;
  std::string packed_;
  Envelope enriched_;
  v1::TableRows rows_;
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
  enrichers_.clear();
  pair_messages_.clear();
  plan_ = std::move(plan);
  for (std::size_t i = 0; i < kLookAhead; ++i) {
    for (const RulePlan::MessageType& message : plan_->messages()) {
      messages_.emplace_back(message.projection, *message.prototype);
    }
    if (plan_->looks_rows_up()) enrichers_.emplace_back(options_.tables);
  }
  window_caches_.clear();
  for (const PlannedRule* rule : plan_->rules())
    window_caches_.emplace_back(WindowKey(rule->prefix, ""));
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
  unswept_ = 0;
}

TaskResult Task::Run(const TaskInput& input, StateView& state) {
  TaskResult result;
  Batch(*this, state, input, result).Run();
  return result;
}

void Task::Flush(StateView& state) {
  deduplicator_.Begin(state);
  buffer_.Begin(state);
  windows_.Begin(state);
  windows_.Flush();
  for (TypedCache<Window>& windows : window_caches_) {
    windows.Flush(state);
    windows.Shrink(cache_.bytes() / window_caches_.size());
  }
  // What the caches held is in the state; now what is old there can go.
  if (const std::size_t batches = std::exchange(unswept_, 0); batches > 0) {
    garbage_.Sweep(*plan_, deduplicator_.highest_timestamp_us(), buffer_, window_caches_, batches,
                   state);
  }
  buffer_.Store();
  deduplicator_.Store();
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
