// Reads the topics of tables into the index: whole before anything is looked up, then what comes.
//
// A consumer of its own, outside any group, reads what is committed. What cannot be read as a row
// (no key, no Confluent prefix, a time that is none) is passed over, counted and logged.
//
//   tocsin_correlation_table_records_total{table,outcome}  row removal invalid
//   tocsin_correlation_table_rows{table}, tocsin_correlation_table_bytes
//
// Threads: Poll and the destructor from one; caught_up from any.
#pragma once

#include <atomic>
#include <chrono>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "lib/base/clock.h"
#include "lib/kafka/consumer.h"
#include "services/correlation/tables/table_index.h"

namespace tocsin::correlation {

struct TableFollowerIo {
  std::function<absl::StatusOr<std::unique_ptr<kafka::Consumer>>()> make_consumer;
  // Of a topic. NOT_FOUND: it does not exist.
  std::function<absl::StatusOr<std::int32_t>(const std::string& topic)> partition_count;
  const Clock* clock = nullptr;
};

class TableFollower {
 public:
  // `index` must outlive it.
  TableFollower(std::vector<std::string> topics, TableFollowerIo io, TableIndex& index);
  ~TableFollower();

  // One round; waits up to `timeout` for records. OK: every table has been read to the end that it
  // had when reading began, and goes on. Otherwise why not; the next round tries again.
  absl::Status Poll(std::chrono::milliseconds timeout);
  // Once true it stays so: rows may be old, but none that was there at the start is missing.
  bool caught_up() const { return caught_up_; }
  // Of Poll's thread: the topics are open, so the next round waits for records by itself.
  bool reading() const { return consumer_ != nullptr && waiting_.empty(); }

 private:
  absl::Status Open();
  // OK also for what is passed over.
  absl::Status Take(const kafka::Record& record);
  void ShowFigures();

  const std::vector<std::string> topics_;
  const TableFollowerIo io_;
  TableIndex& index_;
  std::unique_ptr<kafka::Consumer> consumer_;
  kafka::Offsets ends_;
  // Read and not yet taken up: there was no room.
  std::deque<kafka::Record> waiting_;
  std::atomic<bool> caught_up_{false};
};

}  // namespace tocsin::correlation
