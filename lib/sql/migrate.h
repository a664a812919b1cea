// Numbered steps that bring a database to the shape this build expects.
#pragma once

#include <span>
#include <string_view>

#include "absl/status/status.h"
#include "lib/base/clock.h"
#include "lib/sql/database.h"

namespace tocsin::sql {

// A step that has been released is never edited: write another one.
struct Migration {
  int version = 0;  // 1, 2, 3 …
  std::string_view name;
  std::string_view script;
};

// Applies the steps that are missing, each in a transaction of its own with its row in the table
// schema_migrations. FAILED_PRECONDITION when the database is newer than this build, or when a step
// that was applied has another text here: both say what to do, and change nothing.
absl::Status Migrate(Database& database, std::span<const Migration> migrations, const Clock& clock);

}  // namespace tocsin::sql
