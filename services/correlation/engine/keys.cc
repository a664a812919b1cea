#include "services/correlation/engine/keys.h"

#include "lib/base/text.h"

namespace tocsin::correlation {
namespace {

constexpr char kZero = '\0';
constexpr std::size_t kContentHashBytes = 16;

void AppendUint32(std::string& out, std::uint32_t value) {
  for (int shift = 24; shift >= 0; shift -= 8) {
    out.push_back(static_cast<char>((value >> shift) & 0xffU));
  }
}

// Ends with bytes that sort before any continuation, and no encoded text is a prefix of another.
void AppendOrderedText(std::string& out, std::string_view text) {
  for (const char c : text) {
    out.push_back(c);
    if (c == kZero) out.push_back('\xff');
  }
  out.push_back(kZero);
  out.push_back('\x01');
}

}  // namespace

std::string EncodeInt64(std::int64_t value) {
  const std::uint64_t flipped = static_cast<std::uint64_t>(value) ^ (std::uint64_t{1} << 63);
  std::string out;
  out.reserve(8);
  for (int shift = 56; shift >= 0; shift -= 8) {
    out.push_back(static_cast<char>((flipped >> shift) & 0xffU));
  }
  return out;
}

std::optional<std::int64_t> DecodeInt64(std::string_view bytes) {
  if (bytes.size() != 8) return std::nullopt;
  std::uint64_t value = 0;
  for (const char c : bytes) value = (value << 8) | static_cast<unsigned char>(c);
  return static_cast<std::int64_t>(value ^ (std::uint64_t{1} << 63));
}

std::int64_t Micros(WallTime time) { return time.time_since_epoch().count(); }
WallTime FromMicros(std::int64_t micros) { return WallTime(std::chrono::microseconds(micros)); }

std::string RulePrefix(std::string_view rule_id, std::int32_t version,
                       std::string_view content_hash) {
  std::string out(rule_id);
  out.push_back(kZero);
  AppendUint32(out, static_cast<std::uint32_t>(version));
  std::string hash(content_hash.substr(0, kContentHashBytes));
  hash.resize(kContentHashBytes, '0');
  return out + hash;
}

std::string_view RuleIdOfPrefix(std::string_view prefix) {
  return prefix.substr(0, prefix.find(kZero));
}

std::optional<std::int32_t> VersionOfPrefix(std::string_view prefix) {
  const std::size_t zero = prefix.find(kZero);
  if (zero == std::string_view::npos || prefix.size() < zero + 5) return std::nullopt;
  std::uint32_t version = 0;
  for (const char c : prefix.substr(zero + 1, 4)) {
    version = (version << 8) | static_cast<unsigned char>(c);
  }
  return static_cast<std::int32_t>(version);
}

std::string OffsetKey(std::string_view topic) { return Concat('o', topic); }
std::string PartitionTimeKey() { return "t"; }
std::string MarkedTopicKey(std::string_view repartition_topic) {
  return Concat('r', repartition_topic);
}
std::string MarkKeyPrefix(std::string_view repartition_topic) {
  return Concat('m', repartition_topic, kZero);
}
std::string MarkKey(std::string_view repartition_topic, std::int32_t upstream) {
  std::string out = MarkKeyPrefix(repartition_topic);
  AppendUint32(out, static_cast<std::uint32_t>(upstream));
  return out;
}
std::string ProgressKey(std::string_view rule_prefix) { return Concat('w', rule_prefix); }
std::string WindowKey(std::string_view rule_prefix, std::string_view joined_key) {
  return Concat('k', rule_prefix, joined_key);
}
std::string WindowPieceKey(std::string_view window_key, std::uint32_t piece) {
  std::string out = Concat('h', window_key.substr(1));
  AppendUint32(out, piece);
  return out;
}
std::string IncidentKeyPrefix(std::string_view rule_id) { return Concat('i', rule_id, kZero); }
std::string IncidentKey(std::string_view rule_id, std::string_view group_by_names,
                        std::string_view joined_key) {
  return Concat('i', rule_id, kZero, group_by_names, kZero, joined_key);
}
std::string IdentityChunkKey(std::int64_t first) {
  return Concat(kIdentityChunkPrefix, EncodeInt64(first));
}
std::string IdentityKey(std::string_view identity) { return Concat('d', identity); }
std::string IdentityOrderKey(std::int64_t number) { return Concat('f', EncodeInt64(number)); }
std::string IdentityLogKey() { return "c"; }
std::string KnownRuleKey(std::string_view rule_prefix) {
  return Concat(kKnownRulePrefix, rule_prefix);
}

std::string HistoryHeadKey(std::string_view rule_prefix, std::string_view joined) {
  return Concat('j', rule_prefix, joined);
}
std::string HistoryKeyPrefix(std::string_view rule_prefix, std::string_view joined) {
  std::string out = Concat('y', rule_prefix);
  AppendOrderedText(out, joined);
  return out;
}

std::string WindowRuleKey(std::string_view rule_prefix) { return Concat('l', rule_prefix); }
std::string KeyedWindowsKey(std::string_view rule_prefix, std::string_view joined) {
  return Concat('n', rule_prefix, joined);
}
std::string PaneKeyPrefix(std::string_view rule_prefix, std::string_view joined) {
  std::string out = Concat('p', rule_prefix);
  AppendOrderedText(out, joined);
  return out;
}
std::string PaneKey(std::string_view rule_prefix, std::string_view joined, std::int64_t start_us) {
  return PaneKeyPrefix(rule_prefix, joined) + EncodeInt64(start_us);
}
std::string DueKeyFloor(std::string_view rule_prefix, std::int64_t due_us) {
  return Concat('q', rule_prefix, EncodeInt64(due_us));
}
std::string DueKey(std::string_view rule_prefix, std::int64_t due_us, std::string_view joined,
                   char kind) {
  std::string out = DueKeyFloor(rule_prefix, due_us);
  AppendOrderedText(out, joined);
  out.push_back(kind);
  return out;
}
std::string ExpiryKeyFloor(std::string_view rule_prefix, std::int64_t due_us) {
  return Concat('u', rule_prefix, EncodeInt64(due_us));
}
std::string ExpiryKey(std::string_view rule_prefix, std::int64_t due_us, std::string_view joined) {
  std::string out = ExpiryKeyFloor(rule_prefix, due_us);
  AppendOrderedText(out, joined);
  return out;
}

std::string HeldKeyFloor(std::string_view rule_prefix, WallTime time) {
  return Concat('b', rule_prefix, EncodeInt64(Micros(time)));
}
std::string HeldKey(std::string_view rule_prefix, WallTime time, std::string_view sequence,
                    std::int32_t partition, std::int64_t offset) {
  std::string out = HeldKeyFloor(rule_prefix, time);
  AppendOrderedText(out, sequence);
  AppendUint32(out, static_cast<std::uint32_t>(partition));
  return out + EncodeInt64(offset);
}

}  // namespace tocsin::correlation
