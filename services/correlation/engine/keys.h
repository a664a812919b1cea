// The keys of the state, and the byte encodings whose order is the order of events. The table of
// keys is docs/formats/correlation-state.md.
//
// All functions are pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "lib/base/clock.h"

namespace tocsin::correlation {

// The state format that this code writes, under kFormatKey. A state with a higher number comes from
// a newer program and is refused.
inline constexpr std::string_view kFormatKey = "v";
inline constexpr int kStateFormat = 2;

// Big-endian, sign flipped: the order of the bytes is the order of the numbers.
std::string EncodeInt64(std::int64_t value);
std::optional<std::int64_t> DecodeInt64(std::string_view bytes);

std::int64_t Micros(WallTime time);
WallTime FromMicros(std::int64_t micros);

// What all state of one version of one rule begins with, behind the type byte. The content's hash
// is part of it, so that two contents can never meet in one state, whatever their version numbers.
std::string RulePrefix(std::string_view rule_id, std::int32_t version,
                       std::string_view content_hash);
// The rule id of a key that begins (behind its type byte) with a RulePrefix.
std::string_view RuleIdOfPrefix(std::string_view prefix);
std::optional<std::int32_t> VersionOfPrefix(std::string_view prefix);

std::string OffsetKey(std::string_view topic);                                     // o
std::string PartitionTimeKey();                                                    // t
std::string MarkedTopicKey(std::string_view repartition_topic);                    // r
std::string MarkKey(std::string_view repartition_topic, std::int32_t upstream);    // m
std::string MarkKeyPrefix(std::string_view repartition_topic);                     // m
std::string ProgressKey(std::string_view rule_prefix);                             // w
std::string WindowKey(std::string_view rule_prefix, std::string_view joined_key);  // k
// Of the window under `window_key`.
std::string WindowPieceKey(std::string_view window_key, std::uint32_t piece);       // h
std::string IncidentKeyPrefix(std::string_view rule_id);                            // i
std::string IncidentKey(std::string_view rule_id, std::string_view group_by_names,  // i
                        std::string_view joined_key);
std::string IdentityChunkKey(std::int64_t first);  // e
inline constexpr std::string_view kIdentityChunkPrefix = "e";
// Format 1 only.
std::string IdentityKey(std::string_view identity);      // d
std::string IdentityOrderKey(std::int64_t number);       // f
std::string IdentityLogKey();                            // c
std::string KnownRuleKey(std::string_view rule_prefix);  // g
inline constexpr std::string_view kKnownRulePrefix = "g";

// Rules with correct_within: what is kept of a group key, and each of its events behind its place.
std::string HistoryHeadKey(std::string_view rule_prefix, std::string_view joined);    // j
std::string HistoryKeyPrefix(std::string_view rule_prefix, std::string_view joined);  // y

// Window rules.
std::string WindowRuleKey(std::string_view rule_prefix);                             // l
std::string KeyedWindowsKey(std::string_view rule_prefix, std::string_view joined);  // n
std::string PaneKeyPrefix(std::string_view rule_prefix, std::string_view joined);    // p
std::string PaneKey(std::string_view rule_prefix, std::string_view joined, std::int64_t start_us);
// What is due when: sorts by time, then group key, then kind.
std::string DueKey(std::string_view rule_prefix, std::int64_t due_us, std::string_view joined,
                   char kind);  // q
std::string DueKeyFloor(std::string_view rule_prefix, std::int64_t due_us);
// The same by Kafka's timestamps.
std::string ExpiryKey(std::string_view rule_prefix, std::int64_t due_us,
                      std::string_view joined);  // u
std::string ExpiryKeyFloor(std::string_view rule_prefix, std::int64_t due_us);

// A held event's place in the order of release: event time, ce_sequence byte by byte (absent
// first), original partition, original offset.
std::string HeldKey(std::string_view rule_prefix, WallTime time, std::string_view sequence,
                    std::int32_t partition, std::int64_t offset);  // b
// Sorts before every held event of this time and after every earlier one.
std::string HeldKeyFloor(std::string_view rule_prefix, WallTime time);

}  // namespace tocsin::correlation
