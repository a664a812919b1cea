#include "lib/sql/migrate.h"

#include <array>
#include <map>
#include <string>

#include "lib/base/hash.h"
#include "lib/base/status.h"
#include "lib/base/text.h"
#include "lib/base/time.h"

namespace tocsin::sql {
namespace {

struct Applied {
  std::string name;
  std::string checksum;
};

std::string Checksum(const Migration& migration) {
  const std::array<std::string_view, 1> parts = {migration.script};
  return StableId(parts);
}

}  // namespace

absl::Status Migrate(Database& database, std::span<const Migration> migrations,
                     const Clock& clock) {
  std::map<std::int64_t, Applied> applied;
  const absl::Status read = database.Write([&](Connection& connection) -> absl::Status {
    applied.clear();
    TOCSIN_RETURN_IF_ERROR(connection.ExecuteScript(
        "CREATE TABLE IF NOT EXISTS schema_migrations (version BIGINT PRIMARY KEY, name TEXT NOT "
        "NULL, checksum TEXT NOT NULL, applied_time TEXT NOT NULL)"));
    return connection.Query(
        "SELECT version, name, checksum FROM schema_migrations", {}, [&](const Row& row) {
          applied[row.Int(0)] = Applied{.name = row.String(1), .checksum = row.String(2)};
          return absl::OkStatus();
        });
  });
  TOCSIN_RETURN_IF_ERROR(read);
  const int newest = migrations.empty() ? 0 : migrations.back().version;
  if (!applied.empty() && applied.rbegin()->first > newest) {
    return FailedPrecondition(Concat("the database is at version ", applied.rbegin()->first, " (",
                                     applied.rbegin()->second.name,
                                     "), this program knows versions up to ", newest,
                                     ": it was written by a newer Tocsin. Run that one, or give "
                                     "this one a database of its own"));
  }
  for (const Migration& migration : migrations) {
    const std::string checksum = Checksum(migration);
    const auto done = applied.find(migration.version);
    if (done != applied.end()) {
      if (done->second.checksum == checksum) continue;
      return FailedPrecondition(Concat("step ", migration.version, " (", done->second.name,
                                       ") was applied to this database with another text than this "
                                       "program has: it was written by another build of Tocsin. "
                                       "Run that one, or move the file away"));
    }
    const absl::Status step = database.Write([&](Connection& connection) -> absl::Status {
      TOCSIN_RETURN_IF_ERROR(connection.ExecuteScript(migration.script));
      return connection
          .Execute("INSERT INTO schema_migrations VALUES ($1, $2, $3, $4)",
                   {migration.version, migration.name, checksum, FormatTime(clock.Now())})
          .status();
    });
    if (!step.ok()) {
      return Annotate(step, Concat("step ", migration.version, " (", migration.name, ")"));
    }
  }
  return absl::OkStatus();
}

}  // namespace tocsin::sql
