// SQLite behind the interface of database.h.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "lib/sql/database.h"

namespace tocsin::sql {

struct SqliteOptions {
  // The file; made when it is not there, its folder is not. Not ":memory:", since readers have
  // connections of their own.
  std::string path;
  // How long a writer waits while another program holds the file. Within this process writers
  // queue without a limit.
  std::chrono::milliseconds busy_timeout{5'000};
  // Connections for Read at the same time.
  int readers = 4;
};

// Write-ahead log, synchronous=FULL (a commit that returned is on disk), foreign keys on.
// FAILED_PRECONDITION: the file cannot be opened. DATA_LOSS: it is not a database.
absl::StatusOr<std::unique_ptr<Database>> OpenSqlite(const SqliteOptions& options);

}  // namespace tocsin::sql
