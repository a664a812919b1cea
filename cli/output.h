// Lists on standard output: a table for people, one JSON array, or one JSON object per line. JSON
// is Protobuf's own mapping: camelCase names, all scalar fields present, times as RFC 3339.
#pragma once

#include <google/protobuf/struct.pb.h>

#include <cstddef>
#include <functional>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cli/session.h"
#include "tocsin/event/v1/event.pb.h"

namespace google::protobuf {
class Timestamp;
}  // namespace google::protobuf

namespace tocsin::cli {

// Writes rows as they come; a table all at once at the end. Not thread-safe. What there is when an
// error ends the list is still written whole: valid JSON, the rows so far of a table.
class ListPrinter {
 public:
  using Sink = std::function<void(std::string_view)>;
  ListPrinter(OutputForm form, std::vector<std::string> columns, Sink sink)
      : form_(form), columns_(std::move(columns)), sink_(std::move(sink)) {}
  ~ListPrinter() {
    // An error before the first row is not an empty list.
    if (count_ > 0) Finish();
  }
  ListPrinter(const ListPrinter&) = delete;
  ListPrinter& operator=(const ListPrinter&) = delete;

  // `cells` is asked for a table only.
  void Row(const google::protobuf::Message& message,
           const std::function<std::vector<std::string>()>& cells);
  void Finish();
  std::size_t count() const { return count_; }

 private:
  const OutputForm form_;
  const std::vector<std::string> columns_;
  const Sink sink_;
  std::vector<std::vector<std::string>> rows_;
  std::size_t count_ = 0;
  bool finished_ = false;
};

// Columns padded to their widest cell, two blanks between.
std::string FormatTable(const std::vector<std::string>& columns,
                        const std::vector<std::vector<std::string>>& rows);

std::string Json(const google::protobuf::Message& message, bool pretty);
// A row of which there is no message: names and texts.
google::protobuf::Struct Fields(
    std::initializer_list<std::pair<std::string_view, std::string_view>> fields);
// "2016-01-15T13:24:00Z"; empty when unset.
std::string TimeText(const google::protobuf::Timestamp& time);
// "HIGH"
std::string SeverityText(tocsin::event::v1::Severity severity);

}  // namespace tocsin::cli
