#include "cli/core/template_text.h"

#include <gmock/gmock.h>

#include "lib/base/testing/status_matchers.h"

namespace tocsin::cli {
namespace {

using ::testing::HasSubstr;

const std::vector<std::string> kNames{"lat", "lng", "title"};
const std::vector<std::string> kValues{"40.1", "-75.2", "EMS: FALL: VICTIM "};

TEST(TemplateTextTest, Renders) {
  const std::vector<std::pair<const char*, const char*>> cases{
      {"", ""},
      {"plain", "plain"},
      {"{lat},{lng}", "40.1,-75.2"},
      {"{title|before:':'}", "EMS"},
      {"{title|before:': '|lower}", "ems"},
      {"{title|after:':'|trim}", "FALL: VICTIM"},
      {"{title|after:':'|after:':'|trim|lower}", "victim"},
      {"{title|before:'/'}", "EMS: FALL: VICTIM "},
      {"{title|after:'/'}", ""},
      {"{title|before:'|'}", "EMS: FALL: VICTIM "},
      {"{title|before:'}'}", "EMS: FALL: VICTIM "},
      {"{{{lat}}}", "{40.1}"},
      {"{{lat}}", "{lat}"},
  };
  for (const auto& [text, expected] : cases) {
    const auto parsed = TemplateText::Parse(text, kNames);
    ASSERT_THAT(parsed, IsOk()) << text;
    EXPECT_EQ(parsed->Render(kValues), expected) << text;
  }
}

TEST(TemplateTextTest, ErrorsSayWhatIsWrong) {
  const std::vector<std::pair<const char*, const char*>> cases{
      {"{latt}", "did you mean 'lat'?"},
      {"{}", "there is no column ''. There are lat, lng, title."},
      {"{lat", "an opening brace without a closing one"},
      {"lat}", "a closing brace without an opening one"},
      {"{lat|shout}", "there is no filter 'shout'"},
      {"{lat|before}", "needs a text in single quotes"},
      {"{lat|before:x}", "needs a text in single quotes"},
      {"{lat|before:''}", "needs a text in single quotes"},
      {"{lat|trim:'x'}", "there is no filter"},
  };
  for (const auto& [text, reason] : cases) {
    EXPECT_THAT(TemplateText::Parse(text, kNames),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(reason)))
        << text;
  }
}

}  // namespace
}  // namespace tocsin::cli
