#include "lib/events/deserializer.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/dynamic_message.h>
#include <google/protobuf/message.h>

#include <cstdint>
#include <optional>
#include <span>
#include <utility>

#include "lib/base/text.h"
#include "lib/schema/wire_format.h"
#include "lib/schema/wire_validator.h"

namespace tocsin::events {
namespace {

using google::protobuf::Message;
using SchemaPtr = std::shared_ptr<const schema::CompiledSchema>;

// `written`: the type of the bytes, which says best what is wrong with them.
absl::Status Parse(std::string_view payload, const google::protobuf::Descriptor& written,
                   Message& message) {
  // Partial, because Protobuf would log what is missing, and here it is told.
  const bool parsed =
      message.ParsePartialFromArray(payload.data(), static_cast<int>(payload.size()));
  if (parsed && message.IsInitialized()) return absl::OkStatus();
  const std::string& name = message.GetDescriptor()->full_name();
  if (parsed) {
    return InvalidArgument(Concat("the bytes are a ", name, " without required fields: ",
                                  Shorten(message.InitializationErrorString(), 500)));
  }
  const absl::Status why = schema::Validate(written, payload);
  return InvalidArgument(why.ok()
                             ? Concat("the bytes are not a ", name)
                             : Concat("the bytes are not a ", name, ": ", tocsin::Message(why)));
}

}  // namespace

struct Deserializer::Types {
  explicit Types(SchemaPtr of) : schema(std::move(of)) {}
  const SchemaPtr schema;
  google::protobuf::DynamicMessageFactory factory;
};

Deserializer::Deserializer(SchemaCache& schemas, const Clock& clock, DeserializerOptions options)
    : schemas_(schemas), options_(std::move(options)), wait_(options_.away, clock) {}

Deserializer::~Deserializer() = default;

absl::StatusOr<WrittenAs> Deserializer::Find(std::string_view bytes,
                                             const kafka::Headers& headers) {
  if (bytes.size() > options_.max_bytes) {
    return InvalidArgument(Concat("the record has ", bytes.size(),
                                  " bytes, more than the limit of ", options_.max_bytes));
  }
  const std::string_view name =
      options_.part == RecordPart::kKey ? schema::kKeySchemaIdHeader : schema::kValueSchemaIdHeader;
  WrittenAs found;
  std::vector<std::int32_t> indexes;
  std::string which;
  if (const std::optional<std::string_view> header = headers.Find(name)) {
    auto decoded = schema::DecodeGuidHeader(*header);
    if (!decoded.ok()) return Annotate(decoded.status(), name);
    TOCSIN_ASSIGN_OR_RETURN(found.schema,
                            wait_.Run([&] { return schemas_.ByGuid(decoded->guid); }));
    indexes = std::move(decoded->message_indexes);
    found.payload = bytes;
    which = schema::FormatGuid(decoded->guid);
  } else {
    TOCSIN_ASSIGN_OR_RETURN(schema::Framed framed, schema::DecodeFrame(bytes));
    TOCSIN_ASSIGN_OR_RETURN(found.schema, wait_.Run([&] { return schemas_.ById(framed.id); }));
    indexes = std::move(framed.message_indexes);
    found.payload = framed.payload;
    which = std::to_string(framed.id.value());
  }
  const auto type = found.schema->MessageAt(indexes);
  if (!type.ok()) return Annotate(type.status(), Concat("schema ", which));
  found.type = *type;
  return found;
}

std::shared_ptr<Deserializer::Types> Deserializer::TypesOf(const SchemaPtr& schema) {
  MutexLock lock(mutex_);
  const auto found = types_.find(schema.get());
  if (found != types_.end()) return found->second;
  // Which one goes does not matter; messages keep their own.
  if (types_.size() >= options_.max_schemas) types_.erase(types_.begin());
  return types_.emplace(schema.get(), std::make_shared<Types>(schema)).first->second;
}

absl::StatusOr<DynamicMessage> Deserializer::Read(std::string_view bytes,
                                                  const kafka::Headers& headers) {
  TOCSIN_ASSIGN_OR_RETURN(const WrittenAs written, Find(bytes, headers));
  const std::shared_ptr<Types> types = TypesOf(written.schema);
  DynamicMessage read{written.schema, nullptr};
  // Deleted before the factory that made it.
  read.message = std::shared_ptr<Message>(types->factory.GetPrototype(written.type)->New(),
                                          [types](Message* message) { delete message; });
  TOCSIN_RETURN_IF_ERROR(Parse(written.payload, *written.type, *read.message));
  return read;
}

absl::Status Deserializer::ReadInto(std::string_view bytes, const kafka::Headers& headers,
                                    Message& message) {
  TOCSIN_ASSIGN_OR_RETURN(const WrittenAs written, Find(bytes, headers));
  const std::string& wanted = message.GetDescriptor()->full_name();
  if (written.type->full_name() != wanted) {
    return InvalidArgument(
        Concat("the bytes hold a ", written.type->full_name(), ", not a ", wanted));
  }
  return Parse(written.payload, *written.type, message);
}

}  // namespace tocsin::events
