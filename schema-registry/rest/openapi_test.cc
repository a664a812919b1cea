// The document and the table of routes say the same.
#include "schema-registry/rest/openapi.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <string>

#include "lib/base/text.h"
#include "schema-registry/rest/routes.h"
#include "schema-registry/rest/testing/openapi_check.h"

namespace tocsin::registry {
namespace {

std::string TemplateOf(const Route& route) {
  std::string path;
  for (const std::string_view segment : route.path) path += Concat("/", segment);
  return path.empty() ? "/" : path;
}

TEST(OpenApiTest, HasEachRouteAndNoOther) {
  std::set<std::string> served;
  for (const Route& route : Routes()) {
    served.insert(Concat(route.method, " ", TemplateOf(route)));
  }
  std::set<std::string> documented;
  const OpenApiCheck check;
  for (const auto& [path, methods] : check.document()["paths"].items()) {
    for (const auto& [method, operation] : methods.items()) {
      documented.insert(Concat(AsciiUpper(method), " ", path));
    }
  }
  EXPECT_EQ(served, documented);
}

TEST(OpenApiTest, SaysWhichRoleEachNeeds) {
  const OpenApiCheck check;
  for (const Route& route : Routes()) {
    const auto& operation = check.document()["paths"][TemplateOf(route)][AsciiLower(route.method)];
    if (route.role == auth::Role::ROLE_UNSPECIFIED) {
      EXPECT_EQ(operation["security"].dump(), "[]") << TemplateOf(route);
    } else {
      EXPECT_THAT(operation["description"].get<std::string>(),
                  ::testing::StartsWith(Concat("Needs the role ", auth::RoleName(route.role))))
          << route.method << " " << TemplateOf(route);
    }
  }
}

TEST(OpenApiTest, NamesItsParametersAndOperations) {
  const OpenApiCheck check;
  std::set<std::string> names;
  for (const auto& [path, methods] : check.document()["paths"].items()) {
    for (const auto& [method, operation] : methods.items()) {
      EXPECT_TRUE(names.insert(operation["operationId"].get<std::string>()).second) << path;
      std::set<std::string> parameters;
      for (const auto& parameter : operation.value("parameters", OpenApiCheck::Json::array())) {
        if (parameter["in"] == "path") {
          parameters.insert(Concat("{", parameter["name"].get<std::string>(), "}"));
        }
      }
      std::set<std::string> wanted;
      for (const std::string& segment : Split(path, '/')) {
        if (!segment.empty() && segment.front() == '{') wanted.insert(segment);
      }
      EXPECT_EQ(parameters, wanted) << method << " " << path;
    }
  }
}

TEST(OpenApiTest, EveryReferenceLeadsSomewhere) {
  const OpenApiCheck check;
  const std::string text(OpenApiDocument());
  for (std::size_t at = text.find("\"#/"); at != std::string::npos;
       at = text.find("\"#/", at + 1)) {
    const std::string pointer = text.substr(at + 2, text.find('"', at + 1) - at - 2);
    if (pointer.substr(0, 11) != "/components") continue;
    EXPECT_TRUE(check.document().contains(OpenApiCheck::Json::json_pointer(pointer))) << pointer;
  }
}

// The check itself: a document is worth what can fail against it.
TEST(OpenApiTest, AnswersThatDoNotFitAreFound) {
  const OpenApiCheck check;
  EXPECT_EQ(check.Fault("GET", {"mode"}, 200, R"({"mode":"IMPORT"})"), "");
  EXPECT_NE(check.Fault("GET", {"mode"}, 200, R"({"mode":"BOTH"})"), "");
  EXPECT_NE(check.Fault("GET", {"mode"}, 200, R"({"mode":7})"), "");
  EXPECT_NE(check.Fault("GET", {"mode"}, 200, R"({})"), "");
  EXPECT_NE(check.Fault("GET", {"mode"}, 200, R"({"mode":"IMPORT","more":1})"), "");
  EXPECT_NE(check.Fault("GET", {"mode"}, 201, R"({"mode":"IMPORT"})"), "");
  EXPECT_NE(check.Fault("GET", {"mode"}, 500, R"({"message":"no code"})"), "");
  EXPECT_NE(check.Fault("GET", {"subjects"}, 200, R"(["a",1])"), "");
  EXPECT_NE(check.Fault("GET", {"nowhere"}, 200, "{}"), "");
  EXPECT_NE(check.Fault("DELETE", {"contexts", ".a"}, 204, "{}"), "");
}

}  // namespace
}  // namespace tocsin::registry
