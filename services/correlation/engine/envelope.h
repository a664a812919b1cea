// The CloudEvents envelope of a record, as far as correlation reads it, and the headers that travel
// with an event through a repartition topic.
//
// All functions are pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "lib/base/clock.h"
#include "lib/kafka/types.h"
#include "services/correlation/engine/partition_time.h"

namespace tocsin::correlation {

inline constexpr std::string_view kOriginHeader = "tocsin.origin";
inline constexpr std::string_view kBeforeHeader = "tocsin.before";
inline constexpr std::string_view kKindHeader = "tocsin.kind";
inline constexpr std::string_view kKindMark = "mark";

struct Envelope {
  std::string source;
  std::string id;
  std::string type;
  // Empty where absent.
  std::string sequence;
  WallTime time{};
  // Of the hop that brought the record here; empty where absent.
  std::string traceparent;
  // The message's bytes, behind Confluent's prefix; points into the record's value.
  std::string_view payload;
};

// INVALID_ARGUMENT names the header or the part of the value that is missing or wrong. The record
// must outlive the answer.
absl::StatusOr<Envelope> ReadEnvelope(const kafka::Record& record);

// Where an event lay before it was forwarded: "alerts.raw:3:1234".
struct Origin {
  kafka::TopicPartition where;
  std::int64_t offset = 0;
};
std::string EncodeOrigin(const Origin& origin);
std::optional<Origin> DecodeOrigin(std::string_view text);

}  // namespace tocsin::correlation
