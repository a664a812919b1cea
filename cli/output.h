// Lists on standard output: a table for people, one JSON array, or one JSON object per line. JSON
// is Protobuf's own mapping: camelCase names, all scalar fields present, times as RFC 3339.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "cli/session.h"
#include "tocsin/event/v1/event.pb.h"

namespace google::protobuf {
class Message;
class Timestamp;
}  // namespace google::protobuf

namespace tocsin::cli {

// Writes rows as they come. Not thread-safe. The destructor does not finish: call Finish.
class ListPrinter {
 public:
  using Sink = std::function<void(std::string_view)>;
  ListPrinter(OutputForm form, std::vector<std::string> columns, Sink sink)
      : form_(form), columns_(std::move(columns)), sink_(std::move(sink)) {}

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
};

// Columns padded to their widest cell (letters counted as UTF-8 code points), two blanks between.
std::string FormatTable(const std::vector<std::string>& columns,
                        const std::vector<std::vector<std::string>>& rows);

std::string Json(const google::protobuf::Message& message, bool pretty);
// "2016-01-15T13:24:00Z"; empty when unset.
std::string TimeText(const google::protobuf::Timestamp& time);
// "HIGH"
std::string SeverityText(tocsin::event::v1::Severity severity);

}  // namespace tocsin::cli
