// A Protobuf message to the bytes of a record, in Confluent's wire format: its schema is found in
// the registry, or brought there, and named before the bytes or in a header.
//
//   Serializer serializer(registry, schemas, clock, {});
//   kafka::OutgoingRecord record{.topic = "orders"};
//   TOCSIN_RETURN_IF_ERROR(serializer.Write(order, record));
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "lib/base/clock.h"
#include "lib/events/loading_cache.h"
#include "lib/events/registry_client.h"
#include "lib/events/registry_wait.h"
#include "lib/events/schema_cache.h"
#include "lib/events/subject_names.h"
#include "lib/kafka/types.h"
#include "lib/schema/wire_format.h"

namespace google::protobuf {
class Descriptor;
class Message;
}  // namespace google::protobuf

namespace tocsin::events {

// Which schema a message is written with. In parentheses the properties of Confluent's clients.
enum class SchemaChoice {
  // That of its own file, which is registered where it is not (auto.register.schemas).
  kRegister,
  // That of its own file, which must be registered already; nothing is changed.
  kLookup,
  // The latest of the subject (use.latest.version); for programs that are older or younger than it.
  kLatest,
};

// Where the schema is named.
enum class SchemaPlace {
  // By its id, in front of the bytes: version 0, which every client reads.
  kPrefix,
  // By its GUID, in the header kKeySchemaIdHeader or kValueSchemaIdHeader: version 1. The bytes are
  // the bare message.
  kHeader,
};

struct SerializerOptions {
  RecordPart part = RecordPart::kValue;
  SchemaChoice choice = SchemaChoice::kRegister;
  SchemaPlace place = SchemaPlace::kPrefix;
  SubjectNaming naming = SubjectNaming::kTopicName;
  ReferenceNaming reference_naming = ReferenceNaming::kDefault;
  // The registry stores, or looks for, the normal form (normalize.schemas).
  bool normalize = false;
  // With kLatest: a message that a reader with the latest schema would not read as it was written
  // is refused (latest.compatibility.strict).
  bool latest_compatibility_strict = true;
  AwayPolicy away = {};
  // How long a refusal of the registry is believed: a producer whose schema is refused does not ask
  // again for every message.
  std::chrono::milliseconds negative_lifetime{1'000};
  // Subjects and types that are remembered.
  std::size_t max_entries = 10'000;
};

struct SerializedMessage {
  std::string bytes;
  // Empty with SchemaPlace::kPrefix; else the value of the header that the record must carry.
  std::string header;
  schema::SchemaId schema_id;
};

// Thread-safe. A schema that is known costs no call to the registry, and goes on working while that
// is away, kLatest with the version known last. An unknown one costs one call per file, the first
// time; meanwhile other threads with the same type wait for the result. While the registry is away,
// AwayPolicy says whether that fails at once (after the call's own timeout) or waits.
class Serializer {
 public:
  // All must outlive it. `schemas` serves kLatest.
  Serializer(RegistryClient& registry, SchemaCache& schemas, const Clock& clock,
             SerializerOptions options);
  ~Serializer();
  Serializer(const Serializer&) = delete;
  Serializer& operator=(const Serializer&) = delete;

  // Generated messages and dynamic ones. `owner` keeps the descriptor of a dynamic message alive
  // (its CompiledSchema, its pool); with it such a message is as cheap as a generated one; without
  // it the file is compared anew for each message.
  //
  // INVALID_ARGUMENT: a required field is missing, the message is above 2 GiB, or its schema cannot
  // be registered as text. NOT_FOUND: kLookup or kLatest found none. FAILED_PRECONDITION: the
  // registry refuses the schema, or the latest one does not read this message; the message lists
  // why. UNAVAILABLE, DEADLINE_EXCEEDED: the registry is away; retry. Otherwise as RegistryClient.
  absl::StatusOr<SerializedMessage> Serialize(std::string_view topic,
                                              const google::protobuf::Message& message,
                                              std::shared_ptr<const void> owner = nullptr);

  // The same into a record for `record.topic`: its key or value, and with SchemaPlace::kHeader its
  // header. After an error the record is as it was.
  absl::Status Write(const google::protobuf::Message& message, kafka::OutgoingRecord& record,
                     std::shared_ptr<const void> owner = nullptr);

  // Ends the waiting for a registry that is away, now and later.
  void Stop() { wait_.Stop(); }

 private:
  // A type under a subject. The address of a descriptor stands for the type where somebody keeps it
  // alive; else its file's content does.
  struct Type {
    std::string subject;
    const google::protobuf::Descriptor* descriptor = nullptr;
    std::string content;
    // With kLatest: of which version.
    schema::SchemaId latest;
    std::shared_ptr<const void> owner;

    bool operator<(const Type& other) const;
  };
  struct Chosen {
    schema::SchemaId id;
    std::optional<schema::SchemaGuid> guid;
    std::vector<std::int32_t> indexes;
  };
  using ChosenPtr = std::shared_ptr<const Chosen>;

  absl::StatusOr<ChosenPtr> Choose(std::string_view topic,
                                   const google::protobuf::Descriptor& descriptor,
                                   std::shared_ptr<const void> owner);
  absl::StatusOr<ChosenPtr> ChooseOwn(const Type& type,
                                      const google::protobuf::Descriptor& descriptor);
  absl::StatusOr<ChosenPtr> ChooseLatest(const Type& type, const SubjectSchema& latest,
                                         const google::protobuf::Descriptor& descriptor) const;

  RegistryClient& registry_;
  SchemaCache& schemas_;
  const SerializerOptions options_;
  RegistryWait wait_;
  LoadingCache<Type, ChosenPtr> chosen_;
};

}  // namespace tocsin::events
