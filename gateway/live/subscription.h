// One subscriber: a filter and a position in each partition. It has no queue: what it has not been
// sent lies in the log, and a slow client costs lag.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "gateway/call.h"
#include "gateway/live/cursor.h"
#include "gateway/live/log_store.h"
#include "gateway/live/replayer.h"
#include "lib/base/clock.h"
#include "tocsin/live/v1/live.pb.h"

namespace tocsin::gateway {

// What a subscriber wants. Immutable.
class Filter {
 public:
  // INVALID_ARGUMENT: a kind that does not exist, or a stream that is none; names those there are.
  static absl::StatusOr<Filter> Create(const live::v1::SubscribeRequest& request,
                                       const std::vector<LiveTopic>& topics);
  // By index in `topics`.
  bool WantsTopic(std::size_t topic) const { return topics_[topic]; }
  bool Wants(const Entry& entry) const;

 private:
  std::vector<bool> topics_;
  Severity min_severity_ = tocsin::event::v1::SEVERITY_INFO;
  std::set<std::string, std::less<>> rule_ids_;
};

// Threads: Wake and Beat from any; the rest happens on the call's I/O thread.
class Subscription : public std::enable_shared_from_this<Subscription> {
 public:
  // What all subscriptions share; outlives them.
  struct Shared {
    LogStore& store;
    Replayer& replayer;
    const CursorSeal& seal;
    const Clock& clock;
    std::chrono::milliseconds heartbeat;
  };

  // INVALID_ARGUMENT: a cursor that is not ours, or of a subscription to other topics.
  static absl::StatusOr<std::shared_ptr<Subscription>> Create(
      const Shared& shared, std::shared_ptr<Call> call, const live::v1::SubscribeRequest& request);

  // Says the first heartbeat and begins. Once, on the I/O thread.
  void Start();
  // There may be something new in a topic that is wanted.
  void Wake();
  // Time for a heartbeat, if nothing was said for long enough.
  void Beat();
  bool WantsTopic(std::size_t topic) const { return filter_.WantsTopic(topic); }

 private:
  struct Place {
    std::size_t partition;
    LogStore::Partition id;
    std::int64_t position;
    // A part of the past on its way to the client, or being fetched.
    ChunkPtr chunk = nullptr;
    std::size_t chunk_at = 0;
    bool fetching = false;
  };

  Subscription(const Shared& shared, std::shared_ptr<Call> call, Filter filter)
      : shared_(shared), call_(std::move(call)), filter_(std::move(filter)) {}

  absl::Status SetOut(const live::v1::SubscribeRequest& request);
  // Partitions that have come since.
  void AddPlaces(bool latest);
  void Pump();
  // False when there is nothing to tell now.
  bool PumpPlace(Place& place);
  bool PumpChunk(Place& place);
  void Fetch(Place& place);
  void PauseReplay();
  void OnChunk(std::size_t place, absl::StatusOr<ChunkPtr> chunk);
  void Tell(const Entry& entry);
  void SayHeartbeat();
  void Say(const live::v1::SubscribeResponse& response);
  void Send(http::Slice body);
  std::string Cursor() const;
  bool HasRoom();

  const Shared shared_;
  const std::shared_ptr<Call> call_;
  const Filter filter_;
  std::vector<Place> places_;
  std::size_t next_place_ = 0;
  std::size_t partitions_seen_ = 0;

  // Chunks held or awaited; bounded, so that memory stays small whatever is replayed.
  int chunks_ = 0;
  // Set while the replayer has nothing for us: not before this is it asked again.
  std::optional<SteadyTime> replay_after_;
  std::atomic<bool> waits_for_replay_{false};

  // Bytes since the client was last known to take them.
  std::size_t sent_ = 0;
  bool blocked_ = false;
  std::atomic<bool> woken_{false};
  // Of the last message, in nanoseconds of the steady clock.
  std::atomic<std::int64_t> spoke_{0};
};

}  // namespace tocsin::gateway
