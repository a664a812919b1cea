#include "schema-registry/subject_access.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <initializer_list>
#include <string>

#include "lib/base/text.h"

namespace tocsin::registry {
namespace {

using ::testing::HasSubstr;

using Names = std::initializer_list<const char*>;

void Add(SubjectAccess::Rules& rules, std::string prefix, Names writers, Names readers = {}) {
  auto& rule = *rules.Add();
  rule.set_subject_prefix(std::move(prefix));
  for (const char* name : writers) rule.add_writers(name);
  for (const char* name : readers) rule.add_readers(name);
}

SubjectAccess Make(const SubjectAccess::Rules& rules) {
  auto access = SubjectAccess::Create(rules);
  EXPECT_TRUE(access.ok()) << access.status();
  return *std::move(access);
}

auth::Principal Person(std::string name) { return {std::move(name), {auth::v1::ROLE_ADMIN}}; }

TEST(SubjectAccessTest, WithoutRulesTheRolesDecideAlone) {
  const SubjectAccess access;
  EXPECT_TRUE(access.MayRead(Person("anna"), "orders-value").ok());
  EXPECT_TRUE(access.MayWrite(Person("anna"), "orders-value").ok());
  EXPECT_FALSE(access.restricts_reading());
}

TEST(SubjectAccessTest, OnlyWritersWriteAndEverybodyReads) {
  SubjectAccess::Rules rules;
  Add(rules, "orders-", {"anna"});
  const SubjectAccess access = Make(rules);
  EXPECT_TRUE(access.MayWrite(Person("anna"), "orders-value").ok());
  const absl::Status refused = access.MayWrite(Person("bert"), "orders-value");
  EXPECT_EQ(refused.code(), absl::StatusCode::kPermissionDenied);
  EXPECT_EQ(CodeOf(refused), ErrorCode::kForbidden);
  EXPECT_THAT(std::string(refused.message()),
              HasSubstr("'bert' may not change 'orders-value': for subjects that begin with "
                        "'orders-' subject_access"));
  EXPECT_TRUE(access.MayRead(Person("bert"), "orders-value").ok());
  EXPECT_TRUE(access.MayWrite(Person("bert"), "order").ok());
  EXPECT_FALSE(access.restricts_reading());
}

TEST(SubjectAccessTest, ReadersAreRestrictedAndWritersRead) {
  SubjectAccess::Rules rules;
  Add(rules, "pay-", {"anna"}, {"bert"});
  const SubjectAccess access = Make(rules);
  EXPECT_TRUE(access.restricts_reading());
  EXPECT_TRUE(access.MayRead(Person("anna"), "pay-value").ok());
  EXPECT_TRUE(access.MayRead(Person("bert"), "pay-value").ok());
  EXPECT_FALSE(access.MayWrite(Person("bert"), "pay-value").ok());
  EXPECT_EQ(access.MayRead(Person("carl"), "pay-value").code(),
            absl::StatusCode::kPermissionDenied);
  EXPECT_TRUE(access.MayRead(Person("carl"), "other").ok());
}

TEST(SubjectAccessTest, TheLongestPrefixDecidesAlone) {
  SubjectAccess::Rules rules;
  Add(rules, "orders-", {"anna"});
  Add(rules, "orders-eu-", {"bert"});
  Add(rules, "", {"root"});
  const SubjectAccess access = Make(rules);
  EXPECT_FALSE(access.MayWrite(Person("anna"), "orders-eu-value").ok());
  EXPECT_TRUE(access.MayWrite(Person("bert"), "orders-eu-value").ok());
  EXPECT_TRUE(access.MayWrite(Person("anna"), "orders-value").ok());
  EXPECT_FALSE(access.MayWrite(Person("root"), "orders-value").ok());
  EXPECT_TRUE(access.MayWrite(Person("root"), "x").ok());
  EXPECT_TRUE(access.MayWrite(Person("root"), ":.eu:x").ok());
  EXPECT_FALSE(access.MayWrite(Person("anna"), ":.eu:x").ok());
}

TEST(SubjectAccessTest, ASubjectIsTheSameHoweverItsContextIsWritten) {
  SubjectAccess::Rules rules;
  Add(rules, "orders-", {"anna"});
  Add(rules, ":.eu:", {"bert"});
  const SubjectAccess access = Make(rules);
  EXPECT_FALSE(access.MayWrite(Person("bert"), ":.:orders-value").ok());
  EXPECT_TRUE(access.MayWrite(Person("anna"), ":.:orders-value").ok());
  EXPECT_FALSE(access.MayWrite(Person("anna"), ":.eu:orders-value").ok());
  EXPECT_TRUE(access.MayWrite(Person("bert"), ":.eu:orders-value").ok());
  EXPECT_FALSE(access.MayWrite(Person("anna"), ":.eu:").ok()) << "the context itself";
  EXPECT_TRUE(access.MayWrite(Person("anna"), ":.eu2:x").ok()) << "another context";
  EXPECT_EQ(CodeOf(access.MayWrite(Person("anna"), ":.eu")), ErrorCode::kInvalidSubject);
}

TEST(SubjectAccessTest, WritersLeftOutMeansNobody) {
  SubjectAccess::Rules rules;
  Add(rules, "frozen-", {}, {"anna"});
  const SubjectAccess access = Make(rules);
  EXPECT_TRUE(access.MayRead(Person("anna"), "frozen-value").ok());
  EXPECT_FALSE(access.MayWrite(Person("anna"), "frozen-value").ok());
}

TEST(SubjectAccessTest, BadRulesAreNamed) {
  const auto refuse = [](std::string prefix, Names writers, std::string_view with) {
    SubjectAccess::Rules rules;
    Add(rules, "a", {"anna"});
    Add(rules, std::move(prefix), writers);
    const auto access = SubjectAccess::Create(rules);
    EXPECT_EQ(access.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(access.status().message()), HasSubstr(std::string(with)));
  };
  refuse(":.eu", {"anna"}, "subject_access[1].subject_prefix: ':.eu' begins a context");
  refuse("a", {"anna"}, "subject_access[1].subject_prefix: 'a' is there twice");
  refuse(":.:a", {"anna"}, "':.:a' is there twice");
  refuse("b", {}, "subject_access[1] names neither writers nor readers");
  refuse("b", {"anna", " "}, "subject_access[1].writers has an entry without a name");
}

}  // namespace
}  // namespace tocsin::registry
