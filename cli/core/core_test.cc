// Profiles, topics, the restart policy, the checklist, packs.
#include <gmock/gmock.h>
#include <sys/stat.h>

#include <fstream>

#include "cli/core/checklist.h"
#include "cli/core/columns.h"
#include "cli/core/exit_code.h"
#include "cli/core/pack.h"
#include "cli/core/profile.h"
#include "cli/core/restart_policy.h"
#include "cli/core/topics.h"
#include "lib/auth/keys.h"
#include "lib/base/testing/fake_clock.h"
#include "lib/base/testing/status_matchers.h"
#include "lib/base/text.h"

namespace tocsin::cli {
namespace {

using std::chrono::milliseconds;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class FolderTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (std::filesystem::temp_directory_path() / "tocsin-cli-XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::filesystem::path folder_;
};

using ProfileTest = FolderTest;
using PackTest = FolderTest;

TEST_F(ProfileTest, SavedAndLoadedAndCleared) {
  const Profiles profiles(folder_ / "config");
  EXPECT_THAT(profiles.Load(""), StatusIs(absl::StatusCode::kNotFound, HasSubstr("`tocsin up`")));
  v1::Profile profile;
  profile.set_gateway("127.0.0.1:8080");
  profile.set_data_dir("/data");
  ASSERT_THAT(profiles.SaveCurrent(kLocalProfile, profile, "header.claims.signature"), IsOk());
  const auto loaded = profiles.Load("");
  ASSERT_THAT(loaded, IsOk());
  EXPECT_EQ(loaded->gateway(), "127.0.0.1:8080");
  EXPECT_THAT(auth::ReadFile(loaded->token_file()), IsOkAndHolds("header.claims.signature\n"));
  struct stat status {};
  ASSERT_EQ(stat(loaded->token_file().c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600U);

  EXPECT_THAT(profiles.Clear(kLocalProfile, "/other"), IsOk());
  EXPECT_THAT(profiles.Load(kLocalProfile), IsOk());
  EXPECT_THAT(profiles.Clear(kLocalProfile, "/data"), IsOk());
  EXPECT_THAT(profiles.Load(""), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_FALSE(std::filesystem::exists(loaded->token_file()));
  EXPECT_THAT(profiles.Clear(kLocalProfile, "/data"), IsOk());
  EXPECT_THAT(profiles.Load("../x"), StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST_F(ProfileTest, AFolderThatCannotBeWrittenIsNamedWithWhatToDo) {
  EXPECT_THAT(Profiles(folder_ / "new").CheckWritable(), IsOk());
  EXPECT_TRUE(std::filesystem::is_empty(folder_ / "new/profiles"));
  std::ofstream(folder_ / "file") << "not a folder";
  for (const auto& config : {folder_ / "file", folder_ / "file/tocsin"}) {
    EXPECT_THAT(
        Profiles(config).CheckWritable(),
        StatusIs(absl::StatusCode::kFailedPrecondition,
                 AllOf(HasSubstr((config / "profiles").string()), HasSubstr("XDG_CONFIG_HOME"))));
  }
  // Where nobody may make a file, not even root.
  EXPECT_THAT(Profiles("/proc/self").CheckWritable(),
              StatusIs(absl::StatusCode::kFailedPrecondition));
}

TEST(ProfilePlacesTest, FollowXdg) {
  EXPECT_THAT(ConfigDir({{"HOME", "/h"}}), IsOkAndHolds("/h/.config/tocsin"));
  EXPECT_THAT(ConfigDir({{"HOME", "/h"}, {"XDG_CONFIG_HOME", "/c"}}), IsOkAndHolds("/c/tocsin"));
  EXPECT_THAT(DefaultDataDir({{"HOME", "/h"}, {"XDG_DATA_HOME", "relative"}}),
              IsOkAndHolds("/h/.local/share/tocsin"));
  EXPECT_THAT(ConfigDir({}), StatusIs(absl::StatusCode::kFailedPrecondition));
}

TEST(ProfilePlacesTest, FlagThenEnvironmentThenProfileThenDefault) {
  const Environment environment{{"TOCSIN_GATEWAY", "env"}};
  EXPECT_EQ(Resolve("flag", environment, "TOCSIN_GATEWAY", "profile", "default"), "flag");
  EXPECT_EQ(Resolve("", environment, "TOCSIN_GATEWAY", "profile", "default"), "env");
  EXPECT_EQ(Resolve("", {}, "TOCSIN_GATEWAY", "profile", "default"), "profile");
  EXPECT_EQ(Resolve("", {{"TOCSIN_GATEWAY", ""}}, "TOCSIN_GATEWAY", "", "default"), "default");
}

TEST_F(PackTest, TheShippedPackLoads) {
  const auto packs = std::filesystem::path(TOCSIN_SOURCE_DIR) / "packs";
  const auto pack = LoadPack("public-safety", packs);
  ASSERT_THAT(pack, IsOk());
  EXPECT_THAT(LoadPack((packs / "public-safety").string(), "/nowhere"), IsOk());
  EXPECT_THAT(LoadPack((packs / "public-safety/pack.yaml").string(), "/nowhere"), IsOk());
  EXPECT_THAT(LoadStreamSchema(*pack, pack->pack.streams(0)), IsOk());
  EXPECT_THAT(LoadPack("publicsafety", packs),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("did you mean 'public-safety'?")));
  EXPECT_THAT(
      LoadPack("pub", packs),
      StatusIs(absl::StatusCode::kNotFound,
               HasSubstr(Concat("there is no pack 'pub'. In ", packs.string(), " there is "))));
}

TEST_F(PackTest, MistakesInAPackAreSaid) {
  const auto load = [&](std::string_view yaml) {
    std::filesystem::create_directories(folder_ / "p");
    std::ofstream(folder_ / "p/pack.yaml") << yaml;
    return LoadPack("p", folder_).status();
  };
  EXPECT_THAT(load("title: x\n"),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("no name")));
  EXPECT_THAT(load("name: p\nstream: []\n"),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("pack.yaml:2")));
  EXPECT_THAT(load("name: p\nstreams: [{topic: t, schema-file: s, message-type: m}]\n"),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("t has no partitions")));
  EXPECT_THAT(load("name: p\ncsv-mappings: [{name: m, stream: t}]\n"),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("no stream 't'")));
  EXPECT_THAT(load("name: p\nscenarios: [{name: s, csv-mapping: m}]\n"),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("no csv-mapping 'm'")));
}

TEST(TopicsTest, WantedFollowThePack) {
  pack::v1::Pack pack;
  auto& stream = *pack.add_streams();
  stream.set_topic("alerts.raw");
  stream.set_partitions(3);
  stream.set_processed(true);
  stream.set_late(true);
  stream.mutable_retention()->set_seconds(3600);
  const auto topics = WantedTopics({pack}, 3);
  std::vector<std::string> names;
  for (const auto& topic : topics) names.push_back(topic.name);
  EXPECT_THAT(names,
              ElementsAre("alerts.raw", "alerts.processed", "alerts.raw.late", "alerts.raw.dlq",
                          "_schemas", "correlation.rules", "detections", "aggregates",
                          "incidents.correlated", "incidents.activity", "notification.sent"));
  EXPECT_EQ(topics[0].partitions, 3);
  EXPECT_EQ(topics[0].configs.at("retention.ms"), "3600000");
  EXPECT_EQ(topics[0].configs.at("min.insync.replicas"), "2");
  EXPECT_EQ(topics[2].partitions, 3);
  EXPECT_EQ(topics[4].partitions, 1);
  EXPECT_EQ(topics[4].configs.at("cleanup.policy"), "compact");
}

TEST(TopicsTest, TablesAreCompactedAndKeepTheirVersions) {
  pack::v1::Pack pack;
  auto& table = *pack.add_tables();
  table.set_topic("devices");
  table.set_partitions(2);
  table.mutable_keep_versions()->set_seconds(3600);
  const auto topics = WantedTopics({pack}, 1);
  EXPECT_EQ(topics[0].name, "devices");
  EXPECT_EQ(topics[0].partitions, 2);
  EXPECT_EQ(topics[0].configs.at("cleanup.policy"), "compact");
  EXPECT_EQ(topics[0].configs.at("min.compaction.lag.ms"), "3600000");
  EXPECT_EQ(topics[0].configs.at("delete.retention.ms"), "86400000");
}

TEST(TopicsTest, TheDifferenceIsSaidInWords) {
  const std::vector<kafka::TopicSpec> wanted{
      {"new", 6, 1, {{"cleanup.policy", "delete"}}},
      {"same", 6, 1, {{"cleanup.policy", "compact"}}},
      {"few", 6, 1, {}},
      {"many", 1, 1, {}},
      {"kept", 1, 1, {{"retention.ms", "2"}, {"cleanup.policy", "delete"}}},
      {"spread", 1, 3, {}},
  };
  const std::map<std::string, kafka::TopicDescription> present{
      {"same", {"same", 6, 1, 0, {{"cleanup.policy", "compact"}, {"other", "x"}}}},
      {"few", {"few", 3, 1, 0, {}}},
      {"many", {"many", 6, 1, 0, {}}},
      {"kept", {"kept", 1, 1, 0, {{"retention.ms", "1"}, {"cleanup.policy", "delete"}}}},
      {"spread", {"spread", 1, 1, 0, {}}},
      {"foreign", {"foreign", 1, 1, 0, {}}},
  };
  std::vector<std::string> lines;
  for (const auto& change : TopicDifference(wanted, present)) lines.push_back(change.text);
  EXPECT_THAT(lines,
              ElementsAre("+ new: 6 partitions, replicated 1×, cleanup.policy=delete",
                          "~ few: 3 → 6 partitions (keys move to other partitions)",
                          HasSubstr("! many: has 6 partitions, wanted are 1"),
                          "~ kept: retention.ms=1 → 2", HasSubstr("! spread: is replicated 1×")));
  EXPECT_THAT(TopicDifference({}, present), IsEmpty());
}

TEST(RestartPolicyTest, FirstAtOnceThenSlower) {
  RestartPolicy policy;
  std::vector<std::int64_t> delays;
  for (int i = 0; i < 9; ++i) delays.push_back(policy.OnExit(milliseconds(50)).count());
  EXPECT_THAT(delays, ElementsAre(100, 200, 400, 800, 1600, 3200, 6400, 10000, 10000));
  EXPECT_EQ(policy.OnExit(std::chrono::seconds(30)), milliseconds(100));
  EXPECT_EQ(policy.OnExit(milliseconds(1)), milliseconds(200));
}

TEST(ChecklistTest, WritesEachStepOnceWhereThereIsNoTerminal) {
  FakeClock clock;
  std::string out;
  Checklist list(false, false, clock, [&](std::string_view text) { out += text; });
  list.Begin("Kafka broker");
  list.WaitingFor("127.0.0.1:9092 to answer");
  clock.Advance(milliseconds(2940));
  list.WaitingFor("127.0.0.1:9092 to answer");
  list.Done("127.0.0.1:9092");
  list.Begin("ingest");
  list.WaitingFor("readiness: registry");
  list.Failed("last lines of the log");
  EXPECT_EQ(out,
            "  ✓ Kafka broker  127.0.0.1:9092  2.9 s\n"
            "  × ingest  (was waiting for readiness: registry)\nlast lines of the log\n");
}

TEST(ChecklistTest, RewritesItsLineOnATerminal) {
  FakeClock clock;
  std::string out;
  Checklist list(true, true, clock, [&](std::string_view text) { out += text; });
  list.Begin("topics");
  list.WaitingFor("too soon to be shown");
  clock.Advance(milliseconds(300));
  list.WaitingFor("Kafka");
  list.Done();
  EXPECT_EQ(out,
            "\r\x1b[2K  · topics …"
            "\r\x1b[2K  · topics  0.3 s  waiting for Kafka"
            "\r\x1b[2K  \x1b[32m✓\x1b[0m topics  \x1b[2m0.3 s\x1b[0m\n");
}

TEST(ChecklistTest, NoLineIsWiderThanTheTerminal) {
  FakeClock clock;
  std::vector<std::string> lines;
  const auto keep = [&](std::string_view text) {
    constexpr std::string_view kRewind = "\r\x1b[2K";
    if (text.starts_with(kRewind)) text.remove_prefix(kRewind.size());
    if (!text.empty()) lines.emplace_back(text);
  };
  Checklist list(true, false, clock, keep, [] { return std::size_t{30}; });
  list.Begin("correlation");
  clock.Advance(milliseconds(1200));
  list.WaitingFor("registry: no answer\nfrom 127.0.0.1:20001");
  list.Done("area-surge, storm-day, repeat-location");
  list.Begin("a step with a name that is long as can be");
  list.WaitingFor("日本語日本語日本語日本語日本語");
  list.Failed("a reason is told in full, however long it is");
  EXPECT_THAT(lines, ElementsAre("  · correlation …", "  · correlation  1.2 s  wait…",
                                 "  ✓ correlation  area…  1.2 s\n", "  · a step with a name that …",
                                 "  × a step with a name that …\n",
                                 "a reason is told in full, however long it is\n"));
  lines.pop_back();
  for (const std::string& line : lines) EXPECT_LT(Columns(line.substr(0, line.find('\n'))), 30U);
}

TEST(ColumnsTest, CountsWhatTheEyeSees) {
  EXPECT_EQ(Columns("abc"), 3U);
  EXPECT_EQ(Columns("→é"), 2U);
  EXPECT_EQ(Columns("e\u0301"), 1U);
  EXPECT_EQ(Columns("日本"), 4U);
  EXPECT_EQ(Columns("\xff\xc3"), 2U);
}

TEST(ColumnsTest, FittingKeepsLettersWholeAndNothingThatMovesTheCursor) {
  EXPECT_EQ(FitColumns("abc", 3), "abc");
  EXPECT_EQ(FitColumns("abcd", 3), "ab…");
  EXPECT_EQ(FitColumns("日本語", 5), "日本…");
  EXPECT_EQ(FitColumns("日本語", 4), "日…");
  EXPECT_EQ(FitColumns("a\nb\x1b[2Jc", 20), "a b [2Jc");
  EXPECT_EQ(FitColumns("abc", 1), "…");
  EXPECT_EQ(FitColumns("abc", 0), "");
}

TEST(ExitCodeTest, AsDocumented) {
  EXPECT_EQ(ExitCodeFor(absl::StatusCode::kOk), 0);
  EXPECT_EQ(ExitCodeFor(absl::StatusCode::kInvalidArgument), 1);
  EXPECT_EQ(ExitCodeFor(InvalidArgument("by a service")), 1);
  EXPECT_EQ(ExitCodeFor(UsageError("by the command line")), 2);
  EXPECT_EQ(ExitCodeFor(Annotate(UsageError(NotFound("x"), "--flag"), "around it")), 2);
  EXPECT_EQ(ExitCodeFor(absl::StatusCode::kNotFound), 3);
  EXPECT_EQ(ExitCodeFor(absl::StatusCode::kUnavailable), 5);
  EXPECT_EQ(ExitCodeFor(absl::StatusCode::kUnauthenticated), 6);
  EXPECT_EQ(ExitCodeFor(absl::StatusCode::kFailedPrecondition), 7);
  EXPECT_EQ(ExitCodeFor(absl::StatusCode::kDeadlineExceeded), 124);
  EXPECT_EQ(ExitCodeFor(absl::StatusCode::kCancelled), 130);
}

}  // namespace
}  // namespace tocsin::cli
