// The figures of correlation, counted after the commit: what was aborted never happened.
//
//   tocsin_correlation_events_total{stream,outcome}       outcome: invalid duplicate accepted
//   tocsin_correlation_rule_events_total{rule,outcome}    filtered missing_key late taken
//   …                                                     so that in = the sum over outcomes
//
// Threads: any.
#pragma once

#include <string_view>

#include "services/correlation/engine/task.h"

namespace tocsin::correlation {

void CountCommitted(std::string_view stream, const Counts& counts);
// outcome: committed aborted broken.
void CountTransaction(std::string_view outcome, double seconds);

}  // namespace tocsin::correlation
