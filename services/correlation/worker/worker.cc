#include "services/correlation/worker/worker.h"

#include <algorithm>
#include <utility>

#include "lib/base/status.h"
#include "lib/base/text.h"
#include "lib/telemetry/log.h"
#include "services/correlation/worker/output_trace.h"

namespace tocsin::correlation {
namespace {

using std::chrono::milliseconds;

// While a transaction is under way its end is looked for so often.
constexpr milliseconds kLookForEnd{2};

}  // namespace

Worker::Worker(WorkerOptions options, WorkerIo io)
    : options_(std::move(options)),
      io_(std::move(io)),
      rules_(io_.rules->Current()),
      restorer_(options_, io_),
      shared_(std::make_shared<Shared>(*io_.clock)),
      committer_(io_.make_committer ? io_.make_committer() : MakeThreadCommitter()) {}

Worker::~Worker() {
  questions_->Close();
  // What is under way ends by itself or is aborted by the next start.
  Stop();
  shared_->lost = true;
  committer_.reset();
  under_way_.reset();
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
  questions_->Close();
  // What has been computed is made visible once more, where that can be.
  if (consumer_ != nullptr && client_problem_.empty()) {
    (void)Conclude(options_.rebalance_wait);
    if (consumer_ != nullptr && !under_way_.has_value() && !committer_->busy() &&
        producer_ != nullptr && !draft_.empty()) {
      (void)StartTransaction();
    }
  }
  GiveUpTasks();
  in_consumer_ = true;
  if (consumer_ != nullptr) consumer_->Close();
  consumer_.reset();
  committer_.reset();
  producer_.reset();
  plain_.reset();
  restorer_.DropClient();
  joined_ = false;
  PublishStatus();
}

WorkerStatus Worker::status() const {
  MutexLock lock(mutex_);
  return status_;
}

Worker::StepResult Worker::Step() {
  if (closed_) return StepResult::kRetryLater;
  (void)Conclude({});
  questions_->Answer(tasks_);
  FollowRules();
  if (!EnsureClients()) {
    PublishStatus();
    return StepResult::kRetryLater;
  }
  const bool restored = restorer_.Step(tasks_, *consumer_);
  bool busy = restored;
  for (const auto& [id, slot] : tasks_) {
    // What cannot be restored for now is tried again with the next poll.
    busy = busy || slot.more || (slot.phase == Phase::kRestoring && slot.problem.empty());
  }
  ReleaseHeld();
  if (consumer_ == nullptr) return StepResult::kRetryLater;
  bool tried = false;
  kafka::ViewBatch batch;
  if (DraftFull() && under_way_.has_value()) {
    // No more before there is room; but never so long without a poll that no commit could begin.
    (void)Conclude(std::min(options_.poll_timeout, options_.session_timeout / 10));
  }
  if (!DraftFull() || !under_way_.has_value() || PollIsOld()) {
    in_consumer_ = true;
    batch = consumer_->PollViews(PollTimeout(busy));
    in_consumer_ = false;
    shared_->last_poll = io_.clock->SteadyNow().time_since_epoch().count();
    behind_ = batch.records().size() >= std::max<std::size_t>(options_.max_batch / 5, 2);
    if (drop_later_.has_value()) DropClients(*std::exchange(drop_later_, std::nullopt));
    if (consumer_ != nullptr) HandleErrors(batch.errors());
    if (consumer_ == nullptr) {
      PublishStatus();
      return StepResult::kRetryLater;
    }
    Compute(batch);
    if (draft_.empty()) draft_.Clear();
  }
  (void)Conclude({});
  if (consumer_ != nullptr && CommitDue()) {
    tried = StartTransaction();
    (void)Conclude({});
  }
  TellLate();
  PublishStatus();
  if (consumer_ == nullptr || !client_problem_.empty()) return StepResult::kRetryLater;
  const bool working = tried || restored || under_way_.has_value() || !draft_.empty();
  return working || !batch.records().empty() ? StepResult::kProgress : StepResult::kIdle;
}

milliseconds Worker::PollTimeout(bool busy) const {
  if (busy) return milliseconds(0);
  milliseconds longest = options_.poll_timeout;
  if (under_way_.has_value()) longest = std::min(longest, kLookForEnd);
  if (draft_.empty() || under_way_.has_value()) return longest;
  const milliseconds age =
      std::chrono::duration_cast<milliseconds>(io_.clock->SteadyNow() - draft_.began());
  const milliseconds due =
      draft_.has_outputs() ? options_.commit_interval.min : options_.commit_interval.max;
  return std::clamp(due - age, milliseconds(0), longest);
}

bool Worker::PollIsOld() const {
  const SteadyTime last{SteadyTime::duration(shared_->last_poll.load())};
  return io_.clock->SteadyNow() - last > options_.session_timeout / 6;
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
  due = slot.idle.OnProbe(io_.clock->SteadyNow(), slot.task->HighestSeen(*slot.overlay),
                          slot.plan->idle_timeouts());
  if (!slot.task->WouldPromise(due, *slot.overlay)) due.clear();
}

void Worker::Compute(const kafka::ViewBatch& batch) {
  std::map<TaskSlot*, TaskInput> inputs;
  // Records of a partition come together: what they have in common is looked up once.
  std::string_view topic;
  std::int32_t partition = -1;
  TaskInput* input = nullptr;
  std::int64_t from = 0;
  std::int64_t* next = nullptr;
  TaskSlot* of = nullptr;
  bool own_topic = false;
  for (const kafka::RecordView& record : batch.records()) {
    if (record.topic.data() != topic.data() || record.partition != partition) {
      topic = record.topic;
      partition = record.partition;
      const std::string name(topic);
      of = SlotReading(name, partition);
      if (of == nullptr || of->phase != Phase::kRunning) {
        input = nullptr;
        continue;
      }
      input = &inputs[of];
      from = of->next[name];
      next = &input->next_offsets.try_emplace(name, from).first->second;
      own_topic = name == of->plan->stream().topic;
      if (own_topic) of->idle.Reset();
    }
    // The client may hand out again what it had in hand before a seek.
    if (input == nullptr || record.offset < from) continue;
    if (own_topic) {
      if (of->held_prefix.has_value()) continue;
      const absl::Status schema = CheckSchema(*of, record);
      if (absl::IsInvalidArgument(schema)) {
        input->refused.emplace_back(&record, schema);
      } else if (!schema.ok()) {
        if (!HoldAt(*of, record, schema)) return;
        continue;
      }
    }
    input->records.push_back(&record);
    *next = record.offset + 1;
  }
  const SteadyTime now = io_.clock->SteadyNow();
  const bool probes = !next_probe_round_.has_value() || now >= *next_probe_round_;
  bool broker_answers = true;
  for (auto& [id, slot] : tasks_) {
    if (slot.phase != Phase::kRunning) continue;
    TaskInput& own = inputs[&slot];
    const std::string& stream = slot.plan->stream().topic;
    if (probes && !slot.held_prefix.has_value() && !own.next_offsets.contains(stream)) {
      Probe(slot, broker_answers, own.silences);
    }
    if (own.records.empty() && own.silences.empty() && !slot.more &&
        !slot.task->HasWork(*slot.overlay)) {
      continue;
    }
    // What lies behind the last record (markers) counts as read, where the end is known.
    for (auto& [read, behind] : own.next_offsets) {
      if (slot.held_prefix.has_value() && read == stream) continue;
      const auto end = batch.ends().find({read, slot.partition});
      if (end != batch.ends().end()) behind = std::max(behind, end->second);
    }
    // Some offset goes with every transaction: it is what fences a worker that has lost its place.
    if (own.next_offsets.empty()) {
      const std::int64_t position =
          consumer_->Position({stream, slot.partition}).value_or(slot.next[stream]);
      own.next_offsets[stream] = std::max(position, slot.next[stream]);
    }
    own.now = io_.clock->Now();
    // Once per transaction, by the draft.
    own.flush = false;
    TaskResult result = slot.task->Run(own, *slot.overlay);
    if (const absl::Status read = slot.overlay->status(); !read.ok()) {
      // What was computed over a state that cannot be read is worthless.
      DropClients(Annotate(read, slot.Name()));
      return;
    }
    for (const auto& [read, behind] : own.next_offsets) slot.next[read] = behind;
    slot.more = result.more;
    TraceOutputs(options_.group, slot.partition, result.outputs);
    if (options_.guarantee == Guarantee::kAtLeastOnce) WriteAtOnce(result);
    draft_.Add(slot, own, std::move(result), now);
  }
  // A broker that does not answer is asked again a little later, not at every step.
  next_probe_round_ = broker_answers
                          ? std::nullopt
                          : std::optional(io_.clock->SteadyNow() + std::chrono::seconds(1));
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
      if (status.problem.empty()) status.problem = slot.problem;
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
