#include "schema-registry/registry_watch.h"

#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "schema-registry/testing/service_fixture.h"

namespace tocsin::registry {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr char kOne[] = "syntax='proto3'; message M { string name = 1; }";
constexpr char kTwo[] = "syntax='proto3'; message M { string name = 1; int32 age = 2; }";

// One watch from its begin to its end.
class Watching {
 public:
  Watching(v1::SchemaRegistryService::Stub& stub, const std::string& token, std::int64_t after = 0,
           const std::string& prefix = "")
      : context_(token) {
    v1::WatchRequest request;
    request.set_after_revision(after);
    request.set_subject_prefix(prefix);
    reader_ = stub.Watch(&context_, request);
  }
  ~Watching() {
    context_.TryCancel();
    v1::WatchResponse response;
    while (reader_->Read(&response)) {
    }
    if (!finished_) reader_->Finish();
  }
  v1::WatchResponse Next() {
    v1::WatchResponse response;
    EXPECT_TRUE(reader_->Read(&response)) << "the stream has ended";
    return response;
  }
  // The subjects and versions of the changes before the next word that all were sent.
  std::vector<std::string> UntilCaughtUp() {
    std::vector<std::string> changes;
    for (;;) {
      const v1::WatchResponse response = Next();
      if (!response.has_change()) {
        caught_up = response.caught_up().revision();
        return changes;
      }
      changes.push_back(Concat(response.change().subject(), "/", response.change().version()));
      last = response.change();
    }
  }
  grpc::Status End() {
    v1::WatchResponse response;
    while (reader_->Read(&response)) {
    }
    finished_ = true;
    return reader_->Finish();
  }

  std::int64_t caught_up = 0;
  v1::Change last;

 private:
  rpc::StreamContext context_;
  std::unique_ptr<grpc::ClientReader<v1::WatchResponse>> reader_;
  bool finished_ = false;
};

class RegistryWatchTest : public ServiceFixture {
 protected:
  std::string Token(const std::string& name = "anna") { return mesh_.Token(name, {"schema.read"}); }
};

TEST_F(RegistryWatchTest, EveryChangeComesInOrderAndAWatchResumes) {
  Begin();
  ASSERT_TRUE(Register("a", kOne).ok());
  ASSERT_TRUE(Register("a", kTwo).ok());
  Watching watching(*stub_, Token());
  EXPECT_THAT(watching.UntilCaughtUp(), ElementsAre("a/1", "a/2"));
  EXPECT_EQ(watching.last.kind(), v1::Change::KIND_REGISTERED);
  EXPECT_EQ(watching.last.actor(), "anna");
  EXPECT_EQ(watching.last.id(), 2);
  EXPECT_EQ(watching.caught_up, registry_.revision());
  const std::int64_t second = watching.last.revision();

  ASSERT_TRUE(Register("b", kOne).ok());
  EXPECT_THAT(watching.UntilCaughtUp(), ElementsAre("b/1")) << "live";

  Watching resumed(*stub_, Token(), second);
  EXPECT_THAT(resumed.UntilCaughtUp(), ElementsAre("b/1"));
}

TEST_F(RegistryWatchTest, OnlyWhatWasAskedForAndMayBeRead) {
  SubjectAccess::Rules rules;
  rules.Add()->set_subject_prefix("pay-");
  rules.at(0).add_readers("carl");
  rules.at(0).add_writers("anna");
  Begin(rules);
  for (const char* const subject : {"pay-1", "open", ":.eu:x"}) {
    ASSERT_TRUE(Register(subject, kOne).ok());
  }
  EXPECT_THAT(Watching(*stub_, Token("bert")).UntilCaughtUp(), ElementsAre("open/1", ":.eu:x/1"));
  EXPECT_THAT(Watching(*stub_, Token("carl"), 0, "pay").UntilCaughtUp(), ElementsAre("pay-1/1"));
  EXPECT_THAT(Watching(*stub_, Token("carl"), 0, ":.eu:").UntilCaughtUp(), ElementsAre(":.eu:x/1"));
  EXPECT_THAT(Watching(*stub_, Token("carl"), 0, ":.:op").UntilCaughtUp(), ElementsAre("open/1"));
}

TEST_F(RegistryWatchTest, WhoHearsNothingIsToldSo) {
  Begin({}, {.keep_alive = std::chrono::milliseconds(1)});
  Watching watching(*stub_, Token());
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(watching.Next().has_caught_up());
}

TEST_F(RegistryWatchTest, ARevisionThatIsNotYetReachedEndsInAGap) {
  Begin({}, {.keep_alive = std::chrono::milliseconds(1)});
  ASSERT_TRUE(Register("a", kOne).ok());
  Watching watching(*stub_, Token(), 1'000);
  const v1::WatchResponse response = watching.Next();
  ASSERT_TRUE(response.has_gap());
  EXPECT_EQ(response.gap().resume_after(), registry_.revision());
}

TEST_F(RegistryWatchTest, AGapSaysFromWhereToGoOn) {
  RegistryOptions options;
  options.max_changes = 2;
  FakeLog log(topic_);
  Registry registry(log, audit_, Clock::Real(), options);
  registry.Start();
  Begin();
  for (const char* const subject : {"a", "b", "c", "d"}) ASSERT_TRUE(Register(subject, kOne).ok());
  // Reads up to there.
  ASSERT_TRUE(registry.GetVersion("d", 1).ok());
  RegistryService short_memory(registry, access_, Clock::Real());
  rpc::Server server(mesh_.Options("registry"));
  server.AddService<Service>(short_memory, {std::string(RegistryService::kCallbackMethod)});
  ASSERT_TRUE(server.Start().ok());
  const auto stub = Service::NewStub(mesh_.Channel("client", server));
  {
    Watching watching(*stub, Token());
    const v1::WatchResponse first = watching.Next();
    ASSERT_TRUE(first.has_gap());
    EXPECT_EQ(first.gap().resume_after(), registry.revision());
    EXPECT_TRUE(watching.Next().has_caught_up());
  }
  short_memory.Drain();
  server.Stop(std::chrono::steady_clock::now() + std::chrono::seconds(5));
  registry.Stop();
}

TEST_F(RegistryWatchTest, RefusalsAndTheEnd) {
  Begin({}, {.max_watchers = 1});
  Watching first(*stub_, Token());
  EXPECT_TRUE(first.Next().has_caught_up());
  const grpc::Status full = Watching(*stub_, Token()).End();
  EXPECT_EQ(full.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_THAT(full.error_message(), HasSubstr("1 clients watch this registry already"));
  EXPECT_EQ(Watching(*stub_, Token(), -1).End().error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  service_->Drain();
  const grpc::Status stopped = first.End();
  EXPECT_EQ(stopped.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_THAT(stopped.error_message(), HasSubstr("watch again from the last revision"));
  EXPECT_EQ(Watching(*stub_, Token()).End().error_code(), grpc::StatusCode::UNAVAILABLE);
}

}  // namespace
}  // namespace tocsin::registry
