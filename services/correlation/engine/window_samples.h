// Events as the aggregates of a window rule see them, and the pieces of windows that they make.
//
// All functions are pure.
#pragma once

#include <string>
#include <vector>

#include "services/correlation/aggregate/accumulator.h"
#include "services/correlation/engine/window_store.h"
#include "services/correlation/rules/window_rule.h"
#include "tocsin/correlation/v1/window_state.pb.h"

namespace tocsin::correlation {

v1::SampleValue ToSample(aggregate::Value value);

// One for each of the window's aggregates.
std::vector<aggregate::Accumulator> EmptyAccumulators(const CompiledWindow& window);
void AddSample(const v1::WindowSample& sample, std::vector<aggregate::Accumulator>& accumulators);
void MergeInto(const Pane& from, std::vector<aggregate::Accumulator>& accumulators);
void AddTo(Pane& pane, const v1::WindowSample& sample);

}  // namespace tocsin::correlation
