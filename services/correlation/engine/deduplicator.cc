#include "services/correlation/engine/deduplicator.h"

#include <algorithm>

#include "lib/base/hash.h"
#include "lib/base/hex.h"
#include "lib/base/text.h"
#include "services/correlation/engine/keys.h"
#include "services/correlation/engine/state_message.h"

namespace tocsin::correlation {
namespace {

constexpr std::size_t kTimestampBytes = 8;

}  // namespace

void Deduplicator::ObserveTimestamp(WallTime timestamp) {
  log().set_highest_timestamp_us(std::max(log().highest_timestamp_us(), Micros(timestamp)));
}

std::int64_t Deduplicator::highest_timestamp_us() { return log().highest_timestamp_us(); }

bool Deduplicator::Admit(std::string_view source, std::string_view id, WallTime timestamp) {
  const std::string_view parts[] = {source, id};
  const std::string identity = HexDecode(StableId(parts)).value();
  const std::string key = IdentityKey(identity);
  if (state_.Get(key).has_value()) return false;
  const std::int64_t number = log().next();
  log().set_next(number + 1);
  state_.Put(key, EncodeInt64(number));
  state_.Put(IdentityOrderKey(number), Concat(identity, EncodeInt64(Micros(timestamp))));
  return true;
}

void Deduplicator::Expire(std::size_t records) {
  if (!log_.has_value()) return;
  const std::int64_t oldest_kept = log().highest_timestamp_us() - options_.identity_age.count();
  // Each record brings at most one identity: twice as many lets a backlog shrink.
  std::size_t budget = 2 * records + 64;
  for (; budget > 0 && log().first() < log().next(); --budget) {
    const std::string order_key = IdentityOrderKey(log().first());
    const std::optional<std::string> entry = state_.Get(order_key);
    if (entry.has_value() && entry->size() > kTimestampBytes) {
      const std::string_view bytes = *entry;
      const std::size_t identity_size = bytes.size() - kTimestampBytes;
      const std::int64_t timestamp = DecodeInt64(bytes.substr(identity_size)).value_or(oldest_kept);
      const bool crowded = log().next() - log().first() > options_.identity_count;
      if (!crowded && timestamp >= oldest_kept) break;
      state_.Delete(IdentityKey(bytes.substr(0, identity_size)));
      state_.Delete(order_key);
    }
    log().set_first(log().first() + 1);
  }
}

void Deduplicator::Store() {
  if (!log_.has_value()) return;
  const std::string bytes = log_->SerializeAsString();
  if (bytes != log_at_start_) state_.Put(IdentityLogKey(), bytes);
}

v1::IdentityLog& Deduplicator::log() {
  if (!log_.has_value()) {
    log_ = LoadState<v1::IdentityLog>(state_, IdentityLogKey()).value_or(v1::IdentityLog());
    log_at_start_ = log_->SerializeAsString();
  }
  return *log_;
}

}  // namespace tocsin::correlation
