#include "cli/core/csv_mapper.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/dynamic_message.h>
#include <google/protobuf/message.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <optional>
#include <set>

#include "cli/core/template_text.h"
#include "lib/base/status.h"
#include "lib/base/text.h"
#include "lib/base/time.h"
#include "lib/schema/wire_validator.h"

namespace tocsin::cli {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using io::cloudevents::v1::CloudEvent;

constexpr const char* kTimestamp = "google.protobuf.Timestamp";

template <typename Number>
absl::StatusOr<Number> ParseNumber(std::string_view text, std::string_view field) {
  Number value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) {
    return InvalidArgument(Concat(field, ": '", text, "' is not a number that fits"));
  }
  return value;
}

std::string Quoted(const std::vector<std::string>& names) { return Join(names, ","); }

absl::Status SetTimestamp(Message& timestamp, WallTime time) {
  const auto since = time.time_since_epoch();
  const auto seconds = std::chrono::floor<std::chrono::seconds>(since);
  const auto* const descriptor = timestamp.GetDescriptor();
  const auto* const reflection = timestamp.GetReflection();
  reflection->SetInt64(&timestamp, descriptor->FindFieldByNumber(1), seconds.count());
  reflection->SetInt32(
      &timestamp, descriptor->FindFieldByNumber(2),
      static_cast<std::int32_t>(
          std::chrono::duration_cast<std::chrono::nanoseconds>(since - seconds).count()));
  return absl::OkStatus();
}

CloudEvent::CloudEventAttributeValue Text(std::string value) {
  CloudEvent::CloudEventAttributeValue attribute;
  attribute.set_ce_string(std::move(value));
  return attribute;
}

class Mapper : public CsvMapper {
 public:
  explicit Mapper(Options options)
      : options_(std::move(options)), factory_(options_.schema.message->file()->pool()) {}

  absl::Status Build() {
    const pack::v1::CsvMapping& mapping = *options_.mapping;
    std::vector<std::string> names = options_.header;
    names.emplace_back("file");
    const std::vector<std::string> file_only{"file"};
    TOCSIN_ASSIGN_OR_RETURN(const TemplateText source,
                            TemplateText::Parse(mapping.source(), file_only));
    source_ = options_.source.empty() ? source.Render(std::vector<std::string>{options_.file})
                                      : options_.source;
    if (source_.empty()) return InvalidArgument("the mapping has no source");
    TOCSIN_ASSIGN_OR_RETURN(time_, TemplateText::Parse(mapping.time(), names));
    names.emplace_back("source");
    for (const auto& [name, text] : mapping.fields()) {
      const FieldDescriptor* const field = options_.schema.message->FindFieldByName(name);
      if (field == nullptr) {
        std::vector<std::string> known;
        for (int i = 0; i < options_.schema.message->field_count(); ++i) {
          known.push_back(options_.schema.message->field(i)->name());
        }
        return InvalidArgument(Concat("csv-mapping ", mapping.name(), ": ",
                                      options_.stream->message_type(), " has no field '", name, "'",
                                      DidYouMean(name, known)));
      }
      auto parsed = TemplateText::Parse(text, names);
      if (!parsed.ok()) {
        return Annotate(parsed.status(), Concat("csv-mapping ", mapping.name(), ", field ", name));
      }
      fields_.emplace_back(field, *std::move(parsed));
    }
    const std::string& key = options_.stream->partition_key();
    key_ = key.empty() ? nullptr : options_.schema.message->FindFieldByName(key);
    return absl::OkStatus();
  }

  absl::StatusOr<WallTime> Time(const std::vector<std::string>& row) const override {
    TOCSIN_RETURN_IF_ERROR(CheckWidth(row));
    std::vector<std::string> values = row;
    values.push_back(options_.file);
    return ParseTimeAs(time_->Render(values), options_.mapping->time_format());
  }

  absl::StatusOr<CloudEvent> Event(std::int64_t number,
                                   const std::vector<std::string>& row) override {
    TOCSIN_ASSIGN_OR_RETURN(const WallTime time, Time(row));
    std::vector<std::string> values = row;
    values.push_back(options_.file);
    values.push_back(source_);
    const std::unique_ptr<Message> message(factory_.GetPrototype(options_.schema.message)->New());
    for (const auto& [field, text] : fields_) {
      TOCSIN_RETURN_IF_ERROR(
          SetFieldFromText(*message, *field, text.Render(values), options_.mapping->time_format()));
    }
    CloudEvent event;
    event.set_spec_version("1.0");
    event.set_source(source_);
    event.set_id(Concat(source_, "#", number));
    event.set_type(options_.stream->message_type());
    auto& attributes = *event.mutable_attributes();
    attributes["time"] = Text(FormatTime(time));
    char sequence[32];
    std::snprintf(sequence, sizeof(sequence), "%012lld", static_cast<long long>(number));
    attributes["sequence"] = Text(sequence);
    attributes["datacontenttype"] = Text("application/protobuf");
    if (key_ != nullptr && key_->cpp_type() == FieldDescriptor::CPPTYPE_STRING) {
      const std::string key = message->GetReflection()->GetString(*message, key_);
      if (key.empty()) {
        return InvalidArgument(Concat(key_->name(), " is empty, and it is the stream's key"));
      }
      attributes["partitionkey"] = Text(key);
    }
    if (!message->SerializeToString(event.mutable_binary_data())) {
      return Internal("the message does not serialize");
    }
    return event;
  }

  const std::string& source() const override { return source_; }

 private:
  absl::Status CheckWidth(const std::vector<std::string>& row) const {
    if (row.size() == options_.header.size()) return absl::OkStatus();
    return InvalidArgument(
        Concat("has ", row.size(), " fields, and the header has ", options_.header.size()));
  }

  const Options options_;
  google::protobuf::DynamicMessageFactory factory_;
  std::string source_;
  std::optional<TemplateText> time_;
  std::vector<std::pair<const FieldDescriptor*, TemplateText>> fields_;
  const FieldDescriptor* key_ = nullptr;
};

}  // namespace

absl::StatusOr<const pack::v1::CsvMapping*> ChooseMapping(const pack::v1::Pack& pack,
                                                          const std::vector<std::string>& header,
                                                          std::string_view name) {
  if (pack.csv_mappings().empty()) {
    return InvalidArgument(Concat("the pack ", pack.name(), " has no CSV mapping"));
  }
  std::set<std::string> present;
  for (const std::string& column : header) {
    if (!present.insert(column).second) {
      return InvalidArgument(Concat("the header has the column '", column, "' twice"));
    }
  }
  const pack::v1::CsvMapping* nearest = nullptr;
  std::vector<std::string> nearest_missing;
  std::vector<std::string> names;
  for (const auto& mapping : pack.csv_mappings()) {
    names.push_back(mapping.name());
    if (!name.empty() && mapping.name() != name) continue;
    std::vector<std::string> missing;
    for (const std::string& column : mapping.columns()) {
      if (!present.contains(column)) missing.push_back(column);
    }
    if (missing.empty()) return &mapping;
    if (nearest == nullptr || missing.size() < nearest_missing.size()) {
      nearest = &mapping;
      nearest_missing = missing;
    }
  }
  if (nearest == nullptr) {
    return InvalidArgument(Concat("the pack ", pack.name(), " has no CSV mapping '", name,
                                  "'; it has ", Join(names, ", ")));
  }
  std::string hint;
  for (const std::string& column : nearest_missing) {
    const std::string like = NearestName(column, header);
    if (!like.empty()) hint = Concat(" ('", like, "' looks like '", column, "')");
  }
  return InvalidArgument(
      Concat("the header does not fit: the mapping ", nearest->name(), " of the pack ", pack.name(),
             " needs the columns ", Quoted({nearest->columns().begin(), nearest->columns().end()}),
             "; missing ", Join(nearest_missing, ", "), hint, "; the file has ", Quoted(header)));
}

absl::StatusOr<std::unique_ptr<CsvMapper>> CsvMapper::Create(Options options) {
  auto mapper = std::make_unique<Mapper>(std::move(options));
  TOCSIN_RETURN_IF_ERROR(mapper->Build());
  return mapper;
}

absl::StatusOr<WallTime> ParseTimeAs(const std::string& text, const std::string& format) {
  std::tm parts{};
  parts.tm_mday = 1;
  const char* const end = strptime(text.c_str(), format.c_str(), &parts);
  if (end != text.c_str() + text.size()) {
    return InvalidArgument(Concat("'", text, "' is not a time of the form ", format));
  }
  const long offset = parts.tm_gmtoff;
  const std::chrono::seconds time(timegm(&parts) - offset);
  if (time < std::chrono::ceil<std::chrono::seconds>(kFirstTime.time_since_epoch()) ||
      time > std::chrono::floor<std::chrono::seconds>(kLastTime.time_since_epoch())) {
    return InvalidArgument(Concat("'", text, "' is outside the years 1 to 9999"));
  }
  return WallTime(time);
}

absl::Status SetFieldFromText(Message& message, const FieldDescriptor& field,
                              const std::string& text, const std::string& time_format) {
  if (text.empty()) return absl::OkStatus();
  const auto* const reflection = message.GetReflection();
  if (field.is_repeated()) {
    return InvalidArgument(Concat(field.name(), " is a list, which a text cannot fill"));
  }
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_STRING:
      if (field.type() == FieldDescriptor::TYPE_STRING && !schema::IsValidUtf8(text)) {
        return InvalidArgument(Concat(field.name(), " is not valid UTF-8"));
      }
      reflection->SetString(&message, &field, text);
      return absl::OkStatus();
    case FieldDescriptor::CPPTYPE_DOUBLE: {
      TOCSIN_ASSIGN_OR_RETURN(const double value, ParseNumber<double>(text, field.name()));
      reflection->SetDouble(&message, &field, value);
      return absl::OkStatus();
    }
    case FieldDescriptor::CPPTYPE_FLOAT: {
      TOCSIN_ASSIGN_OR_RETURN(const float value, ParseNumber<float>(text, field.name()));
      reflection->SetFloat(&message, &field, value);
      return absl::OkStatus();
    }
    case FieldDescriptor::CPPTYPE_INT32: {
      TOCSIN_ASSIGN_OR_RETURN(const auto value, ParseNumber<std::int32_t>(text, field.name()));
      reflection->SetInt32(&message, &field, value);
      return absl::OkStatus();
    }
    case FieldDescriptor::CPPTYPE_INT64: {
      TOCSIN_ASSIGN_OR_RETURN(const auto value, ParseNumber<std::int64_t>(text, field.name()));
      reflection->SetInt64(&message, &field, value);
      return absl::OkStatus();
    }
    case FieldDescriptor::CPPTYPE_UINT32: {
      TOCSIN_ASSIGN_OR_RETURN(const auto value, ParseNumber<std::uint32_t>(text, field.name()));
      reflection->SetUInt32(&message, &field, value);
      return absl::OkStatus();
    }
    case FieldDescriptor::CPPTYPE_UINT64: {
      TOCSIN_ASSIGN_OR_RETURN(const auto value, ParseNumber<std::uint64_t>(text, field.name()));
      reflection->SetUInt64(&message, &field, value);
      return absl::OkStatus();
    }
    case FieldDescriptor::CPPTYPE_BOOL:
      if (text != "true" && text != "false") {
        return InvalidArgument(Concat(field.name(), ": '", text, "' is neither true nor false"));
      }
      reflection->SetBool(&message, &field, text == "true");
      return absl::OkStatus();
    case FieldDescriptor::CPPTYPE_ENUM: {
      const auto* const value = field.enum_type()->FindValueByName(text);
      if (value == nullptr) {
        return InvalidArgument(Concat(field.name(), ": ", field.enum_type()->full_name(),
                                      " has no value '", text, "'"));
      }
      reflection->SetEnum(&message, &field, value);
      return absl::OkStatus();
    }
    case FieldDescriptor::CPPTYPE_MESSAGE: {
      if (field.message_type()->full_name() != kTimestamp) break;
      auto time = ParseTimeAs(text, time_format);
      if (!time.ok()) return Annotate(time.status(), field.name());
      return SetTimestamp(*reflection->MutableMessage(&message, &field), *time);
    }
  }
  return InvalidArgument(Concat(field.name(), " is a ", field.message_type()->full_name(),
                                ", which a text cannot fill"));
}

}  // namespace tocsin::cli
