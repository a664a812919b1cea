// Who may do what: tokens, roles, the anonymous, and rules for subjects.
#include "schema-registry/rest/testing/rest_fixture.h"

namespace tocsin::registry {
namespace {

using ::testing::HasSubstr;

class RestAccessTest : public RestFixture {
 protected:
  http::Response As(const std::string& token, const std::string& method, const std::string& target,
                    std::string body = "") {
    return Send(method, target, std::move(body),
                {{"authorization", token.empty() ? "" : "Bearer " + token}});
  }
  void Rules(bool readers) {
    SubjectAccess::Rules rules;
    auto* orders = rules.Add();
    orders->set_subject_prefix("orders-");
    orders->add_writers("ada");
    if (readers) orders->add_readers("bob");
    RestOptions options;
    options.access = SubjectAccess::Create(rules).value();
    Serve(std::move(options));
  }
};

TEST_F(RestAccessTest, Tokens) {
  const auto with = [&](const std::string& method, const std::string& target,
                        std::string authorization) {
    return Send(method, target, Body(kAlert), {{"authorization", std::move(authorization)}});
  };
  const http::Response none = with("GET", "/subjects", "");
  ExpectError(none, 401, "no token: send it as 'authorization: Bearer <token>'");
  EXPECT_THAT(none.headers.Get("www-authenticate").value_or(""), HasSubstr("Basic"));
  ExpectError(with("GET", "/subjects", "Bearer forged"), 401, "signature is not valid");
  ExpectError(with("GET", "/subjects", "Bearer"), 401, "signature is not valid");
  ExpectError(with("GET", "/subjects", "Digest x"), 401, "only the schemes");
  ExpectError(with("GET", "/subjects", "Basic !!!"), 401, "not base64 of user:token");
  ExpectError(with("GET", "/subjects", "Basic cmVhZHM="), 401, "not base64 of user:token");
  ExpectError(with("GET", "/nowhere", ""), 401, "no token");
  // ann:reads
  EXPECT_EQ(with("GET", "/subjects", "Basic YW5uOnJlYWRz").status, 200);
  EXPECT_EQ(with("GET", "/subjects", "bearer reads").status, 200);
  EXPECT_EQ(with("GET", "/", "").status, 200) << "clients probe it without a token";
  EXPECT_EQ(with("GET", "/openapi.json", "").status, 200);
}

TEST_F(RestAccessTest, EachRouteNeedsItsRole) {
  Register("s", kAlert);
  const auto filled = [](std::string path) {
    for (const auto& [name, value] : std::vector<std::pair<std::string, std::string>>{
             {"{id}", "1"},
             {"{guid}", "00000000-0000-0000-0000-000000000000"},
             {"{subject}", "s"},
             {"{version}", "1"},
             {"{context}", ".eu"}}) {
      const std::size_t at = path.find(name);
      if (at != std::string::npos) path.replace(at, name.size(), value);
    }
    return path;
  };
  for (const Route& route : Routes()) {
    std::string path;
    for (const std::string_view segment : route.path) path += "/" + std::string(segment);
    const std::string target = filled(path.empty() ? "/" : path);
    const std::string method(route.method);
    const bool open = route.role == auth::Role::ROLE_UNSPECIFIED;
    EXPECT_EQ(As("", method, target).status == 401, !open) << method << " " << target;
    EXPECT_EQ(As("views", method, target).status == 403, !open) << method << " " << target;
    const bool reads = open || route.role == auth::Role::ROLE_SCHEMA_READ;
    EXPECT_EQ(As("reads", method, target).status == 403, !reads) << method << " " << target;
    const bool writes = reads || route.role == auth::Role::ROLE_SCHEMA_WRITE;
    const http::Response response = As("writes", method, target);
    EXPECT_EQ(response.status == 403, !writes) << method << " " << target;
    if (!writes) ExpectError(response, 403, "needs the role schema.admin");
  }
}

TEST_F(RestAccessTest, WhatReachesFurtherNeedsMore) {
  Register("s", kAlert);
  ExpectError(As("writes", "POST", "/subjects/s/versions?force=true", Body(kAlertBroken)), 403,
              "needs the role schema.admin");
  EXPECT_EQ(As("writes", "DELETE", "/subjects/s/versions/1").status, 200);
  ExpectError(As("writes", "DELETE", "/subjects/s/versions/1?permanent=true"), 403, "permanently");
  ExpectError(As("writes", "DELETE", "/subjects/s?permanent=true"), 403, "permanently");
  const std::string level = R"({"compatibility":"NONE"})";
  EXPECT_EQ(As("writes", "PUT", "/config/s", level).status, 200);
  ExpectError(As("writes", "PUT", "/config/:.eu:", level), 403, "of a context");
  ExpectError(As("writes", "PUT", "/contexts/.eu/config", level), 403, "schema.admin");
  ExpectError(As("writes", "DELETE", "/config/:.:"), 403, "settings of everything");
  EXPECT_EQ(As("rules", "PUT", "/config/:.eu:", level).status, 200);
}

TEST_F(RestAccessTest, WhatIsRefusedIsInTheAuditLog) {
  Rules(false);
  const std::size_t before = audit_.entries().size();
  As("reads", "POST", "/subjects/s/versions", Body(kAlert));
  As("reads", "PUT", "/contexts/.eu/config/orders-v", R"({"compatibility":"NONE"})");
  As("writes", "DELETE", "/subjects/orders-v/versions/1");
  As("views", "GET", "/subjects");
  As("forged", "GET", "/subjects");
  As("reads", "GET", "/subjects");
  const auto entries = audit_.entries();
  ASSERT_EQ(entries.size(), before + 4) << "who is nobody has no name to be written down";
  const auto at = [&](std::size_t index) {
    const AuditEntry& entry = entries[before + index];
    EXPECT_EQ(entry.outcome.code(), absl::StatusCode::kPermissionDenied);
    EXPECT_EQ(entry.actor.origin, "192.0.2.7:5000");
    return Concat(entry.actor.name, " ", entry.action, " ", entry.target, ": ",
                  Message(entry.outcome));
  };
  EXPECT_THAT(at(0), ::testing::StartsWith(
                         "ann tocsin.schema.v1.SchemaRegistryService/RegisterSchema s: "));
  EXPECT_THAT(at(1), ::testing::StartsWith("ann tocsin.schema.v1.SchemaRegistryService/SetConfig "
                                           ":.eu:orders-v: "));
  EXPECT_THAT(at(2), ::testing::StartsWith(
                         "wim tocsin.schema.v1.SchemaRegistryService/DeleteVersion orders-v/1: "
                         "'wim' may not change 'orders-v': "));
  EXPECT_THAT(at(3),
              ::testing::StartsWith("vic tocsin.schema.v1.SchemaRegistryService/ListSubjects : "));
}

TEST_F(RestAccessTest, WhatIsRefusedIsReadableInTheAuditLogWhateverItNames) {
  const std::string from = "/subjects/a%FF";
  EXPECT_EQ(As("reads", "DELETE", from).status, 403);
  EXPECT_EQ(audit_.entries().back().target, "a\\xff");
  EXPECT_EQ(As("reads", "DELETE", "/subjects/\xfe").status, 403);
  EXPECT_EQ(audit_.entries().back().target, "\\xfe");
  EXPECT_THAT(std::string(Message(audit_.entries().back().outcome)),
              ::testing::HasSubstr("DELETE /subjects/\\xfe"));
  EXPECT_EQ(As("reads", "DELETE", Concat("/subjects/", std::string(9'000, 'x'))).status, 403);
  EXPECT_LT(audit_.entries().back().target.size(), 1'100U);
}

TEST_F(RestAccessTest, AFloodOfRefusalsDoesNotFillTheAuditLog) {
  const std::size_t before = audit_.entries().size();
  for (int i = 0; i < 1'000; ++i) {
    EXPECT_EQ(As("reads", "DELETE", "/subjects/s").status, 403);
  }
  const std::size_t written = audit_.entries().size() - before;
  EXPECT_GE(written, 100U);
  EXPECT_LT(written, 900U) << "ten a second after the first hundred";
}

TEST_F(RestAccessTest, TheAnonymousMayReadWhereThatIsConfigured) {
  Register("s", kAlert);
  ExpectError(As("", "GET", "/subjects"), 401, "no token");
  RestOptions options;
  options.anonymous_read = true;
  Serve(std::move(options));
  EXPECT_EQ(As("", "GET", "/subjects").status, 200);
  EXPECT_EQ(As("", "GET", "/schemas/ids/1").status, 200);
  EXPECT_EQ(As("", "POST", "/subjects/s", Body(kAlert)).status, 200) << "a lookup is a read";
  ExpectError(As("", "POST", "/subjects/s/versions", Body(kAlertMore)), 403, "anonymous");
  ExpectError(As("", "DELETE", "/subjects/s"), 403, "schema.write");
  ExpectError(As("forged", "GET", "/subjects"), 401, "signature is not valid");
}

TEST_F(RestAccessTest, RulesForWriters) {
  Rules(false);
  EXPECT_EQ(As("rules", "POST", "/subjects/orders-v/versions", Body(kAlert)).status, 200);
  for (const auto& [method, target] :
       std::vector<std::pair<std::string, std::string>>{{"POST", "/subjects/orders-v/versions"},
                                                        {"DELETE", "/subjects/orders-v"},
                                                        {"DELETE", "/subjects/orders-v/versions/1"},
                                                        {"PUT", "/config/orders-v"},
                                                        {"DELETE", "/config/orders-v"}}) {
    ExpectError(As("writes", method, target, Body(kAlert)), 403, "'wim' may not change 'orders-v'");
  }
  EXPECT_EQ(As("writes", "POST", "/subjects/other/versions", Body(kAlert)).status, 200);
  EXPECT_EQ(As("reads", "GET", "/subjects/orders-v/versions/1").status, 200);
  ExpectError(As("writes", "PUT", "/config/other", R"({"alias":"orders-v"})"), 403,
              "'wim' may not change 'orders-v'");
}

TEST_F(RestAccessTest, RulesForReaders) {
  Register("orders-v", kAlert);
  Register("open", kAlertMore);
  Register("shared", kAlertMore);
  const std::string guid = Get("/schemas/ids/1")["guid"];
  Rules(true);
  for (const std::string target :
       {"/subjects/orders-v/versions", "/subjects/orders-v/versions/1",
        "/subjects/orders-v/versions/1/schema", "/subjects/orders-v/versions/1/referencedby",
        "/subjects/orders-v/metadata?key=a&value=b", "/config/orders-v", "/mode/orders-v"}) {
    ExpectError(As("reads", "GET", target), 403, "'ann' may not read 'orders-v'");
  }
  // By what it is not named with, it is not there.
  for (const std::string target : {"/schemas/ids/1", "/schemas/ids/1/schema",
                                   "/schemas/ids/1/subjects", "/schemas/ids/1/versions"}) {
    ExpectError(As("reads", "GET", target), 40403, "no schema has the id 1");
  }
  ExpectError(As("reads", "GET", "/schemas/guids/" + guid), 40403,
              "no schema has the GUID " + guid);
  ExpectError(As("reads", "GET", "/schemas/guids/" + guid + "/ids"), 40403,
              "no schema has the GUID");
  for (const std::string target :
       {"/subjects/orders-v", "/compatibility/subjects/orders-v/versions",
        "/compatibility/subjects/orders-v/versions/1"}) {
    ExpectError(As("reads", "POST", target, Body(kAlert)), 403, "'ann' may not read 'orders-v'");
  }
  Json importing = {{"schema", "syntax='proto3'; import 'o'; message M { Alert a = 1; }"},
                    {"schemaType", "PROTOBUF"},
                    {"references", {{{"name", "o"}, {"subject", "orders-v"}, {"version", 1}}}}};
  for (const std::string target : {"/subjects/open", "/compatibility/subjects/open/versions",
                                   "/compatibility/subjects/open/versions/latest?verbose=true"}) {
    ExpectError(As("reads", "POST", target, importing.dump()), 403, "may not read 'orders-v'");
  }
  ExpectError(As("writes", "POST", "/subjects/m/versions", importing.dump()), 403,
              "'wim' may not read 'orders-v'");
  EXPECT_EQ(As("reads", "GET", "/subjects").body, R"(["open","shared"])");
  EXPECT_EQ(As("reads", "GET", "/subjects?offset=1").body, R"(["shared"])");
  EXPECT_EQ(Json::parse(As("reads", "GET", "/schemas?limit=2").body).size(), 2U);
  EXPECT_EQ(As("reads", "GET", "/schemas/ids/2").status, 200);
  EXPECT_EQ(As("rules", "GET", "/schemas/ids/1").status, 200) << "writers may read";
}

TEST_F(RestAccessTest, WhoImportsIsNotNamedToThoseWhoMayNotReadIt) {
  Register("open", "syntax='proto3'; message A {}");
  const auto import = [&](const std::string& subject, const std::string& message) {
    const Json body = {
        {"schema", "syntax='proto3'; import 'o'; message " + message + " { A a = 1; }"},
        {"schemaType", "PROTOBUF"},
        {"references", {{{"name", "o"}, {"subject", "open"}, {"version", 1}}}}};
    Value("POST", "/subjects/" + subject + "/versions", body.dump());
  };
  import("orders-v", "M");
  Rules(true);
  for (const std::string target : {"/subjects/open", "/subjects/open/versions/1"}) {
    const http::Response refused = As("writes", "DELETE", target);
    ExpectError(refused, 42206, "imported by 1 that you may not read: delete those first");
    EXPECT_THAT(refused.body, ::testing::Not(HasSubstr("orders")));
    ExpectError(As("rules", "DELETE", target), 42206, "the ids 2 (orders-v version 1):");
  }
  import("shown", "N");
  ExpectError(As("writes", "DELETE", "/subjects/open"), 42206,
              "the ids 3 (shown version 1) and by 1 more that you may not read:");
}

TEST_F(RestAccessTest, ARuleForEverythingIsToldInWords) {
  SubjectAccess::Rules rules;
  rules.Add()->add_writers("wim");
  RestOptions options;
  options.access = SubjectAccess::Create(rules).value();
  Serve(std::move(options));
  ExpectError(As("rules", "PUT", "/config", R"({"compatibility":"NONE"})"), 403,
              "may not change the settings of everything: for all that has no rule of its own");
}

}  // namespace
}  // namespace tocsin::registry
