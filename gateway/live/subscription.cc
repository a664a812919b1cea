#include "gateway/live/subscription.h"

#include <algorithm>
#include <utility>

#include "lib/base/status.h"
#include "lib/base/text.h"

namespace tocsin::gateway {
namespace {

using live::v1::SubscribeRequest;
using live::v1::SubscribeResponse;

// What is written before the client is asked whether it takes it.
constexpr std::size_t kBurst = std::size_t{32} * 1024;
// Entries taken from a ring under one lock.
constexpr std::size_t kWindow = 64;
constexpr std::chrono::seconds kReplayPause{1};
// Chunks of the past that one subscriber holds at a time.
constexpr int kMaxChunks = 8;

std::string StreamNames(const std::vector<LiveTopic>& topics) {
  std::vector<std::string> names;
  for (const LiveTopic& topic : topics) {
    if (topic.kind == live::v1::KIND_EVENT) names.push_back(topic.name);
  }
  return names.empty() ? "none" : Join(names, ", ");
}

}  // namespace

absl::StatusOr<Filter> Filter::Create(const SubscribeRequest& request,
                                      const std::vector<LiveTopic>& topics) {
  std::set<int> kinds(request.kinds().begin(), request.kinds().end());
  if (kinds.empty()) kinds = {live::v1::KIND_INCIDENT, live::v1::KIND_ACTIVITY};
  for (const int kind : kinds) {
    if (kind == live::v1::KIND_UNSPECIFIED || !live::v1::Kind_IsValid(kind)) {
      return InvalidArgument(Concat("kinds: ", kind, " is not a kind"));
    }
  }
  const std::set<std::string> streams(request.streams().begin(), request.streams().end());
  for (const std::string& stream : streams) {
    const bool known = std::any_of(topics.begin(), topics.end(), [&](const LiveTopic& topic) {
      return topic.kind == live::v1::KIND_EVENT && topic.name == stream;
    });
    if (!known) {
      return InvalidArgument(Concat("streams: there is no stream '", stream,
                                    "' here; there are: ", StreamNames(topics)));
    }
  }
  Filter filter;
  for (const LiveTopic& topic : topics) {
    filter.topics_.push_back(
        kinds.contains(topic.kind) &&
        (topic.kind != live::v1::KIND_EVENT || streams.empty() || streams.contains(topic.name)));
  }
  filter.min_severity_ = request.min_severity();
  filter.rule_ids_.insert(request.rule_ids().begin(), request.rule_ids().end());
  return filter;
}

bool Filter::Wants(const Entry& entry) const {
  if (entry.body.empty()) return false;
  const bool from_rule =
      entry.kind == live::v1::KIND_DETECTION || entry.kind == live::v1::KIND_INCIDENT;
  if (from_rule && !rule_ids_.empty() && !rule_ids_.contains(entry.rule_id)) return false;
  const bool has_severity = from_rule || entry.kind == live::v1::KIND_EVENT;
  return !has_severity || entry.severity >= min_severity_;
}

absl::StatusOr<std::shared_ptr<Subscription>> Subscription::Create(
    const Shared& shared, std::shared_ptr<Call> call, const SubscribeRequest& request) {
  TOCSIN_ASSIGN_OR_RETURN(Filter filter, Filter::Create(request, shared.store.topics()));
  auto subscription =
      std::shared_ptr<Subscription>(new Subscription(shared, std::move(call), std::move(filter)));
  TOCSIN_RETURN_IF_ERROR(subscription->SetOut(request));
  return subscription;
}

absl::Status Subscription::SetOut(const SubscribeRequest& request) {
  const bool latest = request.from() != live::v1::FROM_EARLIEST;
  AddPlaces(latest);
  if (request.cursor().empty()) return absl::OkStatus();
  TOCSIN_ASSIGN_OR_RETURN(const Positions positions, shared_.seal.Open(request.cursor()));
  const std::vector<LiveTopic>& topics = shared_.store.topics();
  for (std::size_t i = 0; i < topics.size(); ++i) {
    if (filter_.WantsTopic(i) == positions.contains(topics[i].name)) continue;
    return InvalidArgument(
        Concat("the cursor belongs to a subscription with other kinds or streams: ",
               filter_.WantsTopic(i) ? "it has no place in " : "it has a place in ", topics[i].name,
               ". Subscribe with the same ones, or without the cursor"));
  }
  for (Place& place : places_) {
    const auto found = positions.find(topics[place.id.topic].name);
    const auto number = static_cast<std::size_t>(place.id.number);
    // A partition that the cursor does not know came later: all of it is news.
    place.position = found != positions.end() && number < found->second.size()
                         ? found->second[number]
                         : kEarliest;
  }
  return absl::OkStatus();
}

void Subscription::AddPlaces(bool latest) {
  const std::size_t count = shared_.store.partition_count();
  for (; partitions_seen_ < count; ++partitions_seen_) {
    const LogStore::Partition id = shared_.store.partition(partitions_seen_);
    if (!filter_.WantsTopic(id.topic)) continue;
    places_.push_back(
        {partitions_seen_, id, latest ? shared_.store.End(partitions_seen_) : kEarliest});
  }
}

void Subscription::Start() {
  SayHeartbeat();
  Pump();
}

void Subscription::SayHeartbeat() {
  SubscribeResponse beat;
  const auto now = shared_.clock.Now().time_since_epoch();
  const auto seconds = std::chrono::floor<std::chrono::seconds>(now);
  auto& time = *beat.mutable_heartbeat()->mutable_server_time();
  time.set_seconds(seconds.count());
  time.set_nanos(static_cast<std::int32_t>(
      std::chrono::duration_cast<std::chrono::nanoseconds>(now - seconds).count()));
  Say(beat);
}

void Subscription::Wake() {
  if (woken_.exchange(true)) return;
  call_->Post([self = shared_from_this()] {
    self->woken_ = false;
    self->Pump();
  });
}

void Subscription::Beat() {
  const auto silence = shared_.clock.SteadyNow().time_since_epoch().count() - spoke_.load();
  if (SteadyTime::duration(silence) < shared_.heartbeat) {
    if (waits_for_replay_) Wake();
    return;
  }
  call_->Post([self = shared_from_this()] {
    if (self->blocked_) return;
    self->SayHeartbeat();
    self->Pump();
  });
}

bool Subscription::HasRoom() {
  if (blocked_) return false;
  if (sent_ < kBurst) return true;
  blocked_ = true;
  call_->WhenWritable([self = shared_from_this()] {
    self->blocked_ = false;
    self->sent_ = 0;
    self->Pump();
  });
  return false;
}

void Subscription::Pump() {
  AddPlaces(false);
  // One window of each in turn, until a whole round gives nothing.
  std::size_t idle = 0;
  while (idle < places_.size() && HasRoom()) {
    next_place_ = (next_place_ + 1) % places_.size();
    if (PumpPlace(places_[next_place_])) {
      idle = 0;
    } else {
      ++idle;
    }
  }
}

bool Subscription::PumpPlace(Place& place) {
  if (place.chunk != nullptr) return PumpChunk(place);
  if (place.fetching) return false;
  LogStore::Window window;
  if (place.position == kEarliest) {
    window = shared_.store.Read(place.partition, 0, kWindow);
    // Where the ring reaches down to 0, nothing needs to be fetched.
    if (window.place == LogStore::Window::kAbove) window.place = LogStore::Window::kBelow;
  } else {
    window = shared_.store.Read(place.partition, place.position, kWindow);
  }
  if (window.place != LogStore::Window::kInside) {
    Fetch(place);
    return false;
  }
  for (const EntryPtr& entry : window.entries) {
    place.position = entry->offset + 1;
    Tell(*entry);
  }
  place.position = window.position;
  return !window.entries.empty();
}

bool Subscription::PumpChunk(Place& place) {
  const std::vector<EntryPtr>& entries = place.chunk->entries;
  for (std::size_t i = 0; i < kWindow && place.chunk_at < entries.size(); ++i) {
    const Entry& entry = *entries[place.chunk_at++];
    // A shared chunk may begin before this place.
    if (entry.offset < place.position) continue;
    place.position = entry.offset + 1;
    Tell(entry);
  }
  if (place.chunk_at == entries.size()) {
    // Ahead of this replica's reader, which will come: no reason to ask without pause.
    if (entries.empty() && place.chunk->to <= place.position) PauseReplay();
    place.position = std::max(place.position, place.chunk->to);
    place.chunk = nullptr;
    --chunks_;
  }
  return true;
}

void Subscription::Fetch(Place& place) {
  if (chunks_ >= kMaxChunks) return;
  if (replay_after_.has_value()) {
    if (shared_.clock.SteadyNow() < *replay_after_) return;
    replay_after_.reset();
    waits_for_replay_ = false;
  }
  place.fetching = true;
  ++chunks_;
  const auto index = static_cast<std::size_t>(&place - places_.data());
  shared_.replayer.Read(place.partition, place.position,
                        [self = shared_from_this(), index](absl::StatusOr<ChunkPtr> chunk) {
                          self->call_->Post([self, index, chunk = std::move(chunk)]() mutable {
                            self->OnChunk(index, std::move(chunk));
                          });
                        });
}

void Subscription::OnChunk(std::size_t index, absl::StatusOr<ChunkPtr> chunk) {
  Place& place = places_[index];
  place.fetching = false;
  if (!chunk.ok()) {
    --chunks_;
    return PauseReplay();
  }
  if ((*chunk)->found == Chunk::kWhole) {
    place.chunk = *std::move(chunk);
    place.chunk_at = 0;
    return Pump();
  }
  --chunks_;
  SubscribeResponse response;
  live::v1::Gap& gap = *response.mutable_gap();
  gap.set_topic(shared_.store.topics()[place.id.topic].name);
  gap.set_partition(place.id.number);
  gap.set_from_offset(place.position);
  gap.set_to_offset((*chunk)->to);
  gap.set_reason((*chunk)->found == Chunk::kGone
                     ? "these records are no longer in the log: they are older than its retention"
                     : "the log ends before this position: the topic was created anew, and is told "
                       "from its beginning");
  place.position = (*chunk)->to;
  Say(response);
  Pump();
}

void Subscription::PauseReplay() {
  replay_after_ = shared_.clock.SteadyNow() + kReplayPause;
  waits_for_replay_ = true;
}

void Subscription::Tell(const Entry& entry) {
  if (filter_.Wants(entry)) Send(entry.body);
}

void Subscription::Say(const SubscribeResponse& response) {
  Send(http::Slice(response.SerializeAsString()));
}

void Subscription::Send(http::Slice body) {
  http::Slice cursor(CursorField(Cursor()));
  sent_ += cursor.size() + body.size();
  spoke_ = shared_.clock.SteadyNow().time_since_epoch().count();
  call_->Write({std::move(cursor), std::move(body)});
}

std::string Subscription::Cursor() const {
  Positions positions;
  const std::vector<LiveTopic>& topics = shared_.store.topics();
  for (std::size_t i = 0; i < topics.size(); ++i) {
    if (filter_.WantsTopic(i)) positions[topics[i].name];
  }
  for (const Place& place : places_) {
    std::vector<std::int64_t>& offsets = positions[topics[place.id.topic].name];
    const auto number = static_cast<std::size_t>(place.id.number);
    if (offsets.size() <= number) offsets.resize(number + 1, kEarliest);
    offsets[number] = place.position;
  }
  return shared_.seal.Seal(positions);
}

}  // namespace tocsin::gateway
