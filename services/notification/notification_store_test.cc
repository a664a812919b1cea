#include "services/notification/notification_store.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <string>
#include <vector>

#include "lib/base/testing/fake_clock.h"
#include "lib/base/testing/status_matchers.h"
#include "lib/base/text.h"
#include "lib/sql/sqlite.h"

namespace tocsin::notification {
namespace {
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;

class NotificationStoreTest : public ::testing::Test {
 protected:
  NotificationStoreTest() {
    std::string pattern = ::testing::TempDir() + "/notificationXXXXXX";
    folder_ = mkdtemp(pattern.data());
    database_ = *sql::OpenSqlite({.path = (folder_ / "n.db").string()});
    store_ = *NotificationStore::Open(*database_, clock_);
  }
  ~NotificationStoreTest() override {
    store_.reset();
    database_.reset();
    std::filesystem::remove_all(folder_);
  }

  void Add(const std::string& key, int attempt, const std::string& incident = "i1") {
    v1::NotificationSent sent;
    sent.set_idempotency_key(key);
    sent.set_attempt(attempt);
    sent.set_incident_id(incident);
    sent.mutable_time()->set_seconds(
        std::chrono::floor<std::chrono::seconds>(clock_.Now().time_since_epoch()).count());
    EXPECT_THAT(store_->Add(sent), IsOk());
  }
  std::vector<std::string> Keys(int page_size, const std::string& incident = "") {
    v1::ListNotificationsRequest request;
    request.set_page_size(page_size);
    request.set_incident_id(incident);
    std::vector<std::string> keys;
    do {
      const auto page = store_->List(request);
      EXPECT_THAT(page, IsOk());
      if (!page.ok()) break;
      for (const auto& sent : page->notifications()) {
        keys.push_back(Concat(sent.idempotency_key(), sent.attempt()));
      }
      request.set_page_token(page->next_page_token());
    } while (!request.page_token().empty());
    return keys;
  }

  FakeClock clock_;
  std::filesystem::path folder_;
  std::unique_ptr<sql::Database> database_;
  std::unique_ptr<NotificationStore> store_;
};

TEST_F(NotificationStoreTest, ListsNewestFirst) {
  Add("a", 1);
  Add("a", 2);
  Add("b", 1, "i2");
  for (const int size : {1, 2, 3, 0}) EXPECT_THAT(Keys(size), ElementsAre("b1", "a2", "a1"));
  EXPECT_THAT(Keys(1, "i1"), ElementsAre("a2", "a1"));
  v1::ListNotificationsRequest request;
  request.set_page_token("nonsense");
  EXPECT_THAT(store_->List(request),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("page_token")));
}

TEST_F(NotificationStoreTest, KnowsTheLastAttempt) {
  EXPECT_FALSE(store_->Last("a").value().has_value());
  Add("a", 1);
  Add("a", 2);
  Add("b", 7);
  EXPECT_EQ(store_->Last("a").value()->attempt(), 2);
}

TEST_F(NotificationStoreTest, ForgetsWhatIsOld) {
  Add("a", 1);
  clock_.Advance(std::chrono::hours(2));
  Add("b", 1);
  EXPECT_THAT(store_->Expire(std::chrono::hours(1)), IsOk());
  EXPECT_THAT(Keys(0), ElementsAre("b1"));
}

TEST_F(NotificationStoreTest, RoutesOfTheFirstStartTellEverythingAndLaterOnesWhatIsNew) {
  const WallTime beginning{};
  EXPECT_THAT(*store_->RoutesSince({"a", "b"}),
              ElementsAre(Pair("a", beginning), Pair("b", beginning)));
  clock_.Advance(std::chrono::hours(1));
  const WallTime later = clock_.Now();
  EXPECT_THAT(*store_->RoutesSince({"a", "c"}),
              ElementsAre(Pair("a", beginning), Pair("c", later)));
  clock_.Advance(std::chrono::hours(1));
  EXPECT_THAT(*store_->RoutesSince({"a", "b", "c"}),
              ElementsAre(Pair("a", beginning), Pair("b", beginning), Pair("c", later)));
}

TEST_F(NotificationStoreTest, AFirstStartWithoutRoutesCounts) {
  EXPECT_THAT(*store_->RoutesSince({}), ::testing::IsEmpty());
  EXPECT_THAT(*store_->RoutesSince({"a"}), ElementsAre(Pair("a", clock_.Now())));
}

TEST_F(NotificationStoreTest, WhoHasToldSomethingHasStartedBefore) {
  Add("k", 1);
  EXPECT_THAT(*store_->RoutesSince({"a"}), ElementsAre(Pair("a", clock_.Now())));
}

}  // namespace
}  // namespace tocsin::notification
