#include "lib/rpc/health.h"

#include <gmock/gmock.h>

#include <vector>

namespace tocsin::rpc {
namespace {

using State = HealthBoard::State;
using ::testing::ElementsAre;
using ::testing::Eq;
using ::testing::Optional;

TEST(HealthBoard, IsNotServingUntilTold) {
  HealthBoard board;
  board.Add("a.A");
  EXPECT_THAT(board.Get(""), Optional(State::kNotServing));
  EXPECT_THAT(board.Get("a.A"), Optional(State::kNotServing));
  EXPECT_THAT(board.Get("b.B"), Eq(std::nullopt));
  board.SetAll(State::kServing);
  board.Set("a.A", State::kNotServing);
  EXPECT_THAT(board.Get(""), Optional(State::kServing));
  EXPECT_THAT(board.Get("a.A"), Optional(State::kNotServing));
}

TEST(HealthBoard, TellsTheStateAtOnceAndThenChangesOnly) {
  HealthBoard board;
  std::vector<std::optional<State>> told;
  const auto id = board.Watch("a.A", [&](auto state) { told.push_back(state); });
  board.Add("a.A");
  board.SetAll(State::kServing);
  board.Set("a.A", State::kServing);
  board.Set("", State::kNotServing);
  board.Set("a.A", State::kNotServing);
  board.Unwatch(id);
  board.SetAll(State::kServing);
  EXPECT_THAT(told, ElementsAre(Eq(std::nullopt), Optional(State::kNotServing),
                                Optional(State::kServing), Optional(State::kNotServing)));
}

}  // namespace
}  // namespace tocsin::rpc
