// The table of the REST interface: which method and path does what, and who may. Internal to rest/.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "lib/auth/roles.h"
#include "schema-registry/rest/call.h"

namespace tocsin::registry {

struct Route {
  std::string_view method;
  // As in OpenAPI: {"subjects", "{subject}", "versions"}. What is in braces stands for any
  // segment that is not empty.
  std::vector<std::string_view> path;
  // ROLE_UNSPECIFIED: nobody is asked who they are. A call may ask for more than this.
  auth::Role role = auth::Role::ROLE_UNSPECIFIED;
  Call::Result (Call::*handler)();
  // For the audit log: the method of the gRPC interface that does the same; for what only this
  // interface has, the operation in openapi.json.
  std::string_view action = {};
};

const std::vector<Route>& Routes();

// A path without its prefix /contexts/{context}, for every route under it alike.
struct RoutedPath {
  std::vector<std::string> segments;
  // As SubjectName::context; empty: no prefix.
  std::string context;
};
RoutedPath RoutePath(std::vector<std::string> segments);

// What is found for a request.
struct RouteMatch {
  const Route* route = nullptr;
  // The methods of the path, for who asks with another one; empty: there is no such path.
  std::vector<std::string_view> methods;
};
RouteMatch FindRoute(std::string_view method, const std::vector<std::string>& segments);

}  // namespace tocsin::registry
