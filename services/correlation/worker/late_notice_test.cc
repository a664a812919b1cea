#include "services/correlation/worker/late_notice.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tocsin::correlation {
namespace {

using std::chrono::seconds;
using ::testing::ElementsAre;
using ::testing::FieldsAre;
using ::testing::IsEmpty;

Counts Late(std::int64_t repeat, std::int64_t surge) {
  Counts counts;
  counts.rules["repeat"].late = repeat;
  counts.rules["repeat"].taken = 7;
  counts.rules["surge"].late = surge;
  return counts;
}

TEST(LateNoticeTest, TellsAtOnceAndThenSumsUp) {
  const SteadyTime start{};
  LateNotice notice;
  notice.Add("calls", Late(0, 0));
  EXPECT_THAT(notice.Due(start), IsEmpty());
  notice.Add("calls", Late(2, 0));
  EXPECT_THAT(notice.Due(start), ElementsAre(FieldsAre("calls", "repeat", 2)));
  EXPECT_THAT(notice.Due(start + seconds(60)), IsEmpty()) << "nothing new";

  notice.Add("calls", Late(1, 0));
  EXPECT_THAT(notice.Due(start + seconds(61)), ElementsAre(FieldsAre("calls", "repeat", 1)));
  notice.Add("calls", Late(3, 1));
  notice.Add("calls", Late(4, 0));
  notice.Add("ships", Late(1, 0));
  EXPECT_THAT(notice.Due(start + seconds(70)), IsEmpty());
  EXPECT_THAT(notice.Due(start + seconds(71)),
              ElementsAre(FieldsAre("calls", "repeat", 7), FieldsAre("calls", "surge", 1),
                          FieldsAre("ships", "repeat", 1)));
}

}  // namespace
}  // namespace tocsin::correlation
