// What the packs say about the streams that ingest takes.
#pragma once

#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "tocsin/pack/v1/pack.pb.h"

namespace tocsin::ingest {

struct Stream {
  std::string topic;
  // Full name of the message that its events hold.
  std::string message_type;
  // Field of the message that keys the record; empty: only the attribute partitionkey does.
  std::string partition_key_field;
  // Field that holds the event's severity; empty: only the attribute severitytext does.
  std::string severity_field;

  std::string subject() const { return topic + "-value"; }
  std::string dead_letter_topic() const { return topic + ".dlq"; }
};

// Immutable, hence thread-safe. Streams live as long as the table.
class StreamTable {
 public:
  // INVALID_ARGUMENT: a stream without topic or type, or a topic in two packs.
  static absl::StatusOr<StreamTable> Build(std::span<const pack::v1::Pack> packs);

  // The stream that an event goes to: the one named, which must take this type, or, where none is
  // named, the one that takes it. INVALID_ARGUMENT names the field and what there is to choose.
  absl::StatusOr<const Stream*> Route(std::string_view stream, std::string_view type) const;

  // nullptr where there is none.
  const Stream* Find(std::string_view topic) const;

  const std::map<std::string, Stream, std::less<>>& streams() const { return streams_; }

 private:
  std::map<std::string, Stream, std::less<>> streams_;
};

}  // namespace tocsin::ingest
