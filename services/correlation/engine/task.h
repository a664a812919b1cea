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
// Rules in order `event_time` hold events until the watermark passes and judge them in the order
// (event time, ce_sequence, original partition, original offset); rules in order `arrival` judge
// them at once. docs/formats/time.md has the whole model.
//
// Counts: for each stream  in = invalid + duplicate + accepted
//         for each rule    accepted = filtered + missing_key + late + taken
//
// Threads: one at a time.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lib/kafka/types.h"
#include "lib/schema/wire_format.h"
#include "services/correlation/engine/envelope.h"
#include "services/correlation/engine/idle_tracker.h"
#include "services/correlation/engine/partition_time.h"
#include "services/correlation/engine/rule_plan.h"
#include "services/correlation/engine/state_view.h"

namespace tocsin::correlation::v1 {
class HeldEvent;
class IdentityLog;
class IncidentRecord;
class RuleProgress;
class StoredEvent;
}  // namespace tocsin::correlation::v1

namespace tocsin::correlation {

inline constexpr std::string_view kDetectionsTopic = "detections";
inline constexpr std::string_view kIncidentsTopic = "incidents.correlated";

// The registered schema of what the engine writes.
struct OutputSchema {
  schema::SchemaId id;
  std::vector<std::int32_t> message_indexes = {0};
};

struct TaskOptions {
  OutputSchema detection_schema;
  OutputSchema incident_schema;
  std::string detections_topic{kDetectionsTopic};
  std::string incidents_topic{kIncidentsTopic};
  // ce_source of detections and incidents.
  std::string source = "/tocsin/correlation";
  // Consumer group, for the headers of dead letters.
  std::string group = "correlation";
  // Repeated identities are recognised for so long (by Kafka timestamps) and so many events.
  Duration identity_age = std::chrono::hours(24);
  std::int64_t identity_count = 1'000'000;
  // At most so many held events are released, and so many old keys removed, in one batch.
  std::size_t max_release = 10'000;
  std::size_t max_sweep = 64;
};

enum class OutputKind { kForward, kMark, kProcessed, kDetection, kIncident, kDeadLetter };

struct OutputRecord {
  OutputKind kind{};
  kafka::OutgoingRecord record;
  // Outputs with the same number come from the same event, which was read from `input_topic`.
  std::int64_t cause = 0;
  std::string input_topic;
  // traceparent of the event that caused it, and of the others that contributed.
  std::string parent;
  std::vector<std::string> links;
};

struct RuleCounts {
  std::int64_t filtered = 0;
  std::int64_t missing_key = 0;
  std::int64_t late = 0;
  std::int64_t taken = 0;
  std::int64_t where_errors = 0;
  std::int64_t detections = 0;
  std::int64_t incidents = 0;
};

struct Counts {
  std::int64_t in = 0;
  std::int64_t invalid = 0;
  std::int64_t duplicate = 0;
  std::int64_t accepted = 0;
  std::int64_t forwarded = 0;
  std::map<std::string, RuleCounts> rules;
};

struct TaskInput {
  // In any order that keeps the order within each partition.
  std::vector<const kafka::Record*> records;
  // What the silence of the stream's partition has made due. Ignored when `records` holds an event
  // of that partition: it is not silent.
  std::vector<DueSilence> silences;
  // For each input topic the next offset to read once this batch is done. Kept in the state.
  std::map<std::string, std::int64_t> next_offsets;
  // For the headers of dead letters only.
  WallTime now{};
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

  // From the next Run on.
  void SetPlan(std::shared_ptr<const RulePlan> plan);
  // The last Run was not committed: forget what it has taught this object.
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
  std::shared_ptr<const RulePlan> plan_;
  // Reused for every event; one for each of the plan's prototypes.
  std::vector<std::unique_ptr<google::protobuf::Message>> messages_;
  // Rule versions whose state is being removed; known once `plan_checked_`.
  bool plan_checked_ = false;
  std::vector<std::string> garbage_;
  // Where the removal of old keys goes on.
  std::string sweep_from_;
};

}  // namespace tocsin::correlation
