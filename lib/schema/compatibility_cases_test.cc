// The table of changes: what Confluent's registry says of each in both directions (rules of
// 2026-06), as data.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/testing/status_matchers.h"
#include "lib/base/text.h"
#include "lib/schema/compatibility.h"

namespace tocsin::schema {
namespace {

struct Change {
  std::string_view name;
  // What stands within `message M { … }` of a proto3 file with a few more types, unless it begins
  // with "syntax".
  std::string_view older;
  std::string_view newer;
  // What stands against it, "KIND path" with a comma between them; empty: compatible.
  std::string_view backward;
  std::string_view forward;
  // The text of i.proto on either side; empty: there is none.
  std::string_view older_import;
  std::string_view newer_import;
};

constexpr Change kChanges[] = {
    // Fields
    {"Same", "int32 a = 1;", "int32 a = 1;", "", "", "", ""},
    {"Added", "int32 a = 1;", "int32 a = 1; string b = 2;", "", "", "", ""},
    {"Removed", "int32 a = 1; int32 b = 2;", "int32 a = 1;", "", "", "", ""},
    {"RemovedWithReserve", "int32 a = 1; int32 b = 2;", "int32 a = 1; reserved 2; reserved 'b';",
     "", "", "", ""},
    {"Renamed", "int32 a = 1;", "int32 b = 1;", "", "", "", ""},
    {"Renumbered", "int32 a = 1;", "int32 a = 2;", "", "", "", ""},
    {"JsonName", "int32 a = 1;", "int32 a = 1 [json_name = 'z'];", "", "", "", ""},
    {"OtherOptions", "repeated int32 a = 1;",
     "repeated int32 a = 1 [packed = false, deprecated = true];", "", "", "", ""},
    {"Default", "syntax = 'proto2'; message M { optional int32 a = 1 [default = 1]; }",
     "syntax = 'proto2'; message M { optional int32 a = 1 [default = 2]; }", "", "", "", ""},
    {"ReservedReused", "reserved 2; int32 a = 1;", "int32 a = 1; string b = 2;", "", "", "", ""},
    {"ReservedRemoved", "reserved 2; reserved 'b'; int32 a = 1;", "int32 a = 1;", "", "", "", ""},
    {"Reordered", "int32 a = 1; string b = 2;", "string b = 2; int32 a = 1;", "", "", "", ""},
    // Types
    {"VarintGroup", "int32 a = 1; int64 b = 2; bool c = 3; E d = 4;",
     "uint64 a = 1; E b = 2; uint32 c = 3; F d = 4;", "", "", "", ""},
    {"EnumToNumber", "E a = 1;", "int32 a = 1;", "", "", "", ""},
    {"EnumToOtherEnum", "E a = 1;", "F a = 1;", "", "", "", ""},
    {"ZigZagGroup", "sint32 a = 1;", "sint64 a = 1;", "", "", "", ""},
    {"TextGroup", "string a = 1;", "bytes a = 1;", "", "", "", ""},
    {"Fixed32Group", "fixed32 a = 1;", "sfixed32 a = 1;", "", "", "", ""},
    {"Fixed64Group", "fixed64 a = 1;", "sfixed64 a = 1;", "", "", "", ""},
    {"VarintToZigZag", "int32 a = 1;", "sint32 a = 1;", "FIELD_SCALAR_KIND_CHANGED #/M/a",
     "FIELD_SCALAR_KIND_CHANGED #/M/a", "", ""},
    {"VarintToText", "int32 a = 1;", "string a = 1;", "FIELD_SCALAR_KIND_CHANGED #/M/a",
     "FIELD_SCALAR_KIND_CHANGED #/M/a", "", ""},
    {"VarintToFixed", "int32 a = 1;", "fixed32 a = 1;", "FIELD_SCALAR_KIND_CHANGED #/M/a",
     "FIELD_SCALAR_KIND_CHANGED #/M/a", "", ""},
    {"VarintToDouble", "int64 a = 1;", "double a = 1;", "FIELD_SCALAR_KIND_CHANGED #/M/a",
     "FIELD_SCALAR_KIND_CHANGED #/M/a", "", ""},
    {"FixedWidth", "fixed32 a = 1;", "fixed64 a = 1;", "FIELD_SCALAR_KIND_CHANGED #/M/a",
     "FIELD_SCALAR_KIND_CHANGED #/M/a", "", ""},
    {"FloatToDouble", "float a = 1;", "double a = 1;", "FIELD_SCALAR_KIND_CHANGED #/M/a",
     "FIELD_SCALAR_KIND_CHANGED #/M/a", "", ""},
    {"FloatToFixed32", "float a = 1;", "fixed32 a = 1;", "FIELD_SCALAR_KIND_CHANGED #/M/a",
     "FIELD_SCALAR_KIND_CHANGED #/M/a", "", ""},
    {"DoubleToFixed64", "double a = 1;", "sfixed64 a = 1;", "FIELD_SCALAR_KIND_CHANGED #/M/a",
     "FIELD_SCALAR_KIND_CHANGED #/M/a", "", ""},
    {"EnumToText", "E a = 1;", "string a = 1;", "FIELD_SCALAR_KIND_CHANGED #/M/a",
     "FIELD_SCALAR_KIND_CHANGED #/M/a", "", ""},
    {"MessageToBytes", "X a = 1;", "bytes a = 1;", "FIELD_KIND_CHANGED #/M/a",
     "FIELD_KIND_CHANGED #/M/a", "", ""},
    {"MessageToText", "X a = 1;", "string a = 1;", "FIELD_KIND_CHANGED #/M/a",
     "FIELD_KIND_CHANGED #/M/a", "", ""},
    {"MessageToNumber", "X a = 1;", "int32 a = 1;", "FIELD_KIND_CHANGED #/M/a",
     "FIELD_KIND_CHANGED #/M/a", "", ""},
    {"MessageToEnum", "X a = 1;", "E a = 1;", "FIELD_KIND_CHANGED #/M/a",
     "FIELD_KIND_CHANGED #/M/a", "", ""},
    {"MessageToMap", "X a = 1;", "map<string, X> a = 1;", "FIELD_KIND_CHANGED #/M/a",
     "FIELD_KIND_CHANGED #/M/a", "", ""},
    {"MessageToOtherOfTheSameShape", "X a = 1;", "Y a = 1;", "FIELD_NAMED_TYPE_CHANGED #/M/a",
     "FIELD_NAMED_TYPE_CHANGED #/M/a", "", ""},
    {"GroupToMessage",
     "syntax = 'proto2'; message M { optional group A = 1 { optional int32 x = 1; } }",
     "syntax = 'proto2'; message M { message A { optional int32 x = 1; } optional A a = 1; }",
     "FIELD_KIND_CHANGED #/M/a", "FIELD_KIND_CHANGED #/M/a", "", ""},
    // Maps
    {"MapWithinGroups", "map<int32, E> a = 1;", "map<uint64, int32> a = 1;", "", "", "", ""},
    {"MapKeyAcross", "map<int32, int32> a = 1;", "map<string, int32> a = 1;",
     "FIELD_SCALAR_KIND_CHANGED #/M/a", "FIELD_SCALAR_KIND_CHANGED #/M/a", "", ""},
    {"MapValueAcross", "map<int32, int32> a = 1;", "map<int32, double> a = 1;",
     "FIELD_SCALAR_KIND_CHANGED #/M/a", "FIELD_SCALAR_KIND_CHANGED #/M/a", "", ""},
    {"MapValueKind", "map<int32, int32> a = 1;", "map<int32, X> a = 1;", "FIELD_KIND_CHANGED #/M/a",
     "FIELD_KIND_CHANGED #/M/a", "", ""},
    {"MapValueOtherMessage", "map<int32, X> a = 1;", "map<int32, Y> a = 1;",
     "FIELD_NAMED_TYPE_CHANGED #/M/a", "FIELD_NAMED_TYPE_CHANGED #/M/a", "", ""},
    {"MapAdded", "int32 b = 2;", "int32 b = 2; map<int32, int32> a = 1;", "", "", "", ""},
    {"MapRemoved", "int32 b = 2; map<int32, int32> a = 1;", "int32 b = 2;", "", "", "", ""},
    {"MapToEntries", "map<string, int32> a = 1;",
     "message AEntry { string key = 1; int32 value = 2; } repeated AEntry a = 1;",
     "FIELD_KIND_CHANGED #/M/a", "MESSAGE_REMOVED #/M/AEntry, FIELD_KIND_CHANGED #/M/a", "", ""},
    // Labels
    {"UnlabelledToRepeated", "int32 a = 1;", "repeated int32 a = 1;", "", "", "", ""},
    {"UnlabelledToOptional", "int32 a = 1;", "optional int32 a = 1;", "", "", "", ""},
    {"OptionalToRepeated", "optional int32 a = 1;", "repeated int32 a = 1;",
     "FIELD_NUMERIC_LABEL_CHANGED #/M/a", "FIELD_NUMERIC_LABEL_CHANGED #/M/a", "", ""},
    {"RepeatedEnumToOptional", "repeated E a = 1;", "optional E a = 1;",
     "FIELD_NUMERIC_LABEL_CHANGED #/M/a", "FIELD_NUMERIC_LABEL_CHANGED #/M/a", "", ""},
    {"OptionalTextToRepeated", "optional string a = 1;", "repeated string a = 1;", "", "", "", ""},
    {"OptionalBytesToRepeated", "optional bytes a = 1;", "repeated bytes a = 1;", "", "", "", ""},
    {"OptionalMessageToRepeated", "optional X a = 1;", "repeated X a = 1;", "", "", "", ""},
    {"RequiredAdded", "syntax = 'proto2'; message X { } message M {  }",
     "syntax = 'proto2'; message X { } message M { required int32 a = 1; }",
     "REQUIRED_FIELD_ADDED #/M/a", "REQUIRED_FIELD_REMOVED #/M/a", "", ""},
    {"RequiredRemoved", "syntax = 'proto2'; message X { } message M { required string a = 1; }",
     "syntax = 'proto2'; message X { } message M {  }", "REQUIRED_FIELD_REMOVED #/M/a",
     "REQUIRED_FIELD_ADDED #/M/a", "", ""},
    {"OptionalToRequiredNumber",
     "syntax = 'proto2'; message X { } message M { optional int32 a = 1; }",
     "syntax = 'proto2'; message X { } message M { required int32 a = 1; }",
     "FIELD_NUMERIC_LABEL_CHANGED #/M/a", "FIELD_NUMERIC_LABEL_CHANGED #/M/a", "", ""},
    {"OptionalToRequiredText",
     "syntax = 'proto2'; message X { } message M { optional string a = 1; }",
     "syntax = 'proto2'; message X { } message M { required string a = 1; }", "", "", "", ""},
    {"OptionalToRequiredMessage",
     "syntax = 'proto2'; message X { } message M { optional X a = 1; }",
     "syntax = 'proto2'; message X { } message M { required X a = 1; }", "", "", "", ""},
    // Enums
    {"EnumValueAdded", "syntax = 'proto3'; enum E { A = 0; } message M { E e = 1; }",
     "syntax = 'proto3'; enum E { A = 0; B = 1; } message M { E e = 1; }", "", "", "", ""},
    {"EnumValueRemoved", "syntax = 'proto3'; enum E { A = 0; B = 1; } message M { E e = 1; }",
     "syntax = 'proto3'; enum E { A = 0; } message M { E e = 1; }", "", "", "", ""},
    {"EnumValueRenamed", "syntax = 'proto3'; enum E { A = 0; B = 1; } message M { E e = 1; }",
     "syntax = 'proto3'; enum E { A = 0; Z = 1; } message M { E e = 1; }", "", "", "", ""},
    {"EnumRemoved", "syntax = 'proto3'; enum E { A = 0; } message M {}",
     "syntax = 'proto3'; message M {}", "", "", "", ""},
    // Oneofs
    {"OneofAddedWithNewFields", "int32 z = 9;", "int32 z = 9; oneof o { int32 a = 1; X b = 2; }",
     "", "", "", ""},
    {"OneofRemoved", "int32 z = 9; oneof o { int32 a = 1; X b = 2; }", "int32 z = 9;", "", "", "",
     ""},
    {"OneofRenamed", "oneof o { int32 a = 1; X b = 2; }", "oneof q { int32 a = 1; X b = 2; }", "",
     "", "", ""},
    {"OneofMemberAdded", "oneof o { int32 a = 1; }", "oneof o { int32 a = 1; X b = 2; }", "",
     "ONEOF_FIELD_REMOVED #/M/o/b", "", ""},
    {"OneofMemberRemoved", "oneof o { int32 a = 1; X b = 2; }", "oneof o { int32 a = 1; }",
     "ONEOF_FIELD_REMOVED #/M/o/b", "", "", ""},
    {"OneofMemberRetyped", "oneof o { int32 a = 1; }", "oneof o { string a = 1; }",
     "FIELD_SCALAR_KIND_CHANGED #/M/o/a", "FIELD_SCALAR_KIND_CHANGED #/M/o/a", "", ""},
    {"OneFieldIntoNewOneof", "int32 a = 1;", "oneof o { int32 a = 1; }", "", "", "", ""},
    {"TwoFieldsIntoNewOneof", "int32 a = 1; int32 b = 2;", "oneof o { int32 a = 1; int32 b = 2; }",
     "MULTIPLE_FIELDS_MOVED_TO_ONEOF #/M/o", "", "", ""},
    {"OneFieldIntoExistingOneof", "int32 a = 1; oneof o { int32 b = 2; }",
     "oneof o { int32 a = 1; int32 b = 2; }", "FIELD_MOVED_TO_EXISTING_ONEOF #/M/o", "", "", ""},
    {"TwoFieldsIntoExistingOneof", "int32 a = 1; int32 c = 3; oneof o { int32 b = 2; }",
     "oneof o { int32 a = 1; int32 b = 2; int32 c = 3; }", "MULTIPLE_FIELDS_MOVED_TO_ONEOF #/M/o",
     "", "", ""},
    {"OneFieldIntoOneofWithNewMember", "int32 a = 1;", "oneof o { int32 a = 1; int32 b = 2; }", "",
     "ONEOF_FIELD_REMOVED #/M/o/b", "", ""},
    {"OneofMemberToTopLevel", "oneof o { int32 a = 1; int32 b = 2; }",
     "int32 a = 1; oneof o { int32 b = 2; }", "", "FIELD_MOVED_TO_EXISTING_ONEOF #/M/o", "", ""},
    {"OneofDissolved", "oneof o { int32 a = 1; int32 b = 2; }", "int32 a = 1; int32 b = 2;", "",
     "MULTIPLE_FIELDS_MOVED_TO_ONEOF #/M/o", "", ""},
    {"OneofsMerged", "oneof o { int32 a = 1; } oneof q { int32 b = 2; }",
     "oneof o { int32 a = 1; int32 b = 2; }", "FIELD_MOVED_TO_EXISTING_ONEOF #/M/o", "", "", ""},
    {"OneofMemberDroppedWhileRenamed", "oneof o { int32 a = 1; int32 b = 2; }",
     "oneof q { int32 a = 1; }", "ONEOF_FIELD_REMOVED #/M/o/b", "", "", ""},
    // Files
    {"MessageAdded", "syntax = 'proto3'; message A {}",
     "syntax = 'proto3'; message A {} message B {}", "", "MESSAGE_REMOVED #/B", "", ""},
    {"MessageRemoved", "syntax = 'proto3'; message A {} message B {}",
     "syntax = 'proto3'; message A {}", "MESSAGE_REMOVED #/B", "", "", ""},
    {"NestedMessageRemoved", "syntax = 'proto3'; message A { message B {} }",
     "syntax = 'proto3'; message A {}", "MESSAGE_REMOVED #/A/B", "", "", ""},
    {"MessageMovedToTop", "syntax = 'proto3'; message A { message B {} }",
     "syntax = 'proto3'; message A {} message B {}", "MESSAGE_REMOVED #/A/B", "MESSAGE_REMOVED #/B",
     "", ""},
    {"MessagesReordered", "syntax = 'proto3'; message A {} message B {}",
     "syntax = 'proto3'; message B {} message A {}", "", "", "", ""},
    {"PackageChanged", "syntax = 'proto3'; package p; message A { A a = 1; }",
     "syntax = 'proto3'; package q; message A { A a = 1; }", "PACKAGE_CHANGED #/",
     "PACKAGE_CHANGED #/", "", ""},
    {"PackageAdded", "syntax = 'proto3'; message A {}",
     "syntax = 'proto3'; package q; message A {}", "PACKAGE_CHANGED #/", "PACKAGE_CHANGED #/", "",
     ""},
    {"ServiceRemoved", "syntax = 'proto3'; message M {} service S { rpc R(M) returns (M); }",
     "syntax = 'proto3'; message M {}", "", "", "", ""},
    {"MethodChanged", "syntax = 'proto3'; message M {} service S { rpc R(M) returns (M); }",
     "syntax = 'proto3'; message M {} service S { rpc R(stream M) returns (M); }", "", "", "", ""},
    {"UnusedImportRemoved", "syntax = 'proto3'; import 'google/protobuf/any.proto'; message M {}",
     "syntax = 'proto3'; message M {}", "", "", "", ""},
    {"ExtensionRangeRemoved", "syntax = 'proto2'; message M { extensions 100 to 200; }",
     "syntax = 'proto2'; message M {}", "", "", "", ""},
    {"Syntax", "syntax = 'proto2'; message M { optional int32 a = 1; }",
     "syntax = 'proto3'; message M { int32 a = 1; }", "", "", "", ""},
    // Imports
    {"MovedIntoImport", "syntax = 'proto3'; message M { B a = 1; } message B { int32 x = 1; }",
     "syntax = 'proto3'; import 'i.proto'; message M { B a = 1; }", "MESSAGE_REMOVED #/B", "", "",
     "syntax = 'proto3'; message B { int32 x = 1; }"},
    {"MovedOutOfImport", "syntax = 'proto3'; import 'i.proto'; message M { B a = 1; }",
     "syntax = 'proto3'; message M { B a = 1; } message B { int32 x = 1; }", "",
     "MESSAGE_REMOVED #/B", "syntax = 'proto3'; message B { int32 x = 1; }", ""},
    {"MovedIntoImportAndChanged",
     "syntax = 'proto3'; message M { B a = 1; } message B { int32 x = 1; }",
     "syntax = 'proto3'; import 'i.proto'; message M { B a = 1; }",
     "MESSAGE_REMOVED #/B, FIELD_NAMED_TYPE_CHANGED #/M/a, FIELD_SCALAR_KIND_CHANGED #/B/x",
     "FIELD_NAMED_TYPE_CHANGED #/M/a, FIELD_SCALAR_KIND_CHANGED #/B/x", "",
     "syntax = 'proto3'; message B { string x = 1; }"},
    {"ImportCompatible", "syntax = 'proto3'; import 'i.proto'; message M { p.B a = 1; }",
     "syntax = 'proto3'; import 'i.proto'; message M { p.B a = 1; }", "", "",
     "syntax = 'proto3'; package p; message B { int32 x = 1; }",
     "syntax = 'proto3'; package p; message B { int64 x = 1; int32 y = 2; }"},
    {"ImportIncompatible", "syntax = 'proto3'; import 'i.proto'; message M { p.B a = 1; }",
     "syntax = 'proto3'; import 'i.proto'; message M { p.B a = 1; }",
     "FIELD_NAMED_TYPE_CHANGED #/M/a, FIELD_SCALAR_KIND_CHANGED #/B/x",
     "FIELD_NAMED_TYPE_CHANGED #/M/a, FIELD_SCALAR_KIND_CHANGED #/B/x",
     "syntax = 'proto3'; package p; message B { int32 x = 1; }",
     "syntax = 'proto3'; package p; message B { string x = 1; }"},
    {"ImportOfOtherPackage", "syntax = 'proto3'; import 'i.proto'; message M { p.B a = 1; }",
     "syntax = 'proto3'; import 'i.proto'; message M { q.B a = 1; }", "", "",
     "syntax = 'proto3'; package p; message B { int32 x = 1; }",
     "syntax = 'proto3'; package q; message B { int32 x = 1; }"},
    {"ImportOfOtherPackageIncompatible",
     "syntax = 'proto3'; import 'i.proto'; message M { p.O.B a = 1; }",
     "syntax = 'proto3'; import 'i.proto'; message M { q.O.B a = 1; }",
     "FIELD_NAMED_TYPE_CHANGED #/M/a, FIELD_SCALAR_KIND_CHANGED #/O/B/x",
     "FIELD_NAMED_TYPE_CHANGED #/M/a, FIELD_SCALAR_KIND_CHANGED #/O/B/x",
     "syntax = 'proto3'; package p; message O { message B { int32 x = 1; } }",
     "syntax = 'proto3'; package q; message O { message B { string x = 1; } }"},
    {"ImportOfOtherName", "syntax = 'proto3'; import 'i.proto'; message M { p.B a = 1; }",
     "syntax = 'proto3'; import 'i.proto'; message M { p.C a = 1; }",
     "FIELD_NAMED_TYPE_CHANGED #/M/a", "FIELD_NAMED_TYPE_CHANGED #/M/a",
     "syntax = 'proto3'; package p; message B {} message C {}",
     "syntax = 'proto3'; package p; message B {} message C {}"},
    {"ImportedNestedMessageRemoved",
     "syntax = 'proto3'; import 'i.proto'; message M { p.B a = 1; }",
     "syntax = 'proto3'; import 'i.proto'; message M { p.B a = 1; }",
     "FIELD_NAMED_TYPE_CHANGED #/M/a, MESSAGE_REMOVED #/B/C", "",
     "syntax = 'proto3'; package p; message B { message C {} }",
     "syntax = 'proto3'; package p; message B {}"},
    {"ImportedTypeUsesAnother", "syntax = 'proto3'; import 'i.proto'; message M { p.B a = 1; }",
     "syntax = 'proto3'; import 'i.proto'; message M { p.B a = 1; }",
     "FIELD_NAMED_TYPE_CHANGED #/M/a, FIELD_SCALAR_KIND_CHANGED #/C/x",
     "FIELD_NAMED_TYPE_CHANGED #/M/a, FIELD_SCALAR_KIND_CHANGED #/C/x",
     "syntax = 'proto3'; package p; message B { C c = 1; B self = 2; } message C { int32 x = 1; B "
     "b = 2; }",
     "syntax = 'proto3'; package p; message B { C c = 1; B self = 2; } message C { string x = 1; B "
     "b = 2; }"},
    {"ImportedMapValue",
     "syntax = 'proto3'; import 'i.proto'; message M { map<string, p.B> a = 1; }",
     "syntax = 'proto3'; import 'i.proto'; message M { map<string, p.B> a = 1; }",
     "FIELD_NAMED_TYPE_CHANGED #/M/a, FIELD_KIND_CHANGED #/B/x",
     "FIELD_NAMED_TYPE_CHANGED #/M/a, FIELD_KIND_CHANGED #/B/x",
     "syntax = 'proto3'; package p; message B { int32 x = 1; }",
     "syntax = 'proto3'; package p; message B { B x = 1; }"},
};

std::shared_ptr<const CompiledSchema> Compile(std::string_view text, std::string_view import) {
  std::string whole(text);
  if (text.substr(0, 6) != "syntax") {
    whole = Concat("syntax = \"proto3\"; package p; enum E { A = 0; } enum F { B = 0; } ",
                   "message X { int32 a = 1; } message Y { int32 a = 1; } message M {", text, "}");
  }
  std::vector<SourceFile> imports;
  if (!import.empty()) imports.push_back({"i.proto", std::string(import)});
  auto schema = CompiledSchema::Compile({"test.proto", whole}, imports);
  EXPECT_THAT(schema, IsOk());
  return schema.ok() ? *schema : nullptr;
}

std::string Against(const CompiledSchema& older, const CompiledSchema& newer,
                    CompatibilityLevel level) {
  std::vector<std::string> findings;
  for (const Finding& finding : CheckCompatibility(older, newer, level)) {
    findings.push_back(Concat(KindName(finding.kind), " ", finding.path));
    EXPECT_FALSE(finding.description.empty());
    EXPECT_FALSE(finding.consequence.empty()) << findings.back();
    EXPECT_FALSE(finding.repair.empty()) << findings.back();
    EXPECT_TRUE(finding.older || finding.newer) << findings.back();
  }
  return Join(findings, ", ");
}

class ConfluentVerdict : public ::testing::TestWithParam<Change> {};

TEST_P(ConfluentVerdict, BothDirections) {
  const Change& change = GetParam();
  const auto older = Compile(change.older, change.older_import);
  const auto newer = Compile(change.newer, change.newer_import);
  ASSERT_TRUE(older && newer);
  EXPECT_EQ(Against(*older, *newer, CompatibilityLevel::kBackward), change.backward);
  EXPECT_EQ(Against(*older, *newer, CompatibilityLevel::kForward), change.forward);
  const std::string_view both = change.backward.empty() || change.forward.empty() ? "" : ", ";
  EXPECT_EQ(Against(*older, *newer, CompatibilityLevel::kFull),
            Concat(change.backward, both, change.forward));
  EXPECT_EQ(Against(*older, *newer, CompatibilityLevel::kNone), "");
}

INSTANTIATE_TEST_SUITE_P(Table, ConfluentVerdict, ::testing::ValuesIn(kChanges),
                         [](const auto& test) { return std::string(test.param.name); });

}  // namespace
}  // namespace tocsin::schema
