#include "schema-registry/rest/rest_api.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <utility>
#include <vector>

#include "lib/base/status.h"
#include "lib/telemetry/log.h"
#include "schema-registry/rest/call.h"
#include "schema-registry/rest/json_answer.h"
#include "schema-registry/rest/routes.h"

namespace tocsin::registry {
namespace {

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

http::Response Answer(int status, std::string_view type, std::string body) {
  http::Response response;
  response.status = status;
  response.headers.Set("content-type", type);
  response.headers.Set("cache-control", "no-store");
  response.body = std::move(body);
  return response;
}

http::Response RefuseAs(const absl::Status& error, std::string_view type) {
  const ErrorCode code = CodeOf(error);
  http::Response response =
      Answer(HttpStatusOf(code), type,
             Dump(Json{{"error_code", static_cast<int>(code)}, {"message", Message(error)}}));
  if (code == ErrorCode::kUnauthorized) response.headers.Set("www-authenticate", kRealm);
  if (HttpStatusOf(code) >= 500) {
    response.headers.Set("retry-after", "1");
  }
  return response;
}

absl::Status CheckBodyType(const http::Request& request) {
  const std::string type = MediaType(request.headers.Get("content-type").value_or(""));
  if (request.body.empty() || type.empty() || type == kOctets ||
      std::find(kTypes.begin(), kTypes.end(), type) != kTypes.end()) {
    return absl::OkStatus();
  }
  return MakeError(ErrorCode::kUnsupportedMediaType, Concat("the content type '", Shorten(type, 80),
                                                            "' is not taken; use ", kDefaultType));
}

// The subject, or "subject/version"; empty: the path names none.
std::string TargetOf(const Route& route, const RoutedPath& path) {
  std::string target;
  for (std::size_t i = 0; i < route.path.size(); ++i) {
    if (route.path[i] == "{subject}") {
      target = path.segments[i];
      if (!path.context.empty() && !target.starts_with(":.")) {
        target = FormatSubject({path.context, target});
      }
    } else if (route.path[i] == "{version}") {
      target += Concat("/", path.segments[i]);
    } else if (route.path[i] == "{context}") {
      target = FormatSubject({ContextFromUrl(path.segments[i]), ""});
    }
  }
  return target;
}

bool HasEmpty(const std::vector<std::string>& segments) {
  return std::find(segments.begin(), segments.end(), "") != segments.end();
}

http::Response RefuseMethod(const http::Request& request,
                            const std::vector<std::string_view>& methods, std::string_view type) {
  std::vector<std::string> allowed(methods.begin(), methods.end());
  if (std::find(allowed.begin(), allowed.end(), "GET") != allowed.end()) allowed.push_back("HEAD");
  const std::string list = Join(allowed, ", ");
  http::Response response = RefuseAs(
      MakeError(ErrorCode::kMethodNotAllowed,
                Concat(Shorten(request.method, 20), " is not offered for this path; use ", list)),
      type);
  response.headers.Set("allow", list);
  return response;
}

}  // namespace

http::Response RestApi::Refuse(ErrorCode code, std::string_view message) {
  return RefuseAs(MakeError(code, message), kDefaultType);
}

http::Response RestApi::Handle(const http::Request& request) const {
  const std::optional<std::string_view> type = ChooseType(request.headers);
  if (!type) {
    return Refuse(ErrorCode::kNotAcceptable,
                  Concat("this interface answers with ", kDefaultType,
                         ", application/vnd.schemaregistry+json or application/json; the request "
                         "accepts none of them"));
  }
  return Serve(request, *type);
}

http::Response RestApi::Serve(const http::Request& request, std::string_view type) const {
  auto segments = http::ParsePath(request.path);
  if (!segments.ok())
    return RefuseAs(MakeError(ErrorCode::kBadRequest, Message(segments.status())), type);
  RoutedPath path = RoutePath(*std::move(segments));
  const RouteMatch match = FindRoute(request.method, path.segments);
  auth::Principal principal{std::string(kAnonymous), {}};
  // Who has no token learns nothing about what there is.
  if (match.route == nullptr || match.route->role != auth::Role::ROLE_UNSPECIFIED) {
    auto caller = WhoCalls(request.headers, options_.verify, options_.anonymous_read);
    if (!caller.ok()) return RefuseAs(caller.status(), type);
    principal = *std::move(caller);
  }
  if (match.methods.empty()) {
    return RefuseAs(
        MakeError(ErrorCode::kNotFound,
                  HasEmpty(path.segments)
                      ? "there is no such path: a part of it between two slashes is empty, where "
                        "the name of a subject, for one, must not be"
                      : "there is no such path; GET /openapi.json lists those that are"),
        type);
  }
  if (match.route == nullptr) return RefuseMethod(request, match.methods, type);
  if (path.context.find(':') != std::string::npos) {
    return RefuseAs(MakeError(ErrorCode::kInvalidSubject, "a context's name holds no ':'"), type);
  }
  if (match.route->role != auth::Role::ROLE_UNSPECIFIED) {
    const absl::Status allowed = auth::CheckAccess(
        principal, match.route->role, Concat(request.method, " ", Shorten(request.path, 200)));
    if (!allowed.ok()) {
      const absl::Status refusal = MakeError(ErrorCode::kForbidden, Message(allowed));
      registry_.TellDenied({principal.name, request.peer}, match.route->action,
                           TargetOf(*match.route, path), refusal);
      return RefuseAs(refusal, type);
    }
  }
  if (const absl::Status status = CheckBodyType(request); !status.ok()) {
    return RefuseAs(status, type);
  }
  const Actor actor{principal.name, request.peer};
  std::string target = TargetOf(*match.route, path);
  const CallContext shared{registry_, options_.access, answers_};
  Call call(shared, request, std::move(path.segments), std::move(path.context),
            std::move(principal));
  Call::Result result = (call.*match.route->handler)();
  if (result.ok()) {
    if (*result) return Answer(200, type, **std::move(result));
    http::Response response;
    response.status = 204;
    return response;
  }
  if (CodeOf(result.status()) == ErrorCode::kForbidden) {
    registry_.TellDenied(actor, match.route->action, std::move(target), result.status());
  }
  if (HttpStatusOf(CodeOf(result.status())) >= 500) {
    telemetry::LogWarning(
        "a request to the registry failed",
        {{"method", request.method}, {"path", request.path}, {"status", result.status()}});
  }
  return RefuseAs(result.status(), type);
}

std::optional<RestApi::Ready> RestApi::FromMemory(const http::RequestHead& request) const {
  constexpr std::string_view kPrefix = "/schemas/ids/";
  const std::string_view path = request.path();
  if (path.substr(0, kPrefix.size()) != kPrefix || options_.access.restricts_reading()) {
    return std::nullopt;
  }
  if (request.method != "GET" && request.method != "HEAD") return std::nullopt;
  std::int32_t id = 0;
  const char* const last = path.data() + path.size();
  const auto [end, error] = std::from_chars(path.data() + kPrefix.size(), last, id);
  if (error != std::errc() || end != last || id < 1) return std::nullopt;
  SchemaAnswerKey key{std::string(kDefaultContext), SchemaId(id), TextFormat::kText};
  if (!request.query().empty()) {
    const auto query = http::ParseQuery(request.query());
    if (!query.ok()) return std::nullopt;
    for (const auto& [name, value] : *query) {
      if (name == "subject") {
        key.context = ContextOf(value);
      } else if (name == "format") {
        key.format = ParseTextFormat(value);
      } else if (name != "findTags" && (name != "fetchMaxId" || value == "true")) {
        return std::nullopt;
      }
    }
  }
  const auto schema = registry_.FindSchema(key.id, key.context);
  if (schema == nullptr) return std::nullopt;
  auto answer = answers_.Find(key, *schema);
  if (answer == nullptr) return std::nullopt;
  // What goes wrong from here on is told by Handle.
  const std::optional<std::string_view> type = ChooseType(request.headers);
  if (!type) return std::nullopt;
  const auto principal = WhoCalls(request.headers, options_.verify, options_.anonymous_read);
  if (!principal.ok() || !principal->roles.Holds(auth::Role::ROLE_SCHEMA_READ)) {
    return std::nullopt;
  }
  return Ready{*type, std::move(answer)};
}

}  // namespace tocsin::registry
