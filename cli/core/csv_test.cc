#include "cli/core/csv.h"

#include <gmock/gmock.h>

#include <sstream>

#include "lib/base/testing/status_matchers.h"

namespace tocsin::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(CsvTest, ReadsWhatTheStandardAllows) {
  struct Case {
    const char* name;
    std::string text;
    std::vector<std::vector<std::string>> records;
  };
  const std::vector<Case> cases{
      {"empty", "", {}},
      {"one field", "a", {{"a"}}},
      {"LF", "a,b\nc,d\n", {{"a", "b"}, {"c", "d"}}},
      {"CRLF", "a,b\r\nc,d\r\n", {{"a", "b"}, {"c", "d"}}},
      {"CR at the end of the file", "a,b\r", {{"a", "b"}}},
      {"no line end at the end", "a,b\nc,d", {{"a", "b"}, {"c", "d"}}},
      {"empty fields", ",\n,,\n", {{"", ""}, {"", "", ""}}},
      {"lines without characters", "\n\na\n\r\n\nb\n\n", {{"a"}, {"b"}}},
      {"comma in quotes", "\"a,b\",c\n", {{"a,b", "c"}}},
      {"line break in quotes", "\"a\r\nb\",c\n", {{"a\r\nb", "c"}}},
      {"doubled quote", "\"a\"\"b\"\n", {{"a\"b"}}},
      {"empty in quotes", "\"\",x\n", {{"", "x"}}},
      {"quote within a field", "5\" pipe,x\n", {{"5\" pipe", "x"}}},
      {"blanks stay", " a , b \n", {{" a ", " b "}}},
      {"byte order mark", "\xEF\xBB\xBFlat,lng\n", {{"lat", "lng"}}},
      {"begins as the mark does", "\xEF\xBC\xA1,\xEF\n", {{"\xEF\xBC\xA1", "\xEF"}}},
      {"half a mark", "\xEF\xBB", {{"\xEF\xBB"}}},
      {"CR inside a field", "a\rb,c\n", {{"a\rb", "c"}}},
  };
  for (const Case& one : cases) {
    std::istringstream in(one.text);
    CsvReader reader(in);
    std::vector<std::vector<std::string>> records;
    for (;;) {
      const auto record = reader.Next();
      ASSERT_THAT(record, IsOk()) << one.name;
      if (!record->has_value()) break;
      records.push_back((*record)->fields);
    }
    EXPECT_EQ(records, one.records) << one.name;
  }
}

TEST(CsvTest, SaysWhereARecordBeginsSoThatItCanBeReadAgain) {
  const std::string text = "h\n\"x\ny\",1\nz,2\n";
  std::istringstream in(text);
  CsvReader reader(in);
  ASSERT_THAT(reader.Next(), IsOk());
  const auto first = reader.Next();
  const auto second = reader.Next();
  EXPECT_EQ((*first)->line, 2);
  EXPECT_EQ((*second)->line, 4);
  std::istringstream again(text);
  again.seekg((*second)->offset);
  EXPECT_THAT((*CsvReader(again, (*second)->offset, 4).Next())->fields, ElementsAre("z", "2"));
}

TEST(CsvTest, GoesOnAfterABadRecord) {
  std::istringstream in("a,b\n\"x\"y,1\nc,d\n\"open,2\nnever closed");
  CsvReader reader(in);
  ASSERT_THAT(reader.Next(), IsOk());
  EXPECT_THAT(reader.Next(), StatusIs(absl::StatusCode::kInvalidArgument,
                                      HasSubstr("line 2: text behind a closing quote")));
  EXPECT_THAT((*reader.Next())->fields, ElementsAre("c", "d"));
  EXPECT_THAT(reader.Next(),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("line 4: a quote is opened")));
  EXPECT_FALSE((*reader.Next()).has_value());
}

TEST(CsvTest, RefusesARecordWithoutEnd) {
  std::istringstream in(std::string(2 << 20, 'x') + "\nnext\n");
  CsvReader reader(in);
  EXPECT_THAT(reader.Next(), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("1 MiB")));
  EXPECT_THAT((*reader.Next())->fields, ElementsAre("next"));
}

}  // namespace
}  // namespace tocsin::cli
