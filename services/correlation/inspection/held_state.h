// An excerpt of the state in words that people and programs understand.
//
// All functions are pure.
#pragma once

#include "services/correlation/inspection/state_question.h"
#include "tocsin/correlation/v1/state_service.pb.h"

namespace tocsin::correlation {

// Everything but where it was read (`source`, `worker`, `partition`, `changelog`,
// `changelog_position`).
v1::ShowStateResponse Describe(const StateExcerpt& excerpt);

}  // namespace tocsin::correlation
