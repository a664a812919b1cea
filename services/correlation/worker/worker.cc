#include "services/correlation/worker/worker.h"

#include <algorithm>

#include "lib/base/status.h"
#include "lib/base/text.h"
#include "lib/telemetry/log.h"
#include "lib/telemetry/names.h"
#include "lib/telemetry/trace.h"
#include "services/correlation/worker/metrics.h"
#include "services/correlation/worker/transaction.h"

namespace tocsin::correlation {
namespace {

using std::chrono::milliseconds;

// A changelog in which nothing came for so long although it has more. Far longer than a dead
// worker's transaction stays open.
constexpr std::chrono::seconds kStandsStill{30};

std::string Name(std::string_view stream, std::int32_t partition) {
  return Concat(stream, "[", partition, "]");
}

}  // namespace

Worker::Worker(WorkerOptions options, WorkerIo io)
    : options_(std::move(options)), io_(std::move(io)), rules_(io_.rules->Current()) {}

Worker::~Worker() {
  // Callbacks of the consumer's end reach this object: first the clients, then the rest.
  consumer_.reset();
  producer_.reset();
  restore_consumer_.reset();
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
  restore_consumer_.reset();
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
  const bool restored = Restore();
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
  if (restore_consumer_ == nullptr) {
    auto consumer = io_.make_consumer({});
    if (!consumer.ok()) return failed("making the changelog consumer", consumer.status());
    restore_consumer_ = *std::move(consumer);
    reading_.clear();
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
  restore_consumer_.reset();
  reading_.clear();
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
      const absl::StatusOr<std::int64_t> beginning =
          consumer_->QueryBeginningOffset(*error.where, options_.query_timeout);
      const absl::Status sought =
          beginning.ok() ? consumer_->Seek(*error.where, *beginning) : beginning.status();
      if (!sought.ok()) {
        DropClients(sought);
        return;
      }
      TaskSlot* slot = SlotReading(error.where->topic, error.where->partition);
      const std::int64_t from = slot == nullptr ? 0 : slot->next[error.where->topic];
      telemetry::LogError(
          "events are lost: retention has removed what was not read yet; make the topic's "
          "retention longer than correlation may stand still",
          {{"topic", error.where->topic},
           {"partition", error.where->partition},
           {"from", from},
           {"to", *beginning}});
      if (slot != nullptr) slot->next[error.where->topic] = *beginning;
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

// --- the group
// ------------------------------------------------------------------------------------

void Worker::OnAssigned(const std::vector<kafka::AssignedPartition>& partitions) {
  tasks_.clear();
  reading_.clear();
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
      slot.problem = Concat(Name(id.first, id.second), " waits until all members know its topics");
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
  reading_.clear();
}

void Worker::OnLost(const std::vector<kafka::TopicPartition>& partitions) {
  telemetry::LogWarning("partitions lost: the session has expired",
                        {{"worker", options_.id}, {"partitions", partitions.size()}});
  tasks_.clear();
  reading_.clear();
}

Worker::TaskSlot* Worker::SlotReading(const std::string& topic, std::int32_t partition) {
  const std::shared_ptr<const RulePlan> plan = rules_->PlanReading(topic);
  if (plan == nullptr) return nullptr;
  const auto found = tasks_.find({plan->stream().topic, partition});
  return found == tasks_.end() ? nullptr : &found->second;
}

kafka::TopicPartition Worker::Changelog(const TaskSlot& slot) const {
  return {slot.plan->stream().ChangelogTopic(), slot.partition};
}

// --- restoring
// ------------------------------------------------------------------------------------

bool Worker::Restore() {
  bool progress = false;
  for (auto& [id, slot] : tasks_) {
    if (slot.phase != Phase::kRestoring || slot.reading) continue;
    absl::Status status = OpenStore(slot);
    if (status.ok() && !slot.target_known) status = FindTarget(slot);
    if (!status.ok()) {
      // The store is still in the hands of a worker that has not closed it, or the broker does not
      // answer: the next step tries again.
      slot.problem = Concat(Name(id.first, id.second), " restores: ", Message(status));
      continue;
    }
    slot.problem.clear();
    progress = true;
    if (slot.store->position().value_or(0) >= slot.target) {
      status = FinishRestore(slot);
      if (!status.ok()) {
        slot.problem = Concat(Name(id.first, id.second), " restores: ", Message(status));
        slot.target_known = false;
      }
    } else {
      slot.reading = true;
      slot.stands_since.reset();
    }
  }
  return ReadChangelogs() || progress;
}

absl::Status Worker::OpenStore(TaskSlot& slot) {
  if (slot.store != nullptr) return absl::OkStatus();
  StateStoreOptions options = options_.store;
  options.folder =
      Concat(options_.state_folder, "/", slot.plan->stream().topic, "/", slot.partition);
  auto store = StateStore::Open(options, io_.clock->Now());
  if (store.status().code() == absl::StatusCode::kDataLoss) {
    telemetry::LogError("the state on disk is damaged and is read anew from the changelog",
                        {{"folder", options.folder}, {"error", store.status()}});
    TOCSIN_RETURN_IF_ERROR(StateStore::Wipe(options.folder));
    store = StateStore::Open(options, io_.clock->Now());
  }
  TOCSIN_RETURN_IF_ERROR(store.status());
  slot.store = *std::move(store);
  return absl::OkStatus();
}

absl::Status Worker::FindTarget(TaskSlot& slot) {
  // The order matters. The offsets that the group gives out are free of open transactions, so a
  // predecessor that could still commit has committed. What it left unfinished in the changelog
  // lies below the high watermark, and reading up to there waits until that is decided.
  std::vector<kafka::TopicPartition> inputs;
  for (const std::string& topic : slot.plan->InputTopics()) {
    inputs.push_back({topic, slot.partition});
  }
  TOCSIN_ASSIGN_OR_RETURN(slot.committed, consumer_->Committed(inputs, 5 * options_.query_timeout));
  TOCSIN_ASSIGN_OR_RETURN(slot.target, restore_consumer_->QueryEndOffset(
                                           Changelog(slot), kafka::Isolation::kReadUncommitted,
                                           options_.query_timeout));
  if (slot.store->position().value_or(0) > slot.target) {
    Rebuild(slot, "it is ahead of the changelog, which must have been made anew");
    return Unavailable("the state is read anew");
  }
  slot.target_known = true;
  return absl::OkStatus();
}

bool Worker::ReadChangelogs() {
  std::set<TaskId> wanted;
  bool anything_runs = false;
  for (const auto& [id, slot] : tasks_) {
    if (slot.reading) wanted.insert(id);
    anything_runs = anything_runs || slot.phase == Phase::kRunning;
  }
  if (wanted.empty() && reading_.empty()) return false;
  if (wanted != reading_) {
    kafka::Offsets from;
    for (const TaskId& id : wanted) {
      const TaskSlot& slot = tasks_.at(id);
      std::int64_t begin = slot.store->position().value_or(-1);
      if (begin < 0) {
        const auto beginning =
            restore_consumer_->QueryBeginningOffset(Changelog(slot), options_.query_timeout);
        if (!beginning.ok()) return false;
        begin = *beginning;
      }
      from[Changelog(slot)] = begin;
    }
    const absl::Status assigned = restore_consumer_->Assign(from);
    if (!assigned.ok()) {
      telemetry::LogWarning("the changelog cannot be read",
                            {{"worker", options_.id}, {"error", assigned}});
      return false;
    }
    reading_ = wanted;
    if (wanted.empty()) return false;
  }
  const kafka::Batch batch =
      restore_consumer_->Poll(anything_runs ? milliseconds(0) : options_.poll_timeout);
  std::map<kafka::TopicPartition, TaskSlot*> slots;
  for (const TaskId& id : wanted) {
    TaskSlot& slot = tasks_.at(id);
    slots[Changelog(slot)] = &slot;
  }
  std::map<TaskSlot*, std::pair<StateChanges, std::int64_t>> changes;
  for (const kafka::Record& record : batch.records) {
    const auto slot = slots.find(record.where());
    if (slot == slots.end() || !record.key.has_value()) continue;
    auto& [of_slot, position] = changes[slot->second];
    of_slot.insert_or_assign(*record.key, record.value);
    position = record.offset + 1;
  }
  for (auto& [slot, read] : changes) {
    const absl::Status applied = slot->store->Apply(read.first, read.second, io_.clock->Now());
    if (!applied.ok()) {
      Refuse(*slot, Concat("the state cannot be written: ", Message(applied)));
    }
  }
  for (const kafka::PollError& error : batch.errors) {
    const auto slot = error.where.has_value() ? slots.find(*error.where) : slots.end();
    if (slot != slots.end() && error.status.code() == absl::StatusCode::kOutOfRange) {
      Rebuild(*slot->second, "the changelog does not hold its position any more");
    }
  }
  for (auto& [where, slot] : slots) {
    if (slot->phase != Phase::kRestoring || !slot->reading) continue;
    const std::optional<std::int64_t> position = restore_consumer_->Position(where);
    if (!position.has_value() || *position < slot->target) {
      WatchRestore(*slot, position.value_or(0));
      continue;
    }
    slot->reading = false;
    const absl::Status applied = slot->store->Apply({}, *position, io_.clock->Now());
    const absl::Status finished = applied.ok() ? FinishRestore(*slot) : applied;
    if (!finished.ok()) {
      slot->problem = Concat(Name(where.topic, where.partition), " restores: ", Message(finished));
      slot->target_known = false;
    }
  }
  return !batch.records.empty();
}

void Worker::WatchRestore(TaskSlot& slot, std::int64_t position) {
  const SteadyTime now = io_.clock->SteadyNow();
  if (!slot.stands_since.has_value() || position != slot.stands_at) {
    slot.stands_at = position;
    slot.stands_since = now;
    slot.problem.clear();
    return;
  }
  if (now - *slot.stands_since < kStandsStill) return;
  slot.stands_since = now;
  const kafka::TopicPartition changelog = Changelog(slot);
  const absl::StatusOr<std::int64_t> stable = restore_consumer_->QueryEndOffset(
      changelog, kafka::Isolation::kReadCommitted, options_.query_timeout);
  // The broker is away: that says nothing about the changelog.
  if (!stable.ok()) return;
  if (*stable > position) {
    telemetry::LogWarning("the reader of a changelog stands still and is started again",
                          {{"changelog", kafka::Describe(changelog)},
                           {"position", position},
                           {"stable_end", *stable}});
    reading_.clear();
    return;
  }
  slot.problem =
      Concat(Name(slot.plan->stream().topic, slot.partition), " waits in its changelog: at offset ",
             *stable, " of ", kafka::Describe(changelog), " (end ", slot.target,
             ") a transaction is open that Kafka does not end. "
             "docs/formats/correlation-state.md, \"A transaction that nobody ends\", "
             "says what to do");
  telemetry::LogError(
      "a transaction in a changelog stays open and holds up its partition",
      {{"changelog", kafka::Describe(changelog)}, {"offset", *stable}, {"end", slot.target}});
}

void Worker::Rebuild(TaskSlot& slot, std::string_view why) {
  telemetry::LogWarning(
      "the state of a partition is discarded and read anew from the changelog",
      {{"stream", slot.plan->stream().topic}, {"partition", slot.partition}, {"why", why}});
  slot.store.reset();
  slot.reading = false;
  slot.target_known = false;
  const absl::Status wiped = StateStore::Wipe(
      Concat(options_.state_folder, "/", slot.plan->stream().topic, "/", slot.partition));
  if (!wiped.ok()) Refuse(slot, Concat("its old state cannot be removed: ", Message(wiped)));
}

void Worker::Refuse(TaskSlot& slot, std::string problem) {
  slot.phase = Phase::kRefused;
  slot.reading = false;
  slot.task.reset();
  slot.store.reset();
  slot.problem =
      Concat(Name(slot.plan->stream().topic, slot.partition), " stands still: ", problem);
  telemetry::LogError(
      "a partition stands still",
      {{"stream", slot.plan->stream().topic}, {"partition", slot.partition}, {"why", problem}});
}

absl::Status Worker::FinishRestore(TaskSlot& slot) {
  if (const absl::Status format = Task::CheckFormat(*slot.store); !format.ok()) {
    Refuse(slot, std::string(Message(format)));
    return absl::OkStatus();
  }
  const std::map<std::string, std::int64_t> in_state = Task::Offsets(*slot.store);
  TOCSIN_RETURN_IF_ERROR(slot.store->status());
  std::map<std::string, std::int64_t> next;
  std::vector<kafka::TopicPartition> inputs;
  for (const std::string& topic : slot.plan->InputTopics()) {
    const kafka::TopicPartition where{topic, slot.partition};
    inputs.push_back(where);
    const auto state = in_state.find(topic);
    const auto group = slot.committed.find(where);
    if (state == in_state.end() && group == slot.committed.end()) {
      TOCSIN_ASSIGN_OR_RETURN(next[topic],
                              consumer_->QueryBeginningOffset(where, options_.query_timeout));
      continue;
    }
    if (state != in_state.end() && group == slot.committed.end()) {
      telemetry::LogWarning("the group has no offset where the state has one; the state's is used",
                            {{"where", kafka::Describe(where)}, {"offset", state->second}});
      next[topic] = state->second;
      continue;
    }
    if (state != in_state.end() && state->second == group->second) {
      next[topic] = state->second;
      continue;
    }
    const std::string difference =
        Concat("the group ", options_.group, " has committed offset ", group->second, " of ",
               kafka::Describe(where), ", the state was computed up to ",
               state == in_state.end() ? std::string("nothing") : std::to_string(state->second));
    if (!slot.rebuilt) {
      slot.rebuilt = true;
      Rebuild(slot, difference);
      return absl::OkStatus();
    }
    Refuse(slot, Concat(difference,
                        ". They change together only; if the offsets were moved by hand, move them "
                        "back, or delete the group's offsets to go on where the state ends"));
    return absl::OkStatus();
  }
  for (const auto& [topic, offset] : next) {
    TOCSIN_RETURN_IF_ERROR(consumer_->Seek({topic, slot.partition}, offset));
  }
  TOCSIN_RETURN_IF_ERROR(consumer_->Resume(inputs));
  slot.next = std::move(next);
  slot.task = std::make_unique<Task>(slot.partition, slot.plan, options_.task);
  slot.idle.Reset();
  slot.phase = Phase::kRunning;
  slot.problem.clear();
  telemetry::LogInfo("a partition runs",
                     {{"stream", slot.plan->stream().topic},
                      {"partition", slot.partition},
                      {"changelog_position", slot.store->position().value_or(0)}});
  return absl::OkStatus();
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
  for (const kafka::Record& record : batch.records) {
    TaskSlot* slot = SlotReading(record.topic, record.partition);
    if (slot == nullptr || slot->phase != Phase::kRunning) continue;
    // The client may hand out again what it had in hand before a seek.
    if (record.offset < slot->next[record.topic]) continue;
    TaskInput& input = inputs[slot];
    input.records.push_back(&record);
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
      DropClients(Annotate(read, Name(slot.plan->stream().topic, slot.partition)));
      return true;
    }
    if (of_slot.overlay->empty() && of_slot.result.outputs.empty()) continue;
    Trace(slot, of_slot.result.outputs);
    for (OutputRecord& output : of_slot.result.outputs) {
      records.push_back(std::move(output.record));
    }
    const kafka::TopicPartition changelog = Changelog(slot);
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
        const auto written = outcome.written.find(Changelog(slot));
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
          DropClients(Annotate(applied, Name(slot.plan->stream().topic, slot.partition)));
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

void Worker::Trace(TaskSlot& slot, std::vector<OutputRecord>& outputs) {
  std::optional<telemetry::Span> process;
  std::int64_t cause = -1;
  for (OutputRecord& output : outputs) {
    if (output.kind == OutputKind::kMark) continue;
    if (cause != output.cause) {
      cause = output.cause;
      telemetry::SpanOptions options;
      options.kind = telemetry::SpanKind::kConsumer;
      options.parent = telemetry::TraceContext::FromTraceparent(output.parent);
      for (const std::string& link : output.links) {
        options.links.push_back(telemetry::TraceContext::FromTraceparent(link));
      }
      process.emplace(Concat("process ", output.input_topic), options);
      process->SetAttribute(telemetry::kMessagingSystem, "kafka");
      process->SetAttribute(telemetry::kMessagingOperationName, "process");
      process->SetAttribute(telemetry::kMessagingOperationType, "process");
      process->SetAttribute(telemetry::kMessagingDestination, output.input_topic);
      process->SetAttribute(telemetry::kMessagingPartition, std::to_string(slot.partition));
      process->SetAttribute(telemetry::kMessagingGroup, options_.group);
    }
    telemetry::SpanOptions options;
    options.kind = telemetry::SpanKind::kProducer;
    options.parent = process->context();
    telemetry::Span send(Concat("send ", output.record.topic), options);
    send.SetAttribute(telemetry::kMessagingSystem, "kafka");
    send.SetAttribute(telemetry::kMessagingOperationName, "send");
    send.SetAttribute(telemetry::kMessagingOperationType, "send");
    send.SetAttribute(telemetry::kMessagingDestination, output.record.topic);
    if (output.kind == OutputKind::kIncident && output.record.key.has_value()) {
      send.SetAttribute(telemetry::kMessagingConversationId, *output.record.key);
    }
    output.record.headers.Set("traceparent", send.context().ToTraceparent());
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
      status.problem = slot.problem.empty()
                           ? Concat(Name(id.first, id.second), " reads its changelog")
                           : slot.problem;
    }
  }
  if (joined_ && status.running == status.tasks) status.running_epoch = rules_->epoch;
  MutexLock lock(mutex_);
  status_ = std::move(status);
}

}  // namespace tocsin::correlation
