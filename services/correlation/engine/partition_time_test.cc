#include "services/correlation/engine/partition_time.h"

#include <gtest/gtest.h>

#include "lib/base/time.h"
#include "tocsin/correlation/v1/repartition.pb.h"
#include "tocsin/correlation/v1/state.pb.h"

namespace tocsin::correlation {
namespace {

using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

WallTime At(int minute) { return WallTime(std::chrono::hours(400'000)) + minutes(minute); }

TEST(PartitionTimeTest, EmptyPromisesNothing) {
  PartitionTime time;
  EXPECT_TRUE(time.empty());
  EXPECT_FALSE(time.Promise(seconds(10), std::nullopt)) << "nobody has seen anything";
  EXPECT_EQ(time.Watermark(Duration::zero(), seconds(10)), std::nullopt);
}

TEST(PartitionTimeTest, AMarkOfTimesThatDoNotExistIsReadAsTheNearestThatDo) {
  v1::WatermarkMark mark;
  mark.mutable_highest_time()->set_seconds(INT64_MIN);
  mark.mutable_highest_time()->set_nanos(-1);
  v1::SilencePromise& promise = *mark.add_promises();
  promise.mutable_idle_for()->set_seconds(INT64_MIN);
  promise.mutable_until()->set_seconds(INT64_MAX);
  const PartitionTime time = PartitionTime::FromMark(mark);
  EXPECT_EQ(time.highest(), kFirstTime);
  ASSERT_EQ(time.promises().size(), 1U);
  EXPECT_EQ(time.promises()[0].idle_for, Duration::zero());
  EXPECT_EQ(time.promises()[0].until, std::chrono::floor<seconds>(kLastTime));
  EXPECT_EQ(PartitionTime::FromMark(time.ToMark(3)), time) << "and can be written again";
}

TEST(PartitionTimeTest, ActiveStaysBehindTheHighestByTheDisorderAndAMillisecond) {
  PartitionTime time;
  EXPECT_TRUE(time.Observe(At(5)));
  EXPECT_FALSE(time.Observe(At(3)));
  EXPECT_FALSE(time.Observe(At(5)));
  EXPECT_EQ(time.Watermark(Duration::zero(), seconds(10)), At(5) - milliseconds(1));
  EXPECT_EQ(time.Watermark(minutes(2), seconds(10)), At(3) - milliseconds(1));
}

TEST(PartitionTimeTest, SilenceReachesTheHighestAndFollowsOthers) {
  PartitionTime time;
  time.Observe(At(5));
  EXPECT_TRUE(time.Promise(seconds(10), At(9)));
  EXPECT_FALSE(time.Promise(seconds(10), At(9))) << "said already";
  EXPECT_FALSE(time.Promise(seconds(10), At(8)));
  EXPECT_EQ(time.Watermark(minutes(2), seconds(10)), At(9));
  EXPECT_EQ(time.OwnWatermark(minutes(2), seconds(10)), At(5));
  // A rule that asks for a longer silence has not got it.
  EXPECT_EQ(time.Watermark(minutes(2), seconds(11)), At(3) - milliseconds(1));
  EXPECT_EQ(time.OwnWatermark(minutes(2), seconds(11)), At(3) - milliseconds(1));
}

TEST(PartitionTimeTest, NothingSeenYetFollowsOnly) {
  PartitionTime time;
  EXPECT_TRUE(time.Promise(seconds(10), At(9)));
  EXPECT_EQ(time.Watermark(Duration::zero(), seconds(10)), At(9));
  EXPECT_EQ(time.OwnWatermark(Duration::zero(), seconds(10)), std::nullopt);
}

TEST(PartitionTimeTest, PromisesOutliveTheSilence) {
  PartitionTime time;
  time.Observe(At(1));
  time.Promise(seconds(10), At(9));
  time.Observe(At(10));
  EXPECT_EQ(time.Watermark(minutes(5), seconds(10)), At(9)) << "a watermark never goes back";
  EXPECT_EQ(time.Watermark(Duration::zero(), seconds(10)), At(10) - milliseconds(1));
  time.Prune(Duration::zero());
  EXPECT_TRUE(time.promises().empty());
}

TEST(PartitionTimeTest, SilencesOfDifferentLengthStandBesideEachOther) {
  PartitionTime time;
  time.Observe(At(1));
  EXPECT_TRUE(time.Promise(seconds(10), At(9)));
  EXPECT_TRUE(time.Promise(seconds(60), At(4)));
  EXPECT_EQ(time.promises().size(), 2U);
  EXPECT_EQ(time.Watermark(Duration::zero(), seconds(10)), At(9));
  EXPECT_EQ(time.Watermark(Duration::zero(), seconds(30)), At(4));
  EXPECT_TRUE(time.Promise(seconds(60), At(9)));
  EXPECT_EQ(time.promises().size(), 1U) << "the longer silence says it all";
  EXPECT_FALSE(time.Promise(seconds(10), At(9)));
  EXPECT_TRUE(time.Promise(seconds(10), At(12)));
  EXPECT_EQ(time.Watermark(Duration::zero(), seconds(60)), At(9));
}

TEST(PartitionTimeTest, SurvivesStateAndMark) {
  PartitionTime time;
  time.Observe(At(1));
  time.Promise(seconds(10), At(9));
  time.Promise(seconds(60), At(4));
  EXPECT_EQ(PartitionTime::FromState(time.ToState()), time);
  const v1::WatermarkMark mark = time.ToMark(3);
  EXPECT_EQ(mark.upstream_partition(), 3);
  const PartitionTime marked = PartitionTime::FromMark(mark);
  EXPECT_EQ(marked.highest(), time.highest());
  for (const seconds idle : {seconds(5), seconds(10), seconds(60), seconds(61)}) {
    EXPECT_EQ(marked.Watermark(minutes(1), idle), time.Watermark(minutes(1), idle));
  }
  EXPECT_EQ(PartitionTime::FromState(PartitionTime().ToState()), PartitionTime());
}

}  // namespace
}  // namespace tocsin::correlation
