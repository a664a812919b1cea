#include "services/correlation/tables/table_index.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "lib/base/testing/status_matchers.h"

namespace tocsin::correlation {
namespace {

using std::chrono::hours;
using std::chrono::minutes;

constexpr WallTime kStart{hours(24 * 20'000)};

class TableIndexTest : public ::testing::Test {
 protected:
  absl::Status Put(WallTime time, std::optional<std::string_view> value,
                   std::string_view key = "k") {
    TableRecord record;
    record.key = key;
    record.value = value;
    record.offset = next_++;
    record.time = time;
    record.sent = time;
    return index_.Apply("devices", record, now_);
  }
  std::string At(WallTime time, std::string_view key = "k") const {
    const auto row = index_.Find("devices", key, time);
    return row.has_value() ? *row->value : "-";
  }

  TableIndex index_{{{"devices", hours(24)}}, 4'000};
  WallTime now_ = kStart;
  std::int64_t next_ = 0;
};

TEST_F(TableIndexTest, GivesTheVersionOfTheTime) {
  EXPECT_THAT(Put(kStart + minutes(10), "b"), IsOk());
  EXPECT_THAT(Put(kStart, "a"), IsOk());
  EXPECT_THAT(Put(kStart + minutes(20), std::nullopt), IsOk());
  EXPECT_THAT(Put(kStart + minutes(30), "c"), IsOk());
  // The same time again: the later record counts.
  EXPECT_THAT(Put(kStart + minutes(10), "b2"), IsOk());
  EXPECT_EQ(At(kStart - std::chrono::microseconds(1)), "-");
  EXPECT_EQ(At(kStart), "a");
  EXPECT_EQ(At(kStart + minutes(10) - std::chrono::microseconds(1)), "a");
  EXPECT_EQ(At(kStart + minutes(10)), "b2");
  EXPECT_EQ(At(kStart + minutes(20)), "-");
  EXPECT_EQ(At(kStart + hours(99)), "c");
  EXPECT_EQ(At(kStart, "other"), "-");
  EXPECT_EQ(index_.Find("others", "k", kStart), std::nullopt);
  EXPECT_EQ(index_.Rows("devices"), 1);
}

// A removal that comes first hides what counts before it.
TEST_F(TableIndexTest, ARemovalAloneIsAVersion) {
  EXPECT_THAT(Put(kStart + minutes(5), std::nullopt), IsOk());
  EXPECT_THAT(Put(kStart, "a"), IsOk());
  EXPECT_EQ(At(kStart + minutes(1)), "a");
  EXPECT_EQ(At(kStart + minutes(5)), "-");
  EXPECT_EQ(index_.Rows("devices"), 0);
}

TEST_F(TableIndexTest, ForgetsWhatWasReplacedLongAgo) {
  EXPECT_THAT(Put(kStart, "a"), IsOk());
  const std::size_t one = index_.bytes();
  now_ = kStart + hours(1);
  EXPECT_THAT(Put(kStart + hours(1), "b"), IsOk());
  now_ = kStart + hours(25) - std::chrono::microseconds(1);
  index_.Forget(now_);
  EXPECT_EQ(At(kStart), "a");
  index_.Forget(kStart + hours(25));
  EXPECT_EQ(At(kStart), "-");
  EXPECT_EQ(At(kStart + hours(1)), "b");
  EXPECT_EQ(index_.bytes(), one);
  // The newest stays for ever; a removed row goes with all its versions.
  index_.Forget(kStart + hours(10'000));
  EXPECT_EQ(At(kStart + hours(10'000)), "b");
  now_ = kStart + hours(10'000);
  EXPECT_THAT(Put(now_, std::nullopt), IsOk());
  EXPECT_EQ(At(now_ - std::chrono::microseconds(1)), "b");
  index_.Forget(now_ + hours(24));
  EXPECT_EQ(index_.bytes(), 0);
}

TEST_F(TableIndexTest, ReadTwiceIsKnownOnce) {
  EXPECT_THAT(Put(kStart, "a"), IsOk());
  const std::size_t one = index_.bytes();
  next_ = 0;
  EXPECT_THAT(Put(kStart, "a"), IsOk());
  EXPECT_EQ(index_.bytes(), one);
}

TEST_F(TableIndexTest, RefusesWhatHasNoRoom) {
  EXPECT_THAT(Put(kStart, std::string(3'000, 'x')), IsOk());
  EXPECT_THAT(
      Put(kStart, std::string(3'000, 'y'), "other"),
      StatusIs(absl::StatusCode::kResourceExhausted, ::testing::HasSubstr("Raise table_bytes")));
  EXPECT_EQ(At(kStart, "other"), "-");
  EXPECT_THAT(Put(kStart, "small", "third"), IsOk());
}

}  // namespace
}  // namespace tocsin::correlation
