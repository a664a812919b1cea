// A small relational store behind one interface: SQLite today (sqlite.h); what is here asks nothing
// of it that PostgreSQL does not have too ($1 placeholders, transactions, one writer's view).
//
//   absl::Status stored = database.Write([&](sql::Connection& connection) -> absl::Status {
//     return connection.Execute("UPDATE incidents SET state = $1 WHERE id = $2", {3, id}).status();
//   });
//
// Errors of every call: UNAVAILABLE (locked by another program, or an I/O error: retry later),
// RESOURCE_EXHAUSTED (disk or quota full), ALREADY_EXISTS (a unique key is taken),
// FAILED_PRECONDITION (another constraint, or a read-only file), DATA_LOSS (the file is damaged: do
// not go on), INTERNAL (a mistake in the statement).
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <variant>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace tocsin::sql {

// Bytes, as opposed to text. A view: what it shows must outlive the call.
class Blob {
 public:
  explicit Blob(std::string_view bytes) : bytes_(bytes) {}
  std::string_view bytes() const { return bytes_; }

 private:
  std::string_view bytes_;
};

// A parameter. Text must be UTF-8. Views: what they show must outlive the call.
using Value = std::variant<std::nullptr_t, std::int64_t, double, std::string_view, Blob>;

// One row of a result, valid only inside the callback that receives it. Columns count from 0.
class Row {
 public:
  virtual ~Row() = default;
  virtual bool IsNull(int column) const = 0;
  // 0 and empty where the column is NULL.
  virtual std::int64_t Int(int column) const = 0;
  virtual double Double(int column) const = 0;
  virtual std::string_view Text(int column) const = 0;
  virtual std::string_view Bytes(int column) const = 0;

  std::string String(int column) const { return std::string(Text(column)); }
};

// Runs statements inside the transaction of the enclosing Database::Write or Read. Statements are
// prepared once and kept. Values go in as parameters $1…$n only, never as text. Not thread-safe;
// valid only inside that call.
class Connection {
 public:
  using RowCallback = absl::FunctionRef<absl::Status(const Row&)>;

  virtual ~Connection() = default;

  // Rows changed.
  virtual absl::StatusOr<std::int64_t> Execute(std::string_view statement,
                                               std::span<const Value> parameters) = 0;
  // Calls `row` for each row until it returns an error, which then is the result. `row` may run
  // other statements.
  virtual absl::Status Query(std::string_view statement, std::span<const Value> parameters,
                             RowCallback row) = 0;
  // Several statements without parameters, separated by semicolons.
  virtual absl::Status ExecuteScript(std::string_view script) = 0;

  absl::StatusOr<std::int64_t> Execute(std::string_view statement,
                                       std::initializer_list<Value> parameters) {
    return Execute(statement, std::span<const Value>(parameters.begin(), parameters.size()));
  }
  absl::Status Query(std::string_view statement, std::initializer_list<Value> parameters,
                     RowCallback row) {
    return Query(statement, std::span<const Value>(parameters.begin(), parameters.size()), row);
  }
};

// Thread-safe.
class Database {
 public:
  using Work = absl::FunctionRef<absl::Status(Connection&)>;

  virtual ~Database() = default;

  // Runs `work` in one transaction: committed, and on disk, when it returns OK and this returns OK;
  // rolled back otherwise. One writer at a time: others wait. `work` must have no effect outside
  // the database, because it may run more than once.
  virtual absl::Status Write(Work work) = 0;
  // Runs `work` on one consistent snapshot. Never waits for a writer; waits for one of the bounded
  // number of readers to be free.
  virtual absl::Status Read(Work work) = 0;
};

}  // namespace tocsin::sql
