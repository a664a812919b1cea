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

      {"GET", {"schemas"}, kRead, &Call::ListSchemas},
      {"GET", {"schemas", "types"}, kRead, &Call::ListTypes},
      {"GET", {"schemas", "ids", "{id}"}, kRead, &Call::GetSchema},
      {"GET", {"schemas", "ids", "{id}", "schema"}, kRead, &Call::GetSchemaText},
      {"GET", {"schemas", "ids", "{id}", "subjects"}, kRead, &Call::ListSchemaSubjects},
      {"GET", {"schemas", "ids", "{id}", "versions"}, kRead, &Call::ListSchemaVersions},
      {"GET", {"schemas", "guids", "{guid}"}, kRead, &Call::GetSchemaByGuid},
      {"GET", {"schemas", "guids", "{guid}", "ids"}, kRead, &Call::ListGuidIds},

      {"GET", {"subjects"}, kRead, &Call::ListSubjects},
      {"POST", {"subjects", "{subject}"}, kRead, &Call::LookUp},
      {"DELETE", {"subjects", "{subject}"}, kWrite, &Call::DeleteSubject},
      {"GET", {"subjects", "{subject}", "metadata"}, kRead, &Call::FindByMetadata},
      {"GET", {"subjects", "{subject}", "versions"}, kRead, &Call::ListVersions},
      {"POST", {"subjects", "{subject}", "versions"}, kWrite, &Call::Register},
      {"GET", {"subjects", "{subject}", "versions", "{version}"}, kRead, &Call::GetVersion},
      {"DELETE", {"subjects", "{subject}", "versions", "{version}"}, kWrite, &Call::DeleteVersion},
      {"GET",
       {"subjects", "{subject}", "versions", "{version}", "schema"},
       kRead,
       &Call::GetVersionText},
      {"GET",
       {"subjects", "{subject}", "versions", "{version}", "referencedby"},
       kRead,
       &Call::ListReferencedBy},
      {"POST",
       {"subjects", "{subject}", "versions", "{version}", "tags"},
       kWrite,
       &Call::ChangeTags},

      {"POST", {"compatibility", "subjects", "{subject}", "versions"}, kRead, &Call::CheckSubject},
      {"POST",
       {"compatibility", "subjects", "{subject}", "versions", "{version}"},
       kRead,
       &Call::CheckVersion},

      // The calls ask for schema.admin where they are about more than one subject.
      {"GET", {"config"}, kRead, &Call::GetConfig},
      {"PUT", {"config"}, kAdmin, &Call::SetConfig},
      {"DELETE", {"config"}, kAdmin, &Call::DeleteConfig},
      {"GET", {"config", "{subject}"}, kRead, &Call::GetConfig},
      {"PUT", {"config", "{subject}"}, kWrite, &Call::SetConfig},
      {"DELETE", {"config", "{subject}"}, kWrite, &Call::DeleteConfig},
      {"GET", {"mode"}, kRead, &Call::GetMode},
      {"PUT", {"mode"}, kAdmin, &Call::SetMode},
      {"DELETE", {"mode"}, kAdmin, &Call::DeleteMode},
      {"GET", {"mode", "{subject}"}, kRead, &Call::GetMode},
      {"PUT", {"mode", "{subject}"}, kAdmin, &Call::SetMode},
      {"DELETE", {"mode", "{subject}"}, kAdmin, &Call::DeleteMode},
      {"GET", {"contexts"}, kRead, &Call::ListContexts},
      {"DELETE", {"contexts", "{context}"}, kAdmin, &Call::DeleteContext},

      {"GET", {"v1", "metadata", "id"}, kRead, &Call::GetClusterId},
      {"GET", {"v1", "metadata", "version"}, kRead, &Call::GetServerVersion},
      {"GET", {"v1", "metadata", "deployment"}, kRead, &Call::GetDeployment},
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
