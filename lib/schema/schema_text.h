// Prints descriptors as .proto text. Internal to lib/schema.
#pragma once

#include <google/protobuf/descriptor.h>
#include <google/protobuf/dynamic_message.h>

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"

namespace tocsin::schema {

// See CanonicalText and NormalizedText.
enum class TextForm { kCanonical, kNormalized };

// Where names in full and options with long names stand often, a text is many times what it was.
inline constexpr std::size_t kMaxPrintedBytes = std::size_t{16} << 20;

// `pool`: the one that `file` is of; it knows the extensions that options are. INVALID_ARGUMENT
// when it is more than kMaxPrintedBytes; no more than about that is printed to find out.
absl::StatusOr<std::string> PrintFile(const google::protobuf::FileDescriptor& file,
                                      const google::protobuf::DescriptorPool& pool, TextForm form);

// A value as an option statement needs it: {"deprecated", "true"}, {"(.p.tag)", "\"x\""}. One entry
// for each value of a repeated option. nullopt: they are more than `max_bytes`.
using OptionText = std::pair<std::string, std::string>;
std::optional<std::vector<OptionText>> OptionTexts(const google::protobuf::Message& options,
                                                   const google::protobuf::DescriptorPool& pool,
                                                   google::protobuf::DynamicMessageFactory& factory,
                                                   std::size_t max_bytes);

// Of a field that has one, as `default = …` takes it.
std::string DefaultValueText(const google::protobuf::FieldDescriptor& field);

// In double quotes, with what is not printable ASCII escaped.
std::string QuotedText(std::string_view bytes);

// The name in JSON of a field without the option json_name.
std::string DefaultJsonName(std::string_view field_name);

}  // namespace tocsin::schema
