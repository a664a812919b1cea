#include "services/correlation/engine/deduplicator.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <utility>

#include "lib/base/hex.h"
#include "lib/base/text.h"
#include "lib/base/time.h"
#include "services/correlation/engine/keys.h"
#include "services/correlation/engine/packed_event.h"
#include "services/correlation/engine/state_message.h"

namespace tocsin::correlation {
namespace {

constexpr std::size_t kTimestampBytes = 8;
constexpr std::size_t kHashBytes = sizeof(Hash128);
// A chunk with fewer identities is written again with what comes next, so that a quiet stream does
// not leave a record for each event; one with more than the largest number is not let grow.
constexpr std::int64_t kSmallChunk = 64;
constexpr std::int64_t kLargestChunk = 4'096;

template <typename Visit>
void VisitHashes(std::string_view chunk, const Visit& visit) {
  for (std::size_t at = kTimestampBytes; at + kHashBytes <= chunk.size(); at += kHashBytes) {
    Hash128 hash;
    std::memcpy(&hash, chunk.data() + at, kHashBytes);
    visit(hash);
  }
}

}  // namespace

void Deduplicator::Begin(StateView& state) {
  state_ = &state;
  if (!loaded_) Load();
}

void Deduplicator::Load() {
  loaded_ = true;
  log_ = LoadState<v1::IdentityLog>(*state_, IdentityLogKey()).value_or(v1::IdentityLog());
  stored_log_ = log_.SerializeAsString();
  highest_timestamp_us_ = log_.highest_timestamp_us();
  seen_.Clear();
  chunks_.clear();
  last_ordinal_ = 0;
  open_.clear();
  open_changed_ = false;
  state_->Range(kIdentityChunkPrefix, PrefixEnd(kIdentityChunkPrefix),
                [this](std::string_view key, std::string_view value) {
                  if (value.size() < kTimestampBytes) return true;
                  Chunk& chunk = chunks_.emplace_back();
                  chunk.ordinal = ++last_ordinal_;
                  chunk.first = DecodeInt64(key.substr(kIdentityChunkPrefix.size())).value_or(0);
                  chunk.highest_timestamp_us = LoadFixed64(value.data());
                  VisitHashes(value, [&](const Hash128& hash) {
                    seen_.Insert(hash, chunk.ordinal);
                    ++chunk.count;
                  });
                  open_ = chunk.count < kSmallChunk ? value : std::string_view();
                  return true;
                });
  if (chunks_.empty() && log_.hash_key_low() == 0 && log_.hash_key_high() == 0) {
    log_.set_hash_key_low(options_.identity_key.low);
    log_.set_hash_key_high(options_.identity_key.high);
  }
  key_ = {log_.hash_key_low(), log_.hash_key_high()};
}

void Deduplicator::ObserveTimestamp(WallTime timestamp) {
  highest_timestamp_us_ = std::max(highest_timestamp_us_, Micros(timestamp));
}

Hash128 Deduplicator::Identify(std::string_view source, std::string_view id) const {
  // Source and id behind the source's length, so that their division counts.
  constexpr std::size_t kInline = 240;
  std::array<char, kInline> small;
  std::string large;
  const std::size_t size = sizeof(std::uint32_t) + source.size() + id.size();
  char* bytes = small.data();
  if (size > kInline) {
    large.resize(size);
    bytes = large.data();
  }
  const auto source_size = static_cast<std::uint32_t>(source.size());
  std::memcpy(bytes, &source_size, sizeof(source_size));
  std::copy(source.begin(), source.end(), bytes + sizeof(source_size));
  std::copy(id.begin(), id.end(), bytes + sizeof(source_size) + source.size());
  return SipHash128(key_, {bytes, size});
}

bool Deduplicator::Admit(const Hash128& identity, std::string_view source, std::string_view id,
                         WallTime timestamp) {
  if (log_.first() < log_.next() && SeenByFormat1(source, id)) return false;
  // Where none is open, the next one's.
  const std::uint32_t ordinal = open_.empty() ? last_ordinal_ + 1 : last_ordinal_;
  if (!seen_.Insert(identity, ordinal)) return false;
  Chunk& chunk = OpenChunk();
  open_.append(reinterpret_cast<const char*>(&identity), kHashBytes);
  open_changed_ = true;
  ++chunk.count;
  chunk.highest_timestamp_us = std::max(chunk.highest_timestamp_us, Micros(timestamp));
  if (chunk.count >= kLargestChunk) {
    WriteOpenChunk();
    open_.clear();
  }
  return true;
}

void Deduplicator::Expire(std::size_t records) {
  const std::int64_t oldest_kept = highest_timestamp_us_ - options_.identity_age.count();
  // Each record brings at most one identity: twice as many lets a backlog shrink.
  const std::size_t budget = 2 * records + 64;
  ExpireFormat1(budget, oldest_kept);
  std::size_t forgotten = 0;
  while (!chunks_.empty() && forgotten < budget) {
    const Chunk& oldest = chunks_.front();
    const std::int64_t newer =
        chunks_.back().first + chunks_.back().count - (oldest.first + oldest.count);
    if (newer < options_.identity_count && oldest.highest_timestamp_us >= oldest_kept) break;
    forgotten += static_cast<std::size_t>(oldest.count);
    Forget(oldest);
    chunks_.pop_front();
  }
}

void Deduplicator::Store() {
  if (open_changed_) {
    WriteOpenChunk();
    if (chunks_.back().count >= kSmallChunk) open_.clear();
  }
  log_.set_highest_timestamp_us(highest_timestamp_us_);
  std::string bytes = log_.SerializeAsString();
  if (bytes == stored_log_) return;
  state_->Put(IdentityLogKey(), bytes);
  stored_log_ = std::move(bytes);
}

Deduplicator::Chunk& Deduplicator::OpenChunk() {
  if (!open_.empty()) return chunks_.back();
  Chunk chunk;
  chunk.ordinal = ++last_ordinal_;
  if (!chunks_.empty()) chunk.first = chunks_.back().first + chunks_.back().count;
  chunk.highest_timestamp_us = Micros(kFirstTime);
  open_.assign(kTimestampBytes, '\0');
  return chunks_.emplace_back(chunk);
}

void Deduplicator::WriteOpenChunk() {
  StoreFixed64(chunks_.back().highest_timestamp_us, open_.data());
  state_->Put(IdentityChunkKey(chunks_.back().first), open_);
  open_changed_ = false;
}

void Deduplicator::Forget(const Chunk& chunk) {
  if (chunk.ordinal == last_ordinal_) {
    open_.clear();
    open_changed_ = false;
  }
  seen_.ForgetBefore(chunk.ordinal + 1, static_cast<std::size_t>(chunk.count));
  state_->Delete(IdentityChunkKey(chunk.first));
}

// --- what format 1 has left: one key for each identity, and one for its number ---

bool Deduplicator::SeenByFormat1(std::string_view source, std::string_view id) const {
  const std::string_view parts[] = {source, id};
  return state_->Get(IdentityKey(HexDecode(StableId(parts)).value())).has_value();
}

void Deduplicator::ExpireFormat1(std::size_t budget, std::int64_t oldest_kept) {
  for (; budget > 0 && log_.first() < log_.next(); --budget) {
    const std::string order_key = IdentityOrderKey(log_.first());
    const std::optional<std::string> entry = state_->Get(order_key);
    if (entry.has_value() && entry->size() > kTimestampBytes) {
      const std::string_view bytes = *entry;
      const std::size_t identity_size = bytes.size() - kTimestampBytes;
      const std::int64_t timestamp = DecodeInt64(bytes.substr(identity_size)).value_or(oldest_kept);
      const bool crowded = log_.next() - log_.first() > options_.identity_count;
      if (!crowded && timestamp >= oldest_kept) break;
      state_->Delete(IdentityKey(bytes.substr(0, identity_size)));
      state_->Delete(order_key);
    }
    log_.set_first(log_.first() + 1);
  }
}

}  // namespace tocsin::correlation
