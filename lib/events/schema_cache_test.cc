#include "lib/events/schema_cache.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <google/protobuf/descriptor.h>

#include <atomic>
#include <future>
#include <thread>

#include "lib/base/status.h"
#include "lib/base/testing/fake_clock.h"
#include "lib/base/testing/status_matchers.h"
#include "lib/events/testing/fake_registry.h"

namespace tocsin::events {
namespace {
using std::chrono::seconds;
using ::testing::HasSubstr;

constexpr std::string_view kText = "syntax = \"proto3\"; package a; message B { string c = 1; }";
constexpr std::string_view kNewText =
    "syntax = \"proto3\"; package a; message B { string c = 1; string d = 2; }";

// Has one schema in each of two contexts, both with the id 1.
class OtherContext final : public RegistryClient {
 public:
  absl::StatusOr<FetchedSchema> ById(schema::SchemaId id) override {
    FetchedSchema fetched;
    fetched.id = id;
    fetched.text = "syntax = \"proto3\"; message Here {}";
    return fetched;
  }
  absl::StatusOr<FetchedSchema> ByGuid(const schema::SchemaGuid&) override {
    return NotFound("none");
  }
  absl::StatusOr<FetchedSchema> Latest(std::string_view) override {
    FetchedSchema fetched;
    fetched.id = schema::SchemaId(1);
    fetched.text = "syntax = \"proto3\"; message Eu {}";
    return fetched;
  }
  absl::StatusOr<RegisteredVersion> Register(std::string_view, const SchemaDraft&) override {
    return NotFound("none");
  }
  absl::StatusOr<RegisteredVersion> Lookup(std::string_view, const SchemaDraft&) override {
    return NotFound("none");
  }
};

class SchemaCacheTest : public ::testing::Test {
 protected:
  FakeClock clock_;
  testing::FakeRegistry registry_;
  std::unique_ptr<SchemaCache> cache_ = MakeSchemaCache(registry_, clock_);

  RegisteredVersion Register(std::string_view text = kText) {
    return registry_.Register("t-value", text, {}).value();
  }
};

TEST_F(SchemaCacheTest, AnIdIsFetchedOnceAndKeptForGood) {
  const schema::SchemaId id = Register().id;
  const int before = registry_.calls();
  const auto first = cache_->ById(id);
  ASSERT_THAT(first, IsOk());
  EXPECT_NE((*first)->FindMessage("a.B"), nullptr);
  clock_.Advance(std::chrono::hours(1));
  registry_.FailWith(Unavailable("gone"));
  EXPECT_EQ(cache_->ById(id).value(), *first);
  EXPECT_EQ(registry_.calls(), before + 1);
}

TEST_F(SchemaCacheTest, AnUnknownIdIsBelievedForAShortTime) {
  EXPECT_THAT(cache_->ById(schema::SchemaId(1)),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("schema 1")));
  EXPECT_THAT(cache_->ById(schema::SchemaId(1)), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_EQ(registry_.calls(), 1);
  Register();
  EXPECT_THAT(cache_->ById(schema::SchemaId(1)), StatusIs(absl::StatusCode::kNotFound));
  clock_.Advance(seconds(1));
  EXPECT_THAT(cache_->ById(schema::SchemaId(1)), IsOk());
}

TEST_F(SchemaCacheTest, ARegistryThatIsAwayIsAskedAgainAtOnceForWhatIsNotKnown) {
  Register();
  registry_.FailWith(Unavailable("gone"));
  EXPECT_TRUE(cache_->registry_answers());
  EXPECT_THAT(cache_->ById(schema::SchemaId(1)), StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_THAT(cache_->Latest("t-value"), StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_FALSE(cache_->registry_answers());
  registry_.FailWith(absl::OkStatus());
  EXPECT_THAT(cache_->ById(schema::SchemaId(1)), IsOk());
  EXPECT_TRUE(cache_->registry_answers());
}

TEST_F(SchemaCacheTest, TheLatestIsRefreshedAndGoesOnWhenTheRegistryIsAway) {
  const RegisteredVersion old_version = Register();
  EXPECT_EQ(cache_->Latest("t-value")->id, old_version.id);
  const RegisteredVersion new_version = Register(kNewText);
  EXPECT_EQ(cache_->Latest("t-value")->id, old_version.id);  // not older than five seconds
  clock_.Advance(seconds(5));
  registry_.FailWith(DeadlineExceeded("slow"));
  EXPECT_EQ(cache_->Latest("t-value")->id, old_version.id);
  const int before = registry_.calls();
  EXPECT_EQ(cache_->Latest("t-value")->id, old_version.id);  // left alone for a second
  EXPECT_EQ(registry_.calls(), before);
  registry_.FailWith(absl::OkStatus());
  clock_.Advance(seconds(1));
  const auto latest = cache_->Latest("t-value");
  ASSERT_THAT(latest, IsOk());
  EXPECT_EQ(latest->id, new_version.id);
  EXPECT_EQ(latest->version, 2);
  // The id came with it.
  registry_.FailWith(Unavailable("gone"));
  EXPECT_EQ(cache_->ById(new_version.id).value(), latest->schema);
}

TEST_F(SchemaCacheTest, AGuidIsFetchedOnceAndSharesTheIdsDescriptors) {
  const RegisteredVersion version = Register();
  ASSERT_TRUE(version.guid.has_value());
  const auto schema = cache_->ByGuid(*version.guid);
  ASSERT_THAT(schema, IsOk());
  const int before = registry_.calls();
  EXPECT_EQ(cache_->ByGuid(*version.guid).value(), *schema);
  EXPECT_EQ(cache_->ById(version.id).value(), *schema);
  EXPECT_EQ(registry_.calls(), before);
  EXPECT_EQ(cache_->Latest("t-value")->guid, version.guid);
}

TEST_F(SchemaCacheTest, IdsOfAnotherContextAreOtherIds) {
  OtherContext registry;
  const auto cache = MakeSchemaCache(registry, clock_);
  const auto other = cache->Latest(":.eu:t-value");
  ASSERT_THAT(other, IsOk());
  EXPECT_EQ(other->id, schema::SchemaId(1));
  EXPECT_NE(other->schema->FindMessage("Eu"), nullptr);
  const auto here = cache->ById(schema::SchemaId(1));
  ASSERT_THAT(here, IsOk());
  EXPECT_NE((*here)->FindMessage("Here"), nullptr);
  EXPECT_NE(cache->Latest(":.eu:u-value")->schema->FindMessage("Eu"), nullptr);
}

TEST_F(SchemaCacheTest, AnUnknownSubjectIsNotFound) {
  EXPECT_THAT(cache_->Latest("no-value"),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("no-value")));
  EXPECT_THAT(cache_->Latest("no-value"), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_EQ(registry_.calls(), 1);
}

TEST_F(SchemaCacheTest, ASchemaThatDoesNotCompileIsAnError) {
  Register("message {");
  EXPECT_THAT(cache_->ById(schema::SchemaId(1)),
              StatusIs(absl::StatusCode::kInternal, HasSubstr("does not compile")));
}

TEST_F(SchemaCacheTest, NoMoreThanTheBoundIsKept) {
  cache_ = MakeSchemaCache(registry_, clock_, {.max_entries = 2});
  Register();
  Register(kNewText);
  registry_.Register("other", "syntax = \"proto3\"; message X {}", {}).value();
  for (int round = 0; round < 2; ++round) {
    for (const int id : {1, 2, 3}) {
      EXPECT_THAT(cache_->ById(schema::SchemaId(id)), IsOk());
    }
  }
}

// Counts how many are inside at once, and lets nobody out before it is told to.
class SlowRegistry final : public RegistryClient {
 public:
  absl::StatusOr<FetchedSchema> ById(schema::SchemaId id) override {
    ++calls;
    entered.set_value();
    go.get_future().wait();
    FetchedSchema fetched;
    fetched.id = id;
    fetched.text = kText;
    return fetched;
  }
  absl::StatusOr<FetchedSchema> Latest(std::string_view) override { return NotFound("none"); }
  absl::StatusOr<FetchedSchema> ByGuid(const schema::SchemaGuid&) override {
    return NotFound("none");
  }
  absl::StatusOr<RegisteredVersion> Register(std::string_view, const SchemaDraft&) override {
    return NotFound("none");
  }
  absl::StatusOr<RegisteredVersion> Lookup(std::string_view, const SchemaDraft&) override {
    return NotFound("none");
  }
  std::atomic<int> calls{0};
  std::promise<void> entered;
  std::promise<void> go;
};

TEST_F(SchemaCacheTest, ManyThreadsAskForAnIdOnce) {
  SlowRegistry slow;
  const auto cache = MakeSchemaCache(slow, clock_);
  std::vector<std::thread> threads;
  std::atomic<int> good{0};
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] { good += cache->ById(schema::SchemaId(5)).ok() ? 1 : 0; });
  }
  slow.entered.get_future().wait();
  slow.go.set_value();
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(good, 4);
  EXPECT_EQ(slow.calls, 1);
}

}  // namespace
}  // namespace tocsin::events
