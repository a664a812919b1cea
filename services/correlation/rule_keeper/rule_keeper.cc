#include "services/correlation/rule_keeper/rule_keeper.h"

#include <algorithm>
#include <utility>

#include "lib/base/status.h"
#include "lib/base/text.h"
#include "lib/schema/wire_format.h"
#include "lib/telemetry/log.h"
#include "services/correlation/engine/window.h"
#include "services/correlation/rule_keeper/streams.h"

namespace tocsin::correlation {
namespace {

using std::chrono::milliseconds;
using tocsin::rule::v1::RuleVersion;

constexpr milliseconds kQueryTimeout{2'000};
// How often a waiting call looks whether the workers have come to its epoch.
constexpr milliseconds kWaitTick{20};

bool PassesLater(const absl::Status& status) {
  return !status.ok() && status.code() != absl::StatusCode::kInvalidArgument;
}

}  // namespace

RuleKeeper::RuleKeeper(RuleKeeperIo io, RuleKeeperOptions options)
    : io_(std::move(io)), options_(options), current_(std::make_shared<RuleSet>()) {}
RuleKeeper::~RuleKeeper() = default;

void RuleKeeper::Start(std::vector<StreamSpec> streams, events::OwnTopic rules) {
  MutexLock lock(mutex_);
  streams_ = std::move(streams);
  own_topic_.emplace(std::move(rules));
}

std::shared_ptr<const RuleSet> RuleKeeper::Current() const {
  MutexLock lock(mutex_);
  return current_;
}

absl::Status RuleKeeper::NotStarted() const {
  return Unavailable(
      Concat("the rules cannot be changed yet: ", waiting_for_, ". Try again in a moment"));
}

// --- reading ---

absl::Status RuleKeeper::OpenTopic() {
  if (consumer_ != nullptr) return absl::OkStatus();
  const std::string topic(kRulesTopic);
  TOCSIN_ASSIGN_OR_RETURN(const std::int32_t partitions,
                          io_.admin->PartitionCount(topic, options_.admin_timeout));
  TOCSIN_ASSIGN_OR_RETURN(std::unique_ptr<kafka::Consumer> consumer, io_.make_consumer());
  kafka::Offsets from;
  caught_up_at_.clear();
  for (std::int32_t p = 0; p < partitions; ++p) {
    const kafka::TopicPartition where{topic, p};
    TOCSIN_ASSIGN_OR_RETURN(from[where], consumer->QueryBeginningOffset(where, kQueryTimeout));
    TOCSIN_ASSIGN_OR_RETURN(
        caught_up_at_[where],
        consumer->QueryEndOffset(where, kafka::Isolation::kReadCommitted, kQueryTimeout));
  }
  TOCSIN_RETURN_IF_ERROR(consumer->Assign(from));
  consumer_ = std::move(consumer);
  return absl::OkStatus();
}

void RuleKeeper::Read(const kafka::Record& record) {
  read_to_[record.partition] = record.offset + 1;
  changed_.NotifyAll();
  if (!record.key.has_value()) return;
  dirty_ = true;
  if (!record.value.has_value()) {
    entries_.erase(*record.key);
    telemetry::LogInfo("a rule is deleted", {{"rule", *record.key}});
    return;
  }
  const absl::StatusOr<schema::Framed> framed = schema::DecodeFrame(*record.value);
  RuleVersion version;
  if (!framed.ok() ||
      !version.ParseFromArray(framed->payload.data(), static_cast<int>(framed->payload.size())) ||
      version.rule().id() != *record.key) {
    telemetry::LogError("a record of the rules topic is not a rule; it is ignored",
                        {{"partition", record.partition}, {"offset", record.offset}});
    return;
  }
  Entry& entry = entries_[*record.key];
  entry.version = std::move(version);
  entry.compiled = nullptr;
  entry.error = absl::OkStatus();
}

absl::StatusOr<std::shared_ptr<const CompiledRule>> RuleKeeper::Compile(
    std::string_view source, std::string_view file_name) const {
  TOCSIN_ASSIGN_OR_RETURN(std::shared_ptr<const CompiledRule> rule,
                          CompileRule(source, file_name, *io_.streams));
  TOCSIN_RETURN_IF_ERROR(CheckSupported(*rule));
  TOCSIN_RETURN_IF_ERROR(CheckPartitions(*rule));
  return rule;
}

absl::Status RuleKeeper::CheckPartitions(const CompiledRule& rule) const {
  if (rule.join() == nullptr) return absl::OkStatus();
  const std::string& right = rule.join()->right->stream();
  std::map<std::string, std::int32_t> partitions;
  {
    MutexLock lock(mutex_);
    for (const StreamSpec& stream : streams_) partitions[stream.topic] = stream.partitions;
  }
  // Until they are known no rule runs.
  if (!partitions.contains(rule.stream()) || !partitions.contains(right)) {
    return Unavailable(Concat("the partitions of ", rule.stream(), " and ", right,
                              " are not known yet; try again in a moment"));
  }
  if (partitions[rule.stream()] == partitions[right]) return absl::OkStatus();
  return InvalidArgument(Concat("rule ", rule.id(), ": the topic ", rule.stream(), " has ",
                                partitions[rule.stream()], " partitions and ", right, " has ",
                                partitions[right],
                                "; streams that are joined need equally many. Give one of them "
                                "as many as the other has"));
}

absl::Status RuleKeeper::CompileMissing() {
  std::map<std::string, std::string> sources;
  {
    MutexLock lock(mutex_);
    for (const auto& [id, entry] : entries_) {
      if (entry.compiled == nullptr && (entry.error.ok() || PassesLater(entry.error))) {
        sources[id] = entry.version.source();
      }
    }
  }
  absl::Status waiting;
  for (const auto& [id, source] : sources) {
    absl::StatusOr<std::shared_ptr<const CompiledRule>> rule = Compile(source, Concat(id, ".yaml"));
    MutexLock lock(mutex_);
    const auto found = entries_.find(id);
    // Only this thread reads records, so the entry is the one that was compiled.
    if (found == entries_.end()) continue;
    if (rule.ok()) {
      found->second.compiled = *std::move(rule);
      dirty_ = true;
      continue;
    }
    found->second.error = rule.status();
    if (PassesLater(rule.status())) {
      waiting = Annotate(rule.status(), Concat("rule ", id));
    } else {
      telemetry::LogError("a stored rule cannot run with the schema of its stream; apply it anew",
                          {{"rule", id}, {"error", rule.status()}});
    }
  }
  return waiting;
}

absl::Status RuleKeeper::EnsureTopics(
    const std::vector<std::shared_ptr<const CompiledRule>>& rules) {
  std::vector<StreamSpec> streams;
  std::set<std::string> known;
  {
    MutexLock lock(mutex_);
    streams = streams_;
    known = ensured_;
  }
  std::vector<kafka::TopicSpec> missing;
  for (const StreamSpec& stream : streams) {
    std::set<std::string> repartition_topics;
    for (const auto& rule : rules) {
      if (rule->stream() == stream.topic && !rule->local()) {
        repartition_topics.insert(rule->repartition_topic());
      }
      const CompiledJoin* const join = rule->join();
      if (join == nullptr) continue;
      if (rule->stream() == stream.topic) repartition_topics.insert(join->time_topic);
      if (join->right->stream() == stream.topic) {
        repartition_topics.insert(join->right->repartition_topic());
        repartition_topics.insert(join->right_time_topic);
      }
    }
    for (kafka::TopicSpec& topic :
         InternalTopics(stream, {repartition_topics.begin(), repartition_topics.end()},
                        options_.replication)) {
      if (!known.contains(topic.name)) missing.push_back(std::move(topic));
    }
  }
  if (kafka::TopicSpec workers = WorkersTopic(options_.workers_topic, options_.replication);
      !known.contains(workers.name)) {
    missing.push_back(std::move(workers));
  }
  if (missing.empty()) return absl::OkStatus();
  TOCSIN_RETURN_IF_ERROR(io_.admin->CreateTopics(missing, options_.admin_timeout));
  for (const kafka::TopicSpec& topic : missing) {
    TOCSIN_ASSIGN_OR_RETURN(const std::int32_t partitions,
                            io_.admin->PartitionCount(topic.name, options_.admin_timeout));
    if (partitions != topic.partitions) {
      const std::string_view who =
          topic.name == options_.workers_topic ? "it should have" : "its stream has";
      return FailedPrecondition(Concat(
          "the topic ", topic.name, " has ", partitions, " partitions, ", who, " ",
          topic.partitions,
          "; they must be equal. Internal topics are made by correlation itself: stop it, delete "
          "the topic, and start it again"));
    }
  }
  MutexLock lock(mutex_);
  for (const kafka::TopicSpec& topic : missing) ensured_.insert(topic.name);
  return absl::OkStatus();
}

absl::Status RuleKeeper::Publish() {
  std::vector<std::shared_ptr<const CompiledRule>> compiled;
  {
    MutexLock lock(mutex_);
    if (!dirty_ && started_) {
      published_to_ = read_to_;
      return absl::OkStatus();
    }
    for (const auto& [id, entry] : entries_) {
      if (entry.compiled != nullptr) compiled.push_back(entry.compiled);
    }
  }
  TOCSIN_RETURN_IF_ERROR(EnsureTopics(compiled));
  MutexLock lock(mutex_);
  auto next = std::make_shared<RuleSet>();
  next->epoch = current_->epoch + 1;
  for (const StreamSpec& stream : streams_) {
    std::vector<RuleEntry> rules;
    std::vector<RuleEntry> joins;
    std::set<std::pair<std::string, std::int32_t>> retained;
    for (const auto& [id, entry] : entries_) {
      if (entry.compiled != nullptr && entry.compiled->stream() == stream.topic) {
        rules.push_back({entry.compiled, entry.version.version()});
      } else if (entry.compiled == nullptr) {
        retained.insert({id, entry.version.version()});
      } else if (const CompiledJoin* join = entry.compiled->join();
                 join != nullptr && join->right->stream() == stream.topic) {
        joins.push_back({entry.compiled, entry.version.version()});
      }
    }
    next->plans.push_back(RulePlan::Make(stream, rules, std::move(retained), joins));
  }
  current_ = std::move(next);
  published_to_ = read_to_;
  dirty_ = false;
  if (!started_) telemetry::LogInfo("the rules are read", {{"rules", entries_.size()}});
  started_ = true;
  waiting_for_.clear();
  changed_.NotifyAll();
  return absl::OkStatus();
}

absl::Status RuleKeeper::Poll(milliseconds timeout) {
  const auto round = [&]() -> absl::Status {
    TOCSIN_RETURN_IF_ERROR(Annotate(OpenTopic(), Concat("reading ", kRulesTopic)));
    const kafka::Batch batch = consumer_->Poll(timeout);
    for (const kafka::PollError& error : batch.errors) {
      // The client recovers from what is not fatal; from the rest by reading the topic again.
      if (!error.fatal && error.status.code() != absl::StatusCode::kOutOfRange) continue;
      consumer_.reset();
      return Annotate(error.status, Concat("reading ", kRulesTopic));
    }
    {
      MutexLock lock(mutex_);
      for (const kafka::Record& record : batch.records) Read(record);
    }
    for (const auto& [where, end] : caught_up_at_) {
      if (consumer_->Position(where).value_or(0) < end) {
        return Unavailable(Concat("reading ", kRulesTopic, " to its end"));
      }
    }
    const absl::Status compiled = CompileMissing();
    // Until all rules are known the first set is not given out: what passes by would be lost to the
    // missing ones. Later, the others go on.
    {
      MutexLock lock(mutex_);
      if (!compiled.ok() && !started_) return compiled;
    }
    TOCSIN_RETURN_IF_ERROR(Publish());
    return compiled;
  };
  absl::Status status = round();
  if (!status.ok()) {
    MutexLock lock(mutex_);
    if (!started_) waiting_for_ = Message(status);
  }
  return status;
}

// --- changing ---

absl::Status RuleKeeper::Write(kafka::OutgoingRecord record, std::string_view what,
                               SteadyTime deadline) {
  struct Outcome {
    Mutex mutex;
    CondVar done;
    std::optional<absl::StatusOr<kafka::Delivered>> result;
  };
  const auto outcome = std::make_shared<Outcome>();
  TOCSIN_RETURN_IF_ERROR(io_.producer->Produce(
      std::move(record), [outcome](const absl::StatusOr<kafka::Delivered>& result) {
        MutexLock lock(outcome->mutex);
        outcome->result = result;
        outcome->done.NotifyAll();
      }));
  kafka::Delivered delivered;
  {
    MutexLock lock(outcome->mutex);
    while (!outcome->result.has_value()) {
      if (io_.clock->SteadyNow() >= deadline) {
        return DeadlineExceeded(Concat("Kafka has not confirmed in time that it has stored ", what,
                                       "; it may or may not come into force. Repeat the call"));
      }
      outcome->done.WaitFor(outcome->mutex, kWaitTick);
    }
    TOCSIN_RETURN_IF_ERROR(outcome->result->status());
    delivered = **outcome->result;
  }
  for (;;) {
    // Asked without the lock: a worker that starts reads the rules under a lock of its pool, and
    // the pool answers this under the same one.
    const std::int64_t running = io_.running_epoch();
    MutexLock lock(mutex_);
    const auto published = published_to_.find(delivered.where.partition);
    if (published != published_to_.end() && published->second > delivered.offset &&
        running >= current_->epoch) {
      return absl::OkStatus();
    }
    if (io_.clock->SteadyNow() >= deadline) {
      return DeadlineExceeded(
          Concat(what, " is stored and will come into force, but the workers do not run it yet",
                 waiting_for_.empty() ? std::string() : Concat(" (", waiting_for_, ")")));
    }
    changed_.WaitFor(mutex_, kWaitTick);
  }
}

absl::StatusOr<AppliedRule> RuleKeeper::Apply(std::string_view source, std::string_view file_name,
                                              SteadyTime deadline) {
  TOCSIN_ASSIGN_OR_RETURN(const std::shared_ptr<const CompiledRule> rule,
                          Compile(source, file_name));
  MutexLock change(changing_);
  AppliedRule applied;
  kafka::OutgoingRecord record;
  {
    MutexLock lock(mutex_);
    if (!started_) return NotStarted();
    const auto found = entries_.find(rule->id());
    if (found != entries_.end()) {
      const Entry& known = found->second;
      if (known.compiled != nullptr && known.compiled->content_hash() == rule->content_hash()) {
        applied.version = known.version;
        return applied;
      }
      applied.version.set_version(known.version.version());
    }
    applied.changed = true;
    applied.version.set_version(applied.version.version() + 1);
    *applied.version.mutable_rule() = rule->spec();
    applied.version.set_source(rule->source());
    events::OwnEnvelope envelope;
    envelope.id = Concat(rule->id(), "/", applied.version.version());
    envelope.key = rule->id();
    envelope.time = io_.clock->Now();
    record = own_topic_->Encode(applied.version, envelope);
  }
  // Before the record: whoever reads it may subscribe at once.
  TOCSIN_RETURN_IF_ERROR(EnsureTopics({rule}));
  TOCSIN_RETURN_IF_ERROR(
      Write(std::move(record),
            Concat("version ", applied.version.version(), " of rule ", rule->id()), deadline));
  telemetry::LogInfo("a rule is applied",
                     {{"rule", rule->id()}, {"version", applied.version.version()}});
  return applied;
}

absl::Status RuleKeeper::Delete(const std::string& id, SteadyTime deadline) {
  MutexLock change(changing_);
  {
    MutexLock lock(mutex_);
    if (!started_) return NotStarted();
    if (!entries_.contains(id)) {
      std::vector<std::string> ids;
      for (const auto& [known, entry] : entries_) ids.push_back(known);
      const std::string near = NearestName(id, ids);
      return NotFound(Concat("there is no rule ", id,
                             near.empty() ? std::string() : Concat("; did you mean ", near, "?")));
    }
  }
  kafka::OutgoingRecord record;
  record.topic = kRulesTopic;
  record.key = id;
  return Write(std::move(record), Concat("the deletion of rule ", id), deadline);
}

std::vector<RuleVersion> RuleKeeper::List() const {
  MutexLock lock(mutex_);
  std::vector<RuleVersion> versions;
  for (const auto& [id, entry] : entries_) versions.push_back(entry.version);
  return versions;
}

}  // namespace tocsin::correlation
