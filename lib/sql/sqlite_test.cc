#include "lib/sql/sqlite.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "lib/base/status.h"
#include "lib/base/testing/fake_clock.h"
#include "lib/base/testing/status_matchers.h"
#include "lib/sql/migrate.h"

namespace tocsin::sql {
namespace {
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class SqliteTest : public ::testing::Test {
 protected:
  SqliteTest() {
    std::string pattern = ::testing::TempDir() + "/sqliteXXXXXX";
    folder_ = mkdtemp(pattern.data());
  }
  ~SqliteTest() override { std::filesystem::remove_all(folder_); }

  std::string Path() const { return (folder_ / "test.db").string(); }
  std::unique_ptr<Database> Open(std::chrono::milliseconds busy_timeout = std::chrono::seconds(5)) {
    auto database = OpenSqlite({.path = Path(), .busy_timeout = busy_timeout, .readers = 2});
    EXPECT_THAT(database, IsOk());
    return std::move(database).value();
  }
  static absl::Status Script(Database& database, std::string_view script) {
    return database.Write([&](Connection& c) { return c.ExecuteScript(script); });
  }
  static std::vector<std::int64_t> Ints(Database& database, std::string_view query) {
    std::vector<std::int64_t> result;
    EXPECT_THAT(database.Read([&](Connection& c) {
      return c.Query(query, {}, [&](const Row& row) {
        result.push_back(row.Int(0));
        return absl::OkStatus();
      });
    }),
                IsOk());
    return result;
  }

  std::filesystem::path folder_;
};

TEST_F(SqliteTest, KeepsValuesOfEachKind) {
  auto database = Open();
  ASSERT_THAT(Script(*database, "CREATE TABLE t (i BIGINT, r REAL, s TEXT, b BLOB, n TEXT)"),
              IsOk());
  const std::string bytes("\0\x01\xff", 3);
  const std::string text = "o'brien; DROP TABLE t; --";
  ASSERT_THAT(database->Write([&](Connection& c) {
    // Placeholders are numbered, not positional.
    auto changed = c.Execute("INSERT INTO t (s, i, r, b, n) VALUES ($3, $1, $2, $4, $5)",
                             {std::int64_t{1} << 60, 2.5, text, Blob(bytes), nullptr});
    EXPECT_THAT(changed, IsOkAndHolds(1));
    return changed.status();
  }),
              IsOk());
  int rows = 0;
  ASSERT_THAT(database->Read([&](Connection& c) {
    return c.Query("SELECT i, r, s, b, n FROM t WHERE s = $1", {text}, [&](const Row& row) {
      ++rows;
      EXPECT_EQ(row.Int(0), std::int64_t{1} << 60);
      EXPECT_EQ(row.Double(1), 2.5);
      EXPECT_EQ(row.Text(2), text);
      EXPECT_EQ(row.Bytes(3), bytes);
      EXPECT_TRUE(row.IsNull(4));
      EXPECT_EQ(row.Text(4), "");
      return absl::OkStatus();
    });
  }),
              IsOk());
  EXPECT_EQ(rows, 1);
}

TEST_F(SqliteTest, EmptyTextAndBytesAreNotNull) {
  auto database = Open();
  ASSERT_THAT(Script(*database, "CREATE TABLE t (s TEXT NOT NULL, b BLOB NOT NULL)"), IsOk());
  EXPECT_THAT(database->Write([&](Connection& c) {
    return c.Execute("INSERT INTO t VALUES ($1, $2)", {std::string_view(), Blob({})}).status();
  }),
              IsOk());
}

TEST_F(SqliteTest, RollsBackWhenTheWorkFails) {
  auto database = Open();
  ASSERT_THAT(Script(*database, "CREATE TABLE t (i BIGINT)"), IsOk());
  EXPECT_THAT(database->Write([&](Connection& c) -> absl::Status {
    EXPECT_THAT(c.Execute("INSERT INTO t VALUES (1)", {}), IsOk());
    return Aborted("changed my mind");
  }),
              StatusIs(absl::StatusCode::kAborted, "changed my mind"));
  EXPECT_THAT(Ints(*database, "SELECT i FROM t"), ElementsAre());
  EXPECT_THAT(Script(*database, "INSERT INTO t VALUES (2)"), IsOk());
  EXPECT_THAT(Ints(*database, "SELECT i FROM t"), ElementsAre(2));
}

TEST_F(SqliteTest, AReaderSeesOneSnapshotWhileAWriterCommits) {
  auto database = Open();
  ASSERT_THAT(Script(*database, "CREATE TABLE t (i BIGINT); INSERT INTO t VALUES (1)"), IsOk());
  ASSERT_THAT(database->Read([&](Connection& c) -> absl::Status {
    const auto count = [&] {
      std::int64_t result = 0;
      EXPECT_THAT(c.Query("SELECT COUNT(*) FROM t", {},
                          [&](const Row& row) {
                            result = row.Int(0);
                            return absl::OkStatus();
                          }),
                  IsOk());
      return result;
    };
    EXPECT_EQ(count(), 1);
    EXPECT_THAT(Script(*database, "INSERT INTO t VALUES (2)"), IsOk());
    EXPECT_EQ(count(), 1);
    EXPECT_THAT(c.Execute("INSERT INTO t VALUES (3)", {}),
                StatusIs(absl::StatusCode::kFailedPrecondition));
    return absl::OkStatus();
  }),
              IsOk());
  EXPECT_THAT(Ints(*database, "SELECT i FROM t ORDER BY i"), ElementsAre(1, 2));
}

TEST_F(SqliteTest, ACallbackMayRunTheSameStatement) {
  auto database = Open();
  ASSERT_THAT(Script(*database,
                     "CREATE TABLE t (i BIGINT, parent BIGINT); INSERT INTO t VALUES (1, 0), "
                     "(2, 1), (3, 2)"),
              IsOk());
  std::vector<std::int64_t> visited;
  ASSERT_THAT(database->Read([&](Connection& c) {
    const auto visit = [&](auto& self, std::int64_t parent) -> absl::Status {
      return c.Query("SELECT i FROM t WHERE parent = $1", {parent}, [&](const Row& row) {
        visited.push_back(row.Int(0));
        return self(self, row.Int(0));
      });
    };
    return visit(visit, 0);
  }),
              IsOk());
  EXPECT_THAT(visited, ElementsAre(1, 2, 3));
}

TEST_F(SqliteTest, ErrorsSayWhatToDo) {
  auto database = Open(std::chrono::milliseconds(1));
  ASSERT_THAT(Script(*database, "CREATE TABLE t (i BIGINT PRIMARY KEY, s TEXT NOT NULL)"), IsOk());
  ASSERT_THAT(Script(*database, "INSERT INTO t VALUES (1, '')"), IsOk());
  EXPECT_THAT(Script(*database, "INSERT INTO t VALUES (1, '')"),
              StatusIs(absl::StatusCode::kAlreadyExists));
  EXPECT_THAT(Script(*database, "INSERT INTO t VALUES (2, NULL)"),
              StatusIs(absl::StatusCode::kFailedPrecondition));
  const auto one = [&](std::string_view statement, std::initializer_list<Value> values) {
    return database->Write([&](Connection& c) { return c.Execute(statement, values).status(); });
  };
  EXPECT_THAT(one("SELEC 1", {}), StatusIs(absl::StatusCode::kInternal, HasSubstr("SELEC")));
  EXPECT_THAT(one("DELETE FROM t; DELETE FROM t", {}),
              StatusIs(absl::StatusCode::kInternal, HasSubstr("not exactly one statement")));
  EXPECT_THAT(one("DELETE FROM t WHERE i = $1", {}), StatusIs(absl::StatusCode::kInternal));
  EXPECT_THAT(one("DELETE FROM t WHERE i = $1", {1, 2}), StatusIs(absl::StatusCode::kInternal));

  auto other = Open(std::chrono::milliseconds(1));
  EXPECT_THAT(other->Write([&](Connection&) {
    EXPECT_THAT(Script(*database, "INSERT INTO t VALUES (3, '')"),
                StatusIs(absl::StatusCode::kUnavailable, HasSubstr("Another program")));
    return absl::OkStatus();
  }),
              IsOk());
  EXPECT_THAT(OpenSqlite({.path = (folder_ / "none" / "test.db").string()}),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("folder must exist")));
  const std::string garbage = (folder_ / "garbage.db").string();
  std::ofstream(garbage) << std::string(5000, 'x');
  EXPECT_THAT(OpenSqlite({.path = garbage}),
              StatusIs(absl::StatusCode::kDataLoss, HasSubstr("restore it from a backup")));
}

TEST_F(SqliteTest, ManyThreadsReadAndWrite) {
  auto database = Open();
  ASSERT_THAT(Script(*database, "CREATE TABLE t (i BIGINT); INSERT INTO t VALUES (0)"), IsOk());
  std::vector<std::thread> threads;
  for (int thread = 0; thread < 4; ++thread) {
    threads.emplace_back([&] {
      for (int i = 0; i < 10; ++i) {
        EXPECT_THAT(Script(*database, "UPDATE t SET i = i + 1"), IsOk());
        EXPECT_EQ(Ints(*database, "SELECT i FROM t").size(), 1u);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_THAT(Ints(*database, "SELECT i FROM t"), ElementsAre(40));
}

constexpr std::array<Migration, 2> kSteps = {
    Migration{.version = 1, .name = "things", .script = "CREATE TABLE things (i BIGINT);"},
    Migration{
        .version = 2,
        .name = "one thing",
        .script = "ALTER TABLE things ADD COLUMN s TEXT; INSERT INTO things VALUES (7, 's')"}};

TEST_F(SqliteTest, MigratesOnceAndOnlyForward) {
  FakeClock clock;
  {
    auto database = Open();
    ASSERT_THAT(Migrate(*database, std::span(kSteps).first(1), clock), IsOk());
  }
  auto database = Open();
  ASSERT_THAT(Migrate(*database, kSteps, clock), IsOk());
  ASSERT_THAT(Migrate(*database, kSteps, clock), IsOk());
  EXPECT_THAT(Ints(*database, "SELECT i FROM things"), ElementsAre(7));
  EXPECT_THAT(Migrate(*database, std::span(kSteps).first(1), clock),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("newer Tocsin")));
  std::array<Migration, 2> edited = kSteps;
  edited[1].script = "SELECT 1";
  EXPECT_THAT(Migrate(*database, edited, clock),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("another text")));
}

TEST_F(SqliteTest, AStepThatFailsLeavesNothingBehind) {
  FakeClock clock;
  auto database = Open();
  std::array<Migration, 2> broken = kSteps;
  broken[1].script = "ALTER TABLE things ADD COLUMN s TEXT; INSERT INTO nowhere VALUES (1)";
  EXPECT_THAT(Migrate(*database, broken, clock),
              StatusIs(absl::StatusCode::kInternal, HasSubstr("step 2 (one thing)")));
  ASSERT_THAT(Migrate(*database, kSteps, clock), IsOk());
}

}  // namespace
}  // namespace tocsin::sql
