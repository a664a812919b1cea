#include "cli/core/csv.h"

#include <streambuf>
#include <string_view>

#include "lib/base/status.h"
#include "lib/base/text.h"

namespace tocsin::cli {
namespace {

constexpr std::size_t kLargestRecord = 1 << 20;
constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";
constexpr int kEnd = std::streambuf::traits_type::eof();

}  // namespace

CsvReader::CsvReader(std::istream& in, std::int64_t offset, std::int64_t line)
    : in_(*in.rdbuf()), offset_(offset), line_(line) {
  if (offset != 0) return;
  for (const char expected : kByteOrderMark) {
    if (in_.sgetc() != std::streambuf::traits_type::to_int_type(expected)) return;
    ahead_.push_back(expected);
    in_.sbumpc();
  }
  offset_ += static_cast<std::int64_t>(ahead_.size());
  ahead_.clear();
}

int CsvReader::Get() {
  const int c = Peek();
  if (c == kEnd) return c;
  if (ahead_.empty()) {
    in_.sbumpc();
  } else {
    ahead_.erase(0, 1);
  }
  ++offset_;
  if (c == '\n') ++line_;
  return c;
}

int CsvReader::Peek() const {
  return ahead_.empty() ? in_.sgetc() : std::streambuf::traits_type::to_int_type(ahead_.front());
}

void CsvReader::SkipLine() {
  for (int c = Get(); c != kEnd && c != '\n'; c = Get()) {
  }
}

absl::StatusOr<std::optional<CsvRecord>> CsvReader::Next() {
  while (Peek() == '\r' || Peek() == '\n') Get();
  if (Peek() == kEnd) return std::optional<CsvRecord>();
  CsvRecord record;
  record.offset = offset_;
  record.line = line_;
  std::string field;
  std::size_t size = 0;
  bool quoted = false;  // inside quotes
  bool closed = false;  // behind the closing quote of this field
  const auto end_field = [&] {
    record.fields.push_back(std::move(field));
    field.clear();
    closed = false;
  };
  for (;;) {
    const int c = Get();
    if (++size > kLargestRecord) {
      SkipLine();
      return InvalidArgument(Concat("line ", record.line, ": a record of more than 1 MiB"));
    }
    if (quoted) {
      if (c == kEnd) {
        return InvalidArgument(Concat("line ", record.line, ": a quote is opened and not closed"));
      }
      if (c != '"') {
        field.push_back(static_cast<char>(c));
      } else if (Peek() == '"') {
        field.push_back(static_cast<char>(Get()));
      } else {
        quoted = false;
        closed = true;
      }
      continue;
    }
    if (c == '\r' && (Peek() == '\n' || Peek() == kEnd)) continue;
    if (c == kEnd || c == '\n') {
      end_field();
      return std::optional<CsvRecord>(std::move(record));
    }
    if (c == ',') {
      end_field();
    } else if (closed) {
      SkipLine();
      return InvalidArgument(Concat("line ", record.line, ": text behind a closing quote"));
    } else if (c == '"' && field.empty()) {
      quoted = true;
    } else {
      field.push_back(static_cast<char>(c));
    }
  }
}

}  // namespace tocsin::cli
