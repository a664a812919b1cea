#include "services/correlation/worker/worker.h"

#include <algorithm>
#include <deque>

#include "lib/base/status.h"
#include "lib/base/text.h"
#include "lib/telemetry/log.h"
#include "services/correlation/worker/metrics.h"
#include "services/correlation/worker/output_trace.h"
#include "services/correlation/worker/transaction.h"

namespace tocsin::correlation {
namespace {

using std::chrono::milliseconds;

}  // namespace

Worker::Worker(WorkerOptions options, WorkerIo io)
    : options_(std::move(options)),
      io_(std::move(io)),
      rules_(io_.rules->Current()),
      restorer_(options_, io_) {}

Worker::~Worker() {
  // Callbacks of the consumer's end reach this object: first the clients, then the rest.
  consumer_.reset();
  producer_.reset();
  restorer_.DropClient();
}

void Worker::Stop() {
  MutexLock lock(mutex_);
  stopping_ = true;
}

bool Worker::stopping() const {
  MutexLock lock(mutex_);
  return stopping_;
}

void Worker::Close() {
  if (closed_) return;
  closed_ = true;
  if (consumer_ != nullptr) consumer_->Close();
  consumer_.reset();
  producer_.reset();
  restorer_.DropClient();
  tasks_.clear();
  joined_ = false;
  PublishStatus();
}

WorkerStatus Worker::status() const {
  MutexLock lock(mutex_);
  return status_;
}

Worker::StepResult Worker::Step() {
  if (closed_) return StepResult::kRetryLater;
  FollowRules();
  if (!EnsureClients()) {
    PublishStatus();
    return StepResult::kRetryLater;
  }
  const bool restored = restorer_.Step(tasks_, *consumer_);
  bool busy = restored;
  for (const auto& [id, slot] : tasks_) {
    busy = busy || slot.more || slot.phase == Phase::kRestoring;
  }
  const kafka::Batch batch = consumer_->Poll(busy ? milliseconds(0) : options_.poll_timeout);
  HandleErrors(batch);
  if (consumer_ == nullptr) {
    PublishStatus();
    return StepResult::kRetryLater;
  }
  const bool tried = Commit(Compute(batch));
  TellLate();
  PublishStatus();
  if (consumer_ == nullptr || !client_problem_.empty()) return StepResult::kRetryLater;
  return tried || restored || !batch.records.empty() ? StepResult::kProgress : StepResult::kIdle;
}

// --- clients
// --------------------------------------------------------------------------------------

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
  if (producer_ == nullptr) {
    auto producer = io_.make_producer(Concat(options_.group, ".", options_.id));
    if (!producer.ok()) return failed("making the transactional producer", producer.status());
    const kafka::TransactionResult initialized = (*producer)->Init();
    // Whatever the class: the next attempt begins with a new producer.
    if (!initialized.ok()) return failed("starting the transactional producer", initialized.status);
    producer_ = *std::move(producer);
  }
  if (const absl::Status made = restorer_.EnsureClient(); !made.ok()) {
    return failed("making the changelog consumer", made);
  }
  if (consumer_ == nullptr) {
    kafka::ConsumerOptions options;
    options.group = options_.group;
    options.instance_id = options_.id;
    options.max_batch = options_.max_batch;
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

void Worker::DropClients(const absl::Status& why) {
  telemetry::LogWarning("the worker makes new clients and restores its partitions",
                        {{"worker", options_.id}, {"error", why}});
  client_problem_ = Message(why);
  consumer_.reset();
  producer_.reset();
  restorer_.DropClient();
  tasks_.clear();
  joined_ = false;
}

void Worker::FollowRules() {
  std::shared_ptr<const RuleSet> rules = io_.rules->Current();
  if (rules == rules_) return;
  rules_ = std::move(rules);
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

void Worker::HandleErrors(const kafka::Batch& batch) {
  for (const kafka::PollError& error : batch.errors) {
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
  if (slot != nullptr) slot->next[where.topic] = to;
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

// --- the group
// ------------------------------------------------------------------------------------

void Worker::OnAssigned(const std::vector<kafka::AssignedPartition>& partitions) {
  tasks_.clear();
  restorer_.ForgetTasks();
  joined_ = true;
  group_problem_.clear();
  std::vector<kafka::TopicPartition> all;
  for (const kafka::AssignedPartition& assigned : partitions) {
    all.push_back(assigned.where);
    std::shared_ptr<const RulePlan> plan = rules_->PlanReading(assigned.where.topic);
    if (plan == nullptr) continue;
    TaskSlot& slot = tasks_[{plan->stream().topic, assigned.where.partition}];
    slot.plan = std::move(plan);
    slot.partition = assigned.where.partition;
    slot.assigned_topics.insert(assigned.where.topic);
  }
  // Nothing is read before its state is there.
  if (const absl::Status paused = consumer_->Pause(all); !paused.ok()) {
    telemetry::LogError("partitions could not be paused",
                        {{"worker", options_.id}, {"error", paused}});
  }
  for (auto& [id, slot] : tasks_) {
    // All topics of a partition number share one state, so they must come together. They do not
    // while members of the group know different rules; that passes when all have joined again.
    const std::vector<std::string> needed = slot.plan->InputTopics();
    const std::set<std::string>& assigned = slot.assigned_topics;
    const bool complete =
        std::all_of(needed.begin(), needed.end(),
                    [&assigned](const std::string& topic) { return assigned.contains(topic); });
    slot.phase = complete ? Phase::kRestoring : Phase::kIncomplete;
    if (!complete) {
      slot.problem = Concat(slot.Name(), " waits until all members know its topics");
    }
  }
  telemetry::LogInfo(
      "partitions assigned",
      {{"worker", options_.id}, {"partitions", all.size()}, {"tasks", tasks_.size()}});
}

void Worker::OnRevoked(const std::vector<kafka::TopicPartition>& partitions) {
  // No transaction is open: they begin and end between two polls.
  telemetry::LogInfo("partitions revoked",
                     {{"worker", options_.id}, {"partitions", partitions.size()}});
  tasks_.clear();
  restorer_.ForgetTasks();
}

void Worker::OnLost(const std::vector<kafka::TopicPartition>& partitions) {
  telemetry::LogWarning("partitions lost: the session has expired",
                        {{"worker", options_.id}, {"partitions", partitions.size()}});
  tasks_.clear();
  restorer_.ForgetTasks();
}

TaskSlot* Worker::SlotReading(const std::string& topic, std::int32_t partition) {
  const std::shared_ptr<const RulePlan> plan = rules_->PlanReading(topic);
  if (plan == nullptr) return nullptr;
  const auto found = tasks_.find({plan->stream().topic, partition});
  return found == tasks_.end() ? nullptr : &found->second;
}

// --- running
// --------------------------------------------------------------------------------------

void Worker::Probe(TaskSlot& slot, bool& broker_answers, std::vector<DueSilence>& due) {
  if (!broker_answers) {
    slot.idle.Reset();
    return;
  }
  const SteadyTime now = io_.clock->SteadyNow();
  if (slot.plan->idle_timeouts().empty() || !slot.idle.ProbeDue(now)) return;
  const kafka::TopicPartition where{slot.plan->stream().topic, slot.partition};
  // What lies in an open transaction has been sent: the end is behind that.
  const absl::StatusOr<std::int64_t> end =
      consumer_->QueryEndOffset(where, kafka::Isolation::kReadUncommitted, options_.query_timeout);
  const std::optional<std::int64_t> position = consumer_->Position(where);
  if (!end.ok() || !position.has_value() || *position < *end) {
    // Silence that nobody can vouch for does not count.
    broker_answers = end.ok();
    slot.idle.Reset();
    return;
  }
  due = slot.idle.OnProbe(io_.clock->SteadyNow(), slot.task->HighestSeen(*slot.store),
                          slot.plan->idle_timeouts());
  if (!slot.task->WouldPromise(due, *slot.store)) due.clear();
}

std::vector<Worker::Computed> Worker::Compute(const kafka::Batch& batch) {
  std::map<TaskSlot*, TaskInput> inputs;
  kafka::HeaderMemory headers;
  std::deque<kafka::RecordView> views;
  for (const kafka::Record& record : batch.records) {
    TaskSlot* slot = SlotReading(record.topic, record.partition);
    if (slot == nullptr || slot->phase != Phase::kRunning) continue;
    // The client may hand out again what it had in hand before a seek.
    if (record.offset < slot->next[record.topic]) continue;
    TaskInput& input = inputs[slot];
    input.records.push_back(&views.emplace_back(kafka::AsView(record, headers)));
    input.next_offsets[record.topic] = record.offset + 1;
    if (record.topic == slot->plan->stream().topic) slot->idle.Reset();
  }
  const SteadyTime now = io_.clock->SteadyNow();
  const bool probes = !next_probe_round_.has_value() || now >= *next_probe_round_;
  bool broker_answers = true;
  std::vector<Computed> computed;
  for (auto& [id, slot] : tasks_) {
    if (slot.phase != Phase::kRunning) continue;
    TaskInput& input = inputs[&slot];
    const std::string& stream = slot.plan->stream().topic;
    if (probes && !input.next_offsets.contains(stream)) {
      Probe(slot, broker_answers, input.silences);
    }
    if (input.records.empty() && input.silences.empty() && !slot.more &&
        !slot.task->HasWork(*slot.store)) {
      continue;
    }
    // What lies behind the last record (markers) counts as read, where the end is known.
    for (auto& [topic, next] : input.next_offsets) {
      const auto end = batch.ends.find({topic, slot.partition});
      if (end != batch.ends.end()) next = std::max(next, end->second);
    }
    // Some offset goes with every transaction: it is what fences a worker that has lost its place.
    if (input.next_offsets.empty()) {
      const std::int64_t position =
          consumer_->Position({stream, slot.partition}).value_or(slot.next[stream]);
      input.next_offsets[stream] = std::max(position, slot.next[stream]);
    }
    input.now = io_.clock->Now();
    Computed& of_slot = computed.emplace_back();
    of_slot.slot = &slot;
    of_slot.overlay = std::make_unique<Overlay>(*slot.store);
    of_slot.input = std::move(input);
    of_slot.result = slot.task->Run(of_slot.input, *of_slot.overlay);
  }
  // A broker that does not answer is asked again a little later, not at every step.
  next_probe_round_ = broker_answers
                          ? std::nullopt
                          : std::optional(io_.clock->SteadyNow() + std::chrono::seconds(1));
  return computed;
}

bool Worker::Commit(std::vector<Computed> computed) {
  std::vector<kafka::OutgoingRecord> records;
  kafka::Offsets offsets;
  for (Computed& of_slot : computed) {
    TaskSlot& slot = *of_slot.slot;
    if (const absl::Status read = slot.store->status(); !read.ok()) {
      // What was computed over a state that cannot be read is worthless.
      DropClients(Annotate(read, slot.Name()));
      return true;
    }
    if (of_slot.overlay->empty() && of_slot.result.outputs.empty()) continue;
    TraceOutputs(options_.group, slot.partition, of_slot.result.outputs);
    for (OutputRecord& output : of_slot.result.outputs) {
      records.push_back(std::move(output.record));
    }
    const kafka::TopicPartition changelog = slot.Changelog();
    for (const auto& [key, value] : of_slot.overlay->changes()) {
      kafka::OutgoingRecord& record = records.emplace_back();
      record.topic = changelog.topic;
      record.partition = changelog.partition;
      record.key = key;
      record.value = value;
    }
    for (const auto& [topic, next] : of_slot.input.next_offsets) {
      offsets[{topic, slot.partition}] = next;
    }
  }
  if (records.empty()) {
    for (Computed& of_slot : computed) of_slot.slot->more = of_slot.result.more;
    return false;
  }

  const SteadyTime begin = io_.clock->SteadyNow();
  const TransactionOutcome outcome =
      RunTransaction(*producer_, *consumer_, std::move(records), offsets, options_.attempts,
                     [this] { return stopping(); });
  const double seconds = std::chrono::duration<double>(io_.clock->SteadyNow() - begin).count();
  switch (outcome.kind) {
    case TransactionOutcome::Kind::kBroken:
      CountTransaction("broken", seconds);
      DropClients(outcome.status);
      return true;
    case TransactionOutcome::Kind::kAborted:
      CountTransaction("aborted", seconds);
      telemetry::LogWarning("a transaction was aborted; its records are read again",
                            {{"worker", options_.id}, {"error", outcome.status}});
      client_problem_ = Message(outcome.status);
      for (Computed& of_slot : computed) {
        if (consumer_ != nullptr) Rewind(*of_slot.slot);
      }
      break;
    case TransactionOutcome::Kind::kCommitted:
      CountTransaction("committed", seconds);
      for (Computed& of_slot : computed) {
        TaskSlot& slot = *of_slot.slot;
        const auto written = outcome.written.find(slot.Changelog());
        const std::int64_t position =
            written != outcome.written.end() ? written->second : slot.store->position().value_or(0);
        for (const auto& [topic, next] : of_slot.input.next_offsets) slot.next[topic] = next;
        slot.more = of_slot.result.more;
        CountCommitted(slot.plan->stream().topic, of_slot.result.counts);
        late_.Add(slot.plan->stream().topic, of_slot.result.counts);
        if (of_slot.overlay->empty()) continue;
        const absl::Status applied =
            slot.store->Apply(of_slot.overlay->changes(), position, io_.clock->Now());
        if (!applied.ok()) {
          // It is committed: the changelog has it. Only this machine's copy is behind.
          DropClients(Annotate(applied, slot.Name()));
          return true;
        }
      }
      break;
  }
  if (producer_ != nullptr && producer_->outcome_indefinite()) {
    telemetry::LogWarning("the transactional producer is replaced",
                          {{"worker", options_.id}, {"why", producer_->indefinite_reason()}});
    producer_.reset();
  }
  return true;
}

void Worker::Rewind(TaskSlot& slot) {
  slot.task->Rewind();
  for (const auto& [topic, next] : slot.next) {
    if (!slot.assigned_topics.contains(topic)) continue;
    const absl::Status sought = consumer_->Seek({topic, slot.partition}, next);
    if (!sought.ok()) {
      DropClients(Annotate(sought, "going back to the committed offsets"));
      return;
    }
  }
}

void Worker::TellLate() {
  for (const LateNotice::Line& line : late_.Due(io_.clock->SteadyNow())) {
    telemetry::LogWarning(
        "events came too late for a rule and take no part in it; docs/formats/time.md tells when "
        "an event is late",
        {{"stream", line.stream}, {"rule", line.rule}, {"events", line.events}});
  }
}

void Worker::PublishStatus() {
  WorkerStatus status;
  status.joined = joined_;
  status.tasks = static_cast<int>(tasks_.size());
  status.problem = client_problem_;
  if (status.problem.empty() && !joined_ && !group_problem_.empty()) {
    status.problem = Concat("a worker waits for its place in the group: ", group_problem_);
  }
  for (const auto& [id, slot] : tasks_) {
    if (slot.phase == Phase::kRunning) {
      ++status.running;
    } else if (status.problem.empty()) {
      status.problem =
          slot.problem.empty() ? Concat(slot.Name(), " reads its changelog") : slot.problem;
    }
  }
  if (joined_ && status.running == status.tasks) status.running_epoch = rules_->epoch;
  MutexLock lock(mutex_);
  status_ = std::move(status);
}

}  // namespace tocsin::correlation
