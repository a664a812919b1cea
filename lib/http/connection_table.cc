#include "lib/http/connection_table.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <utility>

namespace tocsin::http {

std::string AddressOfPeer(std::string_view peer) {
  std::string host(peer.substr(0, peer.rfind(':')));
  if (!host.starts_with('[') || !host.ends_with(']')) return host;
  host = host.substr(1, host.size() - 2);
  in6_addr address{};
  // Not with a zone, as link-local ones have it; and those of IPv4 are whole as they are.
  if (::inet_pton(AF_INET6, host.c_str(), &address) != 1 || IN6_IS_ADDR_V4MAPPED(&address)) {
    return host;
  }
  constexpr std::size_t kPrefixBytes = 8;
  std::fill(address.s6_addr + kPrefixBytes, std::end(address.s6_addr), std::uint8_t{0});
  char text[INET6_ADDRSTRLEN];
  return ::inet_ntop(AF_INET6, &address, text, sizeof(text)) == nullptr ? host : text;
}

std::unique_ptr<ConnectionTable::Place> ConnectionTable::Enter(std::string_view peer) {
  const std::string address = places_per_address_ > 0 ? AddressOfPeer(peer) : "";
  std::vector<Leave> asked;
  std::unique_ptr<Place> place;
  {
    MutexLock lock(mutex_);
    // More than one round where somebody whose place was given away has moved in time and stays.
    const auto make_room = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
      for (;;) {
        const bool address_full = places_per_address_ > 0 &&
                                  Staying(address) >= static_cast<std::size_t>(places_per_address_);
        const bool full = waiting_.size() + busy_.size() >= static_cast<std::size_t>(places_);
        if (!address_full && !full) return true;
        if (leaving_.size() >= kMostLeaving) return false;
        const auto first = FirstWaiting(address_full ? &address : nullptr);
        if (!first) return false;
        if ((*first)->leave != nullptr) asked.push_back((*first)->leave);
        Move(*first, State::kLeaving);
      }
    };
    if (make_room()) {
      waiting_.push_back({address, State::kWaiting, next_since_++, nullptr});
      const auto entry = std::prev(waiting_.end());
      if (places_per_address_ > 0) by_address_[address].push_back(entry);
      place.reset(new Place(shared_from_this(), entry));
    }
  }
  for (const Leave& leave : asked) (*leave)();
  return place;
}

ConnectionTable::Entries& ConnectionTable::ListOf(State state) {
  switch (state) {
    case State::kWaiting:
      return waiting_;
    case State::kBusy:
      return busy_;
    case State::kLeaving:
      break;
  }
  return leaving_;
}

void ConnectionTable::Move(Entries::iterator entry, State state) {
  Entries& to = ListOf(state);
  to.splice(to.end(), ListOf(entry->state), entry);
  entry->state = state;
  if (state == State::kWaiting) entry->since = next_since_++;
}

std::optional<ConnectionTable::Entries::iterator> ConnectionTable::FirstWaiting(
    const std::string* address) {
  if (address == nullptr) {
    return waiting_.empty() ? std::nullopt : std::optional(waiting_.begin());
  }
  std::optional<Entries::iterator> first;
  for (const Entries::iterator entry : by_address_[*address]) {
    if (entry->state != State::kWaiting) continue;
    if (!first || entry->since < (*first)->since) first = entry;
  }
  return first;
}

std::size_t ConnectionTable::Staying(const std::string& address) const {
  const auto found = by_address_.find(address);
  if (found == by_address_.end()) return 0;
  return static_cast<std::size_t>(
      std::count_if(found->second.begin(), found->second.end(),
                    [](const auto& entry) { return entry->state != State::kLeaving; }));
}

ConnectionTable::Place::~Place() {
  MutexLock lock(table_->mutex_);
  const auto found = table_->by_address_.find(entry_->address);
  if (found != table_->by_address_.end()) {
    std::erase(found->second, entry_);
    if (found->second.empty()) table_->by_address_.erase(found);
  }
  table_->ListOf(entry_->state).erase(entry_);
}

void ConnectionTable::Place::OnAskedToLeave(std::function<void()> leave) {
  auto shared = std::make_shared<const std::function<void()>>(std::move(leave));
  MutexLock lock(table_->mutex_);
  entry_->leave = std::move(shared);
}

void ConnectionTable::Place::Waits() {
  MutexLock lock(table_->mutex_);
  table_->Move(entry_, State::kWaiting);
}

void ConnectionTable::Place::Busy() {
  MutexLock lock(table_->mutex_);
  table_->Move(entry_, State::kBusy);
}

bool ConnectionTable::Place::asked_to_leave() const {
  MutexLock lock(table_->mutex_);
  return entry_->state == State::kLeaving;
}

}  // namespace tocsin::http
