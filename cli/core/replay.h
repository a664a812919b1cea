// Sends a CSV file's rows as events, in the order (time, row), a chunk at a time. What was not
// acknowledged is sent again under the same identity, in order, until it is: a copy that arrived
// all the same is dropped downstream.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "cli/core/csv_mapper.h"
#include "io/cloudevents/v1/cloudevents.pb.h"
#include "lib/base/clock.h"
#include "tocsin/ingest/v1/ingest.pb.h"

namespace tocsin::cli {

// A row that will never be accepted.
struct RefusedRow {
  std::int64_t row = 0;
  std::string reason;
};

struct ReplayProgress {
  std::int64_t total = 0;
  std::int64_t acknowledged = 0;
  std::int64_t refused = 0;
  // Why it waits to try again; empty while it runs.
  std::string waiting_for;
};

// What replay needs from the world.
class ReplayIo {
 public:
  virtual ~ReplayIo() = default;

  // Publishes and returns one receipt for each event, in their order. Delivery: at least once for
  // what has a receipt without an error, unknown for everything when the whole call fails.
  virtual absl::StatusOr<std::vector<ingest::v1::Receipt>> Publish(
      const std::vector<io::cloudevents::v1::CloudEvent>& events) = 0;
  // Waits, or with zero only looks; false when the user has asked to stop.
  virtual bool Wait(std::chrono::milliseconds duration) = 0;
  virtual SteadyTime Now() const = 0;
  virtual void OnProgress(const ReplayProgress& progress) = 0;
  virtual void OnRefused(const RefusedRow& row) = 0;
};

struct ReplayOptions {
  // Events in one call.
  std::size_t chunk_events = 500;
  std::size_t chunk_bytes = 1 << 20;
  // How many times faster than the events' own times; 0: as fast as possible.
  double speed = 0;
  // Sets the speed so that the whole file takes so long; 0: `speed` counts.
  std::chrono::seconds within{0};
  // Without any acknowledgement for so long it gives up.
  std::chrono::milliseconds patience = std::chrono::minutes(5);
  std::chrono::milliseconds first_pause{100};
  std::chrono::milliseconds longest_pause{2'000};
};

struct ReplayResult {
  std::int64_t rows = 0;
  std::int64_t acknowledged = 0;
  std::vector<RefusedRow> refused;
  // Calls that were made again.
  std::int64_t resends = 0;
};

// CANCELLED: the user stopped it. UNAVAILABLE and the like: patience ran out; the same call again
// continues, since what was acknowledged is recognised by its identity. Other codes: nothing of the
// kind can succeed (no such stream, no right to publish). INVALID_ARGUMENT: the file cannot be read
// as CSV of the mapping at all.
absl::StatusOr<ReplayResult> Replay(const std::filesystem::path& csv, CsvMapper& mapper,
                                    const ReplayOptions& options, ReplayIo& io);

// The header line alone, to choose a mapping by. NOT_FOUND names the file; INVALID_ARGUMENT: it is
// empty.
absl::StatusOr<std::vector<std::string>> ReadHeader(const std::filesystem::path& csv);

// "max" → 0; "60" or "60x" → 60. INVALID_ARGUMENT otherwise.
absl::StatusOr<double> ParseSpeed(std::string_view text);

// "1,234 of 3,051 rows (40 %), 1,020/s, 2 s left"
std::string ProgressText(const ReplayProgress& progress, std::chrono::duration<double> elapsed);
// "3,051"
std::string WithCommas(std::int64_t number);

}  // namespace tocsin::cli
