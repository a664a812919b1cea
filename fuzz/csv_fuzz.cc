// Any bytes as a CSV file under a mapping. Up to the first zero byte stands the template of one
// field; what follows is the file. What is read must come back the same from where its record says
// that it begins, and again from the same fields in quotes.
#include <google/protobuf/stubs/logging.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "cli/core/csv.h"
#include "cli/core/csv_mapper.h"
#include "cli/core/template_text.h"
#include "lib/base/status.h"
#include "lib/schema/compiled_schema.h"

namespace {

using tocsin::cli::CsvMapper;
using tocsin::cli::CsvReader;
using tocsin::cli::CsvRecord;

constexpr char kSchema[] = R"(
syntax = "proto3";
import "google/protobuf/timestamp.proto";
message Row {
  string text = 1;
  int32 number = 2;
  double real = 3;
  bool on = 4;
  enum Kind { KIND_NONE = 0; KIND_ONE = 1; }
  Kind kind = 5;
  google.protobuf.Timestamp time = 6;
  uint64 large = 7;
  bytes raw = 8;
}
)";

void Require(bool holds) {
  if (!holds) std::abort();
}

std::vector<CsvRecord> ReadAll(const std::string& text) {
  std::istringstream in(text);
  CsvReader reader(in);
  std::vector<CsvRecord> records;
  for (;;) {
    auto record = reader.Next();
    if (!record.ok()) {
      Require(tocsin::Message(record.status()).starts_with("line "));
      continue;
    }
    if (!record->has_value()) return records;
    records.push_back(**std::move(record));
  }
}

void CheckReadAgain(const std::string& text, const std::vector<CsvRecord>& records) {
  for (const CsvRecord& record : records) {
    std::istringstream in(text);
    in.seekg(record.offset);
    const auto again = CsvReader(in, record.offset, record.line).Next();
    Require(again.ok() && again->has_value() && (*again)->fields == record.fields);
  }
}

void CheckQuoted(const std::vector<CsvRecord>& records) {
  std::string text;
  for (const CsvRecord& record : records) {
    for (std::size_t i = 0; i < record.fields.size(); ++i) {
      text.append(i == 0 ? "\"" : ",\"");
      for (const char c : record.fields[i]) text.append(c == '"' ? 2 : 1, c);
      text.push_back('"');
    }
    text.push_back('\n');
  }
  const std::vector<CsvRecord> again = ReadAll(text);
  Require(again.size() == records.size());
  for (std::size_t i = 0; i < again.size(); ++i) Require(again[i].fields == records[i].fields);
}

// Each field of the message takes a column of its own, the first one the template.
void CheckMapping(const std::string& text_template, const std::vector<CsvRecord>& records) {
  static const auto* const schema =
      new auto(*tocsin::schema::CompiledSchema::Compile({"row.proto", kSchema}));
  const std::vector<std::string> columns{"a", "b", "c", "d", "e", "f", "g"};
  tocsin::pack::v1::CsvMapping mapping;
  mapping.set_name("rows");
  mapping.set_source("/{file}");
  mapping.set_time("{f}");
  mapping.set_time_format("%Y-%m-%d %H:%M:%S");
  auto& fields = *mapping.mutable_fields();
  fields["text"] = text_template;
  fields["number"] = "{b}";
  fields["real"] = "{c}";
  fields["on"] = "{d|lower}";
  fields["kind"] = "{e|upper}";
  fields["time"] = "{f}";
  fields["large"] = "{g|before:'.'}";
  fields["raw"] = "{a}";
  tocsin::pack::v1::Stream stream;
  stream.set_message_type("Row");
  stream.set_partition_key("text");
  CsvMapper::Options options;
  options.mapping = &mapping;
  options.stream = &stream;
  options.schema = {kSchema, *schema, (*schema)->FindMessage("Row")};
  options.header = columns;
  options.file = "rows";
  const auto mapper = CsvMapper::Create(std::move(options));
  if (!mapper.ok()) return;
  std::int64_t number = 0;
  for (const CsvRecord& record : records) {
    const auto event = (*mapper)->Event(++number, record.fields);
    if (!event.ok()) continue;
    // What goes over the wire can be read at its other end.
    io::cloudevents::v1::CloudEvent sent;
    Require(sent.ParseFromString(event->SerializeAsString()));
    Require((*mapper)->Time(record.fields).ok());
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const bool quiet = google::protobuf::SetLogHandler(nullptr) != nullptr;
  static_cast<void>(quiet);
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const std::size_t cut = input.find('\0');
  if (cut == std::string_view::npos) return 0;
  const std::string text(input.substr(cut + 1));
  const std::vector<CsvRecord> records = ReadAll(text);
  CheckReadAgain(text, records);
  CheckQuoted(records);
  CheckMapping(std::string(input.substr(0, cut)), records);
  return 0;
}
