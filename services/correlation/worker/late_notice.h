// Sums up events that came too late for a rule, so that an operator is told at once and then at
// most every kInterval, however many there are. The metric counts each of them in any case.
//
// Threads: one at a time. The time is the caller's.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lib/base/clock.h"
#include "services/correlation/engine/task.h"

namespace tocsin::correlation {

class LateNotice {
 public:
  static constexpr std::chrono::seconds kInterval{10};

  struct Line {
    std::string stream;
    std::string rule;
    std::int64_t events = 0;
  };

  void Add(std::string_view stream, const Counts& counts);
  // What is to be told now; empty most of the time.
  std::vector<Line> Due(SteadyTime now);

 private:
  // By stream and rule.
  std::map<std::pair<std::string, std::string>, std::int64_t> untold_;
  std::optional<SteadyTime> told_;
};

}  // namespace tocsin::correlation
