#include "services/correlation/engine/window.h"

#include <algorithm>
#include <set>
#include <string_view>
#include <utility>

#include "google/protobuf/util/time_util.h"
#include "lib/base/status.h"
#include "lib/base/text.h"
#include "services/correlation/engine/keys.h"
#include "services/correlation/engine/state_message.h"

namespace tocsin::correlation {
namespace {

std::int64_t LargestNumber(const tocsin::rule::v1::Condition& condition) {
  std::int64_t largest = 0;
  if (condition.has_gt()) largest = std::max(largest, condition.gt());
  if (condition.has_gte()) largest = std::max(largest, condition.gte());
  if (condition.has_lt()) largest = std::max(largest, condition.lt());
  if (condition.has_lte()) largest = std::max(largest, condition.lte());
  if (condition.has_eq()) largest = std::max(largest, condition.eq());
  if (condition.has_neq()) largest = std::max(largest, condition.neq());
  return largest;
}

// The value under a window's key: this byte, numbers, the packed events that are in no piece.
// Format 1 is a v1::WindowState, whose first byte is never this one.
constexpr char kPackedFormat = '\x02';
constexpr std::size_t kTouchedAt = 1;
constexpr std::size_t kHighestAt = 9;
constexpr std::size_t kFirstPieceAt = 17;
constexpr std::size_t kPiecesAt = 21;
// How many events of the first piece are no more.
constexpr std::size_t kGoneAt = 25;
constexpr std::size_t kHeaderBytes = 29;

// So many events make a piece.
constexpr std::uint32_t kPieceEvents = 8;

bool IsPacked(std::string_view bytes) {
  return bytes.size() >= kHeaderBytes && bytes.front() == kPackedFormat;
}

}  // namespace

absl::Status CheckSupported(const CompiledRule& rule) {
  if (LargestNumber(rule.spec().correlation().condition()) > kMaxConditionNumber) {
    return InvalidArgument(Concat(
        "rule ", rule.id(), ": correlation.condition compares with more than ", kMaxConditionNumber,
        " events of one key, which would all have to be kept; use a smaller number or a "
        "shorter timespan"));
  }
  return absl::OkStatus();
}

Window Window::Load(const StateReader& state, std::string_view key, bool& stored) {
  Window window;
  const std::optional<std::string> value = state.Get(key);
  stored = value.has_value();
  if (!stored) return window;
  const std::string_view bytes = *value;
  if (!IsPacked(bytes)) {
    const auto old = ParseState<v1::WindowState>(bytes);
    window.touched_us_ = old.touched_us();
    std::string packed;
    for (const v1::StoredEvent& event : old.events()) AppendPacked(event, packed);
    window.bytes_.reserve(packed.size());
    std::string_view events = packed;
    while (const std::optional<PackedEvent> event = TakePacked(events)) window.Append(*event);
    return window;
  }
  window.touched_us_ = LoadFixed64(bytes.data() + kTouchedAt);
  window.first_piece_ = LoadFixed32(bytes.data() + kFirstPieceAt);
  window.stored_begin_ = window.first_piece_;
  window.stored_end_ = window.first_piece_ + LoadFixed32(bytes.data() + kPiecesAt);
  std::uint32_t gone = LoadFixed32(bytes.data() + kGoneAt);
  const auto append = [&window](std::string_view events, std::uint32_t skip) {
    std::uint32_t taken = 0;
    for (; const std::optional<PackedEvent> event = TakePacked(events); ++taken) {
      if (taken >= skip) window.Append(*event);
    }
    return taken;
  };
  for (std::uint32_t piece = window.stored_begin_; piece != window.stored_end_; ++piece) {
    const std::string events = state.Get(WindowPieceKey(key, piece)).value_or("");
    window.pieces_.push_back({append(events, gone), std::exchange(gone, 0)});
  }
  window.open_ = window.bytes_.size();
  window.open_count_ = 0;
  append(bytes.substr(kHeaderBytes), 0);
  return window;
}

Window::Summary Window::Summarise(std::string_view bytes) {
  Summary summary;
  if (IsPacked(bytes)) {
    summary.touched_us = LoadFixed64(bytes.data() + kTouchedAt);
    summary.highest_us = LoadFixed64(bytes.data() + kHighestAt);
    return summary;
  }
  const auto state = ParseState<v1::WindowState>(bytes);
  summary.touched_us = state.touched_us();
  for (int i = 0; i < state.events_size(); ++i) {
    const std::int64_t time = google::protobuf::util::TimeUtil::TimestampToMicroseconds(
        state.events(i).reference().time());
    summary.highest_us = i == 0 ? time : std::max(summary.highest_us, time);
  }
  return summary;
}

void Window::Remove(std::string_view key, std::string_view bytes, StateView& state) {
  if (IsPacked(bytes)) {
    std::uint32_t piece = LoadFixed32(bytes.data() + kFirstPieceAt);
    for (std::uint32_t left = LoadFixed32(bytes.data() + kPiecesAt); left > 0; --left, ++piece) {
      state.Delete(WindowPieceKey(key, piece));
    }
  }
  state.Delete(key);
}

std::optional<Firing> Window::Add(const CompiledRule& rule, const PackedEvent& event,
                                  std::int64_t touched_us) {
  const std::int64_t timespan = rule.timespan().count();
  const std::int64_t now = event.time_us;
  Append(event);
  touched_us_ = touched_us;

  // What no later event can meet. In event-time order that is what lies outside this very window.
  std::int64_t newest = now;
  std::int64_t slack = 0;
  if (rule.order() == RuleOrder::kArrival) {
    newest = highest_us_;
    slack = ArrivalSlack(rule.timespan()).count();
  }
  Forget(newest - timespan - slack);
  if (std::cmp_greater(count_, kMinWindowCapacity)) Limit(rule);

  Firing firing;
  firing.value = rule.type() == RuleType::kValueCount ? CountValues(now - timespan, now)
                                                      : CountEvents(now - timespan, now);
  if (!rule.ConditionHolds(firing.value)) return std::nullopt;
  std::string_view events = Packed();
  while (const std::optional<PackedEvent> candidate = TakePacked(events)) {
    if (candidate->time_us > now - timespan && candidate->time_us <= now) {
      firing.events.push_back(Unpack(*candidate));
    }
  }
  Clear();
  return firing;
}

void Window::Visit(const std::function<void(const PackedEvent&)>& visit) const {
  std::string_view events = Packed();
  while (const std::optional<PackedEvent> event = TakePacked(events)) visit(*event);
}

std::size_t Window::KeepSome(const PackedEvent& event, std::int64_t until_us, const Room& room,
                             std::int64_t touched_us) {
  Append(event);
  touched_us_ = touched_us;
  Forget(until_us);
  std::size_t dropped = 0;
  for (; count_ > 1 && (count_ > room.events || Packed().size() > room.bytes); ++dropped) {
    PopFront();
  }
  return dropped;
}

std::vector<v1::StoredEvent> Window::Events() const {
  std::vector<v1::StoredEvent> events;
  for (const Place& place : Places()) events.push_back(Unpack(place.event));
  return events;
}

void Window::Save(StateView& state, std::string_view key, bool stored) {
  const std::uint32_t end = first_piece_ + static_cast<std::uint32_t>(pieces_.size());
  for (std::uint32_t piece = stored_begin_; piece != stored_end_; ++piece) {
    if (piece < first_piece_ || piece >= end) state.Delete(WindowPieceKey(key, piece));
  }
  // All pieces that there are the state has; the events behind them may become one more.
  if (open_count_ >= kPieceEvents) {
    state.Put(WindowPieceKey(key, end), std::string_view(bytes_).substr(open_));
    pieces_.push_back({open_count_, 0});
    open_ = bytes_.size();
    open_count_ = 0;
  }
  stored_begin_ = first_piece_;
  stored_end_ = first_piece_ + static_cast<std::uint32_t>(pieces_.size());
  if (empty()) {
    if (stored) state.Delete(key);
    return;
  }
  const std::string_view events = std::string_view(bytes_).substr(open_);
  std::string value;
  value.reserve(kHeaderBytes + events.size());
  value.push_back(kPackedFormat);
  AppendFixed64(touched_us_, value);
  AppendFixed64(highest_us_, value);
  AppendFixed32(first_piece_, value);
  AppendFixed32(stored_end_ - stored_begin_, value);
  AppendFixed32(pieces_.empty() ? 0 : pieces_.front().gone, value);
  value.append(events);
  state.PutValue(key, std::move(value));
}

void Window::Compact() {
  bytes_.erase(0, begin_);
  recent_ -= begin_;
  open_ -= begin_;
  begin_ = 0;
}

std::vector<Window::Place> Window::Places() const {
  std::vector<Place> places;
  std::string_view events = Packed();
  std::size_t at = begin_;
  while (const std::optional<PackedEvent> event = TakePacked(events)) {
    places.push_back({at, *event});
    at += event->bytes.size();
  }
  return places;
}

void Window::Append(const PackedEvent& event) {
  // Events that are no more take at most as much room as those that are.
  if (2 * begin_ > bytes_.size()) Compact();
  bytes_.append(event.bytes);
  ++count_;
  ++open_count_;
  ++recent_count_;
  if (event.time_us < highest_us_) ordered_ = false;
  highest_us_ = std::max(highest_us_, event.time_us);
}

void Window::Clear() {
  Window cleared;
  // What the state has of it is still to be removed.
  cleared.first_piece_ = first_piece_ + static_cast<std::uint32_t>(pieces_.size());
  cleared.stored_begin_ = stored_begin_;
  cleared.stored_end_ = stored_end_;
  *this = std::move(cleared);
}

void Window::PopFront() {
  std::string_view events = Packed();
  const std::size_t size = TakePacked(events)->bytes.size();
  if (recent_ == begin_) {
    recent_ += size;
    --recent_count_;
  }
  begin_ += size;
  --count_;
  if (pieces_.empty()) {
    open_ = begin_;
    --open_count_;
    return;
  }
  Piece& first = pieces_.front();
  if (++first.gone < first.events) return;
  pieces_.erase(pieces_.begin());
  ++first_piece_;
}

void Window::Rebuild(const std::vector<Place>& places) {
  Window kept;
  for (const Place& place : places) kept.Append(place.event);
  kept.touched_us_ = touched_us_;
  ReplaceBy(std::move(kept));
}

void Window::ReplaceBy(Window kept) {
  // What is kept lies in other pieces than before.
  kept.first_piece_ = first_piece_ + static_cast<std::uint32_t>(pieces_.size());
  kept.stored_begin_ = stored_begin_;
  kept.stored_end_ = stored_end_;
  *this = std::move(kept);
}

void Window::Forget(std::int64_t until_us) {
  if (ordered_) {
    while (count_ > 1) {
      std::string_view events = Packed();
      if (TakePacked(events)->time_us > until_us) break;
      PopFront();
    }
    return;
  }
  std::vector<Place> places = Places();
  const std::size_t before = places.size();
  const std::size_t last = places.back().at;
  std::erase_if(places, [&](const Place& place) {
    return place.event.time_us <= until_us && place.at != last;
  });
  if (places.size() < before) Rebuild(places);
}

// The event whose loss changes no count goes: for value_count the oldest whose value came again.
void Window::Limit(const CompiledRule& rule) {
  const auto capacity = static_cast<std::size_t>(
      std::max(kMinWindowCapacity, LargestNumber(rule.spec().correlation().condition()) + 1));
  while (count_ > capacity) {
    if (rule.type() != RuleType::kValueCount) {
      PopFront();
      continue;
    }
    std::vector<Place> places = Places();
    std::set<std::string_view> later;
    std::size_t found = 0;
    for (std::size_t i = places.size(); i-- > 0;) {
      if (!later.insert(places[i].event.value).second) found = i;
    }
    if (found == 0) {
      PopFront();
      continue;
    }
    places.erase(places.begin() + static_cast<std::ptrdiff_t>(found));
    Rebuild(places);
  }
}

std::int64_t Window::CountEvents(std::int64_t after_us, std::int64_t until_us) {
  if (ordered_) {
    // The last event is the latest, so all that is not too old counts; what is too old now will be
    // so for every later event.
    std::string_view events = std::string_view(bytes_).substr(recent_);
    while (const std::optional<PackedEvent> event = TakePacked(events)) {
      if (event->time_us > after_us) break;
      recent_ += event->bytes.size();
      --recent_count_;
    }
    return static_cast<std::int64_t>(recent_count_);
  }
  std::int64_t count = 0;
  std::string_view events = Packed();
  while (const std::optional<PackedEvent> event = TakePacked(events)) {
    if (event->time_us > after_us && event->time_us <= until_us) ++count;
  }
  return count;
}

std::int64_t Window::CountValues(std::int64_t after_us, std::int64_t until_us) const {
  std::set<std::string_view> values;
  std::string_view events = Packed();
  while (const std::optional<PackedEvent> event = TakePacked(events)) {
    if (event->time_us > after_us && event->time_us <= until_us) values.insert(event->value);
  }
  return static_cast<std::int64_t>(values.size());
}

}  // namespace tocsin::correlation
