#include "services/correlation/worker/worker.h"

#include "lib/base/status.h"
#include "lib/base/text.h"
#include "lib/telemetry/log.h"
#include "services/correlation/worker/incarnation.h"
#include "services/correlation/worker/metrics.h"

namespace tocsin::correlation {
namespace {

// Another worker's first transaction may lie open in the topic of incarnations.
constexpr std::chrono::milliseconds kIncarnationTimeout{10'000};

}  // namespace

bool Worker::EnsureClients() {
  const auto failed = [this](std::string_view doing, const absl::Status& status) {
    std::string problem = Concat(doing, ": ", Message(status));
    if (problem != client_problem_) {
      telemetry::LogWarning("the worker waits for Kafka",
                            {{"worker", options_.id}, {"doing", doing}, {"error", status}});
    }
    client_problem_ = std::move(problem);
    return false;
  };
  if (producer_ == nullptr && !committer_->busy()) {
    if (const absl::Status made = MakeProducer(); !made.ok()) {
      return failed("starting the transactional producer", made);
    }
  }
  if (options_.guarantee == Guarantee::kAtLeastOnce && plain_ == nullptr) {
    auto producer = io_.make_plain_producer();
    if (!producer.ok()) return failed("making the producer of outputs", producer.status());
    plain_ = std::make_unique<PlainOutputs>(*std::move(producer));
  }
  if (const absl::Status made = restorer_.EnsureClient(); !made.ok()) {
    return failed("making the changelog consumer", made);
  }
  if (consumer_ == nullptr) {
    kafka::ConsumerOptions options;
    options.group = options_.group;
    options.instance_id = options_.id;
    options.max_batch = options_.max_batch;
    options.session_timeout = options_.session_timeout;
    auto consumer = io_.make_consumer(std::move(options));
    if (!consumer.ok()) return failed("making the consumer", consumer.status());
    consumer_ = *std::move(consumer);
    group_problem_.clear();
    subscribed_ = rules_->InputTopics();
    const absl::Status subscribed = consumer_->Subscribe(subscribed_, this);
    if (!subscribed.ok()) {
      consumer_.reset();
      return failed("joining the group", subscribed);
    }
  }
  if (!client_problem_.empty()) {
    telemetry::LogInfo("the worker goes on", {{"worker", options_.id}});
  }
  client_problem_.clear();
  return true;
}

absl::Status Worker::MakeProducer() {
  TOCSIN_ASSIGN_OR_RETURN(auto producer,
                          io_.make_producer(Concat(options_.group, ".", options_.id)));
  // Whatever the class of an error: the next attempt begins with a new producer.
  const kafka::TransactionResult initialized = producer->Init();
  if (!initialized.ok()) return initialized.status;
  // Only now is decided what the one before has committed.
  TOCSIN_ASSIGN_OR_RETURN(const auto reader, io_.make_consumer({}));
  TOCSIN_ASSIGN_OR_RETURN(
      const std::int64_t last,
      LastIncarnation(*reader, options_.WorkersTopic(), options_.id, kIncarnationTimeout));
  incarnation_ = last + 1;
  incarnation_recorded_ = false;
  transactions_ = 0;
  producer_ = std::move(producer);
  return absl::OkStatus();
}

void Worker::DropClients(const absl::Status& why) {
  if (in_consumer_) {
    drop_later_ = why;
    return;
  }
  telemetry::LogWarning("the worker makes new clients and restores its partitions",
                        {{"worker", options_.id}, {"error", why}});
  client_problem_ = Message(why);
  // Its transaction, if one is under way, ends before it does.
  while (committer_->busy()) (void)committer_->Take(std::chrono::seconds(1));
  under_way_.reset();
  DropTasks();
  consumer_.reset();
  producer_.reset();
  plain_.reset();
  restorer_.DropClient();
  joined_ = false;
}

void Worker::FollowRules() {
  std::shared_ptr<const RuleSet> rules = io_.rules->Current();
  if (rules == rules_) return;
  rules_ = std::move(rules);
  // What was computed under the old plan is written under it.
  if (const absl::Status flushed = draft_.Flush(); !flushed.ok()) {
    DropClients(flushed);
    return;
  }
  for (auto& [id, slot] : tasks_) {
    std::shared_ptr<const RulePlan> plan = rules_->PlanReading(id.first);
    if (plan == nullptr || plan == slot.plan) continue;
    slot.plan = plan;
    if (slot.task != nullptr) slot.task->SetPlan(plan);
  }
  if (consumer_ == nullptr) return;
  std::vector<std::string> topics = rules_->InputTopics();
  if (topics == subscribed_) return;
  subscribed_ = std::move(topics);
  joined_ = false;
  const absl::Status subscribed = consumer_->Subscribe(subscribed_, this);
  if (!subscribed.ok()) DropClients(Annotate(subscribed, "subscribing to the rules' topics"));
}

void Worker::HandleErrors(const std::vector<kafka::PollError>& errors) {
  for (const kafka::PollError& error : errors) {
    if (error.fatal) {
      DropClients(error.status);
      return;
    }
    if (error.status.code() == absl::StatusCode::kOutOfRange && error.where.has_value()) {
      if (const absl::Status moved = MoveIntoLog(*error.where); !moved.ok()) {
        DropClients(moved);
        return;
      }
      continue;
    }
    if (!joined_) group_problem_ = Message(error.status);
    telemetry::LogWarning(
        "the consumer reports an error",
        {{"worker", options_.id},
         {"where", error.where.has_value() ? kafka::Describe(*error.where) : std::string("-")},
         {"error", error.status}});
  }
}

absl::Status Worker::MoveIntoLog(const kafka::TopicPartition& where) {
  TOCSIN_ASSIGN_OR_RETURN(const std::int64_t beginning,
                          consumer_->QueryBeginningOffset(where, options_.query_timeout));
  TOCSIN_ASSIGN_OR_RETURN(
      const std::int64_t end,
      consumer_->QueryEndOffset(where, kafka::Isolation::kReadUncommitted, options_.query_timeout));
  TaskSlot* slot = SlotReading(where.topic, where.partition);
  const std::int64_t from = slot != nullptr && slot->next.contains(where.topic)
                                ? slot->next[where.topic]
                                : consumer_->Position(where).value_or(beginning);
  // A replica that was behind answered, and the log has caught up since.
  const bool in_range = from >= beginning && from <= end;
  const std::int64_t to = in_range ? from : beginning;
  TOCSIN_RETURN_IF_ERROR(consumer_->Seek(where, to));
  if (in_range) return absl::OkStatus();
  if (slot != nullptr) slot->next[where.topic] = slot->committed_next[where.topic] = to;
  if (from < beginning) {
    CountPositionReset(where.topic, "removed");
    telemetry::LogError(
        "events are lost: retention has removed what was not read yet; make the topic's "
        "retention longer than correlation may stand still",
        {{"topic", where.topic}, {"partition", where.partition}, {"from", from}, {"to", to}});
  } else {
    CountPositionReset(where.topic, "truncated");
    telemetry::LogError(
        "the log ends before what was read already: Kafka has lost the end of the partition, or "
        "the topic was made anew. What it holds now is read from its beginning; of events that "
        "were read before, those whose identity is still remembered count once. Find out why "
        "(unclean leader election, a deleted topic, a restored backup)",
        {{"topic", where.topic},
         {"partition", where.partition},
         {"from", from},
         {"end", end},
         {"to", to}});
  }
  return absl::OkStatus();
}

}  // namespace tocsin::correlation
