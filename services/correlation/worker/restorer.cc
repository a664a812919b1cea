#include "services/correlation/worker/restorer.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "lib/base/status.h"
#include "lib/base/text.h"
#include "lib/telemetry/log.h"

namespace tocsin::correlation {
namespace {

using std::chrono::milliseconds;

// A changelog in which nothing came for so long although it has more. Far longer than a dead
// worker's transaction stays open.
constexpr std::chrono::seconds kStandsStill{30};

}  // namespace

absl::Status Restorer::EnsureClient() {
  if (changelogs_ != nullptr) return absl::OkStatus();
  TOCSIN_ASSIGN_OR_RETURN(changelogs_, io_.make_consumer({}));
  reading_.clear();
  return absl::OkStatus();
}

void Restorer::DropClient() {
  changelogs_.reset();
  reading_.clear();
}

void Restorer::ForgetTasks() { reading_.clear(); }

bool Restorer::Step(TaskSlots& tasks, kafka::Consumer& inputs) {
  bool progress = false;
  for (auto& [id, slot] : tasks) {
    if (slot.phase != Phase::kRestoring || slot.reading) continue;
    absl::Status status = OpenStore(slot);
    if (status.ok() && !slot.target_known) status = FindTarget(slot, inputs);
    if (!status.ok()) {
      // The store is still in the hands of a worker that has not closed it, or the broker does not
      // answer: the next step tries again.
      slot.problem = Concat(slot.Name(), " restores: ", Message(status));
      continue;
    }
    slot.problem.clear();
    progress = true;
    if (slot.store->position().value_or(0) >= slot.target) {
      status = Finish(slot, inputs);
      if (!status.ok()) {
        slot.problem = Concat(slot.Name(), " restores: ", Message(status));
        slot.target_known = false;
      }
    } else {
      slot.reading = true;
      slot.stands_since.reset();
    }
  }
  return ReadChangelogs(tasks, inputs) || progress;
}

absl::Status Restorer::OpenStore(TaskSlot& slot) {
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

absl::Status Restorer::FindTarget(TaskSlot& slot, kafka::Consumer& inputs) {
  // The order matters. The offsets that the group gives out are free of open transactions, so a
  // predecessor that could still commit has committed. What it left unfinished in the changelog
  // lies below the high watermark, and reading up to there waits until that is decided.
  std::vector<kafka::TopicPartition> partitions;
  for (const std::string& topic : slot.plan->InputTopics()) {
    partitions.push_back({topic, slot.partition});
  }
  TOCSIN_ASSIGN_OR_RETURN(slot.committed, inputs.Committed(partitions, 5 * options_.query_timeout));
  TOCSIN_ASSIGN_OR_RETURN(
      slot.target, changelogs_->QueryEndOffset(slot.Changelog(), kafka::Isolation::kReadUncommitted,
                                               options_.query_timeout));
  if (slot.store->position().value_or(0) > slot.target) {
    Rebuild(slot, "it is ahead of the changelog, which must have been made anew");
    return Unavailable("the state is read anew");
  }
  slot.target_known = true;
  return absl::OkStatus();
}

bool Restorer::ReadChangelogs(TaskSlots& tasks, kafka::Consumer& inputs) {
  std::set<TaskId> wanted;
  bool anything_runs = false;
  for (const auto& [id, slot] : tasks) {
    if (slot.reading) wanted.insert(id);
    anything_runs = anything_runs || slot.phase == Phase::kRunning;
  }
  if (wanted.empty() && reading_.empty()) return false;
  if (wanted != reading_) {
    kafka::Offsets from;
    for (const TaskId& id : wanted) {
      const TaskSlot& slot = tasks.at(id);
      std::int64_t begin = slot.store->position().value_or(-1);
      if (begin < 0) {
        const auto beginning =
            changelogs_->QueryBeginningOffset(slot.Changelog(), options_.query_timeout);
        if (!beginning.ok()) return false;
        begin = *beginning;
      }
      from[slot.Changelog()] = begin;
    }
    const absl::Status assigned = changelogs_->Assign(from);
    if (!assigned.ok()) {
      telemetry::LogWarning("the changelog cannot be read",
                            {{"worker", options_.id}, {"error", assigned}});
      return false;
    }
    reading_ = wanted;
    if (wanted.empty()) return false;
  }
  const kafka::Batch batch =
      changelogs_->Poll(anything_runs ? milliseconds(0) : options_.poll_timeout);
  std::map<kafka::TopicPartition, TaskSlot*> slots;
  for (const TaskId& id : wanted) {
    TaskSlot& slot = tasks.at(id);
    slots[slot.Changelog()] = &slot;
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
    const std::optional<std::int64_t> position = changelogs_->Position(where);
    if (!position.has_value() || *position < slot->target) {
      Watch(*slot, position.value_or(0));
      continue;
    }
    slot->reading = false;
    const absl::Status applied = slot->store->Apply({}, *position, io_.clock->Now());
    const absl::Status finished = applied.ok() ? Finish(*slot, inputs) : applied;
    if (!finished.ok()) {
      slot->problem = Concat(slot->Name(), " restores: ", Message(finished));
      slot->target_known = false;
    }
  }
  return !batch.records.empty();
}

void Restorer::Watch(TaskSlot& slot, std::int64_t position) {
  const SteadyTime now = io_.clock->SteadyNow();
  if (!slot.stands_since.has_value() || position != slot.stands_at) {
    slot.stands_at = position;
    slot.stands_since = now;
    slot.problem.clear();
    return;
  }
  if (now - *slot.stands_since < kStandsStill) return;
  slot.stands_since = now;
  const kafka::TopicPartition changelog = slot.Changelog();
  const absl::StatusOr<std::int64_t> stable = changelogs_->QueryEndOffset(
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
  slot.problem = Concat(slot.Name(), " waits in its changelog: at offset ", *stable, " of ",
                        kafka::Describe(changelog), " (end ", slot.target,
                        ") a transaction is open that Kafka does not end. "
                        "docs/formats/correlation-state.md, \"A transaction that nobody ends\", "
                        "says what to do");
  telemetry::LogError(
      "a transaction in a changelog stays open and holds up its partition",
      {{"changelog", kafka::Describe(changelog)}, {"offset", *stable}, {"end", slot.target}});
}

void Restorer::Rebuild(TaskSlot& slot, std::string_view why) {
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

void Restorer::Refuse(TaskSlot& slot, std::string problem) {
  slot.phase = Phase::kRefused;
  slot.reading = false;
  slot.task.reset();
  slot.store.reset();
  slot.problem = Concat(slot.Name(), " stands still: ", problem);
  telemetry::LogError(
      "a partition stands still",
      {{"stream", slot.plan->stream().topic}, {"partition", slot.partition}, {"why", problem}});
}

absl::Status Restorer::Finish(TaskSlot& slot, kafka::Consumer& inputs) {
  if (const absl::Status format = Task::CheckFormat(*slot.store); !format.ok()) {
    Refuse(slot, std::string(Message(format)));
    return absl::OkStatus();
  }
  const std::map<std::string, std::int64_t> in_state = Task::Offsets(*slot.store);
  TOCSIN_RETURN_IF_ERROR(slot.store->status());
  std::map<std::string, std::int64_t> next;
  std::vector<kafka::TopicPartition> partitions;
  for (const std::string& topic : slot.plan->InputTopics()) {
    const kafka::TopicPartition where{topic, slot.partition};
    partitions.push_back(where);
    const auto state = in_state.find(topic);
    const auto group = slot.committed.find(where);
    if (state == in_state.end() && group == slot.committed.end()) {
      TOCSIN_ASSIGN_OR_RETURN(next[topic],
                              inputs.QueryBeginningOffset(where, options_.query_timeout));
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
    TOCSIN_RETURN_IF_ERROR(inputs.Seek({topic, slot.partition}, offset));
  }
  TOCSIN_RETURN_IF_ERROR(inputs.Resume(partitions));
  slot.committed_next = next;
  slot.next = std::move(next);
  slot.in_flight = std::make_unique<InFlight>(*slot.store);
  slot.overlay = std::make_unique<Overlay>(*slot.in_flight);
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

}  // namespace tocsin::correlation
