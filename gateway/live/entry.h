// A record of the log as subscribers are told of it: encoded once, shared by all.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "lib/http/message.h"
#include "lib/kafka/types.h"
#include "tocsin/live/v1/live.pb.h"

namespace tocsin::gateway {

using live::v1::Kind;
using Severity = tocsin::event::v1::Severity;

// A topic that can be subscribed to, and what its records are.
struct LiveTopic {
  std::string name;
  Kind kind = live::v1::KIND_UNSPECIFIED;
};
// The topics of the system's own, and the packs' streams.
std::vector<LiveTopic> LiveTopics(const std::vector<std::string>& streams);

struct Entry {
  std::int64_t offset = 0;
  Kind kind = live::v1::KIND_UNSPECIFIED;
  // Unset counts as INFO.
  Severity severity = tocsin::event::v1::SEVERITY_INFO;
  // Of detections and incidents.
  std::string rule_id;
  // A SubscribeResponse without its cursor, which goes before it on the wire. Empty: a record that
  // cannot be told (a tombstone, or not what its topic holds).
  http::Slice body;

  std::size_t memory() const { return body.size() + rule_id.size() + 160; }
};
using EntryPtr = std::shared_ptr<const Entry>;

// Never fails: what cannot be read has no body; `why`, when given, says the reason.
EntryPtr MakeEntry(const LiveTopic& topic, const kafka::Record& record, std::string* why = nullptr);

// The wire form of `cursor` in a SubscribeResponse.
std::string CursorField(std::string_view cursor);

}  // namespace tocsin::gateway
