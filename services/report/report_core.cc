#include "services/report/report_core.h"

#include <algorithm>
#include <array>
#include <vector>

#include "lib/base/hash.h"
#include "lib/base/status.h"
#include "lib/base/text.h"
#include "lib/base/time.h"

namespace tocsin::report {
namespace {
using incident::v1::IncidentState;

constexpr std::size_t kMaxNoteBytes = 4'096;

std::string Micros(WallTime time) { return std::to_string(time.time_since_epoch().count()); }

}  // namespace

absl::Status CheckCommand(const Command& command) {
  if (command.incident_id.empty()) return InvalidArgument("incident_id: is missing");
  if (command.note.size() > kMaxNoteBytes) {
    return InvalidArgument(Concat("note: has ", command.note.size(), " bytes, at most ",
                                  kMaxNoteBytes, " are allowed"));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::optional<incident::v1::IncidentActivity>> Decide(const Command& command,
                                                                     const Lifecycle& lifecycle,
                                                                     std::string_view current_etag,
                                                                     WallTime now) {
  const bool acknowledge = command.kind == incident::v1::ACTIVITY_KIND_ACKNOWLEDGED;
  const IncidentState after = acknowledge ? incident::v1::INCIDENT_STATE_ACKNOWLEDGED
                                          : incident::v1::INCIDENT_STATE_RESOLVED;
  // Before the etag: a repeated call still names the etag that its first run changed.
  const std::string& done_by = acknowledge ? lifecycle.acknowledged_by : lifecycle.resolved_by;
  if (lifecycle.state == after && done_by == command.actor) return std::nullopt;

  const bool allowed =
      lifecycle.state == incident::v1::INCIDENT_STATE_OPEN ||
      (!acknowledge && lifecycle.state == incident::v1::INCIDENT_STATE_ACKNOWLEDGED);
  if (!allowed) {
    const bool resolved = lifecycle.state == incident::v1::INCIDENT_STATE_RESOLVED;
    return FailedPrecondition(
        Concat("incident ", command.incident_id, " is ", StateName(lifecycle.state), " by ",
               resolved ? lifecycle.resolved_by : lifecycle.acknowledged_by, " since ",
               FormatTime(resolved ? lifecycle.resolved_time : lifecycle.acknowledged_time),
               acknowledge ? "; only an OPEN one can be acknowledged"
                           : "; only an OPEN or ACKNOWLEDGED one can be resolved"));
  }
  if (!command.etag.empty() && command.etag != current_etag) {
    return Aborted(Concat("incident ", command.incident_id,
                          " has changed since it was read: its etag is now ", current_etag,
                          ". Look at it again, then repeat the command with this etag"));
  }
  incident::v1::IncidentActivity activity;
  const std::string time = Micros(now);
  const std::string kind = std::to_string(static_cast<int>(command.kind));
  const std::array<std::string_view, 4> parts = {command.incident_id, kind, command.actor, time};
  activity.set_id(StableId(parts));
  activity.set_incident_id(command.incident_id);
  activity.set_kind(command.kind);
  activity.set_actor(command.actor);
  activity.set_note(command.note);
  *activity.mutable_time() = ToTimestamp(now);
  activity.set_state_before(lifecycle.state);
  activity.set_state_after(after);
  return activity;
}

void Apply(const incident::v1::IncidentActivity& activity, Lifecycle& lifecycle) {
  lifecycle.state = activity.state_after();
  switch (activity.kind()) {
    case incident::v1::ACTIVITY_KIND_ACKNOWLEDGED:
      lifecycle.acknowledged_by = activity.actor();
      lifecycle.acknowledged_time = ToWallTime(activity.time());
      break;
    case incident::v1::ACTIVITY_KIND_RESOLVED:
      lifecycle.resolved_by = activity.actor();
      lifecycle.resolved_time = ToWallTime(activity.time());
      break;
    default:
      break;
  }
}

std::string Etag(const incident::v1::Incident& incident, const Lifecycle& lifecycle) {
  const std::string revision = std::to_string(incident.revision());
  const std::string state = std::to_string(static_cast<int>(lifecycle.state));
  const std::string acknowledged = Micros(lifecycle.acknowledged_time);
  const std::string resolved = Micros(lifecycle.resolved_time);
  const std::array<std::string_view, 7> parts = {
      incident.id(),         revision, state, lifecycle.acknowledged_by, acknowledged,
      lifecycle.resolved_by, resolved};
  return StableId(parts).substr(0, 16);
}

void Complete(incident::v1::Incident& incident, const Lifecycle& lifecycle, WallTime update_time) {
  incident.set_state(lifecycle.state);
  incident.set_etag(Etag(incident, lifecycle));
  incident.set_acknowledged_by(lifecycle.acknowledged_by);
  if (!lifecycle.acknowledged_by.empty()) {
    *incident.mutable_acknowledged_time() = ToTimestamp(lifecycle.acknowledged_time);
  }
  incident.set_resolved_by(lifecycle.resolved_by);
  if (!lifecycle.resolved_by.empty()) {
    *incident.mutable_resolved_time() = ToTimestamp(lifecycle.resolved_time);
  }
  *incident.mutable_update_time() = ToTimestamp(update_time);
}

std::string_view StateName(IncidentState state) {
  switch (state) {
    case incident::v1::INCIDENT_STATE_ACKNOWLEDGED:
      return "ACKNOWLEDGED";
    case incident::v1::INCIDENT_STATE_RESOLVED:
      return "RESOLVED";
    default:
      return "OPEN";
  }
}

WallTime ToWallTime(const google::protobuf::Timestamp& time) {
  // Beyond what microseconds since 1970 can hold nothing sensible was meant.
  constexpr std::int64_t kLimit = 253'402'300'799;
  return WallTime(std::chrono::seconds(std::clamp(time.seconds(), -kLimit, kLimit)) +
                  std::chrono::microseconds(time.nanos() / 1000));
}

google::protobuf::Timestamp ToTimestamp(WallTime time) {
  const auto seconds = std::chrono::floor<std::chrono::seconds>(time.time_since_epoch());
  google::protobuf::Timestamp result;
  result.set_seconds(seconds.count());
  result.set_nanos(static_cast<std::int32_t>(
      std::chrono::nanoseconds(time.time_since_epoch() - seconds).count()));
  return result;
}

}  // namespace tocsin::report
