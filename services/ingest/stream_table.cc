#include "services/ingest/stream_table.h"

#include <utility>

#include "lib/base/status.h"
#include "lib/base/text.h"

namespace tocsin::ingest {
absl::StatusOr<StreamTable> StreamTable::Build(std::span<const pack::v1::Pack> packs) {
  StreamTable table;
  for (const pack::v1::Pack& pack : packs) {
    for (const pack::v1::Stream& stream : pack.streams()) {
      if (stream.topic().empty() || stream.message_type().empty()) {
        return InvalidArgument(Concat("pack ", pack.name(), ": stream '", stream.topic(),
                                      "' needs both a topic and a message_type"));
      }
      Stream entry{.topic = stream.topic(),
                   .message_type = stream.message_type(),
                   .partition_key_field = stream.partition_key(),
                   .severity_field = stream.severity_field()};
      if (!table.streams_.emplace(stream.topic(), std::move(entry)).second) {
        return InvalidArgument(Concat("pack ", pack.name(), ": the stream ", stream.topic(),
                                      " is in another pack, too. A stream belongs to one pack"));
      }
    }
  }
  return table;
}

const Stream* StreamTable::Find(std::string_view topic) const {
  const auto found = streams_.find(topic);
  return found == streams_.end() ? nullptr : &found->second;
}

absl::StatusOr<const Stream*> StreamTable::Route(std::string_view stream,
                                                 std::string_view type) const {
  if (!stream.empty()) {
    const Stream* named = Find(stream);
    if (named == nullptr) {
      std::vector<std::string> names;
      for (const auto& [topic, unused] : streams_) names.push_back(topic);
      return InvalidArgument(
          Concat("stream: there is no stream '", stream, "'", DidYouMean(stream, names),
                 " The streams are: ", names.empty() ? "none" : Join(names, ", "), "."));
    }
    if (named->message_type != type) {
      return InvalidArgument(Concat("type: '", type, "' does not belong in ", stream,
                                    ", which holds ", named->message_type));
    }
    return named;
  }
  const Stream* match = nullptr;
  std::vector<std::string> types;
  for (const auto& [topic, candidate] : streams_) {
    types.push_back(candidate.message_type);
    if (candidate.message_type != type) continue;
    if (match != nullptr) {
      return InvalidArgument(Concat("stream: both ", match->topic, " and ", topic, " hold ", type,
                                    "; name the stream that is meant"));
    }
    match = &candidate;
  }
  if (match == nullptr) {
    return InvalidArgument(Concat("type: no stream holds '", type, "'", DidYouMean(type, types),
                                  " The types are: ", types.empty() ? "none" : Join(types, ", "),
                                  "."));
  }
  return match;
}

}  // namespace tocsin::ingest
