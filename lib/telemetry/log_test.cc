#include "lib/telemetry/log.h"

#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "lib/base/status.h"
#include "lib/base/testing/status_matchers.h"
#include "lib/telemetry/trace.h"

namespace tocsin::telemetry {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(LogLine, HasTheFieldsInOrderAndTheirTypes) {
  SetLogProcess("ingest");
  EXPECT_EQ(FormatLogLine(LogLevel::kInfo, "T", "subscribed",
                          {{"topic", "alerts.raw"},
                           {"partitions", 6},
                           {"bytes", std::uint64_t{18'446'744'073'709'551'615U}},
                           {"lag", -3},
                           {"rate", 0.5},
                           {"idle", false},
                           {"error", NotFound("no such topic")}}),
            R"({"time":"T","level":"info","process":"ingest","message":"subscribed",)"
            R"("topic":"alerts.raw","partitions":6,"bytes":18446744073709551615,"lag":-3,)"
            R"("rate":0.5,"idle":false,"error":"NOT_FOUND: no such topic"})");
}

struct ForgeryCase {
  const char* name;
  std::string text;
};

class LogForgery : public ::testing::TestWithParam<ForgeryCase> {};

TEST_P(LogForgery, StaysOneLineOfValidJson) {
  const std::string line =
      FormatLogLine(LogLevel::kError, "T", GetParam().text, {{GetParam().text, GetParam().text}});
  EXPECT_THAT(line, Not(HasSubstr("\n")));
  const auto parsed = nlohmann::json::parse(line, nullptr, false);
  ASSERT_FALSE(parsed.is_discarded()) << line;
  EXPECT_EQ(parsed.at("level"), "error");
}

INSTANTIATE_TEST_SUITE_P(
    Texts, LogForgery,
    ::testing::Values(ForgeryCase{"new_line", "a\n{\"level\":\"info\"}"},
                      ForgeryCase{"quote", R"(","level":"info)"}, ForgeryCase{"backslash", "a\\"},
                      ForgeryCase{"nul", std::string("a\0b", 3)},
                      ForgeryCase{"escape_code", "\x1b[2J\x7f"}, ForgeryCase{"cut_utf8", "M\xC3"},
                      ForgeryCase{"overlong", "\xC0\xAF"}, ForgeryCase{"surrogate", "\xED\xA0\x80"},
                      ForgeryCase{"beyond_unicode", "\xF4\x90\x80\x80"},
                      ForgeryCase{"good_utf8", "Größe 東 😀"}),
    [](const auto& param) { return param.param.name; });

TEST(LogLine, CarriesTheIdsOfTheCurrentSpan) {
  const auto context =
      TraceContext::FromTraceparent("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
  const ScopedCurrent current(context);
  EXPECT_THAT(FormatLogLine(LogLevel::kInfo, "T", "m", {}),
              HasSubstr(R"("trace_id":"4bf92f3577b34da6a3ce929d0e0e4736",)"
                        R"("span_id":"00f067aa0ba902b7"})"));
}

TEST(LogLine, NumbersThatJsonDoesNotKnowAreTexts) {
  EXPECT_THAT(FormatLogLine(LogLevel::kInfo, "T", "m", {{"x", 1.0 / 0.0}}),
              HasSubstr(R"("x":"Infinity")"));
}

TEST(LogLevel, ParsesTheFourAndNamesThemInTheError) {
  EXPECT_THAT(ParseLogLevel(""), IsOkAndHolds(LogLevel::kInfo));
  EXPECT_THAT(ParseLogLevel("warning"), IsOkAndHolds(LogLevel::kWarning));
  EXPECT_THAT(ParseLogLevel("warn"),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       "log level 'warn' is not one of debug, info, warning, error"));
}

}  // namespace
}  // namespace tocsin::telemetry
