// Deletes, settings, modes, contexts: what they do, and when the registry says no.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "lib/base/testing/status_matchers.h"
#include "lib/base/text.h"
#include "schema-registry/registry.h"
#include "schema-registry/testing/replica.h"

namespace tocsin::registry {
namespace {

using std::chrono::milliseconds;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

const Actor kAnn{"ann", "10.0.0.1"};

std::string Text(std::string_view field) {
  return Concat("syntax = 'proto3'; message M { string ", field, " = 1; }");
}

Draft MakeDraft(std::string text) {
  Draft draft;
  draft.text = std::move(text);
  return draft;
}

template <typename Result>
ErrorCode Code(const Result& result) {
  if constexpr (std::is_same_v<Result, absl::Status>) {
    return CodeOf(result);
  } else {
    return CodeOf(result.status());
  }
}

class ChangesTest : public ::testing::Test {
 protected:
  ChangesTest() : replica_(topic_) {}

  SchemaVersion Put(std::string_view subject, std::string text, RegisterOptions options = {}) {
    auto version = replica_->Register(kAnn, subject, MakeDraft(std::move(text)), options);
    EXPECT_THAT(version, IsOk());
    return version.ok() ? *std::move(version) : SchemaVersion();
  }
  void SetLevel(std::optional<std::string_view> subject, schema::CompatibilityLevel level) {
    SubjectConfig config;
    config.level = level;
    EXPECT_THAT(replica_->SetConfig(kAnn, subject, config), IsOk());
  }

  FakeTopic topic_;
  FakeReplica replica_;
};

TEST_F(ChangesTest, VersionIsDeletedSoftlyThenForGood) {
  Put("s", Text("a"));
  Put("s", Text("b"));
  EXPECT_EQ(Code(replica_->DeleteVersion(kAnn, "s", 2, true)), ErrorCode::kVersionNotSoftDeleted);
  EXPECT_THAT(replica_->DeleteVersion(kAnn, "s", std::nullopt, false), IsOkAndHolds(2));
  EXPECT_THAT(replica_->Versions("s"), IsOkAndHolds(ElementsAre(1)));
  EXPECT_THAT(replica_->Versions("s", Deleted::kInclude), IsOkAndHolds(ElementsAre(1, 2)));
  EXPECT_THAT(replica_->Versions("s", Deleted::kOnly), IsOkAndHolds(ElementsAre(2)));
  EXPECT_EQ(Code(replica_->GetVersion("s", 2)), ErrorCode::kVersionNotFound);
  const auto deleted = replica_->GetVersion("s", 2, true);
  ASSERT_THAT(deleted, IsOk());
  EXPECT_TRUE(deleted->deleted);
  EXPECT_EQ(deleted->registered_by, "ann");
  EXPECT_THAT(replica_->GetSchema(SchemaId(2)), IsOk()) << "its id still answers";
  EXPECT_EQ(Code(replica_->DeleteVersion(kAnn, "s", 2, false)), ErrorCode::kVersionSoftDeleted);
  EXPECT_THAT(replica_->DeleteVersion(kAnn, "s", 2, true), IsOkAndHolds(2));
  EXPECT_EQ(Code(replica_->GetSchema(SchemaId(2))), ErrorCode::kSchemaNotFound);
  EXPECT_EQ(Code(replica_->DeleteVersion(kAnn, "s", 2, true)), ErrorCode::kVersionNotFound);
  EXPECT_EQ(Code(replica_->DeleteVersion(kAnn, "t", 1, false)), ErrorCode::kSubjectNotFound);
  // Neither number is given again, here or after a restart.
  FakeReplica again(topic_);
  const auto next = again->Register(kAnn, "s", MakeDraft(Text("c")));
  ASSERT_THAT(next, IsOk());
  EXPECT_EQ(next->version, 3);
  EXPECT_EQ(next->schema->id, SchemaId(3));
}

TEST_F(ChangesTest, SubjectIsDeletedSoftlyThenForGood) {
  Put("s", Text("a"));
  Put("s", Text("b"));
  SetLevel("s", schema::CompatibilityLevel::kNone);
  EXPECT_EQ(Code(replica_->DeleteSubject(kAnn, "t", false)), ErrorCode::kSubjectNotFound);
  EXPECT_EQ(Code(replica_->DeleteSubject(kAnn, "s", true)), ErrorCode::kSubjectNotSoftDeleted);
  EXPECT_THAT(replica_->DeleteSubject(kAnn, "s", false), IsOkAndHolds(ElementsAre(1, 2)));
  EXPECT_EQ(Code(replica_->GetConfig("s", false)), ErrorCode::kNoSubjectConfig);
  EXPECT_EQ(Code(replica_->Versions("s")), ErrorCode::kSubjectNotFound);
  EXPECT_THAT(replica_->Subjects({.deleted = Deleted::kOnly}), IsOkAndHolds(ElementsAre("s")));
  EXPECT_EQ(Code(replica_->DeleteSubject(kAnn, "s", false)), ErrorCode::kSubjectSoftDeleted);
  const SchemaVersion again = Put("s", Text("a"));
  EXPECT_EQ(again.version, 3) << "a new version";
  EXPECT_EQ(again.schema->id, SchemaId(1)) << "with the id that the schema has";
  EXPECT_THAT(replica_->DeleteSubject(kAnn, "s", false), IsOkAndHolds(ElementsAre(3)));
  EXPECT_THAT(replica_->DeleteSubject(kAnn, "s", true), IsOkAndHolds(ElementsAre(1, 2, 3)));
  EXPECT_EQ(Code(replica_->DeleteSubject(kAnn, "s", true)), ErrorCode::kSubjectNotFound);
  EXPECT_THAT(replica_->Subjects({.deleted = Deleted::kInclude}), IsOkAndHolds(IsEmpty()));
  EXPECT_EQ(Put("s", Text("a")).schema->id, SchemaId(3));
}

TEST_F(ChangesTest, WhatIsImportedIsNotDeleted) {
  Put("a.proto", "syntax='proto3'; message A {}");
  Draft user = MakeDraft("syntax='proto3'; import 'a.proto'; message M { A a = 1; }");
  user.references = {{"a.proto", "a.proto", -1}};
  ASSERT_THAT(replica_->Register(kAnn, "m", user), IsOk());
  EXPECT_THAT(replica_->ReferencedBy("a.proto", 1, Deleted::kExclude),
              IsOkAndHolds(ElementsAre(SchemaId(2))));
  EXPECT_EQ(Code(replica_->DeleteVersion(kAnn, "a.proto", 1, false)), ErrorCode::kReferenceExists);
  const auto refused = replica_->DeleteSubject(kAnn, "a.proto", false);
  EXPECT_EQ(Code(refused), ErrorCode::kReferenceExists);
  EXPECT_THAT(refused,
              StatusIs(absl::StatusCode::kFailedPrecondition,
                       HasSubstr("imported by the schemas with the ids 2 (m version 1): ")));
  ASSERT_THAT(replica_->DeleteSubject(kAnn, "m", false), IsOk());
  EXPECT_THAT(replica_->ReferencedBy("a.proto", 1, Deleted::kExclude), IsOkAndHolds(IsEmpty()));
  ASSERT_THAT(replica_->DeleteSubject(kAnn, "a.proto", false), IsOk());
  EXPECT_EQ(Code(replica_->DeleteSubject(kAnn, "a.proto", true)), ErrorCode::kReferenceExists)
      << "the soft-deleted schema still answers and needs its import";
  ASSERT_THAT(replica_->DeleteSubject(kAnn, "m", true), IsOk());
  EXPECT_THAT(replica_->DeleteSubject(kAnn, "a.proto", true), IsOk());
}

TEST_F(ChangesTest, SettingsComeFromSubjectContextAndGlobal) {
  using enum schema::CompatibilityLevel;
  const auto level = [&](std::string_view subject) {
    return *replica_->GetConfig(subject, true)->level;
  };
  EXPECT_EQ(level(":.eu:s"), kBackward);
  SetLevel(":.__GLOBAL:", kForward);
  EXPECT_EQ(level(":.eu:s"), kForward);
  EXPECT_EQ(level("s"), kForward);
  SetLevel(":.eu:", kFull);
  SetLevel(std::nullopt, kNone);
  EXPECT_EQ(level(":.eu:s"), kFull);
  EXPECT_EQ(level("s"), kNone) << "what is set for everything is the default context's";
  SetLevel(":.eu:s", kBackwardTransitive);
  EXPECT_EQ(level(":.eu:s"), kBackwardTransitive);
  SubjectConfig normalize;
  normalize.normalize = true;
  const auto both = replica_->SetConfig(kAnn, ":.eu:s", normalize);
  ASSERT_THAT(both, IsOk());
  EXPECT_EQ(both->level, kBackwardTransitive) << "what is absent stays";
  EXPECT_EQ(both->normalize, true);
  EXPECT_THAT(replica_->DeleteConfig(kAnn, ":.eu:s"), IsOkAndHolds(*both));
  EXPECT_EQ(Code(replica_->DeleteConfig(kAnn, ":.eu:s")), ErrorCode::kNoSubjectConfig);
  EXPECT_EQ(level(":.eu:s"), kFull);
}

TEST_F(ChangesTest, ModesForbidAndAllow) {
  Put("s", Text("a"));
  EXPECT_EQ(Code(replica_->GetMode("s", false)), ErrorCode::kNoSubjectMode);
  EXPECT_EQ(Code(replica_->SetMode(kAnn, "s", Mode::kImport, false)), ErrorCode::kNotPermitted);
  ASSERT_THAT(replica_->SetMode(kAnn, "s", Mode::kReadOnly, false), IsOk());
  EXPECT_EQ(Code(replica_->Register(kAnn, "s", MakeDraft(Text("b")))), ErrorCode::kNotPermitted);
  EXPECT_EQ(Code(replica_->DeleteSubject(kAnn, "s", false)), ErrorCode::kNotPermitted);
  EXPECT_EQ(Code(replica_->SetConfig(kAnn, "s", {})), ErrorCode::kNotPermitted);
  EXPECT_THAT(replica_->DeleteMode(kAnn, "s", false), IsOkAndHolds(Mode::kReadOnly));
  EXPECT_EQ(Code(replica_->DeleteMode(kAnn, "s", false)), ErrorCode::kNoSubjectMode);
  ASSERT_THAT(replica_->SetMode(kAnn, "t", Mode::kReadWrite, false), IsOk());
  ASSERT_THAT(replica_->SetMode(kAnn, std::nullopt, Mode::kReadOnlyOverride, false), IsOk());
  EXPECT_THAT(replica_->GetMode("t", true), IsOkAndHolds(Mode::kReadOnlyOverride));
  EXPECT_THAT(replica_->DeleteMode(kAnn, std::nullopt, true), IsOk());
  EXPECT_EQ(Code(replica_->GetMode("t", false)), ErrorCode::kNoSubjectMode);
}

TEST_F(ChangesTest, ImportTakesTheCallersNumbers) {
  Draft draft = MakeDraft(Text("a"));
  draft.id = SchemaId(70);
  draft.version = 5;
  EXPECT_EQ(Code(replica_->Register(kAnn, "s", draft)), ErrorCode::kNotPermitted);
  ASSERT_THAT(replica_->SetMode(kAnn, "s", Mode::kImport, false), IsOk());
  ASSERT_THAT(replica_->SetMode(kAnn, "t", Mode::kImport, false), IsOk());
  EXPECT_EQ(Code(replica_->Register(kAnn, "s", MakeDraft(Text("a")))), ErrorCode::kNotPermitted)
      << "an import brings its id";
  const auto version = replica_->Register(kAnn, "s", draft);
  ASSERT_THAT(version, IsOk());
  EXPECT_EQ(version->version, 5);
  EXPECT_EQ(version->schema->id, SchemaId(70));
  EXPECT_THAT(replica_->Register(kAnn, "s", draft), IsOk()) << "once more is the same";
  Draft other = draft;
  other.id = SchemaId(71);
  EXPECT_EQ(Code(replica_->Register(kAnn, "s", other)), ErrorCode::kIdMismatch);
  EXPECT_EQ(Code(replica_->Register(kAnn, "t", other)), ErrorCode::kIdMismatch);
  Draft taken = MakeDraft(Text("b"));
  taken.id = SchemaId(70);
  taken.version = 1;
  EXPECT_EQ(Code(replica_->Register(kAnn, "t", taken)), ErrorCode::kNotPermitted);
  taken.id = SchemaId(9);
  EXPECT_THAT(replica_->Register(kAnn, "t", taken), IsOk()) << "a lower id that is free";
  EXPECT_EQ(Put("u", Text("c")).schema->id, SchemaId(71));
}

TEST_F(ChangesTest, UsersInOtherContextsAreNamed) {
  Put("a.proto", "syntax='proto3'; message A {}");
  Draft user = MakeDraft("syntax='proto3'; import 'a.proto'; message M { A a = 1; }");
  user.references = {{"a.proto", ":.:a.proto", 1}};
  ASSERT_THAT(replica_->Register(kAnn, ":.eu:m", user), IsOk());
  ASSERT_THAT(replica_->Register(kAnn, ":.eu:n", user), IsOk());
  EXPECT_THAT(replica_->DeleteVersion(kAnn, "a.proto", 1, false),
              StatusIs(absl::StatusCode::kFailedPrecondition,
                       HasSubstr("with the ids 1 (:.eu:m version 1 and 1 more): ")));
}

TEST_F(ChangesTest, AReferenceGivenTwiceIsOne) {
  Put("a.proto", "syntax='proto3'; message A {}");
  Draft user = MakeDraft("syntax='proto3'; import 'a.proto'; message M { A a = 1; }");
  user.references = {{"a.proto", "a.proto", 1}, {"a.proto", "a.proto", -1}};
  const auto twice = replica_->Register(kAnn, "m", user);
  ASSERT_THAT(twice, IsOk());
  EXPECT_THAT(twice->schema->references, SizeIs(1));
  user.references.pop_back();
  const auto once = replica_->Register(kAnn, "m", user);
  ASSERT_THAT(once, IsOk());
  EXPECT_EQ(once->version, twice->version);
  EXPECT_EQ(once->schema->id, twice->schema->id);
}

TEST_F(ChangesTest, AnImportDoesNotTakeTheIdOfWhatWasDeletedForGood) {
  ASSERT_THAT(replica_->SetMode(kAnn, ":.im:", Mode::kImport, false), IsOk());
  const auto draft = [](std::string_view field, int version) {
    Draft import = MakeDraft(Text(field));
    import.id = SchemaId(10);
    import.version = version;
    return import;
  };
  ASSERT_THAT(replica_->Register(kAnn, ":.im:s", draft("a", 1)), IsOk());
  ASSERT_THAT(replica_->DeleteSubject(kAnn, ":.im:s", false), IsOk());
  ASSERT_THAT(replica_->DeleteSubject(kAnn, ":.im:s", true), IsOk());
  const auto refused = [&](FakeReplica& replica, std::string_view subject) {
    const auto other = replica->Register(kAnn, subject, draft("b", 2));
    EXPECT_EQ(Code(other), ErrorCode::kIdMismatch);
    EXPECT_THAT(std::string(other.status().message()),
                ::testing::AllOf(HasSubstr("the id 10 belonged to another schema"),
                                 HasSubstr("under an id that was never used")));
  };
  refused(replica_, ":.im:s");
  refused(replica_, ":.im:t");
  // Nor does it when compaction has left nothing but the record of the deletion.
  topic_.Compact(topic_.size(), true);
  FakeReplica restarted(topic_);
  refused(restarted, ":.im:s");
  refused(restarted, ":.im:t");
  // What it was comes back under it; whatever its layout.
  Draft same = draft("a", 2);
  same.text += "  // restored";
  const auto restored = restarted->Register(kAnn, ":.im:s", same);
  ASSERT_THAT(restored, IsOk());
  EXPECT_EQ(restored->schema->id, SchemaId(10));
  // Ids are of a context.
  ASSERT_THAT(restarted->SetMode(kAnn, ":.other:", Mode::kImport, false), IsOk());
  EXPECT_THAT(restarted->Register(kAnn, ":.other:s", draft("b", 1)), IsOk());
}

TEST_F(ChangesTest, ContextsHaveTheirOwnIds) {
  EXPECT_EQ(Put("s", Text("a")).schema->id, SchemaId(1));
  EXPECT_EQ(Put("s", Text("b")).schema->id, SchemaId(2));
  const SchemaVersion eu = Put(":.eu:s", Text("b"));
  EXPECT_EQ(eu.schema->id, SchemaId(1));
  EXPECT_EQ(eu.subject, ":.eu:s");
  EXPECT_EQ(Put(":.:s", Text("b")).version, 2) << "the default context by its name";
  EXPECT_THAT(replica_->Contexts(""), IsOkAndHolds(ElementsAre(".", ".eu")));
  EXPECT_THAT(replica_->Subjects({}), IsOkAndHolds(ElementsAre("s")));
  EXPECT_THAT(replica_->Subjects({.prefix = ":.eu:"}), IsOkAndHolds(ElementsAre(":.eu:s")));
  EXPECT_THAT(replica_->Subjects({.all_contexts = true}), IsOkAndHolds(ElementsAre("s", ":.eu:s")));
  EXPECT_EQ(*replica_->GetSchema(SchemaId(1), ":.eu:")->schema->text, Text("b"));
  EXPECT_EQ(*replica_->GetSchema(SchemaId(1))->schema->text, Text("a"));
  const auto ids = replica_->IdsOfGuid(eu.schema->guid);
  ASSERT_THAT(ids, IsOk());
  EXPECT_THAT(*ids, SizeIs(2));
  EXPECT_EQ(replica_->GetSchema(SchemaId(2))->schema->text.get(), eu.schema->text.get())
      << "one text is kept once";
  EXPECT_EQ(Code(replica_->DeleteContext(kAnn, ".eu")), ErrorCode::kContextNotEmpty);
  SetLevel(":.eu:", schema::CompatibilityLevel::kNone);
  ASSERT_THAT(replica_->DeleteSubject(kAnn, ":.eu:s", false), IsOk());
  ASSERT_THAT(replica_->DeleteSubject(kAnn, ":.eu:s", true), IsOk());
  EXPECT_THAT(replica_->DeleteContext(kAnn, ".eu"), IsOk());
  EXPECT_THAT(replica_->Contexts(""), IsOkAndHolds(ElementsAre(".")));
  EXPECT_EQ(Put(":.eu:s", Text("c")).schema->id, SchemaId(2)) << "no id again, in no context";
}

TEST_F(ChangesTest, MetadataAndRulesAreMergedFromBelowAndAbove) {
  SubjectConfig config;
  config.default_metadata = R"({"properties":{"team":"core","tier":"1"}})";
  config.override_metadata = R"({"properties":{"site":"x"}})";
  ASSERT_THAT(replica_->SetConfig(kAnn, "s", config), IsOk());
  Draft draft = MakeDraft(Text("a"));
  draft.metadata = R"({"properties":{"tier":"2"}})";
  draft.rule_set = R"({"domainRules":[{"name":"r","type":"CEL"}]})";
  const auto first = replica_->Register(kAnn, "s", draft);
  ASSERT_THAT(first, IsOk());
  EXPECT_EQ(first->schema->metadata, R"({"properties":{"team":"core","tier":"2","site":"x"}})");
  EXPECT_THAT(replica_->Register(kAnn, "s", draft)->version, 1);
  const SchemaVersion second = Put("s", Text("b"));
  EXPECT_EQ(second.schema->metadata, first->schema->metadata) << "as the version before";
  EXPECT_EQ(second.schema->rule_set, draft.rule_set);
  EXPECT_THAT(replica_->LatestWithMetadata("s", {{"tier", "2"}}, false)->version, 2);
  EXPECT_EQ(Code(replica_->LatestWithMetadata("s", {{"tier", "9"}}, false)),
            ErrorCode::kSchemaNotFound);
  draft.rule_set = R"({"domainRules":[{"name":"r","type":"CEL"},{"name":"r","type":"CEL"}]})";
  EXPECT_EQ(Code(replica_->Register(kAnn, "s", draft)), ErrorCode::kInvalidRuleSet);
}

TEST_F(ChangesTest, OnlyVersionsOfTheGroupAreCompared) {
  SubjectConfig config;
  config.compatibility_group = "major";
  ASSERT_THAT(replica_->SetConfig(kAnn, "s", config), IsOk());
  const auto put = [&](std::string_view type, std::string_view major) {
    Draft draft = MakeDraft(Concat("syntax='proto3'; message M { ", type, " a = 1; }"));
    draft.metadata = Concat(R"({"properties":{"major":")", major, R"("}})");
    return replica_->Register(kAnn, "s", draft);
  };
  ASSERT_THAT(put("string", "1"), IsOk());
  EXPECT_EQ(Code(put("int32", "1")), ErrorCode::kIncompatible);
  EXPECT_THAT(put("int32", "2"), IsOk());
}

TEST_F(ChangesTest, AliasStandsForItsSubject) {
  Put("real", Text("a"));
  SubjectConfig config;
  config.alias = "real";
  ASSERT_THAT(replica_->SetConfig(kAnn, "nickname", config), IsOk());
  EXPECT_EQ(replica_->GetVersion("nickname", 1)->subject, "real");
  EXPECT_EQ(Put("nickname", Text("b")).version, 2);
  EXPECT_THAT(replica_->Versions("real"), IsOkAndHolds(ElementsAre(1, 2)));
}

TEST_F(ChangesTest, NormalFormIsFoundHoweverItWasWritten) {
  const SchemaVersion plain =
      Put("s", "syntax='proto3'; message M { string b = 2; string a = 1; }");
  const Draft other = MakeDraft("syntax='proto3'; message M { string a = 1; string b = 2; }");
  EXPECT_EQ(Code(replica_->Lookup("s", other)), ErrorCode::kSchemaNotFound);
  const auto found = replica_->Lookup("s", other, {.normalize = true});
  ASSERT_THAT(found, IsOk());
  EXPECT_EQ(found->schema->id, plain.schema->id);
  EXPECT_EQ(replica_->Register(kAnn, "s", other, {.normalize = true})->version, 1);
}

TEST_F(ChangesTest, ForceSkipsTheCheck) {
  Put("s", "syntax='proto3'; message M { string a = 1; }");
  const std::string breaking = "syntax='proto3'; message M { int32 a = 1; }";
  EXPECT_EQ(Code(replica_->Register(kAnn, "s", MakeDraft(breaking))), ErrorCode::kIncompatible);
  EXPECT_EQ(Put("s", breaking, {.force = true}).version, 2);
  const auto all = replica_->CheckAll("s", MakeDraft("syntax='proto3'; message M {}"));
  ASSERT_THAT(all, IsOk());
  EXPECT_EQ(all->level, schema::CompatibilityLevel::kBackward);
  EXPECT_THAT(all->levels, SizeIs(8));
}

TEST_F(ChangesTest, EveryChangeIsToldInOrder) {
  Put("s", Text("a"));
  SetLevel("s", schema::CompatibilityLevel::kNone);
  Put("s", Text("a"));
  ASSERT_THAT(replica_->DeleteVersion(kAnn, "s", 1, false), IsOk());
  ASSERT_THAT(replica_->DeleteVersion(kAnn, "s", 1, true), IsOk());
  const auto changes = replica_->ChangesAfter(0, 100, milliseconds(0));
  ASSERT_THAT(changes, IsOk());
  std::vector<Change::Kind> kinds;
  for (const Change& change : *changes) {
    kinds.push_back(change.kind);
    EXPECT_EQ(change.actor, "ann");
    EXPECT_EQ(change.subject, "s");
  }
  EXPECT_THAT(kinds, ElementsAre(Change::Kind::kRegistered, Change::Kind::kConfig,
                                 Change::Kind::kDeleted, Change::Kind::kPermanentlyDeleted));
  EXPECT_EQ(changes->back().revision, replica_->revision());
  EXPECT_THAT(replica_->ChangesAfter((*changes)[1].revision, 1, milliseconds(0)),
              IsOkAndHolds(SizeIs(1)));
  EXPECT_THAT(replica_->ChangesAfter(replica_->revision(), 1, milliseconds(1)),
              IsOkAndHolds(IsEmpty()));
  FakeReplica again(topic_);
  EXPECT_THAT(again->ChangesAfter(0, 100, milliseconds(0)), IsOkAndHolds(SizeIs(4)));
}

TEST_F(ChangesTest, HistoryThatWasCompactedAwayIsSaid) {
  topic_.Append(R"({"keytype":"CONFIG","subject":"x","magic":0})",
                R"({"compatibilityLevel":"NONE"})");
  topic_.Append(R"({"keytype":"CONFIG","subject":"x","magic":0})",
                R"({"compatibilityLevel":"FULL"})");
  topic_.Compact(topic_.size(), false);
  FakeReplica again(topic_);
  EXPECT_THAT(again->ChangesAfter(0, 100, milliseconds(0)),
              StatusIs(absl::StatusCode::kOutOfRange, HasSubstr("complete after revision 1")));
  EXPECT_THAT(again->ChangesAfter(1, 100, milliseconds(0)), IsOkAndHolds(SizeIs(1)));
}

TEST_F(ChangesTest, WritesAreAudited) {
  Put("s", Text("a"));
  Put("s", Text("a"));
  (void)replica_->Register(kAnn, "s", MakeDraft("message {"));
  (void)replica_->DeleteSubject(kAnn, "nobody", false);
  const auto entries = replica_.audit.entries();
  ASSERT_THAT(entries, SizeIs(3)) << "finding what is there changes nothing";
  EXPECT_EQ(entries[0].action, "tocsin.schema.v1.SchemaRegistryService/RegisterSchema");
  EXPECT_EQ(entries[0].target, "s/1");
  EXPECT_EQ(entries[0].actor.name, "ann");
  EXPECT_EQ(entries[0].actor.origin, "10.0.0.1");
  EXPECT_THAT(entries[0].outcome, IsOk());
  EXPECT_EQ(CodeOf(entries[1].outcome), ErrorCode::kInvalidSchema);
  EXPECT_EQ(entries[2].action, "tocsin.schema.v1.SchemaRegistryService/DeleteSubject");
}

TEST_F(ChangesTest, WhatAnotherRegistryDeletedForGoodKeepsItsNumbers) {
  const std::string key = R"({"keytype":"SCHEMA","subject":"s","version":1,"magic":1})";
  topic_.Append(key, R"({"subject":"s","version":1,"id":7,"schemaType":"PROTOBUF",)"
                     R"("schema":"syntax=\"proto3\"; message Old {}","deleted":true})");
  topic_.Append(key, std::nullopt);
  // The registry writes a record of its own, in the background, before compaction forgets.
  const auto marked = [&] {
    for (const LogRecord& record : topic_.records()) {
      if (record.value && record.value->find(R"("id":7,"schema":"")") != std::string::npos) {
        return true;
      }
    }
    return false;
  };
  while (!marked()) std::this_thread::yield();
  topic_.Compact(topic_.size(), true);
  FakeReplica again(topic_);
  const auto next = again->Register(kAnn, "s", MakeDraft(Text("a")));
  ASSERT_THAT(next, IsOk());
  EXPECT_EQ(next->version, 2);
  EXPECT_EQ(next->schema->id, SchemaId(8));
}

}  // namespace
}  // namespace tocsin::registry
