// The figures of correlation, counted after the commit: what was aborted never happened.
//
//   tocsin_correlation_events_total{stream,outcome}       outcome: invalid duplicate accepted
//   tocsin_correlation_rule_events_total{rule,outcome}    filtered missing_key late taken
//   …                                                     so that in = the sum over outcomes
//
//   tocsin_correlation_position_resets_total{topic,cause}
//       the position was not in the log. cause: removed    before its beginning, by retention
//                                               truncated  behind its end
//
// Threads: any.
#pragma once

#include <string_view>

#include "services/correlation/engine/task.h"

namespace tocsin::correlation {

void CountCommitted(std::string_view stream, const Counts& counts);
// outcome: committed aborted broken.
void CountTransaction(std::string_view outcome, double seconds);
// cause: removed truncated.
void CountPositionReset(std::string_view topic, std::string_view cause);

}  // namespace tocsin::correlation
