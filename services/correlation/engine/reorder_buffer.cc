#include "services/correlation/engine/reorder_buffer.h"

#include <algorithm>
#include <utility>

#include "lib/base/text.h"
#include "services/correlation/engine/keys.h"
#include "services/correlation/engine/state_message.h"

namespace tocsin::correlation {
namespace {

// What the state keeps of an event: this byte, the length of the group key (4 bytes), the group
// key, the packed event. Format 1 kept a v1::HeldEvent, whose first byte is never this one.
constexpr char kPackedFormat = '\x02';
constexpr std::size_t kKeyAt = 1 + sizeof(std::uint32_t);
// In the number of the partition in an event's place: above any partition's.
constexpr std::int32_t kRightSide = 1 << 30;

}  // namespace

void VisitHeld(std::string_view bytes, const HeldVisitor& visit) {
  if (bytes.size() >= kKeyAt && bytes.front() == kPackedFormat) {
    const std::size_t key_size = LoadFixed32(bytes.data() + 1);
    std::string_view rest = bytes.substr(std::min(bytes.size(), kKeyAt + key_size));
    const std::optional<PackedEvent> event = TakePacked(rest);
    if (event.has_value()) visit(bytes.substr(kKeyAt, key_size), *event);
    return;
  }
  const auto held = ParseState<v1::HeldEvent>(bytes);
  std::string packed;
  AppendPacked(held.event(), packed);
  std::string_view rest = packed;
  visit(JoinKey({held.group_key().begin(), held.group_key().end()}), *TakePacked(rest));
}

bool ReorderBuffer::OfRule::Before(const Waiting& a, const Waiting& b) const {
  if (a.time_us != b.time_us) return a.time_us < b.time_us;
  if (const int order = Sequence(a).compare(Sequence(b)); order != 0) return order < 0;
  if (a.partition != b.partition) {
    return static_cast<std::uint32_t>(a.partition) < static_cast<std::uint32_t>(b.partition);
  }
  return a.offset < b.offset;
}

std::string ReorderBuffer::OfRule::Key(const Waiting& event) const {
  return HeldKey(rule->prefix, FromMicros(event.time_us), Sequence(event), event.partition,
                 event.offset);
}

void ReorderBuffer::OfRule::Sort() {
  if (ordered) return;
  const auto before = [this](const Waiting& a, const Waiting& b) { return Before(a, b); };
  std::stable_sort(waiting.begin(), waiting.end(), before);
  // An event that was forwarded twice has one place.
  const auto last = std::unique(
      waiting.rbegin(), waiting.rend(),
      [&](const Waiting& a, const Waiting& b) { return !Before(a, b) && !Before(b, a); });
  waiting.erase(waiting.begin(), last.base());
  ordered = true;
}

bool ReorderBuffer::Passed(const PlannedRule& rule, WallTime time) {
  const v1::RuleProgress& progress = Of(rule).progress;
  return progress.has_watermark_us() && Micros(time) <= progress.watermark_us();
}

bool ReorderBuffer::ReleasedBeyond(const PlannedRule& rule, std::int64_t us, Duration later) {
  const v1::RuleProgress& progress = Of(rule).progress;
  return progress.has_released_us() && progress.released_us() - us >= later.count();
}

void ReorderBuffer::Hold(const PlannedRule& rule, const Envelope& envelope, const Origin& origin,
                         std::string_view group_key, std::string_view value, WallTime position) {
  OfRule& of = Of(rule);
  Waiting event;
  event.time_us = Micros(position);
  event.offset = origin.offset;
  event.partition = origin.right ? origin.partition | kRightSide : origin.partition;
  event.sequence_at = static_cast<std::uint32_t>(of.bytes.size());
  event.sequence_size = static_cast<std::uint32_t>(envelope.sequence.size());
  of.bytes.append(envelope.sequence);
  event.value_at = static_cast<std::uint32_t>(of.bytes.size());
  of.bytes.push_back(kPackedFormat);
  AppendFixed32(static_cast<std::uint32_t>(group_key.size()), of.bytes);
  of.bytes.append(group_key);
  AppendPacked(envelope, origin.topic, origin.partition, origin.offset, value, of.bytes);
  event.value_size = static_cast<std::uint32_t>(of.bytes.size()) - event.value_at;
  of.ordered = of.ordered && (of.waiting.empty() || of.Before(of.waiting.back(), event));
  of.waiting.push_back(event);
}

void ReorderBuffer::Advance(const PlannedRule& rule, std::optional<WallTime> watermark) {
  if (!watermark.has_value()) return;
  OfRule& of = Of(rule);
  if (of.progress.has_watermark_us() && of.progress.watermark_us() >= Micros(*watermark)) return;
  of.progress.set_watermark_us(Micros(*watermark));
  of.progress_changed = true;
}

bool ReorderBuffer::Release(const PlannedRule& rule, const Visitor& visit) {
  OfRule& of = Of(rule);
  v1::RuleProgress& progress = of.progress;
  if (!progress.has_watermark_us()) return true;
  if (progress.has_released_us() && progress.released_us() >= progress.watermark_us()) return true;
  const std::size_t budget = max_release_ - released_;
  bool complete = true;

  // What an earlier transaction has left in the state.
  const std::string begin = progress.has_released_us()
                                ? HeldKeyFloor(rule.prefix, FromMicros(progress.released_us() + 1))
                                : Concat('b', rule.prefix);
  const std::string end = HeldKeyFloor(rule.prefix, FromMicros(progress.watermark_us() + 1));
  std::vector<std::pair<std::string, std::string>> stored;
  state_->Range(begin, end, [&](std::string_view key, std::string_view value) {
    complete = stored.size() < budget;
    if (complete) stored.emplace_back(key, value);
    return complete;
  });

  of.Sort();
  std::size_t taken = 0;
  auto next_stored = stored.begin();
  auto next = of.waiting.begin();
  for (;; ++taken) {
    const bool due = next != of.waiting.end() && next->time_us <= progress.watermark_us();
    if (next_stored == stored.end() && !due) break;
    if (taken == budget) {
      complete = false;
      break;
    }
    if (next_stored != stored.end()) {
      const std::string key = due ? of.Key(*next) : std::string();
      if (!due || next_stored->first <= key) {
        // The same event, come again: what came later is what counts.
        const bool replaced = due && next_stored->first == key;
        state_->Delete(next_stored->first);
        if (!replaced) VisitHeld(next_stored->second, visit);
        ++next_stored;
        if (!replaced) continue;
      }
    }
    VisitHeld(of.Value(*next), visit);
    ++next;
  }
  released_ += taken;
  of.waiting.erase(of.waiting.begin(), next);
  if (of.waiting.empty()) of.bytes.clear();
  if (complete) {
    progress.set_released_us(progress.watermark_us());
    of.progress_changed = true;
  }
  return complete;
}

std::optional<std::int64_t> ReorderBuffer::WatermarkUs(const PlannedRule& rule) {
  const v1::RuleProgress& progress = Of(rule).progress;
  if (!progress.has_watermark_us()) return std::nullopt;
  return progress.watermark_us();
}

std::optional<std::int64_t> ReorderBuffer::ReleasedUs(const PlannedRule& rule) {
  const v1::RuleProgress& progress = Of(rule).progress;
  if (!progress.has_released_us()) return std::nullopt;
  return progress.released_us();
}

void ReorderBuffer::SetReleased(const PlannedRule& rule) {
  OfRule& of = Of(rule);
  of.progress.set_released_us(of.progress.watermark_us());
  of.progress_changed = true;
}

void ReorderBuffer::Store() {
  for (OfRule& of : rules_) {
    of.Sort();
    for (const Waiting& event : of.waiting) state_->Put(of.Key(event), of.Value(event));
    of.waiting.clear();
    of.bytes.clear();
    if (!of.progress_changed) continue;
    state_->Put(ProgressKey(of.rule->prefix), of.progress.SerializeAsString());
    of.progress_changed = false;
  }
}

ReorderBuffer::OfRule& ReorderBuffer::Of(const PlannedRule& rule) {
  if (rules_.size() <= rule.number) rules_.resize(rule.number + 1);
  OfRule& of = rules_[rule.number];
  if (of.rule == nullptr) {
    of.rule = &rule;
    of.progress =
        LoadState<v1::RuleProgress>(*state_, ProgressKey(rule.prefix)).value_or(v1::RuleProgress());
  }
  return of;
}

}  // namespace tocsin::correlation
