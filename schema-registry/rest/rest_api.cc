#include "schema-registry/rest/rest_api.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>
#include <vector>

#include "lib/base/hex.h"
#include "lib/base/status.h"
#include "lib/http/message.h"
#include "lib/telemetry/log.h"

namespace tocsin::registry {
namespace {

using Json = ::nlohmann::ordered_json;
using Segments = std::vector<std::string>;

constexpr std::string_view kDefaultType = "application/vnd.schemaregistry.v1+json";
constexpr std::array<std::string_view, 3> kTypes = {
    kDefaultType, "application/vnd.schemaregistry+json", "application/json"};
constexpr std::string_view kOctets = "application/octet-stream";
constexpr std::string_view kRealm = "Basic realm=\"Tocsin schema registry\"";

// "application/json" of "Application/JSON; charset=utf-8".
std::string MediaType(std::string_view header) {
  return AsciiLower(Trim(header.substr(0, header.find(';'))));
}

// nullopt: nothing that the client takes.
std::optional<std::string_view> ChooseType(const http::Headers& headers) {
  const std::string accept = headers.Joined("accept");
  if (Trim(accept).empty()) return kDefaultType;
  for (const std::string& entry : Split(accept, ',')) {
    const std::string type = MediaType(entry);
    if (type == "*/*" || type == "application/*") return kDefaultType;
    for (const std::string_view known : kTypes) {
      if (type == known) return known;
    }
  }
  return std::nullopt;
}

std::string Dump(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

http::Response Answer(int status, std::string_view type, std::string body) {
  http::Response response;
  response.status = status;
  response.headers.Set("content-type", type);
  response.headers.Set("cache-control", "no-store");
  response.body = std::move(body);
  return response;
}

http::Response Refuse(const absl::Status& error, std::string_view type) {
  const ErrorCode code = CodeOf(error);
  http::Response response =
      Answer(HttpStatusOf(code), type,
             Dump(Json{{"error_code", static_cast<int>(code)}, {"message", Message(error)}}));
  if (code == ErrorCode::kUnauthorized) response.headers.Set("www-authenticate", kRealm);
  if (code == ErrorCode::kStore || code == ErrorCode::kTimeout || code == ErrorCode::kCollision) {
    response.headers.Set("retry-after", "1");
  }
  return response;
}

// --- who --------------------------------------------------------------------------------------

absl::StatusOr<auth::Principal> WhoCalls(const http::Headers& headers, const VerifyToken& verify) {
  const std::optional<std::string_view> header = headers.Get("authorization");
  if (!header) {
    return MakeError(ErrorCode::kUnauthorized,
                     "no token: send it as 'authorization: Bearer <token>', or as the password of "
                     "HTTP Basic (`tocsin token --role schema.read` prints one)");
  }
  const std::size_t blank = header->find(' ');
  const std::string scheme = AsciiLower(header->substr(0, blank));
  std::string token(blank == std::string_view::npos ? "" : Trim(header->substr(blank + 1)));
  if (scheme == "basic") {
    const auto pair = Base64Decode(token);
    const std::size_t colon = pair.ok() ? pair->find(':') : std::string::npos;
    if (colon == std::string::npos) {
      return MakeError(ErrorCode::kUnauthorized,
                       "the HTTP Basic credentials are not base64 of user:token");
    }
    token = pair->substr(colon + 1);
  } else if (scheme != "bearer") {
    return MakeError(ErrorCode::kUnauthorized, "only the schemes Bearer and Basic are taken");
  }
  auto principal = verify(token);
  if (!principal.ok()) return MakeError(ErrorCode::kUnauthorized, Message(principal.status()));
  return principal;
}

// --- what is asked ----------------------------------------------------------------------------

bool Flag(const http::Request& request, std::string_view name) {
  return AsciiLower(request.Parameter(name).value_or("")) == "true";
}

template <typename Number>
std::optional<Number> ParseNumber(std::string_view text) {
  Number number{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

// nullopt: the latest.
absl::StatusOr<std::optional<std::int32_t>> ParseVersion(std::string_view text) {
  if (text == "latest" || text == "-1") return std::optional<std::int32_t>();
  const auto version = ParseNumber<std::int32_t>(text);
  if (!version || *version < 1) {
    return MakeError(ErrorCode::kInvalidVersion,
                     Concat("'", text.substr(0, 40),
                            "' is not a version: give a number from 1 to 2147483647, or 'latest'"));
  }
  return version;
}

absl::StatusOr<SchemaId> ParseId(std::string_view text) {
  const auto id = ParseNumber<std::int32_t>(text);
  if (!id || *id < 1) {
    return MakeError(ErrorCode::kNotFound,
                     Concat("'", text.substr(0, 40), "' is not the id of a schema"));
  }
  return SchemaId(*id);
}

absl::StatusOr<Json> ParseBody(const http::Request& request) {
  const std::string type = MediaType(request.headers.Get("content-type").value_or(""));
  if (!type.empty() && type != kOctets &&
      std::find(kTypes.begin(), kTypes.end(), type) == kTypes.end()) {
    return MakeError(ErrorCode::kUnsupportedMediaType,
                     Concat("the content type '", type, "' is not taken; use ", kDefaultType));
  }
  Json body = Json::parse(request.body, nullptr, /*allow_exceptions=*/false);
  if (!body.is_object()) {
    return MakeError(ErrorCode::kBadRequest, "the body is not a JSON object");
  }
  return body;
}

// The value of a field that may be absent or null.
const Json* Given(const Json& object, const char* name) {
  const auto found = object.find(name);
  return found == object.end() || found->is_null() ? nullptr : &*found;
}

absl::StatusOr<Draft> ParseDraft(const Json& body) {
  const auto wrong = [](std::string_view what) {
    return MakeError(ErrorCode::kUnprocessable, what);
  };
  Draft draft;
  const Json* schema = Given(body, "schema");
  if (schema == nullptr || !schema->is_string() || schema->get_ref<const std::string&>().empty()) {
    return MakeError(ErrorCode::kInvalidSchema,
                     "the body has no \"schema\", a text with the .proto file");
  }
  draft.text = schema->get<std::string>();
  const Json* type = Given(body, "schemaType");
  if (type != nullptr && !type->is_string()) return wrong("\"schemaType\" is not a text");
  draft.type = type == nullptr ? std::string(kAvro) : type->get<std::string>();
  for (const char* name : {"metadata", "ruleSet"}) {
    if (Given(body, name) != nullptr) {
      return MakeError(ErrorCode::kNotPermitted,
                       Concat("this registry does not keep \"", name, "\"; leave it out"));
    }
  }
  if (const Json* id = Given(body, "id"); id != nullptr && *id != -1 && *id != 0) {
    return MakeError(ErrorCode::kNotPermitted,
                     "the registry gives the ids (mode READWRITE); leave \"id\" out");
  }
  const Json* references = Given(body, "references");
  if (references == nullptr) return draft;
  if (!references->is_array()) return wrong("\"references\" is not a list");
  for (const Json& entry : *references) {
    if (!entry.is_object()) return wrong("a reference is not an object");
    const Json* name = Given(entry, "name");
    const Json* subject = Given(entry, "subject");
    const Json* version = Given(entry, "version");
    if (name == nullptr || !name->is_string() || subject == nullptr || !subject->is_string() ||
        version == nullptr || !version->is_number_integer() ||
        *version > std::numeric_limits<std::int32_t>::max() || *version < -1) {
      return wrong("a reference needs \"name\" and \"subject\" (texts) and \"version\" (a number)");
    }
    draft.references.push_back(
        {name->get<std::string>(), subject->get<std::string>(), version->get<std::int32_t>()});
  }
  return draft;
}

// --- what is answered -------------------------------------------------------------------------

void AddSchema(const StoredSchema& schema, std::string text, Json& json) {
  if (schema.type != kAvro) json["schemaType"] = schema.type;
  if (!schema.references.empty()) {
    Json list = Json::array();
    for (const Reference& reference : schema.references) {
      list.push_back({{"name", reference.name},
                      {"subject", reference.subject},
                      {"version", reference.version}});
    }
    json["references"] = std::move(list);
  }
  json["schema"] = std::move(text);
}

// offset and limit; a negative limit is none.
template <typename List>
List Page(const http::Request& request, List list) {
  const auto number = [&](std::string_view name, std::int64_t otherwise) {
    const auto text = request.Parameter(name);
    return text ? ParseNumber<std::int64_t>(*text).value_or(otherwise) : otherwise;
  };
  const auto size = static_cast<std::int64_t>(list.size());
  const std::int64_t offset = std::clamp<std::int64_t>(number("offset", 0), 0, size);
  const std::int64_t limit = number("limit", -1);
  const std::int64_t count = limit < 0 ? size - offset : std::min(limit, size - offset);
  list.erase(list.begin() + offset + count, list.end());
  list.erase(list.begin(), list.begin() + offset);
  return list;
}

using Result = absl::StatusOr<std::string>;

class Call {
 public:
  Call(Registry& registry, const http::Request& request, Actor actor)
      : registry_(registry), request_(request), actor_(std::move(actor)) {}

  Result Root(const Segments&) { return std::string("{}"); }

  Result Types(const Segments&) { return Dump(Json::array({kProtobuf})); }

  Result SchemaById(const Segments& path) {
    TOCSIN_ASSIGN_OR_RETURN(const auto schema, ById(path[2]));
    TOCSIN_ASSIGN_OR_RETURN(std::string text, TextOf(*schema));
    Json json = Json::object();
    AddSchema(*schema, std::move(text), json);
    return Dump(json);
  }

  Result SchemaTextById(const Segments& path) {
    TOCSIN_ASSIGN_OR_RETURN(const auto schema, ById(path[2]));
    return TextOf(*schema);
  }

  Result SubjectsOfId(const Segments& path) {
    TOCSIN_ASSIGN_OR_RETURN(const auto uses, Uses(path[2]));
    std::vector<std::string> subjects;
    for (const SchemaVersion& use : uses) {
      if (subjects.empty() || subjects.back() != use.subject) subjects.push_back(use.subject);
    }
    return Dump(Page(request_, std::move(subjects)));
  }

  Result VersionsOfId(const Segments& path) {
    TOCSIN_ASSIGN_OR_RETURN(auto uses, Uses(path[2]));
    Json list = Json::array();
    for (const SchemaVersion& use : Page(request_, std::move(uses))) {
      list.push_back({{"subject", use.subject}, {"version", use.version}});
    }
    return Dump(list);
  }

  Result Subjects(const Segments&) {
    std::string_view prefix = request_.Parameter("subjectPrefix").value_or("");
    SubjectFilter filter;
    filter.all_contexts = prefix.substr(0, 3) == ":*:";
    if (filter.all_contexts) prefix.remove_prefix(3);
    filter.prefix = prefix;
    if (Flag(request_, "deleted")) filter.deleted = Deleted::kInclude;
    TOCSIN_ASSIGN_OR_RETURN(auto subjects, registry_.Subjects(filter));
    return Dump(Page(request_, std::move(subjects)));
  }

  Result Versions(const Segments& path) {
    TOCSIN_ASSIGN_OR_RETURN(auto versions, registry_.Versions(path[1]));
    return Dump(Page(request_, std::move(versions)));
  }

  Result Version(const Segments& path) {
    TOCSIN_ASSIGN_OR_RETURN(const SchemaVersion version, At(path[1], path[3]));
    return Show(version);
  }

  Result VersionText(const Segments& path) {
    TOCSIN_ASSIGN_OR_RETURN(const SchemaVersion version, At(path[1], path[3]));
    return TextOf(*version.schema);
  }

  Result Lookup(const Segments& path) {
    TOCSIN_ASSIGN_OR_RETURN(const Draft draft, ReadDraft());
    TOCSIN_ASSIGN_OR_RETURN(const SchemaVersion version, registry_.Lookup(path[1], draft));
    return Show(version);
  }

  Result Register(const Segments& path) {
    TOCSIN_ASSIGN_OR_RETURN(const Draft draft, ReadDraft());
    TOCSIN_ASSIGN_OR_RETURN(const SchemaVersion version,
                            registry_.Register(actor_, path[1], draft));
    return Dump(Json{{"id", version.schema->id.value()}});
  }

  Result Check(const Segments& path) {
    const std::string& subject = path[2];
    const bool verbose = Flag(request_, "verbose");
    const auto draft = ReadDraft();
    auto verdict = [&]() -> absl::StatusOr<CompatibilityVerdict> {
      TOCSIN_RETURN_IF_ERROR(draft.status());
      if (path.size() == 4) {
        return registry_.Check(subject, *draft, Registry::Against::kWhatTheLevelDemands);
      }
      TOCSIN_ASSIGN_OR_RETURN(const auto version, ParseVersion(path[4]));
      if (!version) return registry_.Check(subject, *draft, Registry::Against::kLatest);
      return registry_.CheckVersion(subject, *draft, *version);
    }();
    Json json = Json::object();
    if (!verdict.ok()) {
      if (!verbose || CodeOf(verdict.status()) != ErrorCode::kInvalidSchema) {
        return verdict.status();
      }
      json["is_compatible"] = false;
      json["messages"] = Json::array({Message(verdict.status())});
      return Dump(json);
    }
    json["is_compatible"] = verdict->compatible();
    if (verbose && !verdict->compatible()) {
      Json messages = Json::array();
      for (const schema::Finding& finding : verdict->findings) {
        messages.push_back(Concat("{errorType:\"", schema::KindName(finding.kind),
                                  "\", description:\"", finding.path, ": ", finding.description,
                                  "\"}"));
      }
      messages.push_back(Concat("{oldSchemaVersion: ", verdict->against.value_or(0), "}"));
      messages.push_back(Concat("{compatibility: '", schema::LevelName(verdict->level), "'}"));
      json["messages"] = std::move(messages);
    }
    return Dump(json);
  }

  Result Config(const Segments& path) {
    TOCSIN_ASSIGN_OR_RETURN(
        const SubjectConfig config,
        registry_.GetConfig(OptionalSubject(path), Flag(request_, "defaultToGlobal")));
    Json json = Json::object();
    if (config.level) json["compatibilityLevel"] = schema::LevelName(*config.level);
    return Dump(json);
  }

  Result SetConfig(const Segments& path) {
    TOCSIN_ASSIGN_OR_RETURN(const Json body, ParseBody(request_));
    const Json* name = Given(body, "compatibility");
    if (name == nullptr || !name->is_string()) {
      return MakeError(ErrorCode::kInvalidLevel,
                       "the body has no \"compatibility\", for example {\"compatibility\": "
                       "\"BACKWARD\"}");
    }
    const auto level = schema::ParseLevel(name->get<std::string>());
    if (!level.ok()) return MakeError(ErrorCode::kInvalidLevel, Message(level.status()));
    SubjectConfig config;
    config.level = *level;
    TOCSIN_RETURN_IF_ERROR(registry_.SetConfig(actor_, OptionalSubject(path), config).status());
    return Dump(Json{{"compatibility", schema::LevelName(*level)}});
  }

  Result GetMode(const Segments& path) {
    TOCSIN_ASSIGN_OR_RETURN(const Mode mode, registry_.GetMode(OptionalSubject(path),
                                                               Flag(request_, "defaultToGlobal")));
    return Dump(Json{{"mode", ModeName(mode)}});
  }

 private:
  static std::optional<std::string_view> OptionalSubject(const Segments& path) {
    if (path.size() == 1) return std::nullopt;
    return path[1];
  }

  absl::StatusOr<Draft> ReadDraft() const {
    TOCSIN_ASSIGN_OR_RETURN(const Json body, ParseBody(request_));
    return ParseDraft(body);
  }

  absl::StatusOr<std::shared_ptr<const StoredSchema>> ById(std::string_view text) {
    TOCSIN_ASSIGN_OR_RETURN(const SchemaId id, ParseId(text));
    TOCSIN_ASSIGN_OR_RETURN(WithImports found, registry_.GetSchema(id));
    return std::move(found.schema);
  }

  absl::StatusOr<std::vector<SchemaVersion>> Uses(std::string_view text) {
    TOCSIN_ASSIGN_OR_RETURN(const SchemaId id, ParseId(text));
    TOCSIN_ASSIGN_OR_RETURN(
        auto uses, registry_.UsesOf(
                       id, "", Flag(request_, "deleted") ? Deleted::kInclude : Deleted::kExclude));
    if (const auto subject = request_.Parameter("subject"); subject && !subject->empty()) {
      std::erase_if(uses, [&](const SchemaVersion& use) { return use.subject != *subject; });
    }
    return uses;
  }

  absl::StatusOr<SchemaVersion> At(const std::string& subject, std::string_view text) {
    TOCSIN_ASSIGN_OR_RETURN(const auto version, ParseVersion(text));
    return registry_.GetVersion(subject, version);
  }

  // The form that the client asks for; a form that is not known is the text.
  Result TextOf(const StoredSchema& schema) {
    if (request_.Parameter("format") != "serialized" || schema.type != kProtobuf) {
      return *schema.text;
    }
    TOCSIN_ASSIGN_OR_RETURN(const std::string bytes, registry_.Serialized(schema, kDefaultContext));
    return Base64Encode(bytes);
  }

  Result Show(const SchemaVersion& version) {
    TOCSIN_ASSIGN_OR_RETURN(std::string text, TextOf(*version.schema));
    Json json = {{"subject", version.subject},
                 {"version", version.version},
                 {"id", version.schema->id.value()}};
    AddSchema(*version.schema, std::move(text), json);
    return Dump(json);
  }

  Registry& registry_;
  const http::Request& request_;
  const Actor actor_;
};

// "*" stands for any segment. The role is none where a health probe without a token must succeed.
struct Route {
  std::string_view method;
  std::vector<std::string_view> path;
  auth::Role role;
  Result (Call::*handler)(const Segments&);
};

const std::vector<Route>& Routes() {
  constexpr auto kOpen = auth::Role::ROLE_UNSPECIFIED;
  constexpr auto kRead = auth::Role::ROLE_SCHEMA_READ;
  constexpr auto kWrite = auth::Role::ROLE_SCHEMA_WRITE;
  static const auto* const routes = new std::vector<Route>{
      {"GET", {}, kOpen, &Call::Root},
      {"POST", {}, kOpen, &Call::Root},
      {"GET", {"schemas", "types"}, kRead, &Call::Types},
      {"GET", {"schemas", "ids", "*"}, kRead, &Call::SchemaById},
      {"GET", {"schemas", "ids", "*", "schema"}, kRead, &Call::SchemaTextById},
      {"GET", {"schemas", "ids", "*", "subjects"}, kRead, &Call::SubjectsOfId},
      {"GET", {"schemas", "ids", "*", "versions"}, kRead, &Call::VersionsOfId},
      {"GET", {"subjects"}, kRead, &Call::Subjects},
      {"POST", {"subjects", "*"}, kRead, &Call::Lookup},
      {"GET", {"subjects", "*", "versions"}, kRead, &Call::Versions},
      {"POST", {"subjects", "*", "versions"}, kWrite, &Call::Register},
      {"GET", {"subjects", "*", "versions", "*"}, kRead, &Call::Version},
      {"GET", {"subjects", "*", "versions", "*", "schema"}, kRead, &Call::VersionText},
      {"POST", {"compatibility", "subjects", "*", "versions"}, kRead, &Call::Check},
      {"POST", {"compatibility", "subjects", "*", "versions", "*"}, kRead, &Call::Check},
      {"GET", {"config"}, kRead, &Call::Config},
      {"PUT", {"config"}, kWrite, &Call::SetConfig},
      {"GET", {"config", "*"}, kRead, &Call::Config},
      {"PUT", {"config", "*"}, kWrite, &Call::SetConfig},
      {"GET", {"mode"}, kRead, &Call::GetMode},
      {"GET", {"mode", "*"}, kRead, &Call::GetMode},
  };
  return *routes;
}

bool Matches(const Route& route, const Segments& path) {
  return std::equal(route.path.begin(), route.path.end(), path.begin(), path.end(),
                    [](std::string_view wanted, const std::string& segment) {
                      return wanted == "*" || wanted == segment;
                    });
}

absl::Status CheckRole(const auth::Principal& principal, auth::Role role,
                       const http::Request& request) {
  const absl::Status status =
      auth::CheckAccess(principal, role, Concat(request.method, " ", request.path));
  return status.ok() ? status : MakeError(ErrorCode::kForbidden, Message(status));
}

}  // namespace

http::Response RestApi::Handle(const http::Request& request) const {
  const std::optional<std::string_view> type = ChooseType(request.headers);
  if (!type) {
    return Refuse(MakeError(ErrorCode::kNotAcceptable,
                            Concat("this interface answers with ", kDefaultType,
                                   ", application/vnd.schemaregistry+json or application/json")),
                  kDefaultType);
  }
  const Segments path = request.Segments();
  const Route* route = nullptr;
  bool path_exists = false;
  for (const Route& candidate : Routes()) {
    if (!Matches(candidate, path)) continue;
    path_exists = true;
    if (candidate.method != request.method) continue;
    route = &candidate;
    break;
  }
  Actor actor;
  // Who has no token learns nothing about what there is.
  if (route == nullptr || route->role != auth::Role::ROLE_UNSPECIFIED) {
    const auto principal = WhoCalls(request.headers, verify_);
    if (!principal.ok()) return Refuse(principal.status(), *type);
    if (route == nullptr) {
      return Refuse(path_exists ? MakeError(ErrorCode::kMethodNotAllowed,
                                            Concat(request.method, " is not offered for this path"))
                                : MakeError(ErrorCode::kNotFound, "there is no such path"),
                    *type);
    }
    const absl::Status allowed = CheckRole(*principal, route->role, request);
    if (!allowed.ok()) return Refuse(allowed, *type);
    actor.name = principal->name;
  }
  Call call(registry_, request, std::move(actor));
  Result result = (call.*route->handler)(path);
  if (result.ok()) return Answer(200, *type, *std::move(result));
  if (HttpStatusOf(CodeOf(result.status())) >= 500) {
    telemetry::LogWarning(
        "a request to the registry failed",
        {{"method", request.method}, {"path", request.path}, {"status", result.status()}});
  }
  return Refuse(result.status(), *type);
}

}  // namespace tocsin::registry
