// Reads CSV as RFC 4180 describes it: fields in quotes may hold commas, line breaks and doubled
// quotes; lines end in CRLF or LF. A byte order mark at the start is skipped, as are lines without
// any character.
#pragma once

#include <cstdint>
#include <istream>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace tocsin::cli {

struct CsvRecord {
  std::vector<std::string> fields;
  // Where it begins: byte in the file, and line (1 is the first).
  std::int64_t offset = 0;
  std::int64_t line = 1;
};

// Not thread-safe. `in` must outlive the reader and be used by nobody else.
class CsvReader {
 public:
  // Starts at byte `offset`, which is in line `line`.
  explicit CsvReader(std::istream& in, std::int64_t offset = 0, std::int64_t line = 1);

  // nullopt at the end. INVALID_ARGUMENT names the line: a quote that is never closed, text behind
  // a closing quote, a record beyond 1 MiB. The reader then stands behind the bad record (at the
  // end, for an open quote) and can go on.
  absl::StatusOr<std::optional<CsvRecord>> Next();

 private:
  int Get();
  int Peek() const;
  void SkipLine();

  std::streambuf& in_;
  // Read already, in search of the mark: comes before what `in_` has.
  std::string ahead_;
  std::int64_t offset_;
  std::int64_t line_;
};

}  // namespace tocsin::cli
