// For the tests of ingest: a stream, its schema, and events for it.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "io/cloudevents/v1/cloudevents.pb.h"
#include "lib/base/mutex.h"
#include "lib/base/status.h"
#include "lib/events/schema_cache.h"
#include "services/ingest/stream_table.h"
#include "tocsin/pack/v1/pack.pb.h"

namespace tocsin::ingest {

inline constexpr const char* kAlertSchema = R"(
syntax = "proto3";
package test.v1;
message Other { string text = 1; }
message Alert {
  string township = 1;
  string severity = 2;
  Level level = 3;
  int32 rank = 4;
  repeated string tags = 5;
  Other other = 6;
}
enum Level {
  LEVEL_UNSPECIFIED = 0;
  LEVEL_CALM = 1;
  LEVEL_HIGH = 2;
}
)";

// Field 1 (length-delimited) and so on, by hand, so that no generated code stands between.
inline std::string Field(int number, const std::string& text) {
  std::string bytes;
  bytes.push_back(static_cast<char>(number << 3 | 2));
  bytes.push_back(static_cast<char>(text.size()));
  return bytes + text;
}
inline std::string Field(int number, int value) {
  std::string bytes;
  bytes.push_back(static_cast<char>(number << 3));
  bytes.push_back(static_cast<char>(value));
  return bytes;
}

inline io::cloudevents::v1::CloudEvent AlertEvent(const std::string& id, const std::string& data) {
  io::cloudevents::v1::CloudEvent event;
  event.set_id(id);
  event.set_source("/test");
  event.set_spec_version("1.0");
  event.set_type("test.v1.Alert");
  event.set_binary_data(data);
  return event;
}

inline pack::v1::Pack AlertPack(const std::string& topic = "alerts.raw") {
  pack::v1::Pack pack;
  pack.set_name("test");
  pack::v1::Stream* stream = pack.add_streams();
  stream->set_topic(topic);
  stream->set_message_type("test.v1.Alert");
  stream->set_partition_key("township");
  stream->set_severity_field("severity");
  return pack;
}

inline events::SubjectSchema AlertSubject(const std::string& text = kAlertSchema, int id = 7) {
  auto compiled = schema::CompiledSchema::Compile({.name = "alert.proto", .text = text});
  EXPECT_TRUE(compiled.ok()) << compiled.status();
  return {.id = schema::SchemaId(id), .version = 1, .schema = *std::move(compiled)};
}

// Answers with what it was given last. Thread-safe.
class FakeSchemaCache final : public events::SchemaCache {
 public:
  void Set(absl::StatusOr<events::SubjectSchema> latest) {
    MutexLock lock(mutex_);
    latest_ = std::move(latest);
  }
  absl::StatusOr<std::shared_ptr<const schema::CompiledSchema>> ById(
      schema::SchemaId /*id*/) override {
    return NotFound("not used by ingest");
  }
  absl::StatusOr<std::shared_ptr<const schema::CompiledSchema>> ByGuid(
      const schema::SchemaGuid& /*guid*/) override {
    return NotFound("not used by ingest");
  }
  absl::StatusOr<events::SubjectSchema> Latest(std::string_view /*subject*/) override {
    MutexLock lock(mutex_);
    if (until_failure_.has_value() && (*until_failure_)-- == 0) {
      until_failure_.reset();
      return Unavailable("no answer");
    }
    return latest_;
  }
  // After `answers` more answers one is missing: the registry is away, and back at once.
  void MissAfter(int answers) {
    MutexLock lock(mutex_);
    until_failure_ = answers;
  }
  bool registry_answers() const override { return true; }

 private:
  Mutex mutex_;
  std::optional<int> until_failure_ ABSL_GUARDED_BY(mutex_);
  absl::StatusOr<events::SubjectSchema> latest_ ABSL_GUARDED_BY(mutex_) = AlertSubject();
};

}  // namespace tocsin::ingest
