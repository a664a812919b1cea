// What report decides: which lifecycle command is allowed, what an incident looks like together
// with what people did to it. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "google/protobuf/timestamp.pb.h"
#include "lib/base/clock.h"
#include "tocsin/incident/v1/incident.pb.h"

namespace tocsin::report {

// What people have done to an incident.
struct Lifecycle {
  incident::v1::IncidentState state = incident::v1::INCIDENT_STATE_OPEN;
  std::string acknowledged_by = {};
  WallTime acknowledged_time{};
  std::string resolved_by = {};
  WallTime resolved_time{};
};

struct Command {
  incident::v1::ActivityKind kind = incident::v1::ACTIVITY_KIND_UNSPECIFIED;
  std::string incident_id = {};
  // Empty: whatever the state is.
  std::string etag = {};
  std::string note = {};
  std::string actor = {};
};

// INVALID_ARGUMENT names the field: no incident id, a note over 4,096 bytes.
absl::Status CheckCommand(const Command& command);

// The activity that carries the command out; nullopt where it has been carried out already by the
// same person. FAILED_PRECONDITION from a state that does not allow it: the message names the
// state. ABORTED: `etag` is not the current one.
absl::StatusOr<std::optional<incident::v1::IncidentActivity>> Decide(const Command& command,
                                                                     const Lifecycle& lifecycle,
                                                                     std::string_view current_etag,
                                                                     WallTime now);

// What an activity does to the lifecycle. Activities that are in the log have been decided, so this
// asks no question.
void Apply(const incident::v1::IncidentActivity& activity, Lifecycle& lifecycle);

// Equal for the same revision in the same lifecycle, in every process and after every rebuild.
std::string Etag(const incident::v1::Incident& incident, const Lifecycle& lifecycle);

// Fills the fields of the incident that correlation leaves to report.
void Complete(incident::v1::Incident& incident, const Lifecycle& lifecycle, WallTime update_time);

// "OPEN"
std::string_view StateName(incident::v1::IncidentState state);

WallTime ToWallTime(const google::protobuf::Timestamp& time);
google::protobuf::Timestamp ToTimestamp(WallTime time);

}  // namespace tocsin::report
