#include "lib/http/connection_table.h"

#include <gtest/gtest.h>

#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace tocsin::http {
namespace {

using Place = std::unique_ptr<ConnectionTable::Place>;

class ConnectionTableTest : public ::testing::Test {
 protected:
  void Make(int places, int per_address = 0) {
    table_ = std::make_shared<ConnectionTable>(places, per_address);
  }
  // Somebody who writes down that they were asked.
  Place Enter(const std::string& name, const std::string& peer = "192.0.2.1:5") {
    Place place = table_->Enter(peer);
    if (place != nullptr) place->OnAskedToLeave([this, name] { asked_.push_back(name); });
    return place;
  }
  std::vector<std::string> TakeAsked() { return std::exchange(asked_, {}); }

  std::shared_ptr<ConnectionTable> table_;
  std::vector<std::string> asked_;
};

using Names = std::vector<std::string>;

TEST_F(ConnectionTableTest, TheLongestWaitingOneGivesTheirPlace) {
  Make(3);
  const Place a = Enter("a");
  const Place b = Enter("b");
  const Place c = Enter("c");
  EXPECT_EQ(TakeAsked(), Names{});
  // Moved to the end by a new wait, and out of the line by work.
  a->Waits();
  b->Busy();
  const Place d = Enter("d");
  EXPECT_NE(d, nullptr);
  EXPECT_EQ(TakeAsked(), Names{"c"});
  EXPECT_TRUE(c->asked_to_leave());
  EXPECT_FALSE(a->asked_to_leave());
  const Place e = Enter("e");
  EXPECT_EQ(TakeAsked(), Names{"a"});
  b->Waits();
  const Place f = Enter("f");
  EXPECT_EQ(TakeAsked(), Names{"d"});
}

TEST_F(ConnectionTableTest, WhereAllWorkNobodyEnters) {
  Make(2);
  Place a = Enter("a");
  const Place b = Enter("b");
  a->Busy();
  b->Busy();
  EXPECT_EQ(Enter("c"), nullptr);
  EXPECT_EQ(TakeAsked(), Names{});
  a = nullptr;
  EXPECT_NE(Enter("d"), nullptr);
}

TEST_F(ConnectionTableTest, WhoMovesInTimeStaysAndTheLimitComesBack) {
  Make(2);
  const Place a = Enter("a");
  const Place b = Enter("b");
  const Place c = Enter("c");
  EXPECT_EQ(TakeAsked(), Names{"a"});
  a->Busy();
  EXPECT_FALSE(a->asked_to_leave());
  // Three are there: two must go for one to come.
  const Place d = Enter("d");
  EXPECT_NE(d, nullptr);
  EXPECT_EQ(TakeAsked(), (Names{"b", "c"}));
}

TEST_F(ConnectionTableTest, ThoseWhoAreSlowToLeaveAreBounded) {
  Make(1);
  std::vector<Place> places;
  for (std::size_t i = 0; i <= ConnectionTable::kMostLeaving; ++i) {
    places.push_back(Enter("x"));
    ASSERT_NE(places.back(), nullptr) << i;
  }
  EXPECT_EQ(Enter("one too many"), nullptr);
  places.erase(places.begin());
  EXPECT_NE(Enter("next"), nullptr);
}

TEST_F(ConnectionTableTest, AnAddressHasItsOwnLimit) {
  Make(10, 2);
  const Place other = Enter("other", "198.51.100.7:1");
  Place a = Enter("a", "192.0.2.1:1");
  const Place b = Enter("b", "192.0.2.1:2");
  a->Waits();
  const Place c = Enter("c", "192.0.2.1:3");
  EXPECT_NE(c, nullptr);
  EXPECT_EQ(TakeAsked(), Names{"b"});
  a->Busy();
  c->Busy();
  EXPECT_EQ(Enter("d", "192.0.2.1:4"), nullptr);
  EXPECT_NE(Enter("e", "192.0.2.2:4"), nullptr);
  EXPECT_EQ(TakeAsked(), Names{});
  a = nullptr;
  EXPECT_NE(Enter("f", "192.0.2.1:5"), nullptr);
}

TEST_F(ConnectionTableTest, AnAddressOfIpV6IsItsNetwork) {
  EXPECT_EQ(AddressOfPeer("192.0.2.1:80"), "192.0.2.1");
  EXPECT_EQ(AddressOfPeer("[2001:db8:1:2:3:4:5:6]:80"), "2001:db8:1:2::");
  EXPECT_EQ(AddressOfPeer("[2001:db8:1:2:ffff::1]:81"), "2001:db8:1:2::");
  EXPECT_EQ(AddressOfPeer("[::ffff:192.0.2.1]:80"), "::ffff:192.0.2.1");
  EXPECT_EQ(AddressOfPeer("[fe80::1%eth0]:80"), "fe80::1%eth0");
}

TEST_F(ConnectionTableTest, ManyThreadsMoveAtOnce) {
  Make(50, 20);
  std::vector<std::thread> threads;
  std::vector<Place> places;
  for (int i = 0; i < 4; ++i) places.push_back(table_->Enter("192.0.2.1:1"));
  for (Place& place : places) {
    threads.emplace_back([&place] {
      for (int i = 0; i < 2000; ++i) {
        place->Busy();
        place->Waits();
      }
      place = nullptr;
    });
  }
  for (int i = 0; i < 2000; ++i) EXPECT_NE(Enter("x", "192.0.2.1:2"), nullptr);
  for (std::thread& thread : threads) thread.join();
}

}  // namespace
}  // namespace tocsin::http
