// Hashes whose value is part of a contract: written to topics and disks, equal on every machine.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace tocsin {

// Murmur2 as in Kafka's Java client (org.apache.kafka.common.utils.Utils.murmur2), and the
// partition that its default partitioner and librdkafka's `murmur2_random` give to a key that is
// not null.
std::uint32_t Murmur2(std::string_view bytes);
std::int32_t PartitionForKey(std::string_view key, std::int32_t partition_count);

// The first 16 bytes of SHA-256 over the parts, each preceded by its length as 8 bytes big-endian,
// in lower-case hex: 32 characters that differ when any part or the division into parts differs.
std::string StableId(std::span<const std::string_view> parts);

// SipHash-2-4 with 128 bits (Aumasson and Bernstein): without the key nobody can choose texts that
// collide.
struct SipKey {
  std::uint64_t low = 0;
  std::uint64_t high = 0;
  friend bool operator==(const SipKey&, const SipKey&) = default;
};
struct Hash128 {
  std::uint64_t low = 0;
  std::uint64_t high = 0;
  friend bool operator==(const Hash128&, const Hash128&) = default;
};
Hash128 SipHash128(const SipKey& key, std::string_view bytes);

}  // namespace tocsin
