// How much compiles at one time, what stays of it, and when memory is given back.
#include "schema-registry/compile_turns.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "lib/base/testing/status_matchers.h"
#include "lib/base/text.h"
#include "schema-registry/free_memory.h"
#include "schema-registry/model.h"
#include "schema-registry/schema_compiler.h"
#include "schema-registry/testing/replica.h"

namespace tocsin::registry {
namespace {

using std::chrono::milliseconds;

TEST(CompileTurns, SoManyAtOnceAndSoManyWait) {
  CompileTurns turns({.at_once = 1, .longest_wait = milliseconds(50), .most_waiting = 1});
  std::optional<CompileTurns::Turn> first = *turns.Take(1);
  // It waits its time, and is told.
  const auto late = turns.Take(1);
  EXPECT_EQ(CodeOf(late.status()), ErrorCode::kBusy);
  EXPECT_EQ(HttpStatusOf(CodeOf(late.status())), 503);
  EXPECT_THAT(std::string(late.status().message()), ::testing::HasSubstr("try again"));
  first.reset();
  EXPECT_TRUE(turns.Take(1).ok());
  EXPECT_TRUE(turns.Take(1).ok());
}

TEST(CompileTurns, WhoWaitsIsNext) {
  CompileTurns turns({.at_once = 1, .longest_wait = std::chrono::minutes(10)});
  std::optional<CompileTurns::Turn> first = *turns.Take(1);
  std::future<bool> next = std::async(std::launch::async, [&] { return turns.Take(1).ok(); });
  first.reset();
  EXPECT_TRUE(next.get());
}

TEST(CompileTurns, NobodyWaitsWhereNobodyMay) {
  CompileTurns turns({.at_once = 1, .longest_wait = std::chrono::minutes(10), .most_waiting = 0});
  const auto first = turns.Take(1);
  EXPECT_EQ(CodeOf(turns.Take(1).status()), ErrorCode::kBusy);
}

TEST(CompileTurns, NeverMoreThanItsNumber) {
  CompileTurns turns({.at_once = 2, .longest_wait = std::chrono::minutes(10)});
  std::atomic<int> now = 0;
  std::atomic<int> most = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 16; ++i) {
    threads.emplace_back([&] {
      for (int j = 0; j < 200; ++j) {
        const auto turn = turns.Take(1);
        const int here = ++now;
        int seen = most;
        while (here > seen && !most.compare_exchange_weak(seen, here)) {
        }
        --now;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_LE(most, 2);
}

TEST(CompileTurns, TheEndOfALargeOneIsTold) {
  int told = 0;
  CompileTurns turns({.large_text_bytes = 100}, [&] { ++told; });
  { const auto small = turns.Take(99); }
  EXPECT_EQ(told, 0);
  {
    const auto large = turns.Take(100);
    EXPECT_EQ(told, 0);
  }
  EXPECT_EQ(told, 1);
}

TEST(CompileTurns, EveryCheckTakesOne) {
  FakeTopic topic;
  std::atomic<int> told = 0;
  RegistryOptions options;
  options.turns.large_text_bytes = 1;
  options.memory_freed = [&] { ++told; };
  FakeReplica registry(topic, options);
  Draft draft;
  draft.text = "syntax = 'proto3'; message A { }";
  EXPECT_TRUE(registry->Check("none", draft, Registry::Against::kLatest).ok());
  EXPECT_EQ(told, 1);
  EXPECT_TRUE(registry->CheckAll("none", draft).ok());
  EXPECT_EQ(told, 2);
  const auto made = registry->Register({"ann", "here"}, "s", draft);
  EXPECT_TRUE(made.ok());
  EXPECT_EQ(told, 3);
  EXPECT_TRUE(registry->CheckVersion("s", draft, 1).ok());
  EXPECT_EQ(told, 4);
  EXPECT_TRUE(registry->Lookup("s", draft).ok());
  EXPECT_EQ(told, 5);
  EXPECT_TRUE(registry->Serialized(*made->schema, ".").ok());
  EXPECT_EQ(told, 6);
}

StoredSchema Stored(int id, int messages) {
  std::string text = "syntax = 'proto3';";
  for (int i = 0; i < messages; ++i) text += Concat("message M", i, " { int32 a = 1; }");
  StoredSchema stored;
  stored.id = SchemaId(id);
  stored.type = kProtobuf;
  stored.text = std::make_shared<const std::string>(std::move(text));
  return stored;
}

TEST(SchemaCompiler, KeepsSoManyBytes) {
  constexpr std::size_t kMost = std::size_t{2} << 20;
  SchemaCompiler compiler({}, kMost);
  std::size_t most = 0;
  for (int id = 1; id <= 100; ++id) {
    ASSERT_TRUE(compiler.Compile(".", Stored(id, 100), {}).ok());
    most = std::max(most, compiler.kept_bytes());
  }
  EXPECT_LE(most, kMost);
  EXPECT_GT(most, kMost / 2);
  // One for which all others would go.
  const std::size_t before = compiler.kept_bytes();
  ASSERT_TRUE(compiler.Compile(".", Stored(101, 5'000), {}).ok());
  EXPECT_EQ(compiler.kept_bytes(), before);
  // What was asked for last is still there: the same descriptors.
  const auto first = *compiler.Compile(".", Stored(100, 100), {});
  EXPECT_EQ(first, *compiler.Compile(".", Stored(100, 100), {}));
}

TEST(FreeMemory, ManyWishesAreOneWork) {
  std::promise<void> given;
  std::atomic<int> count = 0;
  FreeMemory memory(
      [&] {
        if (++count == 1) given.set_value();
      },
      milliseconds(20));
  for (int i = 0; i < 1'000; ++i) memory.Want();
  given.get_future().wait();
  EXPECT_LE(count, 3);
}

TEST(FreeMemory, EndsAtOnce) {
  FreeMemory memory([] { FAIL() << "it is over"; }, std::chrono::hours(1));
  memory.Want();
}

}  // namespace
}  // namespace tocsin::registry
