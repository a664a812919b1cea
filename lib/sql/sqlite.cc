#include "lib/sql/sqlite.h"

#include <sqlite3.h>

#include <algorithm>
#include <limits>
#include <map>
#include <utility>
#include <vector>

#include "lib/base/mutex.h"
#include "lib/base/status.h"
#include "lib/base/text.h"

namespace tocsin::sql {
namespace {

// More different statements than this on one connection means that text is pasted together
// somewhere; the cache must not grow with it.
constexpr std::size_t kMaxCachedStatements = 128;

struct CloseDatabase {
  void operator()(sqlite3* handle) const { sqlite3_close_v2(handle); }
};
struct FinalizeStatement {
  void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
};
using Handle = std::unique_ptr<sqlite3, CloseDatabase>;
using Statement = std::unique_ptr<sqlite3_stmt, FinalizeStatement>;

absl::Status ErrorOf(int code, sqlite3* handle, std::string_view path, std::string_view what) {
  const char* detail = handle != nullptr ? sqlite3_errmsg(handle) : sqlite3_errstr(code);
  const auto text = [&](std::string_view hint) {
    return Concat("database ", path, ": ", what, ": ", detail, hint);
  };
  switch (code & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return Unavailable(text(". Another program holds the file; the call may be repeated"));
    case SQLITE_IOERR:
      return Unavailable(text(". Check the disk; the call may be repeated"));
    case SQLITE_FULL:
      return ResourceExhausted(text(". Free space on the disk"));
    case SQLITE_CONSTRAINT:
      if (code == SQLITE_CONSTRAINT_UNIQUE || code == SQLITE_CONSTRAINT_PRIMARYKEY ||
          code == SQLITE_CONSTRAINT_ROWID) {
        return AlreadyExists(text(""));
      }
      return FailedPrecondition(text(""));
    case SQLITE_CANTOPEN:
      return FailedPrecondition(
          text(". The folder must exist, and this process must be allowed to write in it"));
    case SQLITE_READONLY:
    case SQLITE_PERM:
      return FailedPrecondition(text(". This process must be allowed to write the file"));
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return DataLoss(
          text(". The file is damaged: restore it from a backup, or move it away to "
               "have it built again from the log"));
    default:
      return Internal(text(""));
  }
}

class SqliteRow final : public Row {
 public:
  explicit SqliteRow(sqlite3_stmt* statement) : statement_(statement) {}
  bool IsNull(int column) const override {
    return sqlite3_column_type(statement_, column) == SQLITE_NULL;
  }
  std::int64_t Int(int column) const override { return sqlite3_column_int64(statement_, column); }
  double Double(int column) const override { return sqlite3_column_double(statement_, column); }
  std::string_view Text(int column) const override { return Bytes(column); }
  std::string_view Bytes(int column) const override {
    const void* data = sqlite3_column_blob(statement_, column);
    if (data == nullptr) return {};
    return {static_cast<const char*>(data),
            static_cast<std::size_t>(sqlite3_column_bytes(statement_, column))};
  }

 private:
  sqlite3_stmt* statement_;
};

class SqliteConnection final : public Connection {
 public:
  SqliteConnection(Handle handle, std::string path)
      : handle_(std::move(handle)), path_(std::move(path)) {}

  absl::StatusOr<std::int64_t> Execute(std::string_view statement,
                                       std::span<const Value> parameters) override {
    TOCSIN_RETURN_IF_ERROR(Query(statement, parameters, [](const Row&) -> absl::Status {
      return Internal("Execute is for statements that return no rows");
    }));
    return sqlite3_changes64(handle_.get());
  }

  absl::Status Query(std::string_view statement, std::span<const Value> parameters,
                     RowCallback row) override {
    TOCSIN_ASSIGN_OR_RETURN(Statement prepared, Take(statement));
    absl::Status result = Run(prepared.get(), statement, parameters, row);
    sqlite3_reset(prepared.get());
    sqlite3_clear_bindings(prepared.get());
    if (cache_.size() >= kMaxCachedStatements) cache_.clear();
    cache_[std::string(statement)] = std::move(prepared);
    return result;
  }

  absl::Status ExecuteScript(std::string_view script) override {
    const int code =
        sqlite3_exec(handle_.get(), std::string(script).c_str(), nullptr, nullptr, nullptr);
    if (code != SQLITE_OK) return Error("a script");
    return absl::OkStatus();
  }

  bool InTransaction() const { return sqlite3_get_autocommit(handle_.get()) == 0; }

  absl::Status Transact(std::string_view begin, Database::Work work) {
    TOCSIN_RETURN_IF_ERROR(Execute(begin, std::span<const Value>()).status());
    absl::Status result = work(*this);
    if (result.ok()) result = Execute("COMMIT", std::span<const Value>()).status();
    // Some errors (a full disk) have rolled back already.
    if (!result.ok() && InTransaction()) {
      const absl::Status undone = ExecuteScript("ROLLBACK");
      if (!undone.ok()) return Annotate(undone, Concat("after '", Message(result), "'"));
    }
    return result;
  }

 private:
  absl::Status Error(std::string_view what) const {
    return ErrorOf(sqlite3_extended_errcode(handle_.get()), handle_.get(), path_, what);
  }

  // Out of the cache while it runs, so that a callback may run the same statement again.
  absl::StatusOr<Statement> Take(std::string_view text) {
    const auto cached = cache_.find(text);
    if (cached != cache_.end()) {
      Statement statement = std::move(cached->second);
      cache_.erase(cached);
      return statement;
    }
    if (text.size() > static_cast<std::size_t>(std::numeric_limits<int>::max())) {
      return Internal("a statement of more than 2 GiB");
    }
    sqlite3_stmt* raw = nullptr;
    const char* rest = nullptr;
    const int code = sqlite3_prepare_v3(handle_.get(), text.data(), static_cast<int>(text.size()),
                                        SQLITE_PREPARE_PERSISTENT, &raw, &rest);
    Statement statement(raw);
    if (code != SQLITE_OK) return Error(text);
    if (raw == nullptr ||
        !Trim(text.substr(static_cast<std::size_t>(rest - text.data()))).empty()) {
      return Internal(Concat("not exactly one statement: ", text));
    }
    return statement;
  }

  absl::Status Bind(sqlite3_stmt* statement, int index, const Value& value) {
    int code = SQLITE_OK;
    if (std::holds_alternative<std::nullptr_t>(value)) {
      code = sqlite3_bind_null(statement, index);
    } else if (const auto* number = std::get_if<std::int64_t>(&value)) {
      code = sqlite3_bind_int64(statement, index, *number);
    } else if (const auto* real = std::get_if<double>(&value)) {
      code = sqlite3_bind_double(statement, index, *real);
    } else if (const auto* text = std::get_if<std::string_view>(&value)) {
      // The statement is reset before the call returns, so nothing needs to be copied. A null
      // pointer would bind NULL in place of the empty text.
      code = sqlite3_bind_text64(statement, index, text->empty() ? "" : text->data(), text->size(),
                                 SQLITE_STATIC, SQLITE_UTF8);
    } else {
      const std::string_view bytes = std::get<Blob>(value).bytes();
      code = sqlite3_bind_blob64(statement, index, bytes.empty() ? "" : bytes.data(), bytes.size(),
                                 SQLITE_STATIC);
    }
    return code == SQLITE_OK ? absl::OkStatus() : Error("a parameter");
  }

  absl::Status Run(sqlite3_stmt* statement, std::string_view text,
                   std::span<const Value> parameters, RowCallback row) {
    std::size_t used = 0;
    for (std::size_t i = 0; i < parameters.size(); ++i) {
      const int index =
          sqlite3_bind_parameter_index(statement, Concat("$", std::to_string(i + 1)).c_str());
      if (index == 0) return Internal(Concat("parameter $", i + 1, " is not in: ", text));
      TOCSIN_RETURN_IF_ERROR(Bind(statement, index, parameters[i]));
      ++used;
    }
    if (static_cast<int>(used) != sqlite3_bind_parameter_count(statement)) {
      return Internal(Concat(used, " parameters are given, another number is in: ", text));
    }
    const SqliteRow current(statement);
    for (;;) {
      const int code = sqlite3_step(statement);
      if (code == SQLITE_DONE) return absl::OkStatus();
      if (code != SQLITE_ROW) return Error(text);
      TOCSIN_RETURN_IF_ERROR(row(current));
    }
  }

  Handle handle_;
  std::string path_;
  // Before handle_ goes, statements must: members are destroyed in reverse order.
  std::map<std::string, Statement, std::less<>> cache_;
};

absl::StatusOr<std::unique_ptr<SqliteConnection>> Connect(const SqliteOptions& options,
                                                          bool writer) {
  sqlite3* raw = nullptr;
  const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE |
                    (writer ? SQLITE_OPEN_CREATE : 0);
  const int code = sqlite3_open_v2(options.path.c_str(), &raw, flags, nullptr);
  Handle handle(raw);
  if (code != SQLITE_OK) return ErrorOf(code, raw, options.path, "cannot be opened");
  sqlite3_busy_timeout(raw, static_cast<int>(options.busy_timeout.count()));
  auto connection = std::make_unique<SqliteConnection>(std::move(handle), options.path);
  TOCSIN_RETURN_IF_ERROR(connection->ExecuteScript(
      writer ? "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON;"
             : "PRAGMA query_only=ON;"));
  return connection;
}

class SqliteDatabase final : public Database {
 public:
  SqliteDatabase(std::unique_ptr<SqliteConnection> writer,
                 std::vector<std::unique_ptr<SqliteConnection>> readers)
      : writer_(std::move(writer)), free_readers_(std::move(readers)) {}

  absl::Status Write(Work work) override {
    MutexLock lock(writer_mutex_);
    // IMMEDIATE: the lock is taken here, where waiting for it is safe, not at the first write.
    return writer_->Transact("BEGIN IMMEDIATE", work);
  }

  absl::Status Read(Work work) override {
    std::unique_ptr<SqliteConnection> reader;
    {
      MutexLock lock(readers_mutex_);
      while (free_readers_.empty()) reader_freed_.Wait(readers_mutex_);
      reader = std::move(free_readers_.back());
      free_readers_.pop_back();
    }
    absl::Status result = reader->Transact("BEGIN DEFERRED", work);
    {
      MutexLock lock(readers_mutex_);
      free_readers_.push_back(std::move(reader));
    }
    reader_freed_.NotifyOne();
    return result;
  }

 private:
  Mutex writer_mutex_;
  std::unique_ptr<SqliteConnection> writer_ ABSL_PT_GUARDED_BY(writer_mutex_);
  Mutex readers_mutex_;
  CondVar reader_freed_;
  std::vector<std::unique_ptr<SqliteConnection>> free_readers_ ABSL_GUARDED_BY(readers_mutex_);
};

}  // namespace

absl::StatusOr<std::unique_ptr<Database>> OpenSqlite(const SqliteOptions& options) {
  if (options.path.empty() || options.path == ":memory:") {
    return InvalidArgument("the database needs the path of a file");
  }
  TOCSIN_ASSIGN_OR_RETURN(auto writer, Connect(options, /*writer=*/true));
  std::vector<std::unique_ptr<SqliteConnection>> readers;
  for (int i = 0; i < std::max(options.readers, 1); ++i) {
    TOCSIN_ASSIGN_OR_RETURN(auto reader, Connect(options, /*writer=*/false));
    readers.push_back(std::move(reader));
  }
  return std::make_unique<SqliteDatabase>(std::move(writer), std::move(readers));
}

}  // namespace tocsin::sql
