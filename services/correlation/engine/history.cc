#include "services/correlation/engine/history.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "google/protobuf/util/time_util.h"
#include "services/correlation/engine/keys.h"
#include "services/correlation/engine/state_message.h"

namespace tocsin::correlation {
namespace {

// So many are removed when one is added, so that what is too old becomes less.
constexpr std::size_t kTrimAtOnce = 8;
// Watermarks stand a millisecond before what they promise.
constexpr std::int64_t kMarginUs = 2'000;

}  // namespace

PackedEvent HistoryItem::event() const {
  std::string_view bytes = entry.event();
  return TakePacked(bytes).value_or(PackedEvent());
}

History::History(const PlannedRule& rule, std::string_view joined, StateView& state)
    : rule_(rule),
      head_key_(HistoryHeadKey(rule.prefix, joined)),
      prefix_(HistoryKeyPrefix(rule.prefix, joined)),
      state_(state),
      head_(LoadState<v1::HistoryHead>(state, head_key_).value_or(v1::HistoryHead())) {}

std::string History::OrderOf(const v1::StoredEvent& event) {
  const auto& reference = event.reference();
  const std::int64_t time =
      google::protobuf::util::TimeUtil::TimestampToMicroseconds(reference.time());
  return HeldKey("", FromMicros(time), reference.sequence(), reference.partition(),
                 reference.offset())
      .substr(1);
}

History::Place History::PlaceOf(const std::string& order, std::int64_t time_us) const {
  if (head_.events() == 0 || head_.last() < order) return Place::kNewest;
  if (state_.Get(prefix_ + order).has_value()) return Place::kKnown;
  if (head_.has_floor_us() && head_.floor_us() > time_us - rule_.rule->timespan().count()) {
    return Place::kForgotten;
  }
  return Place::kEarlier;
}

std::vector<HistoryItem> History::Items() const {
  std::vector<HistoryItem> items;
  state_.Range(prefix_, PrefixEnd(prefix_), [&](std::string_view key, std::string_view value) {
    items.push_back({std::string(key.substr(prefix_.size())), ParseState<v1::HistoryEntry>(value)});
    return true;
  });
  return items;
}

void History::Put(const HistoryItem& item) {
  state_.Put(prefix_ + item.order, item.entry.SerializeAsString());
}

void History::Add(const HistoryItem& item, std::int64_t time_us) {
  Put(item);
  head_.set_events(head_.events() + 1);
  if (head_.last() < item.order) head_.set_last(item.order);
  head_.set_highest_us(std::max(head_.highest_us(), time_us));
}

std::int64_t History::Trim(std::int64_t time_us) {
  const std::int64_t until =
      time_us - (rule_.rule->timespan() + rule_.rule->correct_within()).count() - kMarginUs;
  std::vector<std::string> gone;
  std::int64_t too_much = 0;
  state_.Range(prefix_, PrefixEnd(prefix_), [&](std::string_view key, std::string_view) {
    const std::int64_t time = DecodeInt64(key.substr(prefix_.size(), 8)).value_or(0);
    if (time > until) {
      if (head_.events() - std::ssize(gone) <= kMaxHistory) return false;
      head_.set_floor_us(time);
      ++too_much;
    }
    gone.emplace_back(key);
    return gone.size() < kTrimAtOnce;
  });
  for (const std::string& key : gone) state_.Delete(key);
  head_.set_events(head_.events() - std::ssize(gone));
  return too_much;
}

void History::Store() { state_.Put(head_key_, head_.SerializeAsString()); }

Duration History::Lifetime(const PlannedRule& rule) {
  return rule.rule->timespan() + rule.rule->correct_within() + rule.rule->join_within() +
         Duration(kMarginUs);
}

void History::Remove(const PlannedRule& rule, std::string_view head_key, StateView& state) {
  const std::string prefix = HistoryKeyPrefix(rule.prefix, head_key.substr(1 + rule.prefix.size()));
  std::vector<std::string> gone;
  state.Range(prefix, PrefixEnd(prefix), [&](std::string_view key, std::string_view) {
    gone.emplace_back(key);
    return true;
  });
  for (const std::string& key : gone) state.Delete(key);
  state.Delete(head_key);
}

}  // namespace tocsin::correlation
