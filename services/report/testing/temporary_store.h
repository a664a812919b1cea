// A store on a file that can be closed and opened again, as by a restart.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <memory>
#include <string>

#include "lib/base/testing/fake_clock.h"
#include "lib/base/testing/status_matchers.h"
#include "lib/sql/sqlite.h"
#include "services/report/report_store.h"

namespace tocsin::report {

class TemporaryStore {
 public:
  TemporaryStore() {
    std::string pattern = ::testing::TempDir() + "/reportXXXXXX";
    folder_ = mkdtemp(pattern.data());
    Reopen();
  }
  ~TemporaryStore() {
    store_.reset();
    database_.reset();
    std::filesystem::remove_all(folder_);
  }

  void Reopen() {
    store_.reset();
    database_.reset();
    auto database = sql::OpenSqlite({.path = (folder_ / "report.db").string()});
    ASSERT_THAT(database, IsOk());
    database_ = *std::move(database);
    auto store = ReportStore::Open(*database_, clock_);
    ASSERT_THAT(store, IsOk());
    store_ = *std::move(store);
  }
  // As after the loss of the disk.
  void Lose() {
    store_.reset();
    database_.reset();
    for (const char* file : {"report.db", "report.db-wal", "report.db-shm"}) {
      std::filesystem::remove(folder_ / file);
    }
    Reopen();
  }

  ReportStore& operator*() { return *store_; }
  ReportStore* operator->() { return store_.get(); }
  sql::Database& database() { return *database_; }
  FakeClock& clock() { return clock_; }

 private:
  FakeClock clock_;
  std::filesystem::path folder_;
  std::unique_ptr<sql::Database> database_;
  std::unique_ptr<ReportStore> store_;
};

}  // namespace tocsin::report
