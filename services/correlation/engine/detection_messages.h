// Detections and incidents as messages.
//
// All functions are pure.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "services/correlation/engine/rule_plan.h"
#include "services/correlation/engine/window.h"
#include "tocsin/correlation/v1/detection.pb.h"
#include "tocsin/correlation/v1/state.pb.h"
#include "tocsin/incident/v1/incident.pb.h"

namespace tocsin::correlation {

// Without its incident. `joined`: the group key.
v1::Detection MakeDetection(const PlannedRule& rule, const std::vector<std::string>& group_key,
                            std::string_view joined, const Firing& firing);

// `evidence`: the events of its newest detection.
tocsin::incident::v1::Incident MakeIncident(const PlannedRule& rule,
                                            const std::vector<std::string>& group_key,
                                            const v1::IncidentRecord& record,
                                            const std::vector<v1::StoredEvent>& evidence);

}  // namespace tocsin::correlation
