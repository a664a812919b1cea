#include "services/correlation/worker/state_questions.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <thread>

#include "lib/base/testing/status_matchers.h"
#include "lib/base/text.h"
#include "services/correlation/testing/oracle.h"

namespace tocsin::correlation {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::HasSubstr;

SteadyTime In(milliseconds time) { return std::chrono::steady_clock::now() + time; }

class StateQuestionsTest : public ::testing::Test {
 protected:
  StateQuestionsTest() {
    std::string pattern = ::testing::TempDir() + "/tocsin-questions-XXXXXX";
    folder_ = ::mkdtemp(pattern.data());
    TaskSlot& slot = tasks_[{"calls.raw", 1}];
    slot.plan = testing::MakePlan(testing::PublicSafetyRules(), 2);
    slot.partition = 1;
    slot.phase = Phase::kRunning;
    StateStoreOptions options;
    options.folder = Concat(folder_, "/store");
    slot.store = StateStore::Open(options, Clock::Real().Now()).value();
    StateChanges changes;
    changes["k"] = "v";
    EXPECT_THAT(slot.store->Apply(changes, 17, Clock::Real().Now()), IsOk());
  }
  ~StateQuestionsTest() override {
    tasks_.clear();
    std::filesystem::remove_all(folder_);
  }

  // Asks while another thread is the worker.
  absl::Status Ask(const TaskId& task, const StateQuestions::Look& look) {
    std::atomic<bool> done{false};
    std::thread worker([&] {
      while (!done) {
        questions_.Answer(tasks_);
        std::this_thread::yield();
      }
    });
    const absl::Status asked = questions_.Ask(task, look, In(seconds(20)));
    done = true;
    worker.join();
    return asked;
  }

  std::string folder_;
  TaskSlots tasks_;
  StateQuestions questions_;
};

TEST_F(StateQuestionsTest, TheWorkersThreadLooks) {
  std::optional<std::string> value;
  std::int64_t position = 0;
  std::thread::id looked;
  EXPECT_THAT(Ask({"calls.raw", 1},
                  [&](const StateReader& state, std::int64_t at) {
                    value = state.Get("k");
                    position = at;
                    looked = std::this_thread::get_id();
                  }),
              IsOk());
  EXPECT_EQ(value, "v");
  EXPECT_EQ(position, 17);
  EXPECT_NE(looked, std::this_thread::get_id());
}

TEST_F(StateQuestionsTest, WhatTheWorkerDoesNotHaveOrDoesNotRun) {
  const auto look = [](const StateReader&, std::int64_t) { FAIL(); };
  EXPECT_THAT(Ask({"calls.raw", 0}, look), StatusIs(absl::StatusCode::kNotFound));
  tasks_[{"calls.raw", 1}].phase = Phase::kRestoring;
  EXPECT_THAT(Ask({"calls.raw", 1}, look),
              StatusIs(absl::StatusCode::kUnavailable, HasSubstr("calls.raw[1]")));
}

TEST_F(StateQuestionsTest, WhoHasGivenUpIsNotAnswered) {
  const auto look = [](const StateReader&, std::int64_t) { FAIL(); };
  EXPECT_THAT(questions_.Ask({"calls.raw", 1}, look, In(milliseconds(1))),
              StatusIs(absl::StatusCode::kDeadlineExceeded));
  questions_.Answer(tasks_);
}

TEST_F(StateQuestionsTest, AnEndedWorkerSaysSoToAllThatWaitAndCome) {
  absl::Status waiting;
  std::thread asker([&] { waiting = questions_.Ask({"calls.raw", 1}, nullptr, In(seconds(20))); });
  questions_.Close();
  asker.join();
  EXPECT_THAT(waiting, StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_THAT(questions_.Ask({"calls.raw", 1}, nullptr, In(seconds(20))),
              StatusIs(absl::StatusCode::kUnavailable, HasSubstr("ended")));
}

}  // namespace
}  // namespace tocsin::correlation
