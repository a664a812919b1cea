#include "schema-registry/rest/routes.h"

#include <algorithm>
#include <utility>

namespace tocsin::registry {
namespace {

bool Matches(const Route& route, const std::vector<std::string>& segments) {
  return std::equal(route.path.begin(), route.path.end(), segments.begin(), segments.end(),
                    [](std::string_view wanted, const std::string& segment) {
                      return wanted.front() == '{' ? !segment.empty() : wanted == segment;
                    });
}

}  // namespace

const std::vector<Route>& Routes() {
  constexpr auto kOpen = auth::Role::ROLE_UNSPECIFIED;
  constexpr auto kRead = auth::Role::ROLE_SCHEMA_READ;
  constexpr auto kWrite = auth::Role::ROLE_SCHEMA_WRITE;
  constexpr auto kAdmin = auth::Role::ROLE_SCHEMA_ADMIN;
  static const auto* const routes = new std::vector<Route>{
      // Health probes of many clients, without a token.
      {"GET", {}, kOpen, &Call::GetRoot},
      {"POST", {}, kOpen, &Call::GetRoot},
      {"GET", {"openapi.json"}, kOpen, &Call::GetOpenApi},

      {"GET", {"schemas"}, kRead, &Call::ListSchemas, "ListSchemas"},
      {"GET", {"schemas", "types"}, kRead, &Call::ListTypes, "ListSchemas"},
      {"GET", {"schemas", "ids", "{id}"}, kRead, &Call::GetSchema, "GetSchema"},
      {"GET", {"schemas", "ids", "{id}", "schema"}, kRead, &Call::GetSchemaText, "GetSchema"},
      {"GET",
       {"schemas", "ids", "{id}", "subjects"},
       kRead,
       &Call::ListSchemaSubjects,
       "ListSchemaUses"},
      {"GET",
       {"schemas", "ids", "{id}", "versions"},
       kRead,
       &Call::ListSchemaVersions,
       "ListSchemaUses"},
      {"GET", {"schemas", "guids", "{guid}"}, kRead, &Call::GetSchemaByGuid, "GetSchemaByGuid"},
      {"GET", {"schemas", "guids", "{guid}", "ids"}, kRead, &Call::ListGuidIds, "GetSchemaByGuid"},

      {"GET", {"subjects"}, kRead, &Call::ListSubjects, "ListSubjects"},
      {"POST", {"subjects", "{subject}"}, kRead, &Call::LookUp, "LookupSchema"},
      {"DELETE", {"subjects", "{subject}"}, kWrite, &Call::DeleteSubject, "DeleteSubject"},
      {"GET", {"subjects", "{subject}", "metadata"}, kRead, &Call::FindByMetadata, "GetVersion"},
      {"GET", {"subjects", "{subject}", "versions"}, kRead, &Call::ListVersions, "ListVersions"},
      {"POST", {"subjects", "{subject}", "versions"}, kWrite, &Call::Register, "RegisterSchema"},
      {"GET",
       {"subjects", "{subject}", "versions", "{version}"},
       kRead,
       &Call::GetVersion,
       "GetVersion"},
      {"DELETE",
       {"subjects", "{subject}", "versions", "{version}"},
       kWrite,
       &Call::DeleteVersion,
       "DeleteVersion"},
      {"GET",
       {"subjects", "{subject}", "versions", "{version}", "schema"},
       kRead,
       &Call::GetVersionText,
       "GetVersion"},
      {"GET",
       {"subjects", "{subject}", "versions", "{version}", "referencedby"},
       kRead,
       &Call::ListReferencedBy,
       "ListReferencedBy"},
      {"POST",
       {"subjects", "{subject}", "versions", "{version}", "tags"},
       kWrite,
       &Call::ChangeTags,
       "RegisterSchema"},

      {"POST",
       {"compatibility", "subjects", "{subject}", "versions"},
       kRead,
       &Call::CheckSubject,
       "CheckCompatibility"},
      {"POST",
       {"compatibility", "subjects", "{subject}", "versions", "{version}"},
       kRead,
       &Call::CheckVersion,
       "CheckCompatibility"},

      // The calls ask for schema.admin where they are about more than one subject.
      {"GET", {"config"}, kRead, &Call::GetConfig, "GetConfig"},
      {"PUT", {"config"}, kAdmin, &Call::SetConfig, "SetConfig"},
      {"DELETE", {"config"}, kAdmin, &Call::DeleteConfig, "DeleteConfig"},
      {"GET", {"config", "{subject}"}, kRead, &Call::GetConfig, "GetConfig"},
      {"PUT", {"config", "{subject}"}, kWrite, &Call::SetConfig, "SetConfig"},
      {"DELETE", {"config", "{subject}"}, kWrite, &Call::DeleteConfig, "DeleteConfig"},
      {"GET", {"mode"}, kRead, &Call::GetMode, "GetMode"},
      {"PUT", {"mode"}, kAdmin, &Call::SetMode, "SetMode"},
      {"DELETE", {"mode"}, kAdmin, &Call::DeleteMode, "DeleteMode"},
      {"GET", {"mode", "{subject}"}, kRead, &Call::GetMode, "GetMode"},
      {"PUT", {"mode", "{subject}"}, kAdmin, &Call::SetMode, "SetMode"},
      {"DELETE", {"mode", "{subject}"}, kAdmin, &Call::DeleteMode, "DeleteMode"},
      {"GET", {"contexts"}, kRead, &Call::ListContexts, "ListContexts"},
      {"DELETE", {"contexts", "{context}"}, kAdmin, &Call::DeleteContext, "DeleteContext"},

      {"GET", {"v1", "metadata", "id"}, kRead, &Call::GetClusterId, "GetClusterId"},
      {"GET", {"v1", "metadata", "version"}, kRead, &Call::GetServerVersion, "GetServerVersion"},
      {"GET", {"v1", "metadata", "deployment"}, kRead, &Call::GetDeployment, "GetDeployment"},
  };
  return *routes;
}

RoutedPath RoutePath(std::vector<std::string> segments) {
  RoutedPath routed;
  if (segments.size() >= 3 && segments[0] == "contexts" && !segments[1].empty()) {
    routed.context = ContextFromUrl(segments[1]);
    segments.erase(segments.begin(), segments.begin() + 2);
  }
  routed.segments = std::move(segments);
  return routed;
}

RouteMatch FindRoute(std::string_view method, const std::vector<std::string>& segments) {
  RouteMatch match;
  for (const Route& route : Routes()) {
    if (!Matches(route, segments)) continue;
    match.methods.push_back(route.method);
    // The first wins: "types" is no id.
    if (route.method == method && match.route == nullptr) match.route = &route;
  }
  return match;
}

}  // namespace tocsin::registry
