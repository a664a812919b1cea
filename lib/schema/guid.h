// The GUID of a schema's content, as Confluent's registry computes it: MD5 over the text, the
// references, the metadata and the rule set. Equal in every registry that holds the same text.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "lib/schema/wire_format.h"

namespace tocsin::schema {

struct GuidReference {
  std::string_view name;
  std::string_view subject;
  std::int32_t version = 0;
};

// `metadata` and `rule_set`: the bytes that are hashed for them; empty: none. Pure; thread-safe.
SchemaGuid GuidOf(std::string_view text, std::span<const GuidReference> references = {},
                  std::string_view metadata = {}, std::string_view rule_set = {});

}  // namespace tocsin::schema
