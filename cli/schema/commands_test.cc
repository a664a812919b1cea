// `tocsin schema …` against files, a git repository, and a registry that stands in this test: what
// they say, what they send, and what they return.
#include "cli/schema/commands.h"

#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>

#include "cli/app.h"
#include "cli/console.h"
#include "cli/core/exit_code.h"
#include "cli/schema/git.h"
#include "cli/stop_request.h"
#include "cli/testing/user_environment.h"
#include "lib/base/mutex.h"
#include "lib/base/text.h"
#include "tocsin/schema/v1/registry.grpc.pb.h"

namespace tocsin::cli {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

constexpr char kOne[] =
    "syntax = \"proto3\";\npackage shop;\nmessage Order {\n  int32 amount = 1;\n}\n";
constexpr char kTwo[] =
    "syntax = \"proto3\";\npackage shop;\nmessage Order {\n  int32 amount = 1;\n  string note = "
    "2;\n}\n";
constexpr char kBroken[] =
    "syntax = \"proto3\";\npackage shop;\nmessage Order {\n  string amount = 1;\n}\n";

// Keeps texts as a registry would, and checks nothing.
class FakeRegistry final : public schema::v1::SchemaRegistryService::Service {
 public:
  grpc::Status RegisterSchema(grpc::ServerContext*,
                              const schema::v1::RegisterSchemaRequest* request,
                              schema::v1::RegisterSchemaResponse* response) override {
    MutexLock lock(mutex_);
    if (!refusal.ok()) return refusal;
    registered.push_back(*request);
    auto& versions = subjects_[request->subject()];
    schema::v1::Schema schema;
    schema.set_id(++last_id_);
    schema.set_subject(request->subject());
    schema.set_version(static_cast<int>(versions.size()) + 1);
    schema.set_text(request->text());
    schema.set_type("PROTOBUF");
    schema.set_guid("00112233-4455-6677-8899-aabbccddeeff");
    *schema.mutable_references() = request->references();
    schema.mutable_register_time()->set_seconds(1'452'859'260);
    schema.set_registered_by("anna");
    versions.push_back(schema);
    *response->mutable_schema() = schema;
    return grpc::Status::OK;
  }
  grpc::Status LookupSchema(grpc::ServerContext*, const schema::v1::LookupSchemaRequest* request,
                            schema::v1::LookupSchemaResponse* response) override {
    MutexLock lock(mutex_);
    for (const auto& schema : subjects_[request->subject()]) {
      if (schema.text() == request->text()) *response->mutable_schema() = schema;
    }
    return response->has_schema() ? grpc::Status::OK
                                  : grpc::Status(grpc::StatusCode::NOT_FOUND, "no such schema");
  }
  grpc::Status Check(grpc::ServerContext*, const schema::v1::CheckRequest* request,
                     schema::v1::CheckResponse* response) override {
    response->set_compatible(!HasText(request->text(), "string amount"));
    response->set_level(schema::v1::COMPATIBILITY_BACKWARD);
    auto& verdict = *response->add_levels();
    verdict.set_level(schema::v1::COMPATIBILITY_BACKWARD);
    if (!response->compatible()) verdict.add_findings();
    return grpc::Status::OK;
  }
  grpc::Status GetVersion(grpc::ServerContext*, const schema::v1::GetVersionRequest* request,
                          schema::v1::GetVersionResponse* response) override {
    MutexLock lock(mutex_);
    const auto& versions = subjects_[request->subject()];
    const std::size_t number =
        request->version() == 0 ? versions.size() : static_cast<std::size_t>(request->version());
    if (number == 0 || number > versions.size()) {
      return {grpc::StatusCode::NOT_FOUND,
              Concat("subject '", request->subject(), "' has no version ", number)};
    }
    *response->mutable_schema() = versions[number - 1];
    for (const auto& reference : versions[number - 1].references()) {
      response->add_import_paths(reference.name());
      *response->add_imports() = subjects_[reference.subject()].back();
    }
    return grpc::Status::OK;
  }
  grpc::Status GetSchema(grpc::ServerContext*, const schema::v1::GetSchemaRequest* request,
                         schema::v1::GetSchemaResponse* response) override {
    MutexLock lock(mutex_);
    asked_in = request->subject();
    response->mutable_schema()->set_id(request->id());
    response->mutable_schema()->set_text("by id");
    return grpc::Status::OK;
  }
  grpc::Status ListSchemaUses(grpc::ServerContext*, const schema::v1::ListSchemaUsesRequest*,
                              schema::v1::ListSchemaUsesResponse* response) override {
    auto& use = *response->add_uses();
    use.set_subject("orders-value");
    use.set_version(1);
    return grpc::Status::OK;
  }
  grpc::Status ListVersions(grpc::ServerContext*, const schema::v1::ListVersionsRequest* request,
                            schema::v1::ListVersionsResponse* response) override {
    MutexLock lock(mutex_);
    for (const auto& schema : subjects_[request->subject()]) {
      response->add_versions(schema.version());
    }
    return response->versions_size() > 0
               ? grpc::Status::OK
               : grpc::Status(grpc::StatusCode::NOT_FOUND, "no such subject");
  }
  grpc::Status ListSchemas(grpc::ServerContext*, const schema::v1::ListSchemasRequest* request,
                           schema::v1::ListSchemasResponse* response) override {
    MutexLock lock(mutex_);
    listed = *request;
    for (const auto& [subject, versions] : subjects_) {
      if (versions.empty() || subject <= request->page_token()) continue;
      // A page for each subject.
      if (response->schemas_size() > 0) {
        response->set_next_page_token(response->schemas().rbegin()->subject());
        break;
      }
      for (const auto& schema : versions) {
        if (!request->latest_only() || &schema == &versions.back()) {
          *response->add_schemas() = schema;
        }
      }
    }
    return grpc::Status::OK;
  }
  grpc::Status ListContexts(grpc::ServerContext*, const schema::v1::ListContextsRequest*,
                            schema::v1::ListContextsResponse* response) override {
    response->add_contexts(".");
    response->add_contexts(".eu");
    return grpc::Status::OK;
  }
  grpc::Status GetConfig(grpc::ServerContext*, const schema::v1::GetConfigRequest* request,
                         schema::v1::GetConfigResponse* response) override {
    MutexLock lock(mutex_);
    if (!request->or_default() && request->subject() != "orders-value") {
      return {grpc::StatusCode::NOT_FOUND, "none"};
    }
    response->mutable_config()->set_compatibility(level);
    return grpc::Status::OK;
  }
  grpc::Status GetMode(grpc::ServerContext*, const schema::v1::GetModeRequest* request,
                       schema::v1::GetModeResponse* response) override {
    if (!request->subject().empty()) return {grpc::StatusCode::NOT_FOUND, "none"};
    response->set_mode(schema::v1::MODE_READWRITE);
    return grpc::Status::OK;
  }
  grpc::Status Watch(grpc::ServerContext*, const schema::v1::WatchRequest* request,
                     grpc::ServerWriter<schema::v1::WatchResponse>* writer) override {
    {
      MutexLock lock(mutex_);
      watched.push_back(request->after_revision());
    }
    if (request->after_revision() < 0) return {grpc::StatusCode::INVALID_ARGUMENT, "no"};
    schema::v1::WatchResponse response;
    if (request->after_revision() == 0) {
      response.mutable_gap()->set_resume_after(4);
      writer->Write(response);
    }
    auto& change = *response.mutable_change();
    change.set_revision(std::max<std::int64_t>(request->after_revision(), 4) + 1);
    change.set_kind(schema::v1::Change::KIND_REGISTERED);
    change.set_subject("orders-value");
    change.set_version(2);
    change.set_id(7);
    change.set_actor("anna");
    change.mutable_time()->set_seconds(1'452'859'260);
    writer->Write(response);
    return {grpc::StatusCode::UNAVAILABLE, "the registry stops"};
  }

  static bool HasText(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
  }

  std::vector<schema::v1::RegisterSchemaRequest> registered;
  std::vector<std::int64_t> watched;
  schema::v1::ListSchemasRequest listed;
  std::string asked_in;
  grpc::Status refusal;
  schema::v1::Compatibility level = schema::v1::COMPATIBILITY_BACKWARD;

 private:
  Mutex mutex_;
  std::map<std::string, std::vector<schema::v1::Schema>> subjects_;
  int last_id_ = 0;
};

class SchemaCommandsTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { ForgetUserEnvironment(); }
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "tocsin-schema-XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    folder_ = fs::weakly_canonical(pattern);
    std::ofstream(folder_ / "token") << "the-token\n";
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port_);
    builder.RegisterService(&registry_);
    server_ = builder.BuildAndStart();
    ASSERT_NE(server_, nullptr);
  }
  void TearDown() override {
    server_->Shutdown(std::chrono::system_clock::now());
    fs::remove_all(folder_);
  }

  struct Ran {
    int exit_code;
    std::string out;
    std::string err;
  };
  Ran Run(std::vector<std::string> words) {
    ProcessStop().Clear();
    ForgetPrinted();
    words.insert(words.begin(), {"tocsin", "--gateway", Concat("127.0.0.1:", port_), "--token-file",
                                 (folder_ / "token").string(), "schema"});
    std::vector<char*> arguments;
    for (std::string& word : words) arguments.push_back(word.data());
    ::testing::internal::CaptureStdout();
    ::testing::internal::CaptureStderr();
    const int code = cli::Run(static_cast<int>(arguments.size()), arguments.data());
    return {code, ::testing::internal::GetCapturedStdout(),
            ::testing::internal::GetCapturedStderr()};
  }
  std::string Write(const std::string& name, const std::string& text) {
    fs::create_directories((folder_ / name).parent_path());
    std::ofstream(folder_ / name) << text;
    return (folder_ / name).string();
  }
  std::string Path(const std::string& name) const { return (folder_ / name).string(); }
  void Commit() {
    for (const std::vector<std::string>& words :
         {std::vector<std::string>{"init", "--quiet"},
          {"add", "--all"},
          {"-c", "user.name=anna", "-c", "user.email=anna@example.org", "-c",
           "commit.gpgsign=false", "commit", "--quiet", "--message", "state"}}) {
      const auto done = RunGit(folder_, words);
      ASSERT_TRUE(done.ok()) << done.status();
    }
  }

  fs::path folder_;
  int port_ = 0;
  FakeRegistry registry_;
  std::unique_ptr<grpc::Server> server_;
};

TEST_F(SchemaCommandsTest, CheckOfTwoFiles) {
  const std::string was = Write("old/order.proto", kOne);
  Ran ran = Run({"check", Write("new/order.proto", kTwo), "--against", was});
  EXPECT_EQ(ran.exit_code, kExitOk);
  EXPECT_THAT(ran.out, IsEmpty());
  EXPECT_THAT(ran.err, HasSubstr("Checked 1 file against"));
  EXPECT_THAT(ran.err, HasSubstr("at BACKWARD: compatible."));

  ran = Run({"check", Write("new/other.proto", kBroken), "--against", was});
  EXPECT_EQ(ran.exit_code, kExitFailure);
  EXPECT_THAT(ran.out, AllOf(HasSubstr("other.proto breaks BACKWARD against"),
                             HasSubstr("CHANGED at #/Order/amount"),
                             HasSubstr("      4 |   string amount = 1;\n        |   ^"),
                             HasSubstr("      4 |   int32 amount = 1;\n        |   ^"),
                             HasSubstr("on the wire: "), HasSubstr("repair: ")));
  EXPECT_THAT(ran.err, HasSubstr("1 not compatible."));

  ran = Run({"check", Path("new/other.proto"), "--against", was, "-o", "json"});
  EXPECT_EQ(ran.exit_code, kExitFailure);
  const json rows = json::parse(ran.out);
  ASSERT_EQ(rows.size(), 1U);
  EXPECT_EQ(rows[0]["state"], "incompatible");
  EXPECT_EQ(rows[0]["level"], "BACKWARD");
  EXPECT_EQ(rows[0]["findings"][0]["path"], "#/Order/amount");
  EXPECT_EQ(rows[0]["findings"][0]["newer"]["line"], 4);
  EXPECT_THAT(ran.err, IsEmpty());
  EXPECT_EQ(Run({"check", Path("new/other.proto"), "--against", was, "--level", "none"}).exit_code,
            kExitOk);

  // An older state that lies apart from what it imports.
  Write("new/shop/cart.proto", "syntax = \"proto3\";\nimport \"order.proto\";\n");
  const std::string cart =
      Write("old/cart.proto", "syntax = \"proto3\";\nimport \"shop/cart.proto\";\n");
  ran =
      Run({"check", Write("new/cart.proto", "syntax = \"proto3\";\nimport \"shop/cart.proto\";\n"),
           "--against", cart});
  EXPECT_EQ(ran.exit_code, kExitOk) << ran.err;
}

TEST_F(SchemaCommandsTest, CheckAgainstAGitRevision) {
  Write("proto/shop/order.proto", kOne);
  Write("proto/shop/gone.proto", "syntax = \"proto3\"; message Gone {}");
  Write("proto/shop/cart.proto",
        "syntax = \"proto3\";\npackage shop;\nimport \"shop/order.proto\";\n"
        "message Cart {\n  Order order = 1;\n}\n");
  Commit();
  Ran ran = Run({"check", Path("proto")});
  EXPECT_EQ(ran.exit_code, kExitOk) << ran.err;
  EXPECT_THAT(ran.err, HasSubstr("Checked 3 files against git:HEAD at BACKWARD: compatible."));
  Write("proto/shop/order.proto", kBroken);
  Write("proto/shop/fresh.proto", "syntax = \"proto3\"; message Fresh {}");
  fs::remove(Path("proto/shop/gone.proto"));
  ran = Run({"check", Path("proto"), "--against", "git:HEAD", "--level", "full-transitive"});
  EXPECT_EQ(ran.exit_code, kExitFailure);
  EXPECT_THAT(ran.out, AllOf(HasSubstr("shop/order.proto breaks FULL_TRANSITIVE against git:HEAD"),
                             HasSubstr("before, in git:HEAD shop/order.proto:4:"),
                             HasSubstr("shop/cart.proto breaks")));
  EXPECT_THAT(ran.err, AllOf(HasSubstr("shop/gone.proto is in git:HEAD and not here"),
                             HasSubstr("2 not compatible, 1 new.")));
  // Of one folder in the tree, with the imports of the whole.
  EXPECT_EQ(Run({"check", Path("proto/shop/cart.proto"), "--root", Path("proto")}).exit_code,
            kExitFailure);
  EXPECT_EQ(Run({"check", Path("proto/shop/fresh.proto"), "--root", Path("proto")}).exit_code,
            kExitOk);
}

TEST_F(SchemaCommandsTest, CheckAgainstTheRegistry) {
  const std::string file = Write("order.proto", kOne);
  Ran ran = Run({"check", file, "--subject", "orders-value"});
  EXPECT_EQ(ran.exit_code, kExitOk);
  EXPECT_THAT(ran.err, HasSubstr("1 new."));
  ASSERT_EQ(Run({"push", file, "--subject", "orders-value"}).exit_code, kExitOk);
  EXPECT_EQ(Run({"check", file, "--subject", "orders-value"}).exit_code, kExitOk);
  Write("order.proto", kBroken);
  ran = Run({"check", file, "--subject", "orders-value"});
  EXPECT_EQ(ran.exit_code, kExitFailure);
  EXPECT_THAT(ran.out,
              AllOf(HasSubstr("order.proto breaks BACKWARD against orders-value version 1"),
                    HasSubstr("before, in orders-value version 1:4:")));
  registry_.level = schema::v1::COMPATIBILITY_NONE;
  EXPECT_EQ(Run({"check", file, "--subject", "orders-value"}).exit_code, kExitOk);
  EXPECT_EQ(Run({"check", file, "--subject", "orders-value", "--level", "full"}).exit_code,
            kExitFailure);
}

TEST_F(SchemaCommandsTest, WhatCannotBeCheckedSaysWhy) {
  const std::string file = Write("order.proto", kOne);
  struct Case {
    std::vector<std::string> words;
    int exit_code;
    const char* says;
  };
  const std::string broken = Write("broken.proto", "syntax = \"proto3\";\nmessage {");
  const std::string lost = Write("lost.proto", "syntax = \"proto3\";\nimport \"gone.proto\";");
  fs::create_directories(folder_ / "empty");
  for (const Case& c : std::vector<Case>{
           {{"check", Path("nothing")}, kExitUsage, "is neither a .proto file nor a folder"},
           {{"check", Path("empty"), "--against", file}, kExitUsage, "holds no .proto file"},
           {{"check", file, "--against", file, "--level", "forwards"}, kExitUsage, "--level: "},
           {{"check", file}, kExitUsage, "check against a file or folder (--against PATH)"},
           {{"check", file, "--against", Path("nothing")}, kExitUsage, "--against: "},
           {{"check", file, "--against", "git:HEAD", "--subject", "s"}, kExitUsage, "--subject is"},
           {{"check", folder_.string(), "--subject", "s"}, kExitUsage, "--subject needs one file"},
           {{"check", file, "--root", Path("empty")}, kExitUsage, "is not below --root"},
           {{"check", broken, "--against", file}, kExitFailure, "broken.proto:2:9: "},
           {{"check", lost, "--against", file}, kExitFailure, "gone.proto"},
           {{"check", lost, "--against", file}, kExitFailure, "there is no file of exactly"},
           {{"check", lost, "--against", file}, kExitFailure, "--root names another folder"},
           {{"check"}, kExitUsage, "path is required"},
           {{"push"}, kExitUsage, "name a .proto file"},
           {{"push", file, "--as", "x"}, kExitUsage, "--as: 'x' is not FILE=SUBJECT"},
           {{"push", file, "--as", "x.proto=s"}, kExitUsage, "x.proto is not among the files"},
           {{"show", "7", "--version", "0"}, kExitUsage, "--version: '0' is not what it takes"},
           {{"show", "s", "--context", ".eu"}, kExitUsage, "--context goes with an id"},
           {{"show", "s"}, kExitNotFound, "'s' has no version"},
           {{"diff", "s", "0"}, kExitUsage, "'0' is not what it takes"},
           {{"export", "--kafka", "localhost:1"}, kExitUsage, "--kafka needs --topic"},
           {{"watch", "--after=-1"}, kExitUsage, "--after: '-1' is not what it takes"}}) {
    const Ran ran = Run(c.words);
    EXPECT_EQ(ran.exit_code, c.exit_code) << c.says << "\n" << ran.err;
    EXPECT_THAT(ran.err, HasSubstr(c.says));
    EXPECT_THAT(ran.out, IsEmpty());
  }
}

TEST_F(SchemaCommandsTest, PushRegistersImportsFirst) {
  Write("proto/shop/order.proto", kOne);
  Write("proto/cart.proto",
        "syntax = \"proto3\";\npackage shop;\nimport \"shop/order.proto\";\n"
        "import \"google/protobuf/timestamp.proto\";\nmessage Cart {\n  Order order = 1;\n}\n");
  Ran ran = Run({"push", Path("proto"), "--as", "cart.proto=carts-value", "--dry-run"});
  EXPECT_EQ(ran.exit_code, kExitOk) << ran.err;
  EXPECT_EQ(ran.out,
            "SUBJECT           FILE              WHAT\n"
            "shop/order.proto  shop/order.proto  a new version\n"
            "carts-value       cart.proto        new, behind what it imports\n");
  EXPECT_THAT(ran.err, HasSubstr("Nothing was changed"));
  EXPECT_THAT(registry_.registered, IsEmpty());

  ran = Run({"push", Path("proto/cart.proto"), "--subject", "carts-value", "-o", "jsonl"});
  EXPECT_EQ(ran.exit_code, kExitOk) << ran.err;
  ASSERT_EQ(registry_.registered.size(), 2U);
  EXPECT_EQ(registry_.registered[0].subject(), "shop/order.proto");
  const auto& cart = registry_.registered[1];
  EXPECT_EQ(cart.subject(), "carts-value");
  ASSERT_EQ(cart.references_size(), 1) << "well-known types need none";
  EXPECT_EQ(cart.references(0).name(), "shop/order.proto");
  EXPECT_EQ(cart.references(0).version(), 1);

  Write("proto/shop/order.proto", kBroken);
  ran = Run({"push", Path("proto/shop/order.proto"), "--root", Path("proto"), "--dry-run"});
  EXPECT_EQ(ran.exit_code, kExitConflict);
  // As it is typed from here, and again with the file's imports.
  const auto from_here = [&](const char* name) {
    return fs::proximate(fs::weakly_canonical(Path(name))).generic_string();
  };
  EXPECT_THAT(ran.out, HasSubstr(Concat("refused: 1 finding (tocsin schema check ",
                                        from_here("proto/shop/order.proto"), " --root ",
                                        from_here("proto"), " --subject shop/order.proto)")));
  // The subject is there, and what it imports would have a new version.
  ran = Run({"push", Path("proto"), "--as", "cart.proto=carts-value", "--dry-run"});
  EXPECT_EQ(ran.exit_code, kExitConflict);
  EXPECT_THAT(ran.out, HasSubstr("cart.proto        behind what it imports: a new version"));
  registry_.refusal = {grpc::StatusCode::FAILED_PRECONDITION, "it breaks"};
  ran = Run({"push", Path("proto/shop/order.proto")});
  EXPECT_EQ(ran.exit_code, kExitConflict);
  EXPECT_THAT(ran.err, HasSubstr("order.proto as order.proto: it breaks"));
}

TEST_F(SchemaCommandsTest, ListsAndShows) {
  for (const char* const text : {kOne, kTwo}) {
    ASSERT_EQ(Run({"push", Write("order.proto", text), "--subject", "orders-value"}).exit_code, 0);
  }
  ASSERT_EQ(Run({"push", Write("order.proto", kOne), "--subject", "a/b"}).exit_code, 0);
  EXPECT_EQ(Run({"ls"}).out,
            "SUBJECT       VERSION  ID  REGISTERED            BY\n"
            "a/b           1        3   2016-01-15T12:01:00Z  anna\n"
            "orders-value  2        2   2016-01-15T12:01:00Z  anna\n");
  EXPECT_EQ(json::parse(Run({"list", "-o", "json", "--deleted", "--all-contexts"}).out).size(), 2U);
  EXPECT_EQ(registry_.listed.deleted(), schema::v1::DELETED_INCLUDE);
  EXPECT_TRUE(registry_.listed.all_contexts());
  EXPECT_EQ(Run({"ls", "--contexts"}).out, "CONTEXT\n.\n.eu\n");

  Ran ran = Run({"show", "orders-value"});
  EXPECT_EQ(ran.out, kTwo);
  EXPECT_EQ(ran.err,
            "orders-value version 2, id 2, registered 2016-01-15T12:01:00Z by anna. GUID "
            "00112233-4455-6677-8899-aabbccddeeff.\n");
  EXPECT_EQ(Run({"show", "orders-value/1"}).out, kOne);
  EXPECT_EQ(Run({"show", "orders-value/latest"}).out, kTwo);
  EXPECT_EQ(Run({"get", "orders-value", "--version", "1"}).out, kOne);
  EXPECT_EQ(Run({"show", "a/b"}).out, kOne);
  EXPECT_EQ(json::parse(Run({"show", "a/b/1", "-o", "json"}).out)["schema"]["version"], 1);
  ran = Run({"show", "7", "--context", ".eu"});
  EXPECT_EQ(ran.out, "by id\n");
  EXPECT_THAT(ran.err, HasSubstr("orders-value version 1, id 1, registered 2016-01-15T12:01:00Z by "
                                 "anna"));
  EXPECT_EQ(registry_.asked_in, ":.eu:");
  const json shown = json::parse(Run({"show", "7", "-o", "json"}).out)["schema"];
  EXPECT_EQ(shown["id"], 7);
  EXPECT_EQ(shown["text"], "by id");
  EXPECT_EQ(shown["subject"], "orders-value");
  EXPECT_EQ(shown["version"], 1);
  EXPECT_EQ(shown["registeredBy"], "anna");
  EXPECT_EQ(shown["registerTime"], "2016-01-15T12:01:00Z");
}

TEST_F(SchemaCommandsTest, DiffShowsWhatIsCompatibleToo) {
  for (const char* const text : {kOne, kTwo, kBroken}) {
    ASSERT_EQ(Run({"push", Write("order.proto", text), "--subject", "orders-value"}).exit_code, 0);
  }
  Ran ran = Run({"diff", "orders-value", "1", "2"});
  EXPECT_EQ(ran.exit_code, kExitOk);
  EXPECT_THAT(ran.out, AllOf(HasSubstr("compatible:\n  FIELD_ADDED at #/Order/note"),
                             HasSubstr("orders-value version 2:5:")));
  EXPECT_THAT(ran.err, HasSubstr("1 difference, 0 against BACKWARD."));
  ran = Run({"diff", "orders-value"});
  EXPECT_THAT(ran.out, HasSubstr("against BACKWARD:\n"));
  EXPECT_THAT(ran.err, HasSubstr("From orders-value version 2 to orders-value version 3: "));
  const json rows = json::parse(Run({"diff", "orders-value", "1", "-o", "json"}).out);
  ASSERT_EQ(rows.size(), 1U);
  EXPECT_EQ(rows[0]["compatible"], false);
  EXPECT_THAT(Run({"diff", "orders-value", "2", "2"}).err, HasSubstr("mean the same"));
  ASSERT_EQ(Run({"push", Path("order.proto"), "--subject", "single"}).exit_code, 0);
  ran = Run({"diff", "single"});
  EXPECT_EQ(ran.exit_code, kExitConflict);
  EXPECT_THAT(ran.err, HasSubstr("single has no version before 1"));
}

TEST_F(SchemaCommandsTest, WatchGoesOnBehindTheLastChange) {
  const Ran ran = Run({"watch", "--count", "3"});
  EXPECT_EQ(ran.exit_code, kExitOk);
  EXPECT_THAT(ran.out,
              HasSubstr("2016-01-15T12:01:00Z  orders-value version 2  registered  id 7  by anna  "
                        "revision 5\n"));
  EXPECT_THAT(ran.out, AllOf(HasSubstr("revision 6\n"), HasSubstr("revision 7\n")));
  EXPECT_THAT(registry_.watched, ElementsAre(0, 5, 6));
  EXPECT_THAT(ran.err, AllOf(HasSubstr("going on behind revision 4"),
                             HasSubstr("Connection lost, trying again: the registry stops")));
  EXPECT_EQ(json::parse(Run({"watch", "--after", "9", "--count", "1", "-o", "jsonl"}).out)["id"],
            7);
}

TEST_F(SchemaCommandsTest, ExportHasTheShapesOfConfluent) {
  registry_.level = schema::v1::COMPATIBILITY_STRICT;
  Write("proto/shop/order.proto", kOne);
  Write("proto/cart.proto",
        "syntax = \"proto3\";\npackage shop;\nimport \"shop/order.proto\";\n"
        "message Cart {\n  Order order = 1;\n}\n");
  ASSERT_EQ(Run({"push", Path("proto"), "--as", "cart.proto=orders-value"}).exit_code, 0);
  const Ran ran = Run({"export"});
  EXPECT_EQ(ran.exit_code, kExitOk) << ran.err;
  const std::string text = json(std::string(kOne)).dump();
  EXPECT_THAT(
      ran.out,
      AllOf(HasSubstr(R"({"keytype":"MODE","subject":null,"magic":0})"
                      "\t"
                      R"({"mode":"READWRITE"})"
                      "\n"),
            HasSubstr(R"({"keytype":"CONFIG","subject":"orders-value","magic":0})"
                      "\t"
                      R"({"subject":"orders-value","compatibilityLevel":"FULL"})"
                      "\n"),
            HasSubstr(Concat(R"({"keytype":"SCHEMA","subject":"shop/order.proto","version":1,)",
                             R"("magic":1})", "\t",
                             R"({"subject":"shop/order.proto","version":1,"id":1,)",
                             R"("md5":"ABEiM0RVZneImaq7zN3u/w==","schemaType":"PROTOBUF",)",
                             R"("schema":)", text, R"(,"deleted":false})", "\n")),
            HasSubstr(R"("references":[{"name":"shop/order.proto","subject":"shop/order.proto",)"
                      R"("version":1}])"),
            Not(HasSubstr("seq"))));
  EXPECT_LT(ran.out.find("\"subject\":\"shop/order.proto\",\"version\":1,\"id\":1"),
            ran.out.find("\"references\""))
      << "what is imported comes first";
  EXPECT_THAT(ran.err, AllOf(HasSubstr("written as FULL"), HasSubstr("4 records")));
}

}  // namespace
}  // namespace tocsin::cli
