#include "lib/schema/guid.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

#include "lib/base/testing/status_matchers.h"

namespace tocsin::schema {
namespace {

// Facts about Confluent's registry: what it computes for one schema with and without references,
// metadata and rules.
constexpr std::string_view kText =
    "syntax = \"proto3\";\npackage io.confluent.kafka.example;\n"
    "import \"google/protobuf/timestamp.proto\";\n"
    "message Person {\n  string name = 1;\n  int32 age = 2;\n  string ssn = 3;\n  User user = 4;\n"
    "  Address address = 5;\n}\nmessage User {\n  string id = 1;\n  string email = 2;\n}\n"
    "message Address {\n  string street = 1;\n  string city = 2;\n  string zip = 3;\n}";
constexpr std::string_view kMetadata =
    "environmentproductionstagingteamdata-engineering"
    "descriptionPerson schema for user managementownerdata-teamversion1.0.0"
    "credit-cardssn";
constexpr std::string_view kRules =
    "upgrade-rule-1Upgrade rule for field changesTRANSFORMUPGRADEFIELD_UPDATEPERSONfieldname"
    "field.name = field.name.toUpperCase()noneerror"
    "downgrade-rule-1Downgrade rule for compatibilityTRANSFORMDOWNGRADEFIELD_DELETEPERSONfieldssn"
    "delete field.ssnnoneerror"
    "validation-rule-1Validate age fieldCONDITIONWRITEFIELD_VALIDATIONPERSONfieldage"
    "field.age >= 0 && field.age <= 150noneerror"
    "masking-rule-1Mask sensitive data on readTRANSFORMREADDATA_MASKINGPERSONfieldssn"
    "field.ssn = '***-**-****'noneerror";

TEST(Guid, IsConfluents) {
  const std::vector<GuidReference> references = {
      {"io.confluent.kafka.example.User", "User", 1},
      {"io.confluent.kafka.example.Address", "Address", 2}};
  EXPECT_EQ(FormatGuid(GuidOf(kText)), "fd291f54-9ebf-6b66-69c4-d7c94f57d765");
  EXPECT_EQ(FormatGuid(GuidOf(kText, {}, {}, kRules)), "e0a5944a-07ec-f8b3-2e65-d618095d9b93");
  EXPECT_EQ(FormatGuid(GuidOf(kText, {}, kMetadata)), "56052a3d-b48e-0af1-2f4e-fb4fc5defed4");
  EXPECT_EQ(FormatGuid(GuidOf(kText, {}, kMetadata, kRules)),
            "89665e7a-68a3-0750-503e-cab9c5ab6494");
  EXPECT_EQ(FormatGuid(GuidOf(kText, references)), "2acee2f0-10ab-9e39-ff5e-a3c6301a16fc");
  EXPECT_EQ(FormatGuid(GuidOf(kText, references, {}, kRules)),
            "ca144a0b-d04f-9cdf-5576-bc3e0872c2ec");
  EXPECT_EQ(FormatGuid(GuidOf(kText, references, kMetadata)),
            "1b1cd912-56b3-5aec-ed5e-628e4f8d6b99");
  EXPECT_EQ(FormatGuid(GuidOf(kText, references, kMetadata, kRules)),
            "6e27c5d9-341f-eedd-8d14-8e32f414f50e");
}

TEST(Guid, TextComesBack) {
  const SchemaGuid guid = GuidOf("x");
  EXPECT_THAT(ParseGuid(FormatGuid(guid)), IsOkAndHolds(guid));
  EXPECT_THAT(ParseGuid("FD291F54-9EBF-6B66-69C4-D7C94F57D765"), IsOkAndHolds(GuidOf(kText)));
}

class GuidRefused : public ::testing::TestWithParam<std::string_view> {};

TEST_P(GuidRefused, Text) {
  EXPECT_THAT(ParseGuid(GetParam()),
              StatusIs(absl::StatusCode::kInvalidArgument, ::testing::HasSubstr("8-4-4-4-12")));
}

INSTANTIATE_TEST_SUITE_P(All, GuidRefused,
                         ::testing::Values("", "fd291f549ebf6b6669c4d7c94f57d765",
                                           "fd291f54-9ebf-6b66-69c4-d7c94f57d76",
                                           "fd291f54-9ebf-6b66-69c4-d7c94f57d7655",
                                           "fd291f54-9ebf-6b66-69c4-d7c94f57d76g",
                                           "fd291f549-ebf-6b66-69c4-d7c94f57d765",
                                           "{d291f54-9ebf-6b66-69c4-d7c94f57d765"));

}  // namespace
}  // namespace tocsin::schema
