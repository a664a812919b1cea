// What waits for the registry's word on a schema.
#include "lib/base/status.h"
#include "lib/base/text.h"
#include "lib/schema/wire_format.h"
#include "lib/telemetry/log.h"
#include "services/correlation/worker/worker.h"

namespace tocsin::correlation {

absl::Status Worker::CheckSchema(TaskSlot& slot, const kafka::RecordView& record) {
  if (io_.schemas == nullptr || !record.value.has_value()) return absl::OkStatus();
  if (!slot.known_prefix.empty() && record.value->starts_with(slot.known_prefix)) {
    return absl::OkStatus();
  }
  const absl::StatusOr<schema::Framed> framed = schema::DecodeFrame(*record.value);
  // The task says what is wrong with it.
  if (!framed.ok()) return absl::OkStatus();
  const std::string_view prefix =
      record.value->substr(0, record.value->size() - framed->payload.size());
  absl::Status answer = io_.schemas->Check(slot.plan->stream().topic, prefix, options_.schema_wait);
  if (answer.ok()) slot.known_prefix = prefix;
  return answer;
}

bool Worker::HoldAt(TaskSlot& slot, const kafka::RecordView& record, const absl::Status& why) {
  const kafka::TopicPartition where{std::string(record.topic), record.partition};
  const std::string at = Concat(kafka::Describe(where), " at offset ", record.offset);
  absl::Status held = consumer_->Pause({where});
  if (held.ok()) held = consumer_->Seek(where, record.offset);
  if (!held.ok()) {
    DropClients(Annotate(held, Concat("holding ", at)));
    return false;
  }
  const absl::StatusOr<schema::Framed> framed = schema::DecodeFrame(*record.value);
  slot.held_prefix = record.value->substr(0, record.value->size() - framed->payload.size());
  slot.problem = Concat(at, " waits for the schema registry: ", Message(why));
  telemetry::LogWarning("a partition waits for the schema registry",
                        {{"worker", options_.id}, {"where", at}, {"error", why}});
  return true;
}

void Worker::ReleaseHeld() {
  for (auto& [id, slot] : tasks_) {
    if (!slot.held_prefix.has_value() || slot.phase != Phase::kRunning) continue;
    const absl::Status answer =
        io_.schemas->Check(id.first, *slot.held_prefix, std::chrono::milliseconds(0));
    if (!answer.ok() && !absl::IsInvalidArgument(answer)) continue;
    slot.held_prefix.reset();
    slot.problem.clear();
    telemetry::LogInfo("a partition goes on", {{"worker", options_.id}, {"where", slot.Name()}});
    const absl::Status resumed = consumer_->Resume({{id.first, slot.partition}});
    if (!resumed.ok()) {
      DropClients(Annotate(resumed, slot.Name()));
      return;
    }
  }
}

}  // namespace tocsin::correlation
