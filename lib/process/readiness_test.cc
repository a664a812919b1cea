#include "lib/process/readiness.h"

#include <gmock/gmock.h>

#include "lib/base/testing/fake_clock.h"

namespace tocsin::process {
namespace {

using ::testing::ElementsAre;
using ::testing::SizeIs;

class ReadinessTest : public ::testing::Test {
 protected:
  ReadinessTest() : readiness_(clock_) {
    readiness_.OnChange([this](bool ready) { told_.push_back(ready); });
  }

  FakeClock clock_;
  Readiness readiness_;
  std::vector<bool> told_;
};

TEST_F(ReadinessTest, WithoutConditionsIsReady) {
  EXPECT_TRUE(readiness_.ready());
  EXPECT_EQ(readiness_.Describe(), "ready\n");
  EXPECT_THAT(told_, ElementsAre(true));
}

TEST_F(ReadinessTest, NamesEachConditionThatIsNotMetAndSinceWhen) {
  readiness_.Declare("kafka", "not asked yet");
  readiness_.Declare("registry");
  EXPECT_FALSE(readiness_.ready());
  clock_.Advance(std::chrono::seconds(3));
  readiness_.Met("registry");
  EXPECT_EQ(readiness_.Describe(),
            "not ready: kafka: not asked yet (since 2024-01-01T00:00:00Z)\n");
  readiness_.NotMet("kafka", "no answer from 127.0.0.1:9092");
  EXPECT_EQ(readiness_.Describe(),
            "not ready: kafka: no answer from 127.0.0.1:9092 (since 2024-01-01T00:00:00Z)\n")
      << "another reason, the same time without it";
  readiness_.Met("kafka");
  EXPECT_EQ(readiness_.Describe(), "ready\n");
  EXPECT_THAT(readiness_.conditions(), SizeIs(2));
}

TEST_F(ReadinessTest, TellsChangesOfTheWholeOnly) {
  readiness_.Declare("kafka");
  readiness_.Declare("registry");
  readiness_.Met("kafka");
  readiness_.Met("registry");
  readiness_.Met("registry");
  readiness_.NotMet("kafka", "gone");
  readiness_.NotMet("registry", "gone too");
  readiness_.Met("registry");
  readiness_.Met("kafka");
  EXPECT_THAT(told_, ElementsAre(true, false, true, false, true));
}

TEST_F(ReadinessTest, RecoversButNotFromStopping) {
  readiness_.NotMet("kafka", "gone");
  readiness_.Met("kafka");
  EXPECT_TRUE(readiness_.ready());
  readiness_.Stopping();
  readiness_.Met("kafka");
  EXPECT_FALSE(readiness_.ready());
  EXPECT_EQ(readiness_.Describe(), "not ready: the process stops\n");
  EXPECT_THAT(told_, ElementsAre(true, false, true, false));
}

TEST_F(ReadinessTest, LogsTheBeginningThenNewReasonsSlowlyAndTheSameOneEveryMinute) {
  const auto logged = [this](std::string_view reason) {
    ::testing::internal::CaptureStderr();
    readiness_.NotMet("kafka", reason);
    return !::testing::internal::GetCapturedStderr().empty();
  };
  readiness_.Declare("kafka");
  EXPECT_TRUE(logged("a"));
  EXPECT_FALSE(logged("a"));
  EXPECT_FALSE(logged("b"));
  clock_.Advance(std::chrono::seconds(10));
  EXPECT_FALSE(logged("a"));
  EXPECT_TRUE(logged("b"));
  clock_.Advance(std::chrono::seconds(59));
  EXPECT_FALSE(logged("b"));
  clock_.Advance(std::chrono::seconds(1));
  EXPECT_TRUE(logged("b"));
  readiness_.Met("kafka");
  EXPECT_TRUE(logged("b"));
}

TEST_F(ReadinessTest, ARepeatedDeclarationTakesNothingBack) {
  readiness_.Declare("kafka");
  readiness_.Met("kafka");
  readiness_.Declare("kafka");
  EXPECT_TRUE(readiness_.ready());
}

}  // namespace
}  // namespace tocsin::process
