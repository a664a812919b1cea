// The OpenAPI 3 document of the REST interface: openapi.json, as it stands beside this file.
#pragma once

#include <string_view>

namespace tocsin::registry {

std::string_view OpenApiDocument();

}  // namespace tocsin::registry
