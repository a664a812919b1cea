#include "schema-registry/registry.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "lib/base/hex.h"
#include "lib/base/testing/status_matchers.h"
#include "lib/base/text.h"
#include "schema-registry/testing/fake_log.h"

namespace tocsin::registry {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr char kAlert[] = "syntax = 'proto3'; package p; message Alert { string source = 1; }";
constexpr char kAlertMore[] =
    "syntax = 'proto3'; package p; message Alert { string source = 1; int32 severity = 2; }";
constexpr char kAlertBroken[] = "syntax = 'proto3'; package p; message Alert { int64 source = 1; }";

// A replica over a shared topic.
class Replica {
 public:
  explicit Replica(FakeTopic& topic, std::int64_t node = 1) : log(topic) {
    RegistryOptions options;
    options.node = node;
    options.limits.max_text_bytes = 4096;
    registry = std::make_unique<Registry>(log, audit, Clock::Real(), options);
    registry->Start();
  }
  ~Replica() { registry->Stop(); }

  absl::StatusOr<SchemaVersion> Register(const std::string& subject, std::string text,
                                         std::vector<Reference> references = {}) {
    Draft draft;
    draft.text = std::move(text);
    draft.references = std::move(references);
    return registry->Register({"ann", "10.0.0.1"}, subject, draft);
  }

  FakeLog log;
  FakeAudit audit;
  std::unique_ptr<Registry> registry;
};

absl::StatusOr<schema::CompatibilityLevel> LevelOf(Registry& registry,
                                                   std::optional<std::string_view> subject,
                                                   bool or_default = false) {
  const auto config = registry.GetConfig(subject, or_default);
  if (!config.ok()) return config.status();
  return config->level.value();
}

absl::Status SetLevel(Registry& registry, std::optional<std::string_view> subject,
                      schema::CompatibilityLevel level) {
  SubjectConfig config;
  config.level = level;
  return registry.SetConfig({}, subject, config).status();
}

Draft MakeDraft(std::string text) {
  Draft draft;
  draft.text = std::move(text);
  return draft;
}

class RegistryTest : public ::testing::Test {
 protected:
  FakeTopic topic_;
};

TEST_F(RegistryTest, RegistersAndFindsAgain) {
  Replica replica(topic_);
  const auto version = replica.Register("alerts.raw-value", kAlert);
  ASSERT_THAT(version, IsOk());
  EXPECT_EQ(version->version, 1);
  EXPECT_EQ(version->schema->id, SchemaId(1));

  const auto by_id = replica.registry->GetSchema(SchemaId(1));
  ASSERT_THAT(by_id, IsOk());
  EXPECT_EQ(*by_id->schema->text, kAlert);
  const auto latest = replica.registry->GetVersion("alerts.raw-value", std::nullopt);
  ASSERT_THAT(latest, IsOk());
  EXPECT_EQ(latest->version, 1);
  EXPECT_THAT(replica.registry->Lookup("alerts.raw-value", MakeDraft(kAlert)), IsOk());
  EXPECT_THAT(replica.registry->Versions("alerts.raw-value"), IsOkAndHolds(ElementsAre(1)));
  EXPECT_THAT(replica.registry->Subjects({}), IsOkAndHolds(ElementsAre("alerts.raw-value")));
}

TEST_F(RegistryTest, TheSameSchemaIsTheSameVersion) {
  Replica replica(topic_);
  ASSERT_THAT(replica.Register("s", kAlert), IsOk());
  const auto again = replica.Register(
      "s", "syntax='proto3';package p;\n// with a comment\nmessage Alert{string source=1;}");
  ASSERT_THAT(again, IsOk());
  EXPECT_EQ(again->version, 1);
  EXPECT_EQ(topic_.size(), 1);
}

TEST_F(RegistryTest, TheSameSchemaElsewhereKeepsItsId) {
  Replica replica(topic_);
  ASSERT_THAT(replica.Register("s", kAlert), IsOk());
  ASSERT_THAT(replica.Register("t", kAlertMore), IsOk());
  const std::size_t bytes = replica.registry->size().text_bytes;
  EXPECT_EQ(bytes, std::string_view(kAlert).size() + std::string_view(kAlertMore).size());
  const auto elsewhere = replica.Register("u", kAlert);
  ASSERT_THAT(elsewhere, IsOk());
  EXPECT_EQ(elsewhere->schema->id, SchemaId(1));
  // Ids of another context are others; the text is not kept once more.
  ASSERT_THAT(replica.Register(":.eu:s", kAlert), IsOk());
  EXPECT_EQ(replica.registry->size().text_bytes, bytes);
  const auto uses = replica.registry->UsesOf(SchemaId(1), "", Deleted::kExclude);
  ASSERT_THAT(uses, IsOk());
  ASSERT_THAT(*uses, SizeIs(2));
  EXPECT_EQ((*uses)[0].subject, "s");
  EXPECT_EQ((*uses)[1].subject, "u");
}

TEST_F(RegistryTest, IncompatibleSchemaIsRefusedWithEachFinding) {
  Replica replica(topic_);
  ASSERT_THAT(replica.Register("s", kAlert), IsOk());
  const auto refused = replica.Register("s", kAlertBroken);
  ASSERT_THAT(refused,
              StatusIs(absl::StatusCode::kFailedPrecondition,
                       AllOf(HasSubstr("the schema is not compatible (BACKWARD) with version 1 of "
                                       "subject 's':\nFIELD_SCALAR_KIND_CHANGED at "
                                       "#/Alert/source: source (number 1) was string and is int64"),
                             HasSubstr("; to mend it, "))));
  EXPECT_EQ(CodeOf(refused.status()), ErrorCode::kIncompatible);
  EXPECT_THAT(replica.registry->Versions("s"), IsOkAndHolds(ElementsAre(1)));
}

TEST_F(RegistryTest, LevelsOfSubjectAndGlobal) {
  Replica replica(topic_);
  Registry& registry = *replica.registry;
  EXPECT_THAT(LevelOf(registry, std::nullopt), IsOkAndHolds(schema::CompatibilityLevel::kBackward));
  EXPECT_THAT(LevelOf(registry, "s", false),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("no configuration of its own")));
  ASSERT_THAT(SetLevel(registry, "s", schema::CompatibilityLevel::kNone), IsOk());
  EXPECT_THAT(LevelOf(registry, "s", false), IsOkAndHolds(schema::CompatibilityLevel::kNone));
  ASSERT_THAT(replica.Register("s", kAlert), IsOk());
  EXPECT_THAT(replica.Register("s", kAlertBroken), IsOk());

  ASSERT_THAT(SetLevel(registry, std::nullopt, schema::CompatibilityLevel::kFull), IsOk());
  EXPECT_THAT(LevelOf(registry, "t", true), IsOkAndHolds(schema::CompatibilityLevel::kFull));
  EXPECT_THAT(LevelOf(registry, "s", true), IsOkAndHolds(schema::CompatibilityLevel::kNone));
}

TEST_F(RegistryTest, TransitiveLevelLooksAtAllVersions) {
  Replica replica(topic_);
  Registry& registry = *replica.registry;
  ASSERT_THAT(replica.Register("s", kAlert), IsOk());
  ASSERT_THAT(replica.Register("s", "syntax='proto3'; package p; message Alert {}"), IsOk());
  const auto plain = registry.Check("s", MakeDraft(kAlertBroken), Registry::Against::kLatest);
  ASSERT_THAT(plain, IsOk());
  EXPECT_TRUE(plain->compatible());
  ASSERT_THAT(SetLevel(registry, "s", schema::CompatibilityLevel::kBackwardTransitive), IsOk());
  const auto deep =
      registry.Check("s", MakeDraft(kAlertBroken), Registry::Against::kWhatTheLevelDemands);
  ASSERT_THAT(deep, IsOk());
  EXPECT_FALSE(deep->compatible());
  EXPECT_EQ(deep->against, 1);
  const auto first = registry.CheckVersion("s", MakeDraft(kAlertBroken), 1);
  ASSERT_THAT(first, IsOk());
  EXPECT_FALSE(first->compatible());
  EXPECT_THAT(registry.CheckVersion("s", MakeDraft(kAlert), 7),
              StatusIs(absl::StatusCode::kNotFound, "subject 's' has no version 7"));
}

TEST_F(RegistryTest, References) {
  Replica replica(topic_);
  const std::string main = "syntax='proto3'; import 'a.proto'; message M { A a = 1; }";
  const Reference latest{"a.proto", "a", -1};
  EXPECT_THAT(replica.Register("m", main, {latest}),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       "the reference \"a.proto\" names subject 'a', which does not exist: "
                       "register it first"));
  EXPECT_THAT(replica.Register("m", main, {{"a.proto", "a", 3}}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("'a' version 3, which")));
  ASSERT_THAT(replica.Register("b", "syntax='proto3'; message B {}"), IsOk());
  ASSERT_THAT(replica.Register("a", "syntax='proto3'; import 'b.proto'; message A { B b = 1; }",
                               {{"b.proto", "b", 1}}),
              IsOk());
  EXPECT_THAT(
      replica.Register("m", main),
      StatusIs(absl::StatusCode::kInvalidArgument,
               HasSubstr("m:1:18: import \"a.proto\" was not found: there is no file of exactly")));
  const auto version = replica.Register("m", main, {latest});
  ASSERT_THAT(version, IsOk());
  EXPECT_THAT(version->schema->references, ElementsAre(Reference{"a.proto", "a", 1}))
      << "stored with the version that was the latest";
  const auto with_imports = replica.registry->GetSchema(version->schema->id);
  ASSERT_THAT(with_imports, IsOk());
  ASSERT_THAT(with_imports->imports, SizeIs(2));
  EXPECT_EQ(with_imports->imports[0].name, "a.proto");
  EXPECT_EQ(with_imports->imports[1].name, "b.proto");
}

TEST_F(RegistryTest, OneFileInTwoVersionsIsRefused) {
  Replica replica(topic_);
  ASSERT_THAT(replica.Register("b", "syntax='proto3'; message B {}"), IsOk());
  ASSERT_THAT(replica.Register("b", "syntax='proto3'; message B { int32 i = 1; }"), IsOk());
  ASSERT_THAT(replica.Register("a", "syntax='proto3'; import 'b.proto'; message A { B b = 1; }",
                               {{"b.proto", "b", 1}}),
              IsOk());
  EXPECT_THAT(replica.Register("m", "syntax='proto3'; import 'a.proto'; import 'b.proto';",
                               {{"a.proto", "a", 1}, {"b.proto", "b", 2}}),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("\"b.proto\" is imported in two versions")));
}

TEST_F(RegistryTest, ImportCycleIsRefused) {
  Replica replica(topic_);
  ASSERT_THAT(replica.Register("a", "syntax='proto3'; message A {}"), IsOk());
  EXPECT_THAT(replica.Register("m", "syntax='proto3'; import 'm';", {{"m", "a", 1}}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("import cycle: m → m")));
}

TEST_F(RegistryTest, BadSchemas) {
  Replica replica(topic_);
  EXPECT_THAT(replica.Register("s", "message {"),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       AllOf(HasSubstr("the schema is not valid:\n"), HasSubstr("s:1:9: "))));
  EXPECT_THAT(replica.Register("s", std::string(5000, ' ')),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       "the schema is 5000 bytes, more than the limit of 4096"));
  std::string deep = "syntax='proto3';";
  for (int i = 0; i < 200; ++i) deep += "message M{";
  EXPECT_THAT(replica.Register("s", deep + std::string(200, '}')),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("nested deeper than 32")));
  Draft avro = MakeDraft("\"string\"");
  avro.type = kAvro;
  const auto refused = replica.registry->Register({}, "s", avro);
  EXPECT_THAT(refused, StatusIs(absl::StatusCode::kInvalidArgument,
                                HasSubstr("takes PROTOBUF schemas only, and this one is AVRO")));
  EXPECT_EQ(CodeOf(refused.status()), ErrorCode::kInvalidSchema);
  EXPECT_THAT(replica.Register("", kAlert), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(replica.Register("a\nb", kAlert), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(replica.Register(":.ctx", kAlert),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("begins a context")));
  EXPECT_EQ(topic_.size(), 0);
}

TEST_F(RegistryTest, SerializedDescriptorIsStoredAsText) {
  Replica replica(topic_);
  const auto text = replica.Register("s", kAlert);
  ASSERT_THAT(text, IsOk());
  const auto bytes = replica.registry->Serialized(*text->schema, ".");
  ASSERT_THAT(bytes, IsOk());
  const auto again = replica.Register("s", Base64Encode(*bytes));
  ASSERT_THAT(again, IsOk());
  EXPECT_EQ(again->version, 1) << "the same schema in another form";
  const auto other = replica.Register("t", Base64Encode(*bytes));
  ASSERT_THAT(other, IsOk());
  EXPECT_THAT(*other->schema->text, HasSubstr("message Alert"));
}

TEST_F(RegistryTest, WhatIsMissingIsSaidPrecisely) {
  Replica replica(topic_);
  ASSERT_THAT(replica.Register("s", kAlert), IsOk());
  Registry& registry = *replica.registry;
  const auto code = [](const auto& result) { return CodeOf(result.status()); };
  EXPECT_EQ(code(registry.GetSchema(SchemaId(9))), ErrorCode::kSchemaNotFound);
  EXPECT_EQ(code(registry.GetVersion("nobody", std::nullopt)), ErrorCode::kSubjectNotFound);
  EXPECT_EQ(code(registry.GetVersion("nobody", 1)), ErrorCode::kSubjectNotFound);
  EXPECT_EQ(code(registry.GetVersion("s", 2)), ErrorCode::kVersionNotFound);
  EXPECT_EQ(code(registry.Versions("nobody")), ErrorCode::kSubjectNotFound);
  EXPECT_EQ(code(registry.Lookup("nobody", MakeDraft(kAlert))), ErrorCode::kSubjectNotFound);
  EXPECT_EQ(code(registry.Lookup("s", MakeDraft(kAlertMore))), ErrorCode::kSchemaNotFound);
  EXPECT_EQ(code(registry.UsesOf(SchemaId(9), "", Deleted::kExclude)), ErrorCode::kSchemaNotFound);
}

TEST_F(RegistryTest, LoserOfARaceDecidesAnew) {
  Replica first(topic_, 1);
  Replica second(topic_, 2);
  // Between the decision of the first and its write, the second takes the offset and the version.
  first.log.BeforeNextAppend([&] { ASSERT_THAT(second.Register("s", kAlertMore), IsOk()); });
  const auto version = first.Register("s", kAlert);
  ASSERT_THAT(version, IsOk()) << "fields may be removed";
  EXPECT_EQ(version->version, 2);
  EXPECT_EQ(version->schema->id, SchemaId(2));
  EXPECT_EQ(first.registry->collisions(), 1);
  EXPECT_THAT(second.registry->Versions("s"), IsOkAndHolds(ElementsAre(1, 2)));
}

TEST_F(RegistryTest, RaceCannotBypassTheCompatibilityCheck) {
  Replica first(topic_, 1);
  Replica second(topic_, 2);
  first.log.BeforeNextAppend([&] { ASSERT_THAT(second.Register("s", kAlertBroken), IsOk()); });
  EXPECT_THAT(first.Register("s", kAlert), StatusIs(absl::StatusCode::kFailedPrecondition));
  EXPECT_THAT(first.registry->Versions("s"), IsOkAndHolds(ElementsAre(1)));
}

TEST_F(RegistryTest, ManyWritersGiveNoIdTwice) {
  constexpr int kReplicas = 3;
  constexpr int kEach = 20;
  std::vector<std::unique_ptr<Replica>> replicas;
  for (int i = 0; i < kReplicas; ++i) replicas.push_back(std::make_unique<Replica>(topic_, i));
  std::vector<std::thread> writers;
  for (int i = 0; i < kReplicas; ++i) {
    writers.emplace_back([&, i] {
      for (int n = 0; n < kEach; ++n) {
        EXPECT_THAT(replicas[static_cast<std::size_t>(i)]->Register(
                        "shared", Concat("syntax='proto3'; message M { int32 a", i, "_", n, " = ",
                                         i * kEach + n + 1, "; }")),
                    IsOk());
      }
    });
  }
  for (std::thread& writer : writers) writer.join();
  std::vector<std::int32_t> expected;
  for (int n = 1; n <= kReplicas * kEach; ++n) expected.push_back(n);
  for (const auto& replica : replicas) {
    EXPECT_THAT(replica->registry->Versions("shared"), IsOkAndHolds(expected));
    std::set<std::int32_t> ids;
    for (const std::int32_t version : expected) {
      const auto at = replica->registry->GetVersion("shared", version);
      ASSERT_THAT(at, IsOk());
      ids.insert(at->schema->id.value());
    }
    EXPECT_THAT(ids, SizeIs(kReplicas * kEach));
    EXPECT_EQ(*ids.rbegin(), kReplicas * kEach);
  }
}

TEST_F(RegistryTest, EveryReplicaReadsWhatAnyHasAcknowledged) {
  Replica writer(topic_, 1);
  Replica reader(topic_, 2);
  for (int i = 1; i <= 50; ++i) {
    const auto version = writer.Register(
        "s", Concat("syntax='proto3'; message M { int32 a = 1; int32 b = ", i + 1, "; }"));
    ASSERT_THAT(version, IsOk());
    ASSERT_THAT(reader.registry->GetSchema(version->schema->id), IsOk());
    const auto latest = reader.registry->GetVersion("s", std::nullopt);
    ASSERT_THAT(latest, IsOk());
    ASSERT_EQ(latest->version, i);
  }
}

TEST_F(RegistryTest, RestartReloads) {
  {
    Replica replica(topic_);
    ASSERT_THAT(replica.Register("s", kAlert), IsOk());
    ASSERT_THAT(replica.Register("s", kAlertMore), IsOk());
    ASSERT_THAT(SetLevel(*replica.registry, "s", schema::CompatibilityLevel::kFull), IsOk());
  }
  Replica replica(topic_);
  EXPECT_THAT(replica.registry->Versions("s"), IsOkAndHolds(ElementsAre(1, 2)));
  EXPECT_THAT(LevelOf(*replica.registry, "s", false),
              IsOkAndHolds(schema::CompatibilityLevel::kFull));
  const auto next = replica.Register("t", "syntax='proto3'; message Other {}");
  ASSERT_THAT(next, IsOk());
  EXPECT_EQ(next->schema->id, SchemaId(3));
}

TEST_F(RegistryTest, UnconfirmedWriteMayHaveTakenEffect) {
  Replica replica(topic_);
  replica.log.FailAppends(1, /*lands=*/true);
  EXPECT_THAT(replica.Register("s", kAlert),
              StatusIs(absl::StatusCode::kUnavailable, HasSubstr("may still take effect")));
  const auto again = replica.Register("s", kAlert);
  ASSERT_THAT(again, IsOk());
  EXPECT_EQ(again->version, 1);
  EXPECT_EQ(again->schema->id, SchemaId(1));
  EXPECT_EQ(topic_.size(), 1);
}

TEST_F(RegistryTest, WriteThatArrivesLateDoesNotCount) {
  Replica replica(topic_);
  replica.log.FailAppends(1, /*lands=*/false);
  EXPECT_THAT(replica.Register("late", kAlert), StatusIs(absl::StatusCode::kUnavailable));
  ASSERT_THAT(replica.Register("s", kAlertMore), IsOk());
  // Now it arrives, with an offset and an id in it that the other one took.
  replica.log.LandLostAppends();
  EXPECT_THAT(replica.registry->Versions("late"), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_THAT(replica.registry->Versions("s"), IsOkAndHolds(ElementsAre(1)));
  EXPECT_EQ(topic_.size(), 2);
}

TEST_F(RegistryTest, NoTwoAttemptsShareAKey) {
  Replica replica(topic_);
  replica.log.FailAppends(1, /*lands=*/false);
  EXPECT_THAT(replica.Register("s", kAlert), StatusIs(absl::StatusCode::kUnavailable));
  // The retry wants the same offset, version and id.
  ASSERT_THAT(replica.Register("s", kAlert), IsOk());
  replica.log.LandLostAppends();
  EXPECT_EQ(topic_.size(), 2);
  EXPECT_THAT(topic_.DistinctKeys(), SizeIs(2))
      << "compaction would keep the later record, which does not count";
}

TEST_F(RegistryTest, RacesOverDifferentSubjectsMixNothingUp) {
  constexpr int kReplicas = 3;
  constexpr int kEach = 20;
  std::vector<std::unique_ptr<Replica>> replicas;
  for (int i = 0; i < kReplicas; ++i) replicas.push_back(std::make_unique<Replica>(topic_, i));
  const auto text = [](int replica, int n) {
    return Concat("syntax='proto3'; message M", replica, " { int32 a = ", n + 1, "; }");
  };
  std::vector<std::thread> writers;
  for (int i = 0; i < kReplicas; ++i) {
    writers.emplace_back([&, i] {
      for (int n = 0; n < kEach; ++n) {
        EXPECT_THAT(
            replicas[static_cast<std::size_t>(i)]->Register(Concat("subject", i), text(i, n)),
            IsOk());
      }
    });
  }
  for (std::thread& writer : writers) writer.join();
  for (const auto& replica : replicas) {
    std::set<std::int32_t> ids;
    for (int i = 0; i < kReplicas; ++i) {
      EXPECT_THAT(replica->registry->Versions(Concat("subject", i)), IsOkAndHolds(SizeIs(kEach)));
      for (int n = 0; n < kEach; ++n) {
        const auto at = replica->registry->GetVersion(Concat("subject", i), n + 1);
        ASSERT_THAT(at, IsOk());
        EXPECT_EQ(*at->schema->text, text(i, n));
        ids.insert(at->schema->id.value());
      }
    }
    EXPECT_THAT(ids, SizeIs(kReplicas * kEach));
  }
}

TEST_F(RegistryTest, KafkaAwayAtStart) {
  topic_.SetAway(true);
  Replica replica(topic_);
  EXPECT_THAT(replica.registry->Ready(), StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_THAT(replica.registry->GetSchema(SchemaId(1)), StatusIs(absl::StatusCode::kUnavailable));
  topic_.SetAway(false);
  EXPECT_THAT(replica.Register("s", kAlert), IsOk());
}

TEST_F(RegistryTest, KafkaLostLater) {
  Replica replica(topic_);
  ASSERT_THAT(replica.Register("s", kAlert), IsOk());
  replica.log.WaitUntilReady(*replica.registry);
  topic_.SetAway(true);
  EXPECT_THAT(replica.registry->GetVersion("s", std::nullopt), IsOk())
      << "what is known is answered";
  EXPECT_THAT(replica.registry->GetSchema(SchemaId(1)), IsOk());
  EXPECT_THAT(replica.registry->GetVersion("t", std::nullopt),
              StatusIs(absl::StatusCode::kUnavailable, HasSubstr("Kafka does not answer")));
  EXPECT_THAT(replica.Register("t", kAlert),
              StatusIs(absl::StatusCode::kUnavailable, HasSubstr("try again")));
  topic_.SetAway(false);
  EXPECT_THAT(replica.Register("t", kAlert), IsOk()) << "without a restart";
}

TEST_F(RegistryTest, RecordsOfAnotherRegistryCountWhereverTheyStand) {
  topic_.Append(R"({"keytype":"NOOP","magic":0})", "");
  topic_.Append(R"({"keytype":"SCHEMA","subject":"old","version":4,"magic":1})",
                R"({"subject":"old","version":4,"id":17,"schemaType":"PROTOBUF",)"
                R"("schema":"syntax=\"proto3\"; message Old {}","deleted":false})");
  topic_.Append(R"({"keytype":"SCHEMA","subject":"avro","version":1,"magic":1})",
                R"({"subject":"avro","version":1,"id":40,"schema":"\"string\"","deleted":false})");
  topic_.Append(R"({"keytype":"CONFIG","subject":null,"magic":0})",
                R"({"compatibilityLevel":"NONE"})");
  topic_.Append("not json", "x");
  Replica replica(topic_);
  EXPECT_THAT(LevelOf(*replica.registry, std::nullopt),
              IsOkAndHolds(schema::CompatibilityLevel::kNone));
  const auto avro = replica.registry->GetSchema(SchemaId(40));
  ASSERT_THAT(avro, IsOk());
  EXPECT_EQ(avro->schema->type, "AVRO");
  const auto next = replica.Register("old", "syntax='proto3'; message New {}");
  ASSERT_THAT(next, IsOk());
  EXPECT_EQ(next->version, 5);
  EXPECT_EQ(next->schema->id, SchemaId(41)) << "no id of theirs is given again";
}

TEST_F(RegistryTest, TheLargestNumberDoesNotCountBecauseNothingCouldFollowIt) {
  topic_.Append(R"({"keytype":"SCHEMA","subject":"s","version":1,"magic":1})",
                R"({"subject":"s","version":1,"id":2147483647,"schema":"\"string\""})");
  topic_.Append(R"({"keytype":"SCHEMA","subject":"s","version":2147483647,"magic":1})",
                R"({"subject":"s","version":2147483647,"id":1,"schema":"\"string\""})");
  Replica replica(topic_);
  const auto version = replica.Register("s", kAlert);
  ASSERT_THAT(version, IsOk());
  EXPECT_EQ(version->version, 1);
  EXPECT_EQ(version->schema->id, SchemaId(1));
}

TEST_F(RegistryTest, DeletionsOfAnotherRegistry) {
  Replica replica(topic_);
  ASSERT_THAT(replica.Register("s", kAlert), IsOk());
  ASSERT_THAT(replica.Register("s", kAlertMore), IsOk());
  topic_.Append(R"({"keytype":"SCHEMA","subject":"s","version":2,"magic":1})", std::nullopt);
  EXPECT_THAT(replica.registry->Versions("s"), IsOkAndHolds(ElementsAre(1)));
  topic_.Append(R"({"keytype":"DELETE_SUBJECT","subject":"s","magic":0})",
                R"({"subject":"s","version":2})");
  EXPECT_THAT(replica.registry->Versions("s"), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_THAT(replica.registry->Subjects({}), IsOkAndHolds(IsEmpty()));
  EXPECT_THAT(replica.registry->Subjects({.deleted = Deleted::kInclude}),
              IsOkAndHolds(ElementsAre("s")));
  const auto next = replica.Register("s", "syntax='proto3'; message Other {}");
  ASSERT_THAT(next, IsOk());
  EXPECT_EQ(next->version, 3);
  EXPECT_EQ(next->schema->id, SchemaId(3));
}

}  // namespace
}  // namespace tocsin::registry
