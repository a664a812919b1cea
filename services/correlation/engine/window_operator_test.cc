// Single cases of window rules; window_simulation_test.cc has the whole.
#include "services/correlation/engine/window_operator.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "lib/base/testing/status_matchers.h"
#include "lib/base/text.h"
#include "lib/base/time.h"
#include "lib/schema/wire_format.h"
#include "services/correlation/engine/keys.h"
#include "services/correlation/engine/task.h"
#include "services/correlation/testing/test_rule.h"
#include "tocsin/correlation/v1/aggregate.pb.h"

namespace tocsin::correlation {
namespace {

using std::chrono::minutes;
using std::chrono::seconds;
using testing::Call;
using testing::CallDescriptor;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using testing::MakeCallRecord;

class WindowOperatorTest : public ::testing::Test {
 protected:
  // One partition; the township is the stream's key.
  void Apply(const std::string& window, const std::string& more = "") {
    const FixedStreams streams({{"calls.raw", CallDescriptor(), "township", nullptr}});
    const auto rule =
        CompileRule(Concat("id: w\nstream: calls.raw\n", more, "window: {group-by: [township], ",
                           window, ", aggregates: [{name: n, function: count}]}"),
                    "w.yaml", streams);
    ASSERT_THAT(rule.status(), IsOk());
    StreamSpec stream;
    stream.topic = "calls.raw";
    stream.message_type = "test.Call";
    TaskOptions options;
    options.aggregate_schema.id = schema::SchemaId(3);
    task_ = std::make_unique<Task>(0, RulePlan::Make(stream, {{*rule, 1}}), options);
  }

  // "north 3 open 1": key, events, open or final, revision.
  std::vector<std::string> Run(const TaskInput& input) {
    Overlay overlay(state_);
    TaskResult result = task_->Run(input, overlay);
    state_.Apply(overlay.changes());
    counts_ = result.counts.rules["w"];
    std::vector<std::string> told;
    for (const OutputRecord& output : result.outputs) {
      v1::WindowResult window;
      const std::string value = output.record.value.value_or("");
      const auto frame = schema::DecodeFrame(value);
      EXPECT_TRUE(frame.ok() && window.ParseFromString(std::string(frame->payload)));
      told.push_back(Concat(window.group_key(0), " ", window.events(),
                            window.final() ? " final " : " open ", window.revision()));
    }
    return told;
  }

  std::vector<std::string> Event(std::chrono::milliseconds at, const std::string& township = "a",
                                 std::chrono::milliseconds sent = {}) {
    Call call;
    call.township = township;
    call.place = "p";
    call.row = ++row_;
    call.time = begin_ + at;
    kafka::Record record = MakeCallRecord(call, 0, row_);
    record.timestamp = begin_ + sent;
    kafka::HeaderMemory headers;
    const kafka::RecordView view = kafka::AsView(record, headers);
    TaskInput input;
    input.records = {&view};
    return Run(input);
  }

  std::vector<std::string> Silence(Duration idle_for, Duration beyond) {
    TaskInput input;
    input.silences = {{idle_for, std::nullopt, beyond}};
    return Run(input);
  }

  const WallTime begin_ = ParseTime("2017-03-01T00:00:00Z").value();
  MemoryState state_;
  std::unique_ptr<Task> task_;
  RuleCounts counts_;
  std::int64_t row_ = 0;
};

constexpr char kEventTime[] = "order: event_time\nidle-timeout: 1s\n";

TEST_F(WindowOperatorTest, AWindowClosesWhenItsEndAndGraceHavePassed) {
  Apply("type: tumbling, size: 10s, grace: 2s", kEventTime);
  EXPECT_THAT(Event(seconds(1)), IsEmpty());
  EXPECT_THAT(Event(std::chrono::milliseconds(11'999)), IsEmpty());
  EXPECT_THAT(Event(seconds(9)), IsEmpty()) << "late, but within the grace";
  EXPECT_THAT(Event(seconds(12)), ElementsAre("a 2 final 1"));
  EXPECT_THAT(Event(seconds(8)), IsEmpty());
  EXPECT_EQ(counts_.late, 1);
}

TEST_F(WindowOperatorTest, TimeGoesOnInSilence) {
  Apply("type: tumbling, size: 10s, grace: 2s", kEventTime);
  EXPECT_THAT(Event(seconds(4)), IsEmpty());
  EXPECT_THAT(Silence(seconds(1), seconds(0)), IsEmpty());
  EXPECT_THAT(Silence(seconds(1), seconds(7)), IsEmpty());
  EXPECT_THAT(Silence(seconds(1), seconds(8)), ElementsAre("a 1 final 1"));
  EXPECT_THAT(Event(seconds(5)), IsEmpty());
  EXPECT_EQ(counts_.late, 1) << "its window has closed";
}

TEST_F(WindowOperatorTest, WhatEverySoOftenIsToldIsWhatHasChanged) {
  Apply("type: tumbling, size: 10s, grace: 0s, emit: every, every: 2s", kEventTime);
  EXPECT_THAT(Event(seconds(1)), IsEmpty());
  EXPECT_THAT(Event(std::chrono::milliseconds(1'500)), IsEmpty());
  EXPECT_THAT(Event(seconds(2)), ElementsAre("a 2 open 1"));
  EXPECT_THAT(Event(seconds(7)), ElementsAre("a 3 open 2"));
  EXPECT_THAT(Event(seconds(20)), ElementsAre("a 4 open 3", "a 4 final 4"));
}

TEST_F(WindowOperatorTest, ASessionThatBecomesPartOfAnotherIsWithdrawn) {
  Apply("type: session, gap: 2s, grace: 10s, emit: on_change",
        Concat(kEventTime, "max-disorder: 0s\n"));
  Event(seconds(1));
  EXPECT_THAT(Event(seconds(4)), ElementsAre("a 1 open 1"));
  EXPECT_THAT(Event(std::chrono::milliseconds(4'500)), ElementsAre("a 1 open 1"));
  // It connects both.
  Event(seconds(3));
  EXPECT_THAT(Event(seconds(60)), ::testing::Contains("a 0 final 2"));
}

TEST_F(WindowOperatorTest, KeysBeyondTheCapAreDroppedAndCounted) {
  Apply("type: tumbling, size: 10s, grace: 0s, max-keys: 2", kEventTime);
  Event(seconds(1), "a");
  Event(seconds(2), "b");
  Event(seconds(3), "c");
  Event(seconds(4), "a");
  EXPECT_EQ(counts_.dropped["max_keys"], 1) << "c, which came to its turn";
  EXPECT_THAT(Event(seconds(11), "d"), ElementsAre("a 2 final 1", "b 1 final 1"));
  Event(seconds(12), "e");
  EXPECT_THAT(Event(seconds(25), "f"), ElementsAre("d 1 final 1", "e 1 final 1"))
      << "there is room again";
}

TEST_F(WindowOperatorTest, AKeyThatNothingTouchesIsForgotten) {
  Apply("type: session, gap: 1h, ttl: 10m");
  EXPECT_THAT(Event(seconds(1), "a", minutes(0)), IsEmpty());
  EXPECT_THAT(Event(seconds(2), "a", minutes(6)), IsEmpty());
  EXPECT_THAT(Event(seconds(2), "b", minutes(12)), IsEmpty()) << "touched six minutes ago";
  EXPECT_THAT(Event(seconds(3), "b", minutes(17)), ElementsAre("a 2 final 1"));
  EXPECT_EQ(counts_.dropped["ttl"], 1);
}

TEST_F(WindowOperatorTest, ASlidingWindowOfAnEventThatComesLateEndsAtThatEvent) {
  Apply("type: sliding, size: 10s");
  EXPECT_THAT(Event(seconds(1)), ElementsAre("a 1 open 1"));
  EXPECT_THAT(Event(seconds(12)), ElementsAre("a 1 open 1"));
  EXPECT_THAT(Event(seconds(5)), ElementsAre("a 2 open 1"));
  EXPECT_THAT(Event(seconds(14)), ElementsAre("a 3 open 1"));
  EXPECT_THAT(Event(std::chrono::hours(2)), ElementsAre("a 1 open 1"));
  EXPECT_THAT(Event(seconds(15)), IsEmpty());
  EXPECT_EQ(counts_.dropped["too_old"], 1);
}

TEST_F(WindowOperatorTest, AnAbortedBatchLeavesNothingBehind) {
  Apply("type: tumbling, size: 10s, grace: 0s", kEventTime);
  Event(seconds(1));
  Call call;
  call.township = "a";
  call.row = 77;
  call.time = begin_ + seconds(2);
  const kafka::Record record = MakeCallRecord(call, 0, 77);
  kafka::HeaderMemory headers;
  const kafka::RecordView view = kafka::AsView(record, headers);
  TaskInput input;
  input.records = {&view};
  Overlay dropped(state_);
  task_->Run(input, dropped);
  task_->Rewind();
  EXPECT_THAT(Event(seconds(10)), ElementsAre("a 1 final 1"));
}

}  // namespace
}  // namespace tocsin::correlation
