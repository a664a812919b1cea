// The engine: what one partition number of one stream does with a batch of records. Pure: all that
// it knows it reads from the state, all that it does are changes of the state and output records;
// the caller makes both visible at once, in one Kafka transaction, or neither.
//
// A task owns partition p of its stream and of every repartition topic of that stream.
//
//   stream[p]          decode → drop repeated identities → rules whose group key lies in one
//                      partition are evaluated here; for the others the event is forwarded, with
//                      what p had seen and promised before it
//   repartition[p]     rules whose group key is this topic's key; marks of the upstream partitions
//                      make the watermark
//
// Of a join the right stream's tasks forward their events to the left stream's, as though those
// were partitions of its own, and both tell each other how far their streams have come.
//
// Rules in order `event_time` hold events until the watermark passes and judge them in the order
// (event time, ce_sequence, original partition, original offset); rules in order `arrival` judge
// them at once. docs/formats/time.md has the whole model.
//
// Task itself decides which way each event takes; the rest is in parts:
//
//   deduplicator       identities: which event was seen before
//   watermarks         event time of this partition and, by marks, of the others
//   reorder_buffer     events that wait for the watermark
//   enricher           rows of tables that rules look up
//   detector           windows, detections, incidents
//   join_operator      pairs of events of two streams
//   window_operator    window rules: aggregates over windows
//   output_writer      records as they lie on their topics
//   garbage_collector  removes state that no later event can meet
//
// What a task reads of its state it keeps in memory, bounded, from batch to batch, and writes back
// once per transaction; events are read where they lie, and no message is built of them.
//
// Threads: one at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "lib/base/clock.h"
#include "lib/kafka/record_view.h"
#include "lib/schema/wire_projection.h"
#include "services/correlation/engine/counts.h"
#include "services/correlation/engine/deduplicator.h"
#include "services/correlation/engine/detector.h"
#include "services/correlation/engine/enricher.h"
#include "services/correlation/engine/garbage_collector.h"
#include "services/correlation/engine/idle_tracker.h"
#include "services/correlation/engine/join_operator.h"
#include "services/correlation/engine/output_writer.h"
#include "services/correlation/engine/reorder_buffer.h"
#include "services/correlation/engine/rule_plan.h"
#include "services/correlation/engine/state_view.h"
#include "services/correlation/engine/task_options.h"
#include "services/correlation/engine/window_store.h"

namespace tocsin::correlation {

struct TaskInput {
  // In any order that keeps the order within each partition. What they show must live until Run
  // returns.
  std::vector<const kafka::RecordView*> records;
  // Those of `records` that may not be taken in for a reason from outside (a schema that nobody
  // knows), in the same order: they become dead letters with that cause.
  std::vector<std::pair<const kafka::RecordView*, absl::Status>> refused;
  // What the silence of the stream's partition has made due. Ignored when `records` holds an event
  // of that partition: it is not silent.
  std::vector<DueSilence> silences;
  // For each input topic the next offset to read once this batch is done. Kept in the state.
  std::map<std::string, std::int64_t> next_offsets;
  // For the headers of dead letters only.
  WallTime now{};
  // Task::Flush at the end of this batch. Several batches may share a transaction and one
  // StateView; where only the last flushes, each value is written once.
  bool flush = true;
};

struct TaskResult {
  std::vector<OutputRecord> outputs;
  Counts counts;
  // There is more to release or to remove: run again soon, with or without input.
  bool more = false;
};

class Task {
 public:
  Task(std::int32_t partition, std::shared_ptr<const RulePlan> plan, TaskOptions options);
  ~Task();

  // Handles one batch. Deterministic: the same state, plan and input give the same outputs, byte
  // for byte.
  TaskResult Run(const TaskInput& input, StateView& state);

  // What the task keeps in memory (windows, waiting events, identities) is written to the state,
  // which must not be committed before.
  void Flush(StateView& state);

  // From the next Run on. Behind a Flush.
  void SetPlan(std::shared_ptr<const RulePlan> plan);
  // The last Runs were not committed: forget what they have taught this object. The next Run reads
  // what it needs from the state that it is given.
  void Rewind();

  // True when these silences would change anything: an idle system stays quiet.
  bool WouldPromise(const std::vector<DueSilence>& silences, const StateReader& state) const;
  // The highest event time of any partition, as far as marks and own events tell.
  std::optional<WallTime> HighestSeen(const StateReader& state) const;
  // True when Run has something to do without any input: a new plan to take up, marks that a new
  // repartition topic lacks.
  bool HasWork(const StateReader& state) const;

  const RulePlan& plan() const { return *plan_; }
  std::int32_t partition() const { return partition_; }

  // The input offsets that the state was computed from.
  static std::map<std::string, std::int64_t> Offsets(const StateReader& state);
  // FAILED_PRECONDITION when the state was written by a newer program.
  static absl::Status CheckFormat(const StateReader& state);

 private:
  class Batch;

  const std::int32_t partition_;
  const TaskOptions options_;
  const CacheBudget::Share cache_{options_.cache};
  std::shared_ptr<const RulePlan> plan_;
  // So many records are looked into ahead of being worked on.
  static constexpr std::size_t kLookAhead = 16;
  // Reused; for each event that is looked into one for each of the plan's messages.
  std::vector<schema::ProjectedMessage> messages_;
  // One for each event that is looked into; none where no rule looks rows up.
  std::deque<Enricher> enrichers_;
  PairMessages pair_messages_;
  Deduplicator deduplicator_;
  ReorderBuffer buffer_;
  WindowCaches window_caches_;
  GarbageCollector garbage_;
  // Batches that did something since the last sweep.
  std::size_t unswept_ = 0;
  WindowStore windows_;
};

}  // namespace tocsin::correlation
