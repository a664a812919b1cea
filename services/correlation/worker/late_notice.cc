#include "services/correlation/worker/late_notice.h"

namespace tocsin::correlation {

void LateNotice::Add(std::string_view stream, const Counts& counts) {
  for (const auto& [rule, of_rule] : counts.rules) {
    if (of_rule.late > 0) untold_[{std::string(stream), rule}] += of_rule.late;
  }
}

std::vector<LateNotice::Line> LateNotice::Due(SteadyTime now) {
  if (untold_.empty() || (told_.has_value() && now - *told_ < kInterval)) return {};
  std::vector<Line> lines;
  for (const auto& [which, events] : untold_) lines.push_back({which.first, which.second, events});
  untold_.clear();
  told_ = now;
  return lines;
}

}  // namespace tocsin::correlation
