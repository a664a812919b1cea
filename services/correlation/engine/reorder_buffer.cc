#include "services/correlation/engine/reorder_buffer.h"

#include <utility>

#include "lib/base/text.h"
#include "services/correlation/engine/keys.h"
#include "services/correlation/engine/state_message.h"

namespace tocsin::correlation {

bool ReorderBuffer::Passed(const PlannedRule& rule, WallTime time) {
  const v1::RuleProgress& progress = Progress(rule);
  return progress.has_watermark_us() && Micros(time) <= progress.watermark_us();
}

bool ReorderBuffer::ReleasedBeyond(const PlannedRule& rule, std::int64_t us, Duration later) {
  const v1::RuleProgress& progress = Progress(rule);
  return progress.has_released_us() && progress.released_us() - us >= later.count();
}

void ReorderBuffer::Hold(const PlannedRule& rule, const Envelope& envelope, const Origin& origin,
                         const v1::HeldEvent& held) {
  state_.Put(
      HeldKey(rule.prefix, envelope.time, envelope.sequence, origin.where.partition, origin.offset),
      held.SerializeAsString());
}

void ReorderBuffer::Advance(const PlannedRule& rule, std::optional<WallTime> watermark) {
  if (!watermark.has_value()) return;
  v1::RuleProgress& progress = Progress(rule);
  if (progress.has_watermark_us() && progress.watermark_us() >= Micros(*watermark)) return;
  progress.set_watermark_us(Micros(*watermark));
  changed_.insert(rule.prefix);
}

bool ReorderBuffer::Release(const PlannedRule& rule, const Visitor& visit) {
  v1::RuleProgress& progress = Progress(rule);
  if (!progress.has_watermark_us()) return true;
  if (progress.has_released_us() && progress.released_us() >= progress.watermark_us()) return true;
  const std::string begin = progress.has_released_us()
                                ? HeldKeyFloor(rule.prefix, FromMicros(progress.released_us() + 1))
                                : Concat('b', rule.prefix);
  const std::string end = HeldKeyFloor(rule.prefix, FromMicros(progress.watermark_us() + 1));
  std::vector<std::pair<std::string, std::string>> due;
  bool complete = true;
  state_.Range(begin, end, [&](std::string_view key, std::string_view value) {
    if (released_ + due.size() >= max_release_) {
      complete = false;
      return false;
    }
    due.emplace_back(key, value);
    return true;
  });
  released_ += due.size();
  for (const auto& [key, bytes] : due) {
    state_.Delete(key);
    visit(ParseState<v1::HeldEvent>(bytes));
  }
  if (complete) {
    progress.set_released_us(progress.watermark_us());
    changed_.insert(rule.prefix);
  }
  return complete;
}

std::optional<std::int64_t> ReorderBuffer::WatermarkUs(const PlannedRule& rule) {
  const v1::RuleProgress& progress = Progress(rule);
  if (!progress.has_watermark_us()) return std::nullopt;
  return progress.watermark_us();
}

std::optional<std::int64_t> ReorderBuffer::ReleasedUs(const PlannedRule& rule) {
  const v1::RuleProgress& progress = Progress(rule);
  if (!progress.has_released_us()) return std::nullopt;
  return progress.released_us();
}

void ReorderBuffer::SetReleased(const PlannedRule& rule) {
  v1::RuleProgress& progress = Progress(rule);
  progress.set_released_us(progress.watermark_us());
  changed_.insert(rule.prefix);
}

void ReorderBuffer::Store() {
  for (const std::string& prefix : changed_) {
    state_.Put(ProgressKey(prefix), progress_.at(prefix).SerializeAsString());
  }
}

v1::RuleProgress& ReorderBuffer::Progress(const PlannedRule& rule) {
  const auto found = progress_.find(rule.prefix);
  if (found != progress_.end()) return found->second;
  return progress_
      .emplace(rule.prefix, LoadState<v1::RuleProgress>(state_, ProgressKey(rule.prefix))
                                .value_or(v1::RuleProgress()))
      .first->second;
}

}  // namespace tocsin::correlation
