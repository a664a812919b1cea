// What a batch writes besides its state: each kind of record as it lies on its topic.
//
// Threads: one at a time. Lives for one batch.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "lib/base/clock.h"
#include "lib/kafka/record_view.h"
#include "lib/kafka/types.h"
#include "services/correlation/engine/envelope.h"
#include "services/correlation/engine/lateness.h"
#include "services/correlation/engine/rule_plan.h"
#include "services/correlation/engine/task_options.h"
#include "services/correlation/engine/window.h"
#include "tocsin/event/v1/event.pb.h"

namespace google::protobuf {
class Message;
}  // namespace google::protobuf

namespace tocsin::correlation::v1 {
class Detection;
class KeptRecord;
class TableRows;
class WatermarkMark;
class WindowResult;
}  // namespace tocsin::correlation::v1

namespace tocsin::incident::v1 {
class Incident;
}  // namespace tocsin::incident::v1

namespace tocsin::correlation {

enum class OutputKind {
  kForward,
  kMark,
  kProcessed,
  kDetection,
  kIncident,
  kAggregate,
  kLate,
  kDeadLetter
};

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

class OutputWriter {
 public:
  // All must outlive it.
  OutputWriter(const RulePlan& plan, const TaskOptions& options, std::vector<OutputRecord>& outputs)
      : plan_(plan), options_(options), outputs_(outputs) {}

  // What is written from now on comes from the next event, which was read from this topic.
  void NextCause(std::string_view input_topic);

  // The event, to the partition of its group key. `before`: what its own partition had seen and
  // promised before it. `rows`: what the rules' look-ups found for it. `late_for`: see kLateHeader.
  void WriteForward(const Repartition& repartition, std::string key,
                    const kafka::RecordView& record, const Envelope& envelope, const Origin& origin,
                    const v1::WatermarkMark& before, const v1::TableRows& rows,
                    std::string_view late_for);
  // To every partition of the topic.
  void WriteMarks(const Repartition& repartition, const v1::WatermarkMark& mark);
  void WriteProcessed(const kafka::RecordView& record, const Envelope& envelope,
                      const Origin& origin);
  // The event as it came, where the stream keeps its late ones. True when it does. `late` has one
  // entry at least.
  bool WriteLate(const kafka::RecordView& record, const Envelope& envelope, const Origin& origin,
                 const std::vector<LateFor>& late);
  // For an event of which it is not decided yet whether it is late: what WriteLate needs of it.
  bool keeps_late() const { return plan_.stream().late; }
  static v1::KeptRecord Keep(const kafka::RecordView& record, const Origin& origin);
  bool WriteLate(const v1::KeptRecord& record, WallTime time, const std::string& parent,
                 const std::vector<LateFor>& late);
  void WriteDeadLetter(const kafka::RecordView& record, const absl::Status& why, WallTime now);
  // `firing`: the events that led to it.
  void WriteDetection(const v1::Detection& detection, const std::string& key, const Firing& firing);
  void WriteIncident(const tocsin::incident::v1::Incident& incident, const Firing& firing);
  // `id` names it for ever. `parent`: traceparent of the event that led to it.
  void WriteAggregate(const v1::WindowResult& result, const std::string& key, std::string_view id,
                      tocsin::event::v1::Severity severity, const std::string& parent);

 private:
  OutputRecord& Add(OutputKind kind, std::string parent);
  void FillLate(std::string_view origin, WallTime time, const std::vector<LateFor>& late,
                OutputRecord& output) const;
  void AddEvent(OutputKind kind, const std::string& topic, const std::string& key,
                const OutputSchema& schema, const google::protobuf::Message& message,
                std::string_view id, std::string_view severity, const Firing& firing);
  void FillEvent(const std::string& topic, const std::string& key, const OutputSchema& schema,
                 const google::protobuf::Message& message, std::string_view id,
                 std::string_view severity, WallTime time, OutputRecord& output) const;

  const RulePlan& plan_;
  const TaskOptions& options_;
  std::vector<OutputRecord>& outputs_;
  std::int64_t cause_ = 0;
  // Outlives the batch.
  std::string_view input_topic_;
};

}  // namespace tocsin::correlation
