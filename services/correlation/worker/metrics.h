// The figures of correlation, counted after the commit: what was aborted never happened.
//
//   tocsin_correlation_in_total{stream}
//   tocsin_correlation_events_total{stream,outcome}            invalid duplicate accepted
//   tocsin_correlation_rule_events_total{rule,stream,outcome}  filtered missing_key late taken
//   tocsin_correlation_rule_undecided_events{rule,stream}
//   tocsin_correlation_unreconciled_total{stream}
//
//       in = invalid + duplicate + accepted, and for each rule accepted = filtered + missing_key +
//       late + taken + undecided, in every transaction: docs/formats/time.md
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
