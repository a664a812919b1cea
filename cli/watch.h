// A live subscription that survives the gateway: it subscribes again from the last cursor.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "cli/stop_request.h"
#include "tocsin/incident/v1/incident.pb.h"
#include "tocsin/live/v1/live.pb.h"

namespace tocsin::cli {

// Blocks until `on_change` returns false (OK), a stop is requested (CANCELLED, at once), or an
// error that a new try cannot mend: no right, a bad cursor. `on_lost` hears of each connection
// lost, once until the next success. Calls both on this thread.
absl::Status Watch(const std::string& gateway, const std::string& token,
                   live::v1::SubscribeRequest request,
                   const std::function<bool(const live::v1::SubscribeResponse&)>& on_change,
                   const std::function<void(const absl::Status&)>& on_lost,
                   const StopRequest& stop);

// One line for people: "13:24:00  HIGH  area-surge  LOWER GWYNEDD  opened  Many calls …\n".
std::string ChangeText(const live::v1::SubscribeResponse& response);
// "open", "acknowledged", "resolved"
std::string IncidentStateText(incident::v1::IncidentState state);
// Late events have left it without detections.
bool IsWithdrawn(const incident::v1::Incident& incident);

}  // namespace tocsin::cli
