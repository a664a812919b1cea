#include "cli/output.h"

#include <google/protobuf/message.h>
#include <google/protobuf/timestamp.pb.h>
#include <google/protobuf/util/json_util.h>

#include <algorithm>
#include <utility>

#include "cli/core/columns.h"
#include "lib/base/text.h"
#include "lib/base/time.h"

namespace tocsin::cli {

void ListPrinter::Row(const google::protobuf::Message& message,
                      const std::function<std::vector<std::string>()>& cells) {
  switch (form_) {
    case OutputForm::kTable:
      rows_.push_back(cells());
      break;
    case OutputForm::kJson:
      sink_(Concat(count_ == 0 ? "[\n" : ",\n", Json(message, false)));
      break;
    case OutputForm::kJsonl:
      sink_(Concat(Json(message, false), "\n"));
      break;
  }
  ++count_;
}

void ListPrinter::Finish() {
  if (std::exchange(finished_, true)) return;
  if (form_ == OutputForm::kTable && !rows_.empty()) sink_(FormatTable(columns_, rows_));
  if (form_ == OutputForm::kJson) sink_(count_ == 0 ? "[]\n" : "\n]\n");
}

std::string FormatTable(const std::vector<std::string>& columns,
                        const std::vector<std::vector<std::string>>& rows) {
  std::vector<std::size_t> widths;
  for (std::size_t i = 0; i < columns.size(); ++i) {
    std::size_t width = Columns(columns[i]);
    for (const auto& row : rows) width = std::max(width, Columns(OneLine(row[i])));
    widths.push_back(width);
  }
  std::string out;
  const auto line = [&](const std::vector<std::string>& cells) {
    for (std::size_t i = 0; i < cells.size(); ++i) {
      const std::string cell = OneLine(cells[i]);
      out += cell;
      // The last column is not padded: no blanks at the end of a line.
      if (i + 1 < cells.size()) out.append(widths[i] - Columns(cell) + 2, ' ');
    }
    out += '\n';
  };
  line(columns);
  for (const auto& row : rows) line(row);
  return out;
}

std::string Json(const google::protobuf::Message& message, bool pretty) {
  google::protobuf::util::JsonPrintOptions options;
  options.always_print_primitive_fields = true;
  options.add_whitespace = pretty;
  std::string text;
  const auto status = google::protobuf::util::MessageToJsonString(message, &text, options);
  return status.ok() ? text : "{}";
}

google::protobuf::Struct Fields(
    std::initializer_list<std::pair<std::string_view, std::string_view>> fields) {
  google::protobuf::Struct row;
  for (const auto& [name, value] : fields) {
    (*row.mutable_fields())[std::string(name)].set_string_value(std::string(value));
  }
  return row;
}

std::string TimeText(const google::protobuf::Timestamp& time) {
  if (time.seconds() == 0 && time.nanos() == 0) return {};
  return FormatTime(WallTime(std::chrono::seconds(time.seconds()) +
                             std::chrono::microseconds(time.nanos() / 1000)));
}

std::string SeverityText(tocsin::event::v1::Severity severity) {
  constexpr std::string_view kPrefix = "SEVERITY_";
  const std::string& name = tocsin::event::v1::Severity_Name(severity);
  return name.size() > kPrefix.size() && severity != 0 ? name.substr(kPrefix.size()) : "INFO";
}

}  // namespace tocsin::cli
