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
#include "lib/kafka/record_view.h"
#include "services/correlation/engine/partition_time.h"

namespace tocsin::correlation {

inline constexpr std::string_view kOriginHeader = "tocsin.origin";
inline constexpr std::string_view kBeforeHeader = "tocsin.before";
// The key that a forwarded event had, where its stream keeps late events.
inline constexpr std::string_view kOriginalKeyHeader = "tocsin.key";
// Ids of the rules of the topic that the event came too late for, comma-separated; absent: none.
inline constexpr std::string_view kLateHeader = "tocsin.late";
inline constexpr std::string_view kKindHeader = "tocsin.kind";
inline constexpr std::string_view kKindMark = "mark";

// Views of the record's headers and value.
struct Envelope {
  std::string_view source;
  std::string_view id;
  std::string_view type;
  // Empty where absent.
  std::string_view sequence;
  WallTime time{};
  // Of the hop that brought the record here; empty where absent.
  std::string_view traceparent;
  // The message's bytes, behind Confluent's prefix.
  std::string_view payload;
  // What is kept of the rows that it is judged with (Enricher::Evidence).
  std::string_view enrichment;
};

// INVALID_ARGUMENT names the header or the part of the value that is missing or wrong. The record
// must outlive the envelope.
absl::Status ReadEnvelope(const kafka::RecordView& record, Envelope& envelope);

// Where an event lay before it was forwarded: "alerts.raw:3:1234".
struct Origin {
  // A view of what it was decoded from.
  std::string_view topic;
  std::int32_t partition = 0;
  std::int64_t offset = 0;
  // It comes from the right side of a join: behind the left in the order of release.
  bool right = false;
};
std::string EncodeOrigin(const Origin& origin);
std::optional<Origin> DecodeOrigin(std::string_view text);

}  // namespace tocsin::correlation
