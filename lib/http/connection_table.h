// Internal: who has one of a server's places, and who leaves when all are taken.
//
// A place is busy while the server works for its client, and waiting while it is the client's turn:
// to shake hands, to send a head or the next request, to go on with a body, to take the rest of a
// response, to close. Who comes when all places are taken gets that of who has waited longest; so
// connections that only wait, however many, keep nobody out. Who works is never sent away.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "lib/base/mutex.h"

namespace tocsin::http {

// Of "host:port" or "[host]:port", what counts as one address: IPv6 by its first 64 bits, which one
// customer of a provider has alone.
std::string AddressOfPeer(std::string_view peer);

// Thread-safe, but for a Place: its functions are for one thread at a time.
class ConnectionTable : public std::enable_shared_from_this<ConnectionTable> {
 private:
  enum class State { kWaiting, kBusy, kLeaving };
  struct Entry {
    std::string address;
    State state = State::kWaiting;
    // Orders those that wait.
    std::uint64_t since = 0;
    std::shared_ptr<const std::function<void()>> leave;
  };
  using Entries = std::list<Entry>;

 public:
  // Given back by its destructor.
  class Place {
   public:
    ~Place();
    Place(const Place&) = delete;
    Place& operator=(const Place&) = delete;

    // Called within Enter, on its thread, when the place is wanted. What it does must end in a look
    // at asked_to_leave() on the thread of the connection. Set before the next Enter.
    void OnAskedToLeave(std::function<void()> leave);
    // From now on. Each takes back that the place was asked for: the client has moved.
    void Waits();
    void Busy();
    bool asked_to_leave() const;

   private:
    friend class ConnectionTable;
    Place(std::shared_ptr<ConnectionTable> table, Entries::iterator entry)
        : table_(std::move(table)), entry_(entry) {}
    const std::shared_ptr<ConnectionTable> table_;
    const Entries::iterator entry_;
  };

  // At most `places`, and `places_per_address` (0: no limit of its own).
  ConnectionTable(int places, int places_per_address)
      : places_(places), places_per_address_(places_per_address) {}

  // A place for who comes from `peer`, waiting from now on; nullptr when all are taken and nobody
  // waits. From one thread. Those who were asked for their place and have not gone yet are beyond
  // the limits: kMostLeaving at most.
  std::unique_ptr<Place> Enter(std::string_view peer);

  static constexpr std::size_t kMostLeaving = 256;

 private:
  using Leave = std::shared_ptr<const std::function<void()>>;
  Entries& ListOf(State state) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Move(Entries::iterator entry, State state) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Where somebody waits, the longest-waiting one: of all, or of one address.
  std::optional<Entries::iterator> FirstWaiting(const std::string* address)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  std::size_t Staying(const std::string& address) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const int places_;
  const int places_per_address_;
  mutable Mutex mutex_;
  Entries waiting_ ABSL_GUARDED_BY(mutex_);
  Entries busy_ ABSL_GUARDED_BY(mutex_);
  Entries leaving_ ABSL_GUARDED_BY(mutex_);
  std::uint64_t next_since_ ABSL_GUARDED_BY(mutex_) = 0;
  // Kept where there is a limit for each.
  std::unordered_map<std::string, std::vector<Entries::iterator>> by_address_
      ABSL_GUARDED_BY(mutex_);
};

}  // namespace tocsin::http
