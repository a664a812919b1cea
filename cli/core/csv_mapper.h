// Rows of a CSV file → events of a stream, by a pack's mapping.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "cli/core/pack.h"
#include "io/cloudevents/v1/cloudevents.pb.h"
#include "lib/base/clock.h"

namespace tocsin::cli {

// The mapping of `pack` that fits a header line. INVALID_ARGUMENT says, for the nearest mapping,
// which columns are missing (and which the file has instead), or that columns stand twice.
// `name` chooses by name instead; the header must fit all the same.
absl::StatusOr<const pack::v1::CsvMapping*> ChooseMapping(const pack::v1::Pack& pack,
                                                          const std::vector<std::string>& header,
                                                          std::string_view name = {});

// Not thread-safe.
class CsvMapper {
 public:
  struct Options {
    const pack::v1::CsvMapping* mapping = nullptr;
    const pack::v1::Stream* stream = nullptr;
    StreamSchema schema;
    std::vector<std::string> header;
    // The file's name without folder and ending.
    std::string file;
    // ce_source; empty: what the mapping says.
    std::string source;
  };
  // INVALID_ARGUMENT: a template that does not parse, a field that the message does not have or
  // that a text cannot fill (messages other than Timestamp, lists).
  static absl::StatusOr<std::unique_ptr<CsvMapper>> Create(Options options);
  virtual ~CsvMapper() = default;

  // Event time alone, for sorting. INVALID_ARGUMENT quotes the text and the format.
  virtual absl::StatusOr<WallTime> Time(const std::vector<std::string>& row) const = 0;
  // `number` 1 is the first row after the header. INVALID_ARGUMENT names field and reason.
  virtual absl::StatusOr<io::cloudevents::v1::CloudEvent> Event(
      std::int64_t number, const std::vector<std::string>& row) = 0;

  virtual const std::string& source() const = 0;
};

// `text` in strptime's `format`, as UTC unless the format has %z; years 1 to 9999.
// INVALID_ARGUMENT.
absl::StatusOr<WallTime> ParseTimeAs(const std::string& text, const std::string& format);

// Sets `field` of `message` from a text, as CsvMapping describes it. For `tocsin publish` too.
absl::Status SetFieldFromText(google::protobuf::Message& message,
                              const google::protobuf::FieldDescriptor& field,
                              const std::string& text, const std::string& time_format);

}  // namespace tocsin::cli
