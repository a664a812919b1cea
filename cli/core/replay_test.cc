#include "cli/core/replay.h"

#include <gmock/gmock.h>
#include <google/protobuf/descriptor.h>
#include <google/protobuf/dynamic_message.h>

#include <deque>
#include <fstream>

#include "cli/core/csv_mapper.h"
#include "cli/core/pack.h"
#include "lib/base/testing/fake_clock.h"
#include "lib/base/testing/status_matchers.h"
#include "lib/base/text.h"

namespace tocsin::cli {
namespace {

using io::cloudevents::v1::CloudEvent;
using std::chrono::milliseconds;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr const char* kHeader = "lat,lng,title,time,township,address\n";

class ReplayTest : public ::testing::Test, public ReplayIo {
 protected:
  void SetUp() override {
    std::string pattern =
        (std::filesystem::temp_directory_path() / "tocsin-replay-XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
    pack_ = LoadPack("public-safety", std::filesystem::path(TOCSIN_SOURCE_DIR) / "packs").value();
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::filesystem::path Write(std::string_view text) {
    const auto path = folder_ / "calls.csv";
    std::ofstream(path, std::ios::binary) << text;
    return path;
  }
  absl::StatusOr<std::unique_ptr<CsvMapper>> Mapper(const std::filesystem::path& csv) {
    const auto header = ReadHeader(csv);
    if (!header.ok()) return header.status();
    const auto mapping = ChooseMapping(pack_.pack, *header);
    if (!mapping.ok()) return mapping.status();
    const auto* const stream = FindStream(pack_.pack, (*mapping)->stream()).value();
    return CsvMapper::Create({*mapping, stream, LoadStreamSchema(pack_, *stream).value(), *header,
                              csv.stem().string(), ""});
  }
  absl::StatusOr<ReplayResult> Run(std::string_view rows, const ReplayOptions& options = {}) {
    const auto csv = Write(Concat(kHeader, rows));
    auto mapper = Mapper(csv);
    if (!mapper.ok()) return mapper.status();
    return Replay(csv, **mapper, options, *this);
  }

  absl::StatusOr<std::vector<ingest::v1::Receipt>> Publish(
      const std::vector<CloudEvent>& events) override {
    std::string call;
    std::vector<ingest::v1::Receipt> receipts;
    for (const CloudEvent& event : events) {
      const std::string number = event.id().substr(event.id().find('#') + 1);
      call += Concat(call.empty() ? "" : " ", number);
      auto& receipt = receipts.emplace_back();
      receipt.set_id(event.id());
      if (const auto found = refuse_.find(number); found != refuse_.end()) {
        receipt.set_error_code(static_cast<int>(found->second.code()));
        receipt.set_error_message(std::string(Message(found->second)));
        if (found->second.code() != absl::StatusCode::kInvalidArgument) refuse_.erase(found);
      }
    }
    calls_.push_back(call);
    sent_.insert(sent_.end(), events.begin(), events.end());
    if (!failures_.empty()) {
      const absl::Status failure = failures_.front();
      failures_.pop_front();
      if (!failure.ok()) return failure;
    }
    return receipts;
  }
  bool Wait(milliseconds duration) override {
    waited_ += duration;
    clock_.Advance(duration);
    return waited_ < stop_after_;
  }
  SteadyTime Now() const override { return clock_.SteadyNow(); }
  void OnProgress(const ReplayProgress& progress) override { progress_ = progress; }
  void OnRefused(const RefusedRow& row) override {
    refused_.push_back(Concat(row.row, ": ", row.reason));
  }

  std::filesystem::path folder_;
  LoadedPack pack_;
  FakeClock clock_;
  std::map<std::string, absl::Status> refuse_;
  std::deque<absl::Status> failures_;
  std::vector<std::string> calls_;
  std::vector<CloudEvent> sent_;
  std::vector<std::string> refused_;
  ReplayProgress progress_;
  milliseconds waited_{0};
  milliseconds stop_after_ = milliseconds::max();
};

std::string Row(std::string_view time, std::string_view township = "NORTH") {
  return Concat("40.1,-75.2,EMS: FALL VICTIM,", time, ",", township, ",MILL LN\n");
}

TEST_F(ReplayTest, ARowBecomesAnEvent) {
  ASSERT_THAT(Run(Row("2016-01-15 12:01", "UPPER MERION")), IsOk());
  ASSERT_EQ(sent_.size(), 1U);
  const CloudEvent& event = sent_[0];
  EXPECT_EQ(event.id(), "/public-safety/calls/calls#1");
  EXPECT_EQ(event.source(), "/public-safety/calls/calls");
  EXPECT_EQ(event.spec_version(), "1.0");
  EXPECT_EQ(event.type(), "tocsin.packs.publicsafety.v1.Alert");
  EXPECT_EQ(event.attributes().at("time").ce_string(), "2016-01-15T12:01:00Z");
  EXPECT_EQ(event.attributes().at("sequence").ce_string(), "000000000001");
  EXPECT_EQ(event.attributes().at("partitionkey").ce_string(), "UPPER MERION");
  const auto schema = LoadStreamSchema(pack_, pack_.pack.streams(0)).value();
  google::protobuf::DynamicMessageFactory factory;
  const std::unique_ptr<google::protobuf::Message> alert(
      factory.GetPrototype(schema.message)->New());
  ASSERT_TRUE(alert->ParseFromString(event.binary_data()));
  EXPECT_EQ(alert->ShortDebugString(),
            "source: \"/public-safety/calls/calls\" agency: \"EMS\" kind: \"FALL VICTIM\" "
            "place: \"40.1,-75.2\" latitude: 40.1 longitude: -75.2 time { seconds: 1452859260 } "
            "township: \"UPPER MERION\" address: \"MILL LN\"");
}

TEST_F(ReplayTest, SendsInTheOrderOfTimeThenRow) {
  ReplayOptions options;
  options.chunk_events = 2;
  const auto result = Run(Concat(Row("2016-01-15 12:02"), Row("2016-01-15 12:01"),
                                 Row("2016-01-15 12:01"), Row("2015-01-15 12:01")),
                          options);
  ASSERT_THAT(result, IsOk());
  EXPECT_THAT(calls_, ElementsAre("4 2", "3 1"));
  EXPECT_EQ(result->acknowledged, 4);
}

TEST_F(ReplayTest, SendsAgainWhatWasNotAcknowledgedInOrderUnderTheSameIds) {
  failures_ = {Unavailable("gateway is gone"), absl::DeadlineExceededError("slow"),
               absl::OkStatus()};
  refuse_["2"] = Unavailable("queue is full");
  refuse_["3"] = absl::ResourceExhaustedError("queue is full");
  const auto result =
      Run(Concat(Row("2016-01-15 12:01"), Row("2016-01-15 12:02"), Row("2016-01-15 12:03")));
  ASSERT_THAT(result, IsOk());
  // The first two answers were lost with their calls; the fake forgets a retriable refusal once it
  // has been given.
  EXPECT_THAT(calls_, ElementsAre("1 2 3", "1 2 3", "1 2 3"));
  EXPECT_EQ(result->acknowledged, 3);
  EXPECT_EQ(result->resends, 2);

  calls_.clear();
  refuse_["2"] = Unavailable("queue is full");
  refuse_["3"] = absl::ResourceExhaustedError("queue is full");
  ASSERT_THAT(
      Run(Concat(Row("2016-01-15 12:01"), Row("2016-01-15 12:02"), Row("2016-01-15 12:03"))),
      IsOk());
  EXPECT_THAT(calls_, ElementsAre("1 2 3", "2 3"));
}

TEST_F(ReplayTest, RefusedRowsAreNamedAndTheOthersGo) {
  refuse_["3"] = InvalidArgument("Alert.kind: not UTF-8");
  const auto result = Run(Concat(Row("2016-01-15 12:01"), Row("noon"), Row("2016-01-15 12:02"),
                                 "1,2,3\n", Row("2016-01-15 12:03", ""), Row("2016-01-15 12:04"),
                                 "abc,-75.2,EMS: X,2016-01-15 12:05,NORTH,MILL LN\n",
                                 Row("2016-01-15 12:06", "N\xffRTH")));
  ASSERT_THAT(result, IsOk());
  EXPECT_THAT(calls_, ElementsAre("1 3 6"));
  EXPECT_EQ(result->rows, 8);
  EXPECT_EQ(result->acknowledged, 2);
  EXPECT_THAT(refused_,
              ElementsAre("2: line 3: 'noon' is not a time of the form %Y-%m-%d %H:%M",
                          "4: line 5: has 3 fields, and the header has 6",
                          "5: line 6: township is empty, and it is the stream's key",
                          "7: line 8: latitude: 'abc' is not a number that fits",
                          "8: line 9: township is not valid UTF-8", "3: Alert.kind: not UTF-8"));
}

TEST_F(ReplayTest, StopsAtOnceWhereNothingCanSucceed) {
  failures_ = {absl::PermissionDeniedError("needs the role producer")};
  EXPECT_THAT(Run(Row("2016-01-15 12:01")),
              StatusIs(absl::StatusCode::kPermissionDenied, HasSubstr("producer")));
  EXPECT_EQ(calls_.size(), 1U);
}

TEST_F(ReplayTest, GivesUpWhenPatienceRunsOut) {
  ReplayOptions options;
  options.patience = std::chrono::seconds(60);
  for (int i = 0; i < 10'000; ++i) failures_.push_back(Unavailable("no answer"));
  EXPECT_THAT(Run(Row("2016-01-15 12:01"), options),
              StatusIs(absl::StatusCode::kUnavailable, HasSubstr("gave up after 60 s")));
  EXPECT_LT(waited_, std::chrono::seconds(70));
  EXPECT_THAT(progress_.waiting_for, HasSubstr("no answer"));
}

TEST_F(ReplayTest, SpeedFollowsTheEventsOwnTimes) {
  ReplayOptions options;
  options.speed = 60;
  ASSERT_THAT(Run(Concat(Row("2016-01-15 12:01"), Row("2016-01-15 12:01"), Row("2016-01-15 12:03"),
                         Row("2016-01-15 12:11")),
                  options),
              IsOk());
  EXPECT_THAT(calls_, ElementsAre("1 2", "3", "4"));
  EXPECT_EQ(waited_, std::chrono::seconds(10));
}

TEST_F(ReplayTest, CanBeStopped) {
  ReplayOptions options;
  options.speed = 1;
  stop_after_ = std::chrono::seconds(3);
  EXPECT_THAT(Run(Concat(Row("2016-01-15 12:01"), Row("2016-01-15 13:01")), options),
              StatusIs(absl::StatusCode::kCancelled));
}

TEST_F(ReplayTest, ColumnsMayStandInAnyOrderAndBeMore) {
  const auto csv = Write(
      "extra,township,time,title,lng,lat,address\n"
      "x,NORTH,2016-01-15 12:01,EMS: X,-75.2,40.1,MILL LN\n");
  auto mapper = Mapper(csv);
  ASSERT_THAT(mapper, IsOk());
  ASSERT_THAT(Replay(csv, **mapper, {}, *this), IsOk());
  EXPECT_EQ(sent_[0].attributes().at("partitionkey").ce_string(), "NORTH");
}

TEST_F(ReplayTest, HeaderErrorsSayWhatIsMissing) {
  const std::vector<std::pair<std::string, const char*>> cases{
      {"lat,lng,title,timestamp,township,address\n", "missing time"},
      {"lat,lng,titel,time,township,address\n", "('titel' looks like 'title')"},
      {"lat,lat,title,time,township,address\n", "'lat' twice"},
      {"Lat,Lng,Title,Time,Township,Address\n", "needs the columns lat,lng,title,time"},
      {"lat;lng;title;time;township;address\n", "missing lat"},
      {"40.1,-75.2,EMS: X,2016-01-15 12:01,NORTH,MILL LN\n", "missing lat"},
      {"", "is empty"},
  };
  for (const auto& [header, reason] : cases) {
    EXPECT_THAT(Mapper(Write(header)),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(reason)))
        << header;
  }
  EXPECT_THAT(ReadHeader(folder_ / "none.csv"),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("none.csv")));
  EXPECT_THAT(ReadHeader(folder_),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("not a regular file")));
}

TEST_F(ReplayTest, TheDemoIsInOrderAndWhole) {
  const auto& scenario = pack_.pack.scenarios(0);
  const auto csv = pack_.folder / scenario.csv_file();
  auto mapper = Mapper(csv);
  ASSERT_THAT(mapper, IsOk());
  const auto result = Replay(csv, **mapper, {}, *this);
  ASSERT_THAT(result, IsOk());
  EXPECT_EQ(result->acknowledged, 300);
  EXPECT_THAT(result->refused, IsEmpty());
  EXPECT_EQ(calls_.size(), 1U);
}

TEST(ReplayTextTest, SpeedAndProgress) {
  EXPECT_THAT(ParseSpeed("max"), IsOkAndHolds(0.0));
  EXPECT_THAT(ParseSpeed("60"), IsOkAndHolds(60.0));
  EXPECT_THAT(ParseSpeed("0.5x"), IsOkAndHolds(0.5));
  for (const char* const text : {"", "0", "-1", "fast", "1 2", "inf", "nan", "x"}) {
    EXPECT_THAT(ParseSpeed(text), StatusIs(absl::StatusCode::kInvalidArgument)) << text;
  }
  EXPECT_EQ(ProgressText({3051, 0, 0, ""}, std::chrono::seconds(0)), "0 of 3,051 rows (0 %)");
  EXPECT_EQ(ProgressText({3051, 1020, 2, ""}, std::chrono::seconds(1)),
            "1,022 of 3,051 rows (33 %), 1,020/s, 2 s left, 2 refused");
  EXPECT_EQ(ProgressText({10, 10, 0, "UNAVAILABLE: x"}, std::chrono::seconds(2)),
            "10 of 10 rows (100 %), 5/s, waiting: UNAVAILABLE: x");
  EXPECT_EQ(WithCommas(-1234567), "-1,234,567");
  EXPECT_EQ(WithCommas(123), "123");
}

TEST(ParseTimeAsTest, TakesTheWholeTextAndNoTimeThatCannotBeWritten) {
  EXPECT_THAT(ParseTimeAs("2016-01-15 12:01", "%Y-%m-%d %H:%M"), IsOk());
  EXPECT_THAT(ParseTimeAs(std::string("2016\0x", 6), "%Y"),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("not a time of the form %Y")));
  EXPECT_THAT(ParseTimeAs("99999999999999", "%s"),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("the years 1 to 9999")));
}

}  // namespace
}  // namespace tocsin::cli
