// Spans of what a task has computed: for each event that caused something one "process", and under
// it one "send" for each output, which is written into the output's traceparent.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "services/correlation/engine/task.h"

namespace tocsin::correlation {

// Marks are left out: no event causes them.
void TraceOutputs(std::string_view group, std::int32_t partition,
                  std::vector<OutputRecord>& outputs);

}  // namespace tocsin::correlation
