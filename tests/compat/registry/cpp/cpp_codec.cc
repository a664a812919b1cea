// lib/events as a program: a request per line of JSON on stdin, an answer per line on stdout. The
// requests are those of ../clients.py; this one talks to the registry by gRPC.
//
// Environment: COMPAT_GRPC is host:port of the registry's gRPC; COMPAT_CERTIFICATE, COMPAT_KEY and
// COMPAT_CA are PEM files for mutual TLS, COMPAT_TOKEN says who asks; COMPAT_DESCRIPTORS is a
// FileDescriptorSet with the types of the messages.
//
//   {"op":"encode","topic":"t","type":"p.M","message":{…}}
//     optional: "schema_id_in":"prefix"|"header", "auto_register", "use_latest", "normalize",
//     "key", "latest_compatibility_strict": true|false,
//     "subject_name":"topic"|"record"|"topic_record",
//     "reference_subject_name":"default"|"qualified"
//     -> {"value":hex,"headers":{name:hex},"id":n}
//   {"op":"decode","type":"p.M","value":hex,"headers":{name:hex}}   optional: "key"
//     -> {"message":{…}}
//   register, lookup (subject, schema, references, normalize), latest (subject), by_id, by_guid
#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>
#include <google/protobuf/dynamic_message.h>
#include <google/protobuf/util/json_util.h>
#include <grpcpp/grpcpp.h>

#include <cstdlib>
#include <fstream>
#include <iostream>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>

#include "lib/base/hex.h"
#include "lib/base/status.h"
#include "lib/events/deserializer.h"
#include "lib/events/registry_client.h"
#include "lib/events/schema_cache.h"
#include "lib/events/serializer.h"
#include "lib/rpc/tls.h"

namespace tocsin::events {
namespace {

using google::protobuf::DescriptorPool;
using google::protobuf::DynamicMessageFactory;
using google::protobuf::Message;
using Json = nlohmann::json;

constexpr std::chrono::seconds kNever{86'400};

absl::Status OfProtobuf(const google::protobuf::util::Status& status) {
  return status.ok() ? absl::OkStatus() : InvalidArgument(status.ToString());
}

// What the REST interface would have said, for what they have in common.
int HttpStatusOf(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kNotFound:
      return 404;
    case absl::StatusCode::kFailedPrecondition:
      return 409;
    case absl::StatusCode::kInvalidArgument:
      return 422;
    case absl::StatusCode::kUnauthenticated:
      return 401;
    case absl::StatusCode::kPermissionDenied:
      return 403;
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kDeadlineExceeded:
      return 503;
    default:
      return 500;
  }
}

std::vector<SchemaReference> ReferencesOf(const Json& request) {
  std::vector<SchemaReference> references;
  const Json given = request.value("references", Json::array());
  for (const Json& reference : given) {
    references.push_back({reference.at("name"), reference.at("subject"), reference.at("version")});
  }
  return references;
}

SchemaDraft DraftOf(const Json& request) {
  return {request.at("schema"), ReferencesOf(request), request.value("normalize", false)};
}

Json VersionAnswer(const RegisteredVersion& version, const std::string& subject) {
  Json answer = {{"id", version.id.value()}, {"version", version.version}, {"subject", subject}};
  if (version.guid.has_value()) answer["guid"] = schema::FormatGuid(*version.guid);
  return answer;
}

Json FetchedAnswer(const FetchedSchema& fetched) {
  Json answer = {{"id", fetched.id.value()},
                 {"version", fetched.version},
                 {"subject", fetched.subject},
                 {"schema", fetched.text},
                 {"references", Json::array()}};
  for (const SchemaReference& reference : fetched.references) {
    answer["references"].push_back(
        {{"name", reference.name}, {"subject", reference.subject}, {"version", reference.version}});
  }
  if (fetched.guid.has_value()) answer["guid"] = schema::FormatGuid(*fetched.guid);
  return answer;
}

class Codec {
 public:
  Codec(std::unique_ptr<RegistryClient> registry, std::shared_ptr<DescriptorPool> pool)
      : registry_(std::move(registry)), pool_(std::move(pool)) {}

  // Json exceptions: the request lacks something.
  absl::StatusOr<Json> Answer(const Json& request) {
    const std::string op = request.at("op");
    if (request.value("schema_type", "PROTOBUF") != "PROTOBUF") return Json{{"unsupported", true}};
    if (op == "encode") return Encode(request);
    if (op == "decode") return Decode(request);
    if (op == "register" || op == "lookup") {
      const std::string subject = request.at("subject");
      const SchemaDraft draft = DraftOf(request);
      TOCSIN_ASSIGN_OR_RETURN(const RegisteredVersion version,
                              op == "register" ? registry_->Register(subject, draft)
                                               : registry_->Lookup(subject, draft));
      return VersionAnswer(version, subject);
    }
    if (op == "latest") {
      TOCSIN_ASSIGN_OR_RETURN(const FetchedSchema fetched,
                              registry_->Latest(request.at("subject").get<std::string>()));
      return FetchedAnswer(fetched);
    }
    // Ids of other contexts are not within its reach.
    if (op == "by_id" && !request.contains("subject")) {
      TOCSIN_ASSIGN_OR_RETURN(const FetchedSchema fetched,
                              registry_->ById(schema::SchemaId(request.at("id"))));
      return FetchedAnswer(fetched);
    }
    if (op == "by_guid") {
      TOCSIN_ASSIGN_OR_RETURN(const schema::SchemaGuid guid,
                              schema::ParseGuid(request.at("guid").get<std::string>()));
      TOCSIN_ASSIGN_OR_RETURN(const FetchedSchema fetched, registry_->ByGuid(guid));
      return FetchedAnswer(fetched);
    }
    return Json{{"unsupported", true}};
  }

 private:
  absl::StatusOr<Json> Encode(const Json& request) {
    const auto* type = pool_->FindMessageTypeByName(request.at("type").get<std::string>());
    if (type == nullptr) return InvalidArgument("COMPAT_DESCRIPTORS has no such type");
    const std::unique_ptr<Message> message(factory_.GetPrototype(type)->New());
    TOCSIN_RETURN_IF_ERROR(OfProtobuf(
        google::protobuf::util::JsonStringToMessage(request.at("message").dump(), message.get())));
    kafka::OutgoingRecord record{.topic = request.at("topic").get<std::string>()};
    Serializer& serializer = SerializerFor(request);
    TOCSIN_ASSIGN_OR_RETURN(const SerializedMessage serialized,
                            serializer.Serialize(record.topic, *message, pool_));
    TOCSIN_RETURN_IF_ERROR(serializer.Write(*message, record, pool_));
    Json answer = {{"id", serialized.schema_id.value()}, {"headers", Json::object()}};
    answer["value"] = HexEncode(request.value("key", false) ? *record.key : *record.value);
    for (const auto& [name, value] : record.headers.entries()) {
      answer["headers"][name] = HexEncode(value);
    }
    return answer;
  }

  absl::StatusOr<Json> Decode(const Json& request) {
    TOCSIN_ASSIGN_OR_RETURN(const std::string bytes,
                            HexDecode(request.at("value").get<std::string>()));
    kafka::Headers headers;
    const Json given = request.value("headers", Json::object());
    for (const auto& [name, value] : given.items()) {
      TOCSIN_ASSIGN_OR_RETURN(const std::string header, HexDecode(value.get<std::string>()));
      headers.Set(name, header);
    }
    Deserializer& deserializer = request.value("key", false) ? keys_ : values_;
    TOCSIN_ASSIGN_OR_RETURN(const DynamicMessage read, deserializer.Read(bytes, headers));
    const std::string& name = read.message->GetDescriptor()->full_name();
    if (request.contains("type") && request["type"] != name) {
      return InvalidArgument(Concat("the bytes hold a ", name));
    }
    std::string json;
    TOCSIN_RETURN_IF_ERROR(
        OfProtobuf(google::protobuf::util::MessageToJsonString(*read.message, &json)));
    return Json{{"message", Json::parse(json)}, {"type", name}};
  }

  Serializer& SerializerFor(const Json& request) {
    SerializerOptions options;
    if (request.value("key", false)) options.part = RecordPart::kKey;
    if (request.value("schema_id_in", "prefix") == "header") options.place = SchemaPlace::kHeader;
    if (request.value("use_latest", false)) {
      options.choice = SchemaChoice::kLatest;
    } else if (!request.value("auto_register", true)) {
      options.choice = SchemaChoice::kLookup;
    }
    options.normalize = request.value("normalize", false);
    options.latest_compatibility_strict = request.value("latest_compatibility_strict", true);
    const std::string naming = request.value("subject_name", "topic");
    if (naming == "record") options.naming = SubjectNaming::kRecordName;
    if (naming == "topic_record") options.naming = SubjectNaming::kTopicRecordName;
    if (request.value("reference_subject_name", "default") == "qualified") {
      options.reference_naming = ReferenceNaming::kQualified;
    }
    const std::string key =
        Concat(static_cast<int>(options.part), static_cast<int>(options.place),
               static_cast<int>(options.choice), static_cast<int>(options.naming),
               static_cast<int>(options.reference_naming), options.normalize,
               options.latest_compatibility_strict);
    auto& serializer = serializers_[key];
    if (!serializer) {
      serializer = std::make_unique<Serializer>(*registry_, *schemas_, Clock::Real(), options);
    }
    return *serializer;
  }

  const std::unique_ptr<RegistryClient> registry_;
  const std::shared_ptr<DescriptorPool> pool_;
  const std::unique_ptr<SchemaCache> schemas_ = MakeSchemaCache(*registry_, Clock::Real());
  DynamicMessageFactory factory_;
  std::map<std::string, std::unique_ptr<Serializer>> serializers_;
  Deserializer keys_{*schemas_, Clock::Real(), {.part = RecordPart::kKey}};
  Deserializer values_{*schemas_, Clock::Real(), {}};
};

absl::StatusOr<std::string> Variable(const char* name) {
  const char* value = std::getenv(name);
  if (value != nullptr && *value != '\0') return std::string(value);
  return InvalidArgument(Concat(name, " is not set"));
}

absl::StatusOr<std::shared_ptr<grpc::Channel>> Connect() {
  config::v1::TlsConfig tls;
  TOCSIN_ASSIGN_OR_RETURN(const std::string target, Variable("COMPAT_GRPC"));
  TOCSIN_ASSIGN_OR_RETURN(*tls.mutable_certificate_file(), Variable("COMPAT_CERTIFICATE"));
  TOCSIN_ASSIGN_OR_RETURN(*tls.mutable_key_file(), Variable("COMPAT_KEY"));
  TOCSIN_ASSIGN_OR_RETURN(*tls.mutable_ca_file(), Variable("COMPAT_CA"));
  TOCSIN_ASSIGN_OR_RETURN(const std::string token, Variable("COMPAT_TOKEN"));
  TOCSIN_ASSIGN_OR_RETURN(const auto mesh, rpc::MakeChannelCredentials(tls, kNever));
  return grpc::CreateChannel(
      target, grpc::CompositeChannelCredentials(mesh, grpc::AccessTokenCredentials(token)));
}

absl::StatusOr<std::shared_ptr<DescriptorPool>> ReadDescriptors() {
  TOCSIN_ASSIGN_OR_RETURN(const std::string path, Variable("COMPAT_DESCRIPTORS"));
  std::ifstream file(path, std::ios::binary);
  google::protobuf::FileDescriptorSet set;
  if (!set.ParseFromIstream(&file)) {
    return InvalidArgument(Concat(path, " is no FileDescriptorSet"));
  }
  auto pool = std::make_shared<DescriptorPool>();
  for (const auto& proto : set.file()) {
    if (pool->BuildFile(proto) == nullptr)
      return InvalidArgument(Concat(proto.name(), " does not link"));
  }
  return pool;
}

int Run() {
  auto channel = Connect();
  auto pool = ReadDescriptors();
  for (const absl::Status& status : {channel.status(), pool.status()}) {
    if (status.ok()) continue;
    std::cerr << "cpp_codec: " << Describe(status) << "\n";
    return 2;
  }
  Codec codec(MakeRegistryClient(*channel, std::chrono::seconds(30)), *std::move(pool));
  std::string line;
  while (std::getline(std::cin, line)) {
    Json answer;
    try {
      auto given = codec.Answer(Json::parse(line));
      if (given.ok()) {
        answer = *std::move(given);
      } else {
        answer = {{"error", Describe(given.status())}, {"status", HttpStatusOf(given.status())}};
      }
    } catch (const Json::exception& error) {
      answer = {{"error", Concat("not a request: ", error.what())}};
    }
    std::cout << answer.dump(-1, ' ', false, Json::error_handler_t::replace) << std::endl;
  }
  return 0;
}

}  // namespace
}  // namespace tocsin::events

int main() { return tocsin::events::Run(); }
