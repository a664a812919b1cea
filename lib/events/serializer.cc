#include "lib/events/serializer.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>
#include <google/protobuf/message.h>

#include <algorithm>
#include <limits>
#include <set>
#include <tuple>
#include <utility>

#include "lib/base/hash.h"
#include "lib/base/status.h"
#include "lib/base/text.h"
#include "lib/events/file_registration.h"
#include "lib/schema/compatibility.h"
#include "lib/schema/compiled_schema.h"

namespace tocsin::events {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::DescriptorPool;
using google::protobuf::FileDescriptor;
using google::protobuf::Message;

void AppendContent(const FileDescriptor& file, std::set<const FileDescriptor*>& seen,
                   std::vector<std::string>& contents) {
  if (!seen.insert(&file).second || schema::IsWellKnownImport(file.name())) return;
  google::protobuf::FileDescriptorProto proto;
  file.CopyTo(&proto);
  contents.push_back(proto.SerializeAsString());
  for (int i = 0; i < file.dependency_count(); ++i) {
    AppendContent(*file.dependency(i), seen, contents);
  }
}

// Equal for messages whose files are equal, imports included.
std::string ContentOf(const Descriptor& descriptor) {
  std::vector<std::string> contents = {descriptor.full_name()};
  std::set<const FileDescriptor*> seen;
  AppendContent(*descriptor.file(), seen, contents);
  const std::vector<std::string_view> parts(contents.begin(), contents.end());
  return StableId(parts);
}

absl::StatusOr<std::string> BytesOf(const Message& message) {
  if (!message.IsInitialized()) {
    return InvalidArgument(
        Concat(message.GetDescriptor()->full_name(),
               ": required fields are missing: ", message.InitializationErrorString()));
  }
  if (message.ByteSizeLong() > static_cast<std::size_t>(std::numeric_limits<int>::max())) {
    return InvalidArgument(
        Concat(message.GetDescriptor()->full_name(), ": the message is above 2 GiB"));
  }
  return message.SerializeAsString();
}

// Every finding, one per line.
std::string TextOf(const std::vector<schema::Finding>& findings) {
  constexpr std::size_t kMost = 10;
  std::string text;
  for (std::size_t i = 0; i < std::min(findings.size(), kMost); ++i) {
    text += Concat("\n", schema::KindName(findings[i].kind), " ", findings[i].path, ": ",
                   findings[i].description);
  }
  if (findings.size() > kMost) text += Concat("\nand ", findings.size() - kMost, " more");
  return text;
}

}  // namespace

bool Serializer::Type::operator<(const Type& other) const {
  return std::tie(subject, descriptor, content, latest) <
         std::tie(other.subject, other.descriptor, other.content, other.latest);
}

Serializer::Serializer(RegistryClient& registry, SchemaCache& schemas, const Clock& clock,
                       SerializerOptions options)
    : registry_(registry),
      schemas_(schemas),
      options_(std::move(options)),
      wait_(options_.away, clock),
      chosen_(clock, {.negative_lifetime = options_.negative_lifetime,
                      .max_entries = options_.max_entries}) {}

Serializer::~Serializer() = default;

absl::StatusOr<Serializer::ChosenPtr> Serializer::ChooseOwn(const Type& type,
                                                            const Descriptor& descriptor) {
  using Action = FileRegistrationOptions::Action;
  const FileRegistrationOptions how{
      .action = options_.choice == SchemaChoice::kRegister ? Action::kRegister : Action::kLookup,
      .reference_naming = options_.reference_naming,
      .normalize = options_.normalize};
  TOCSIN_ASSIGN_OR_RETURN(const RegisteredVersion version,
                          RegisterFile(registry_, type.subject, *descriptor.file(), how));
  return std::make_shared<const Chosen>(
      Chosen{version.id, version.guid, schema::MessageIndexes(descriptor)});
}

absl::StatusOr<Serializer::ChosenPtr> Serializer::ChooseLatest(const Type& type,
                                                               const SubjectSchema& latest,
                                                               const Descriptor& descriptor) const {
  const Descriptor* const there = latest.schema->FindMessage(descriptor.full_name());
  if (there == nullptr) {
    return FailedPrecondition(
        Concat("version ", latest.version, " of ", type.subject, ", its latest, has no message ",
               descriptor.full_name(), "; it has ",
               Shorten(Join(latest.schema->MessageNames(), ", "), 500),
               ". Register the schema of this message, or write it under another subject"));
  }
  if (options_.latest_compatibility_strict) {
    TOCSIN_ASSIGN_OR_RETURN(std::vector<schema::SourceFile> files,
                            SourceFilesOf(*descriptor.file()));
    const schema::SourceFile main = std::move(files.back());
    files.pop_back();
    TOCSIN_ASSIGN_OR_RETURN(const auto own, schema::CompiledSchema::Compile(main, files));
    const auto findings =
        schema::CheckCompatibility(*own, *latest.schema, schema::CompatibilityLevel::kBackward);
    if (!findings.empty()) {
      return FailedPrecondition(Concat(
          "a reader with version ", latest.version, " of ", type.subject,
          ", its latest, would not read what this program writes as ", descriptor.full_name(),
          ". Build the program with that version, or register its own as a new one:",
          TextOf(findings)));
    }
  }
  return std::make_shared<const Chosen>(
      Chosen{latest.id, latest.guid, schema::MessageIndexes(*there)});
}

absl::StatusOr<Serializer::ChosenPtr> Serializer::Choose(std::string_view topic,
                                                         const Descriptor& descriptor,
                                                         std::shared_ptr<const void> owner) {
  if (topic.empty() && options_.naming != SubjectNaming::kRecordName) {
    return InvalidArgument("the topic is empty, and the subject is named after it");
  }
  Type type;
  type.subject = SubjectName(options_.naming, topic, options_.part, descriptor.full_name());
  if (owner != nullptr || descriptor.file()->pool() == DescriptorPool::generated_pool()) {
    type.descriptor = &descriptor;
    type.owner = std::move(owner);
  } else {
    type.content = ContentOf(descriptor);
  }
  if (options_.choice != SchemaChoice::kLatest) {
    return chosen_.Get(type, [&] { return ChooseOwn(type, descriptor); });
  }
  TOCSIN_ASSIGN_OR_RETURN(const SubjectSchema latest, schemas_.Latest(type.subject));
  type.latest = latest.id;
  return chosen_.Get(type, [&] { return ChooseLatest(type, latest, descriptor); });
}

absl::StatusOr<SerializedMessage> Serializer::Serialize(std::string_view topic,
                                                        const Message& message,
                                                        std::shared_ptr<const void> owner) {
  const Descriptor& descriptor = *message.GetDescriptor();
  TOCSIN_ASSIGN_OR_RETURN(std::string bytes, BytesOf(message));
  TOCSIN_ASSIGN_OR_RETURN(const ChosenPtr chosen,
                          wait_.Run([&] { return Choose(topic, descriptor, owner); }));
  SerializedMessage serialized;
  serialized.schema_id = chosen->id;
  if (options_.place == SchemaPlace::kPrefix) {
    serialized.bytes = schema::EncodeFrame(chosen->id, chosen->indexes, bytes);
    return serialized;
  }
  if (!chosen->guid.has_value()) {
    return FailedPrecondition(
        "the registry names no GUID for the schema, which the header needs; write the schema's id "
        "before the bytes instead (SchemaPlace::kPrefix)");
  }
  serialized.header = schema::EncodeGuidHeader(*chosen->guid, chosen->indexes);
  serialized.bytes = std::move(bytes);
  return serialized;
}

absl::Status Serializer::Write(const Message& message, kafka::OutgoingRecord& record,
                               std::shared_ptr<const void> owner) {
  TOCSIN_ASSIGN_OR_RETURN(SerializedMessage serialized,
                          Serialize(record.topic, message, std::move(owner)));
  const bool is_key = options_.part == RecordPart::kKey;
  const std::string_view header =
      is_key ? schema::kKeySchemaIdHeader : schema::kValueSchemaIdHeader;
  // A header that was left from elsewhere would count before the prefix.
  if (serialized.header.empty()) {
    record.headers.Remove(header);
  } else {
    record.headers.Set(header, serialized.header);
  }
  (is_key ? record.key : record.value) = std::move(serialized.bytes);
  return absl::OkStatus();
}

}  // namespace tocsin::events
