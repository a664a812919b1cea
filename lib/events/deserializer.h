// The bytes of a record, in Confluent's wire format, to a Protobuf message: the schema that they
// were written with is named in a header or before the bytes, and comes from the registry once.
//
//   Deserializer deserializer(schemas, clock, {});
//   TOCSIN_ASSIGN_OR_RETURN(const Order order,
//                           deserializer.ReadAs<Order>(*record.value, record.headers));
#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "lib/base/clock.h"
#include "lib/base/mutex.h"
#include "lib/base/status.h"
#include "lib/events/registry_wait.h"
#include "lib/events/schema_cache.h"
#include "lib/events/subject_names.h"
#include "lib/kafka/types.h"
#include "lib/schema/compiled_schema.h"

namespace google::protobuf {
class Descriptor;
class Message;
}  // namespace google::protobuf

namespace tocsin::events {

struct DeserializerOptions {
  RecordPart part = RecordPart::kValue;
  AwayPolicy away = {};
  // Longer bytes are refused before anything is asked of the registry.
  std::size_t max_bytes = std::size_t{16} << 20;
  // Schemas whose types are kept ready for dynamic messages.
  std::size_t max_schemas = 1'000;
};

// What the bytes were written with.
struct WrittenAs {
  std::shared_ptr<const schema::CompiledSchema> schema;
  // Of `schema`.
  const google::protobuf::Descriptor* type = nullptr;
  // Of the bytes that were given.
  std::string_view payload;
};

// A message of a type that the program need not know.
struct DynamicMessage {
  std::shared_ptr<const schema::CompiledSchema> schema;
  // Of `schema`, which it keeps alive, as well as all else that it needs.
  std::shared_ptr<google::protobuf::Message> message;
};

// Thread-safe. A schema that is known costs no call to the registry and goes on working while that
// is away. An unknown one blocks as SchemaCache::ById (by GUID: up to twice that); while the
// registry is away, AwayPolicy says whether that fails at once or waits.
//
// A header with a GUID counts before the prefix, as with Confluent's clients. For all methods:
// INVALID_ARGUMENT: the bytes are not of the wire format, not a message of the schema, or above the
// limits; not worth a retry. NOT_FOUND: the registry does not know the schema that they name; it
// may come later. UNAVAILABLE, DEADLINE_EXCEEDED: the registry is away; retry.
class Deserializer {
 public:
  // Both must outlive it.
  Deserializer(SchemaCache& schemas, const Clock& clock, DeserializerOptions options);
  ~Deserializer();
  Deserializer(const Deserializer&) = delete;
  Deserializer& operator=(const Deserializer&) = delete;

  // Does not parse the message.
  absl::StatusOr<WrittenAs> Find(std::string_view bytes, const kafka::Headers& headers = {});

  absl::StatusOr<DynamicMessage> Read(std::string_view bytes, const kafka::Headers& headers = {});

  // Into a generated message, which may be of another version than the bytes, but not of another
  // name: INVALID_ARGUMENT says what they hold. `message` is undefined after an error.
  absl::Status ReadInto(std::string_view bytes, const kafka::Headers& headers,
                        google::protobuf::Message& message);
  template <typename T>
  absl::StatusOr<T> ReadAs(std::string_view bytes, const kafka::Headers& headers = {}) {
    T message;
    TOCSIN_RETURN_IF_ERROR(ReadInto(bytes, headers, message));
    return message;
  }

  // Ends the waiting for a registry that is away, now and later.
  void Stop() { wait_.Stop(); }

 private:
  struct Types;
  std::shared_ptr<Types> TypesOf(const std::shared_ptr<const schema::CompiledSchema>& schema);

  SchemaCache& schemas_;
  const DeserializerOptions options_;
  RegistryWait wait_;
  Mutex mutex_;
  // Each keeps its schema alive, so that an address is never another's.
  std::map<const schema::CompiledSchema*, std::shared_ptr<Types>> types_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace tocsin::events
