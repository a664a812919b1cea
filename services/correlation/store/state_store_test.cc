#include "services/correlation/store/state_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "lib/base/testing/fake_clock.h"
#include "lib/base/testing/status_matchers.h"

namespace tocsin::correlation {
namespace {

using ::testing::ElementsAre;
using ::testing::Pair;

class StateStoreTest : public ::testing::Test {
 protected:
  StateStoreTest() {
    std::string pattern = ::testing::TempDir() + "/tocsin-state-XXXXXX";
    folder_ = ::mkdtemp(pattern.data());
    options_.folder = folder_ + "/calls.raw/0";
  }
  ~StateStoreTest() override { std::filesystem::remove_all(folder_); }

  std::unique_ptr<StateStore> Open() {
    auto store = StateStore::Open(options_, clock_.Now());
    EXPECT_THAT(store, IsOk());
    return store.ok() ? *std::move(store) : nullptr;
  }

  std::string folder_;
  StateStoreOptions options_;
  FakeClock clock_;
};

TEST_F(StateStoreTest, KeepsStateAndPositionTogether) {
  auto store = Open();
  EXPECT_EQ(store->position(), std::nullopt);
  ASSERT_THAT(store->Apply({{"a", "1"}, {"b", "2"}}, 7, clock_.Now()), IsOk());
  ASSERT_THAT(store->Apply({{"a", std::nullopt}, {"c", ""}}, 9, clock_.Now()), IsOk());
  store.reset();
  store = Open();
  EXPECT_EQ(store->position(), 9);
  EXPECT_EQ(store->Get("a"), std::nullopt);
  EXPECT_EQ(store->Get("b"), "2");
  EXPECT_EQ(store->Get("c"), "");
  EXPECT_THAT(store->status(), IsOk());
}

TEST_F(StateStoreTest, RangesDoNotShowTheStoresOwnKeys) {
  auto store = Open();
  ASSERT_THAT(store->Apply({{"a", "1"}, {"b", "2"}, {"b\xff", "3"}, {"c", "4"}}, 1, clock_.Now()),
              IsOk());
  std::vector<std::pair<std::string, std::string>> seen;
  const auto collect = [&](std::string_view key, std::string_view value) {
    seen.emplace_back(key, value);
    return true;
  };
  store->Range("", "", collect);
  EXPECT_THAT(seen,
              ElementsAre(Pair("a", "1"), Pair("b", "2"), Pair("b\xff", "3"), Pair("c", "4")));
  seen.clear();
  store->Range("b", "c", collect);
  EXPECT_THAT(seen, ElementsAre(Pair("b", "2"), Pair("b\xff", "3")));
}

TEST_F(StateStoreTest, ACrashLosesTheTailAndThePositionWithIt) {
  options_.lose_unwritten_on_close = true;
  Open();
  {
    auto store = Open();
    ASSERT_THAT(store->Apply({{"a", "1"}}, 7, clock_.Now()), IsOk());
  }
  auto store = Open();
  EXPECT_EQ(store->position(), std::nullopt);
  EXPECT_EQ(store->Get("a"), std::nullopt);
}

TEST_F(StateStoreTest, WhatIsTooOldIsDiscarded) {
  {
    auto store = Open();
    ASSERT_THAT(store->Apply({{"a", "1"}}, 7, clock_.Now()), IsOk());
  }
  clock_.Advance(std::chrono::hours(11));
  EXPECT_EQ(Open()->position(), 7);
  clock_.Advance(std::chrono::hours(2));
  auto store = Open();
  EXPECT_EQ(store->position(), std::nullopt);
  EXPECT_EQ(store->Get("a"), std::nullopt);
}

TEST_F(StateStoreTest, OneAtATime) {
  auto store = Open();
  EXPECT_THAT(StateStore::Open(options_, clock_.Now()),
              StatusIs(absl::StatusCode::kUnavailable, ::testing::HasSubstr("has it open")));
}

TEST_F(StateStoreTest, DamageIsToldApart) {
  {
    auto store = Open();
    ASSERT_THAT(store->Apply({{"a", "1"}}, 7, clock_.Now()), IsOk());
  }
  for (const auto& entry : std::filesystem::directory_iterator(options_.folder)) {
    if (entry.path().filename().string().starts_with("CURRENT")) {
      std::ofstream(entry.path()) << "nonsense";
    }
  }
  EXPECT_THAT(StateStore::Open(options_, clock_.Now()), StatusIs(absl::StatusCode::kDataLoss));
  ASSERT_THAT(StateStore::Wipe(options_.folder), IsOk());
  EXPECT_EQ(Open()->position(), std::nullopt);
}

}  // namespace
}  // namespace tocsin::correlation
