#include "services/correlation/engine/task.h"

#include <algorithm>
#include <set>
#include <utility>

#include "google/protobuf/message.h"
#include "google/protobuf/util/time_util.h"
#include "lib/base/hash.h"
#include "lib/base/hex.h"
#include "lib/base/status.h"
#include "lib/base/text.h"
#include "lib/base/time.h"
#include "services/correlation/engine/keys.h"
#include "services/correlation/engine/window.h"
#include "tocsin/correlation/v1/detection.pb.h"
#include "tocsin/correlation/v1/repartition.pb.h"
#include "tocsin/correlation/v1/state.pb.h"
#include "tocsin/incident/v1/incident.pb.h"

namespace tocsin::correlation {
namespace {

using google::protobuf::util::TimeUtil;

constexpr std::size_t kMaxDetectionIds = 1'000;
constexpr std::size_t kMaxLinks = 128;
// order: arrival only. State of a key that nothing has touched for so long (by Kafka timestamps) is
// removed once its rule's own time is over too.
constexpr Duration kArrivalIdleness = std::chrono::hours(24);
constexpr std::size_t kGarbagePerBatch = 256;

// Deterministic bytes: Protobuf gives none for maps, and none of our messages has one.
template <typename Message>
Message Parse(std::string_view bytes) {
  Message message;
  message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()));
  return message;
}

template <typename Message>
std::optional<Message> Load(const StateReader& state, std::string_view key) {
  std::optional<std::string> bytes = state.Get(key);
  if (!bytes.has_value()) return std::nullopt;
  return Parse<Message>(*bytes);
}

PartitionTime LoadTime(const StateReader& state) {
  return PartitionTime::FromState(
      Load<v1::PartitionTimeState>(state, PartitionTimeKey()).value_or(v1::PartitionTimeState()));
}

std::string Identity(const Envelope& envelope) {
  const std::string_view parts[] = {envelope.source, envelope.id};
  return HexDecode(StableId(parts)).value();
}

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

std::string SeverityText(tocsin::event::v1::Severity severity) {
  constexpr std::string_view kPrefix = "SEVERITY_";
  if (severity == tocsin::event::v1::SEVERITY_UNSPECIFIED) {
    severity = tocsin::event::v1::SEVERITY_INFO;
  }
  const std::string& name = tocsin::event::v1::Severity_Name(severity);
  return name.starts_with(kPrefix) ? name.substr(kPrefix.size()) : name;
}

}  // namespace

// One call of Run.
class Task::Batch {
 public:
  Batch(Task& task, StateView& state, const TaskInput& input, TaskResult& result)
      : task_(task),
        plan_(*task.plan_),
        options_(task.options_),
        state_(state),
        input_(input),
        result_(result),
        time_(LoadTime(state)),
        time_at_start_(time_) {}

  void Run() {
    if (!task_.plan_checked_) TakeUpPlan();
    bool stream_spoke = false;
    for (const kafka::Record* record : input_.records) {
      log().set_highest_timestamp_us(
          std::max(log().highest_timestamp_us(), Micros(record->timestamp)));
      ++cause_;
      input_topic_ = record->topic;
      if (record->topic == plan_.stream().topic) {
        stream_spoke = true;
        OnStreamRecord(*record);
      } else if (const Repartition* repartition = plan_.FindRepartition(record->topic)) {
        OnRepartitionRecord(*repartition, *record);
      }
    }
    if (!stream_spoke) {
      for (const DueSilence& due : input_.silences) time_.Promise(due.idle_for, due.follows);
    }
    for (const PlannedRule& rule : plan_.local()) ReleaseLocal(rule);
    for (const Repartition& repartition : plan_.repartitions()) ReleaseRepartition(repartition);
    WriteTimeAndMarks();
    ExpireIdentities();
    if (!input_.records.empty() || released_ > 0) Sweep();
    RemoveGarbage();
    for (const auto& [topic, next] : input_.next_offsets) {
      const std::string key = OffsetKey(topic);
      std::string value = EncodeInt64(next);
      if (state_.Get(key) != value) state_.Put(key, value);
    }
    StoreCaches();
  }

 private:
  RuleCounts& counts(const PlannedRule& rule) { return result_.counts.rules[rule.rule->id()]; }

  // --- the stream itself ---

  void OnStreamRecord(const kafka::Record& record) {
    ++result_.counts.in;
    absl::StatusOr<Envelope> envelope = ReadEvent(record);
    if (!envelope.ok()) {
      ++result_.counts.invalid;
      DeadLetter(record, envelope.status());
      return;
    }
    const std::string identity = Identity(*envelope);
    const std::string identity_key = IdentityKey(identity);
    if (state_.Get(identity_key).has_value()) {
      ++result_.counts.duplicate;
      return;
    }
    RememberIdentity(identity, identity_key, record.timestamp);
    ++result_.counts.accepted;

    const PartitionTime before = time_;
    if (time_.Observe(envelope->time)) time_.Prune(plan_.max_disorder());
    const Origin origin{record.where(), record.offset};
    for (const PlannedRule& rule : plan_.local()) {
      std::optional<std::vector<std::string>> key = Admit(rule);
      if (!key.has_value()) continue;
      std::optional<WallTime> watermark;
      if (rule.event_time()) {
        watermark = before.OwnWatermark(rule.rule->max_disorder(), rule.rule->idle_timeout());
      }
      Take(rule, *std::move(key), *envelope, origin, watermark);
    }
    for (const Repartition& repartition : plan_.repartitions()) {
      std::optional<std::vector<std::string>> key;
      for (const PlannedRule& rule : repartition.rules) {
        std::optional<std::vector<std::string>> candidate = Admit(rule);
        if (candidate.has_value()) key = std::move(candidate);
      }
      if (key.has_value()) Forward(repartition, JoinKey(*key), record, *envelope, origin, before);
    }
    if (plan_.stream().processed) WriteProcessed(record, *envelope, origin);
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

  void RememberIdentity(const std::string& identity, const std::string& identity_key,
                        WallTime timestamp) {
    const std::int64_t number = log().next();
    log().set_next(number + 1);
    state_.Put(identity_key, EncodeInt64(number));
    state_.Put(IdentityOrderKey(number), Concat(identity, EncodeInt64(Micros(timestamp))));
  }

  void Forward(const Repartition& repartition, std::string key, const kafka::Record& record,
               const Envelope& envelope, const Origin& origin, const PartitionTime& before) {
    ++result_.counts.forwarded;
    OutputRecord& output = AddOutput(OutputKind::kForward, envelope.traceparent);
    output.record.topic = repartition.topic;
    output.record.partition = PartitionForKey(key, plan_.stream().partitions);
    output.record.key = std::move(key);
    output.record.value = record.value;
    output.record.headers = record.headers;
    output.record.headers.Set(kOriginHeader, EncodeOrigin(origin));
    output.record.headers.Set(kBeforeHeader, before.ToMark(task_.partition_).SerializeAsString());
  }

  void WriteProcessed(const kafka::Record& record, const Envelope& envelope, const Origin& origin) {
    OutputRecord& output = AddOutput(OutputKind::kProcessed, envelope.traceparent);
    output.record.topic = plan_.stream().ProcessedTopic();
    output.record.key = record.key;
    output.record.value = record.value;
    output.record.headers = record.headers;
    output.record.headers.Set(kOriginHeader, EncodeOrigin(origin));
  }

  void DeadLetter(const kafka::Record& record, const absl::Status& status) {
    OutputRecord& output = AddOutput(OutputKind::kDeadLetter,
                                     std::string(record.headers.Find("traceparent").value_or("")));
    output.record.topic = plan_.stream().DeadLetterTopic();
    output.record.key = record.key;
    output.record.value = record.value;
    kafka::Headers& headers = output.record.headers;
    headers = record.headers;
    headers.Set("dlq.topic", record.topic);
    headers.Set("dlq.partition", std::to_string(record.partition));
    headers.Set("dlq.offset", std::to_string(record.offset));
    headers.Set("dlq.group", options_.group);
    headers.Set("dlq.error_class", absl::StatusCodeToString(status.code()));
    headers.Set("dlq.message", Message(status));
    headers.Set("dlq.attempts", "1");
    headers.Set("dlq.first_failure", FormatTime(input_.now));
  }

  // --- repartition topics ---

  void OnRepartitionRecord(const Repartition& repartition, const kafka::Record& record) {
    if (record.headers.Find(kKindHeader) == kKindMark) {
      v1::WatermarkMark mark;
      if (!record.value.has_value() || !mark.ParseFromString(*record.value)) {
        DeadLetter(record, InvalidArgument("not a watermark mark"));
        return;
      }
      state_.Put(MarkKey(repartition.topic, mark.upstream_partition()), *record.value);
      marked_.insert(repartition.topic);
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
      DeadLetter(record, envelope.status());
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
        watermark = upstream.Watermark(rule.rule->max_disorder(), rule.rule->idle_timeout());
      }
      Take(rule, *std::move(key), *envelope, *origin, watermark);
    }
  }

  // --- rules ---

  // The event takes part: hold it, or judge it at once. `watermark`: what the event's own partition
  // had promised to this rule before it.
  void Take(const PlannedRule& rule, std::vector<std::string> group_key, const Envelope& envelope,
            const Origin& origin, std::optional<WallTime> watermark) {
    std::optional<std::vector<std::string>> value =
        rule.rule->Value(*task_.messages_[rule.message]);
    if (!value.has_value()) {
      ++counts(rule).missing_key;
      return;
    }
    v1::StoredEvent stored = MakeStored(envelope, origin, JoinKey(*value));
    if (!rule.event_time()) {
      ++counts(rule).taken;
      Judge(rule, group_key, std::move(stored));
      return;
    }
    const v1::RuleProgress& progress = Progress(rule);
    if ((watermark.has_value() && envelope.time <= *watermark) ||
        (progress.has_watermark_us() && Micros(envelope.time) <= progress.watermark_us())) {
      ++counts(rule).late;
      return;
    }
    ++counts(rule).taken;
    v1::HeldEvent held;
    *held.mutable_event() = std::move(stored);
    for (std::string& part : group_key) held.add_group_key(std::move(part));
    state_.Put(HeldKey(rule.prefix, envelope.time, envelope.sequence, origin.where.partition,
                       origin.offset),
               held.SerializeAsString());
  }

  void ReleaseLocal(const PlannedRule& rule) {
    if (!rule.event_time()) return;
    Advance(rule, time_.OwnWatermark(rule.rule->max_disorder(), rule.rule->idle_timeout()));
    Release(rule);
  }

  void ReleaseRepartition(const Repartition& repartition) {
    if (!repartition.marked) return;
    if (marked_.contains(repartition.topic) || took_up_plan_) {
      std::vector<PartitionTime> upstream;
      const std::string prefix = MarkKeyPrefix(repartition.topic);
      state_.Range(prefix, PrefixEnd(prefix), [&](std::string_view, std::string_view bytes) {
        upstream.push_back(PartitionTime::FromMark(Parse<v1::WatermarkMark>(bytes)));
        return true;
      });
      // Until every upstream partition has spoken nobody knows what is still to come.
      if (std::cmp_greater_equal(upstream.size(), plan_.stream().partitions)) {
        for (const PlannedRule& rule : repartition.rules) {
          if (rule.event_time()) Advance(rule, Minimum(upstream, rule));
        }
      }
    }
    for (const PlannedRule& rule : repartition.rules) {
      if (rule.event_time()) Release(rule);
    }
  }

  static std::optional<WallTime> Minimum(const std::vector<PartitionTime>& upstream,
                                         const PlannedRule& rule) {
    std::optional<WallTime> minimum;
    for (const PartitionTime& partition : upstream) {
      const std::optional<WallTime> watermark =
          partition.Watermark(rule.rule->max_disorder(), rule.rule->idle_timeout());
      if (!watermark.has_value()) return std::nullopt;
      minimum = std::min(minimum.value_or(*watermark), *watermark);
    }
    return minimum;
  }

  // A watermark never goes back.
  void Advance(const PlannedRule& rule, std::optional<WallTime> watermark) {
    if (!watermark.has_value()) return;
    v1::RuleProgress& progress = Progress(rule);
    if (progress.has_watermark_us() && progress.watermark_us() >= Micros(*watermark)) return;
    progress.set_watermark_us(Micros(*watermark));
    changed_progress_.insert(rule.prefix);
  }

  void Release(const PlannedRule& rule) {
    v1::RuleProgress& progress = Progress(rule);
    if (!progress.has_watermark_us()) return;
    if (progress.has_released_us() && progress.released_us() >= progress.watermark_us()) return;
    const std::string begin =
        progress.has_released_us()
            ? HeldKeyFloor(rule.prefix, FromMicros(progress.released_us() + 1))
            : Concat('b', rule.prefix);
    const std::string end = HeldKeyFloor(rule.prefix, FromMicros(progress.watermark_us() + 1));
    std::vector<std::pair<std::string, std::string>> due;
    bool complete = true;
    state_.Range(begin, end, [&](std::string_view key, std::string_view value) {
      if (released_ + due.size() >= options_.max_release) {
        complete = false;
        return false;
      }
      due.emplace_back(key, value);
      return true;
    });
    released_ += due.size();
    input_topic_ = rule.rule->local() ? plan_.stream().topic : rule.rule->repartition_topic();
    for (auto& [key, bytes] : due) {
      ++cause_;
      v1::HeldEvent held = Parse<v1::HeldEvent>(bytes);
      state_.Delete(key);
      Judge(rule, {held.group_key().begin(), held.group_key().end()},
            std::move(*held.mutable_event()));
    }
    if (complete) {
      progress.set_released_us(progress.watermark_us());
      changed_progress_.insert(rule.prefix);
    } else {
      result_.more = true;
    }
  }

  void Judge(const PlannedRule& rule, const std::vector<std::string>& group_key,
             v1::StoredEvent event) {
    const std::string joined = JoinKey(group_key);
    const std::string key = WindowKey(rule.prefix, joined);
    std::optional<v1::WindowState> window = Load<v1::WindowState>(state_, key);
    const bool existed = window.has_value();
    if (!existed) window.emplace();
    std::optional<Firing> firing = AddToWindow(*rule.rule, std::move(event), *window);
    if (window->events_size() > 0) {
      window->set_touched_us(log().highest_timestamp_us());
      state_.Put(key, window->SerializeAsString());
    } else if (existed) {
      state_.Delete(key);
    }
    if (firing.has_value()) Fire(rule, group_key, joined, *firing);
  }

  // --- detections and incidents ---

  void Fire(const PlannedRule& rule, const std::vector<std::string>& group_key,
            const std::string& joined, const Firing& firing) {
    const tocsin::rule::v1::Rule& spec = rule.rule->spec();
    const tocsin::event::v1::EventReference& first = firing.events.front().reference();
    const tocsin::event::v1::EventReference& last = firing.events.back().reference();
    const std::int64_t time = TimeUtil::TimestampToMicroseconds(last.time());

    v1::Detection detection;
    const std::string version = std::to_string(rule.version);
    const std::string_view parts[] = {spec.id(),  version,       joined,   first.source(),
                                      first.id(), last.source(), last.id()};
    detection.set_id(StableId(parts));
    detection.set_rule_id(spec.id());
    detection.set_rule_version(rule.version);
    detection.set_rule_title(spec.title());
    detection.set_stream(spec.stream());
    for (const std::string& part : group_key) detection.add_group_key(part);
    *detection.mutable_time() = last.time();
    *detection.mutable_window_start() = TimeUtil::MicrosecondsToTimestamp(
        std::max(time - rule.rule->timespan().count(), Micros(kFirstTime)));
    detection.set_value(firing.value);
    detection.set_severity(spec.severity());
    for (const v1::StoredEvent& event : firing.events) {
      *detection.add_evidence() = event.reference();
    }

    const std::string incident_key = IncidentKey(spec.id(), rule.group_by, joined);
    std::optional<v1::IncidentRecord> known = Load<v1::IncidentRecord>(state_, incident_key);
    const bool joins =
        known.has_value() && time - known->last_detection_us() <= rule.rule->join_within().count();
    v1::IncidentRecord record;
    if (joins) {
      record = *std::move(known);
    } else {
      const std::string_view incident_parts[] = {"incident", detection.id()};
      record.set_id(StableId(incident_parts));
      record.set_opened_us(time);
      ++counts(rule).incidents;
    }
    record.set_revision(record.revision() + 1);
    record.set_detection_count(record.detection_count() + 1);
    record.set_last_detection_us(joins ? std::max(record.last_detection_us(), time) : time);
    record.set_opened_us(std::min(record.opened_us(), time));
    record.add_detection_ids(detection.id());
    if (std::cmp_greater(record.detection_ids_size(), kMaxDetectionIds)) {
      record.mutable_detection_ids()->erase(record.detection_ids().begin());
    }
    record.set_touched_us(log().highest_timestamp_us());
    state_.Put(incident_key, record.SerializeAsString());
    detection.set_incident_id(record.id());
    ++counts(rule).detections;

    tocsin::incident::v1::Incident incident;
    incident.set_id(record.id());
    incident.set_revision(record.revision());
    incident.set_rule_id(spec.id());
    for (const std::string& part : group_key) incident.add_group_key(part);
    incident.set_title(rule.rule->incident_title());
    incident.set_severity(spec.severity());
    *incident.mutable_opened_time() = TimeUtil::MicrosecondsToTimestamp(record.opened_us());
    *incident.mutable_last_detection_time() =
        TimeUtil::MicrosecondsToTimestamp(record.last_detection_us());
    incident.set_detection_count(record.detection_count());
    *incident.mutable_detection_ids() = record.detection_ids();
    *incident.mutable_evidence() = detection.evidence();
    incident.set_stream(spec.stream());

    std::vector<std::string> key_parts = {spec.id()};
    key_parts.insert(key_parts.end(), group_key.begin(), group_key.end());
    WriteOwn(OutputKind::kDetection, options_.detections_topic, JoinKey(key_parts),
             options_.detection_schema, detection, detection.id(), last.time(), spec.severity(),
             firing);
    WriteOwn(OutputKind::kIncident, options_.incidents_topic, incident.id(),
             options_.incident_schema, incident, Concat(incident.id(), '/', incident.revision()),
             last.time(), spec.severity(), firing);
  }

  void WriteOwn(OutputKind kind, std::string_view topic, const std::string& key,
                const OutputSchema& output_schema, const google::protobuf::Message& message,
                std::string_view id, const google::protobuf::Timestamp& time,
                tocsin::event::v1::Severity severity, const Firing& firing) {
    OutputRecord& output = AddOutput(kind, firing.events.back().traceparent());
    std::set<std::string_view> links;
    for (const v1::StoredEvent& event : firing.events) {
      const std::string& link = event.traceparent();
      if (link.empty() || link == output.parent || links.size() >= kMaxLinks) continue;
      if (links.insert(link).second) output.links.push_back(link);
    }
    output.record.topic = topic;
    output.record.key = key;
    output.record.value = schema::EncodeFrame(output_schema.id, output_schema.message_indexes,
                                              message.SerializeAsString());
    kafka::Headers& headers = output.record.headers;
    headers.Set("ce_specversion", "1.0");
    headers.Set("ce_id", id);
    headers.Set("ce_source", options_.source);
    headers.Set("ce_type", message.GetDescriptor()->full_name());
    headers.Set("ce_time", FormatTime(FromMicros(TimeUtil::TimestampToMicroseconds(time))));
    headers.Set("ce_partitionkey", key);
    headers.Set("ce_severitytext", SeverityText(severity));
    headers.Set("content-type", "application/protobuf");
  }

  OutputRecord& AddOutput(OutputKind kind, std::string parent) {
    OutputRecord& output = result_.outputs.emplace_back();
    output.kind = kind;
    output.cause = cause_;
    output.input_topic = input_topic_;
    output.parent = std::move(parent);
    return output;
  }

  // --- time ---

  void WriteTimeAndMarks() {
    const bool changed = time_ != time_at_start_;
    if (changed) state_.Put(PartitionTimeKey(), time_.ToState().SerializeAsString());
    if (time_.empty()) return;
    for (const Repartition& repartition : plan_.repartitions()) {
      if (!repartition.marked) continue;
      const std::string key = MarkedTopicKey(repartition.topic);
      const bool is_new = !state_.Get(key).has_value();
      if (!changed && !is_new) continue;
      if (is_new) state_.Put(key, "");
      const std::string bytes = time_.ToMark(task_.partition_).SerializeAsString();
      for (std::int32_t p = 0; p < plan_.stream().partitions; ++p) {
        OutputRecord& output = AddOutput(OutputKind::kMark, "");
        output.record.topic = repartition.topic;
        output.record.partition = p;
        output.record.value = bytes;
        output.record.headers.Set(kKindHeader, kKindMark);
      }
    }
  }

  // --- upkeep ---

  void ExpireIdentities() {
    if (!log_.has_value()) return;
    const std::int64_t oldest_kept = log().highest_timestamp_us() - options_.identity_age.count();
    std::size_t budget = 2 * input_.records.size() + 64;
    for (; budget > 0 && log().first() < log().next(); --budget) {
      const std::string order_key = IdentityOrderKey(log().first());
      const std::optional<std::string> entry = state_.Get(order_key);
      if (entry.has_value() && entry->size() > 8) {
        const std::string_view bytes = *entry;
        const std::int64_t timestamp =
            DecodeInt64(bytes.substr(bytes.size() - 8)).value_or(oldest_kept);
        const bool crowded = log().next() - log().first() > options_.identity_count;
        if (!crowded && timestamp >= oldest_kept) break;
        state_.Delete(IdentityKey(bytes.substr(0, bytes.size() - 8)));
        state_.Delete(order_key);
      }
      log().set_first(log().first() + 1);
    }
  }

  // Looks at some keys of windows and incidents, round and round, and removes those that no later
  // event can meet.
  void Sweep() {
    constexpr std::string_view kBegin = "i";
    constexpr std::string_view kEnd = "l";
    std::string from = task_.sweep_from_.empty() ? std::string(kBegin) : task_.sweep_from_;
    std::size_t budget = options_.max_sweep;
    std::vector<std::string> dead;
    task_.sweep_from_.clear();
    state_.Range(from, kEnd, [&](std::string_view key, std::string_view value) {
      if (budget == 0) {
        task_.sweep_from_ = key;
        return false;
      }
      --budget;
      if (IsDead(key, value)) dead.emplace_back(key);
      return true;
    });
    for (const std::string& key : dead) state_.Delete(key);
  }

  bool IsDead(std::string_view key, std::string_view value) {
    const std::string_view rest = key.substr(1);
    const PlannedRule* rule = FindRule(rest, key.front() == 'k');
    if (rule == nullptr) return false;
    std::int64_t last = 0;
    std::int64_t touched = 0;
    Duration lifetime{};
    if (key.front() == 'k') {
      const auto window = Parse<v1::WindowState>(value);
      last = HighestTime(window).value_or(0);
      touched = window.touched_us();
      lifetime = rule->rule->timespan();
    } else if (key.front() == 'i') {
      const auto incident = Parse<v1::IncidentRecord>(value);
      last = incident.last_detection_us();
      touched = incident.touched_us();
      lifetime = rule->rule->join_within();
    } else {
      return false;
    }
    if (rule->event_time()) {
      // What is still to come lies behind the released part.
      const v1::RuleProgress& progress = Progress(*rule);
      return progress.has_released_us() && progress.released_us() - last >= lifetime.count();
    }
    return log().highest_timestamp_us() - touched > (lifetime + kArrivalIdleness).count();
  }

  // By what stands behind the type byte: the rule version of a window, any version of the rule of
  // an incident.
  const PlannedRule* FindRule(std::string_view rest, bool by_version) const {
    const auto fits = [&](const PlannedRule& rule) {
      return by_version ? rest.starts_with(rule.prefix)
                        : RuleIdOfPrefix(rest) == std::string_view(rule.rule->id());
    };
    for (const PlannedRule& rule : plan_.local()) {
      if (fits(rule)) return &rule;
    }
    for (const Repartition& repartition : plan_.repartitions()) {
      for (const PlannedRule& rule : repartition.rules) {
        if (fits(rule)) return &rule;
      }
    }
    return nullptr;
  }

  void TakeUpPlan() {
    task_.plan_checked_ = true;
    took_up_plan_ = true;
    task_.garbage_.clear();
    if (!state_.Get(kFormatKey).has_value()) {
      state_.Put(kFormatKey, std::to_string(kStateFormat));
    }
    std::set<std::string> known;
    state_.Range(kKnownRulePrefix, PrefixEnd(kKnownRulePrefix),
                 [&](std::string_view key, std::string_view) {
                   known.emplace(key.substr(kKnownRulePrefix.size()));
                   return true;
                 });
    const auto note = [&](const PlannedRule& rule) {
      if (known.erase(rule.prefix) == 0) state_.Put(KnownRuleKey(rule.prefix), "");
    };
    for (const PlannedRule& rule : plan_.local()) note(rule);
    for (const Repartition& repartition : plan_.repartitions()) {
      for (const PlannedRule& rule : repartition.rules) note(rule);
    }
    for (const std::string& prefix : known) {
      const std::optional<std::int32_t> version = VersionOfPrefix(prefix);
      if (version.has_value() && plan_.Keeps(std::string(RuleIdOfPrefix(prefix)), *version)) {
        continue;
      }
      task_.garbage_.push_back(prefix);
    }
    std::vector<std::string> unmarked;
    state_.Range("r", "s", [&](std::string_view key, std::string_view) {
      const Repartition* repartition = plan_.FindRepartition(key.substr(1));
      if (repartition == nullptr || !repartition->marked) unmarked.emplace_back(key);
      return true;
    });
    for (const std::string& key : unmarked) state_.Delete(key);
  }

  void RemoveGarbage() {
    std::size_t budget = kGarbagePerBatch;
    while (budget > 0 && !task_.garbage_.empty()) {
      const std::string prefix = task_.garbage_.back();
      std::vector<std::string> doomed;
      const auto collect = [&](const std::string& begin) {
        if (doomed.size() >= budget) return;
        state_.Range(begin, PrefixEnd(begin), [&](std::string_view key, std::string_view) {
          doomed.emplace_back(key);
          return doomed.size() < budget;
        });
      };
      for (const char type : {'b', 'k', 'w'}) collect(Concat(type, prefix));
      const std::string rule_id(RuleIdOfPrefix(prefix));
      if (!plan_.KeepsAnyOf(rule_id)) collect(IncidentKeyPrefix(rule_id));
      for (const std::string& key : doomed) state_.Delete(key);
      if (doomed.size() >= budget) {
        result_.more = true;
        return;
      }
      budget -= doomed.size();
      state_.Delete(KnownRuleKey(prefix));
      task_.garbage_.pop_back();
    }
  }

  // --- what is read and written once in a batch ---

  v1::IdentityLog& log() {
    if (!log_.has_value()) {
      log_ = Load<v1::IdentityLog>(state_, IdentityLogKey()).value_or(v1::IdentityLog());
      log_at_start_ = log_->SerializeAsString();
    }
    return *log_;
  }

  v1::RuleProgress& Progress(const PlannedRule& rule) {
    const auto found = progress_.find(rule.prefix);
    if (found != progress_.end()) return found->second;
    return progress_
        .emplace(
            rule.prefix,
            Load<v1::RuleProgress>(state_, ProgressKey(rule.prefix)).value_or(v1::RuleProgress()))
        .first->second;
  }

  void StoreCaches() {
    for (const std::string& prefix : changed_progress_) {
      state_.Put(ProgressKey(prefix), progress_.at(prefix).SerializeAsString());
    }
    if (log_.has_value()) {
      std::string bytes = log_->SerializeAsString();
      if (bytes != log_at_start_) state_.Put(IdentityLogKey(), bytes);
    }
  }

  Task& task_;
  const RulePlan& plan_;
  const TaskOptions& options_;
  StateView& state_;
  const TaskInput& input_;
  TaskResult& result_;

  PartitionTime time_;
  const PartitionTime time_at_start_;
  std::int64_t cause_ = 0;
  std::string input_topic_;
  std::size_t released_ = 0;
  bool took_up_plan_ = false;
  // Repartition topics that brought a mark.
  std::set<std::string> marked_;
  std::map<std::string, v1::RuleProgress> progress_;
  std::set<std::string> changed_progress_;
  std::optional<v1::IdentityLog> log_;
  std::string log_at_start_;
};

Task::Task(std::int32_t partition, std::shared_ptr<const RulePlan> plan, TaskOptions options)
    : partition_(partition), options_(std::move(options)) {
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
  plan_checked_ = false;
  garbage_.clear();
  sweep_from_.clear();
}

TaskResult Task::Run(const TaskInput& input, StateView& state) {
  TaskResult result;
  Batch(*this, state, input, result).Run();
  return result;
}

bool Task::WouldPromise(const std::vector<DueSilence>& silences, const StateReader& state) const {
  PartitionTime time = LoadTime(state);
  bool changed = false;
  for (const DueSilence& due : silences) {
    if (time.Promise(due.idle_for, due.follows)) changed = true;
  }
  return changed;
}

std::optional<WallTime> Task::HighestSeen(const StateReader& state) const {
  std::optional<WallTime> highest = LoadTime(state).highest();
  for (const Repartition& repartition : plan_->repartitions()) {
    if (!repartition.marked) continue;
    const std::string prefix = MarkKeyPrefix(repartition.topic);
    state.Range(prefix, PrefixEnd(prefix), [&](std::string_view, std::string_view bytes) {
      const std::optional<WallTime> marked =
          PartitionTime::FromMark(Parse<v1::WatermarkMark>(bytes)).highest();
      if (marked.has_value() && (!highest.has_value() || *marked > *highest)) highest = marked;
      return true;
    });
  }
  return highest;
}

bool Task::HasWork(const StateReader& state) const {
  if (!plan_checked_ || !garbage_.empty()) return true;
  if (LoadTime(state).empty()) return false;
  for (const Repartition& repartition : plan_->repartitions()) {
    if (repartition.marked && !state.Get(MarkedTopicKey(repartition.topic)).has_value()) {
      return true;
    }
  }
  return false;
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
