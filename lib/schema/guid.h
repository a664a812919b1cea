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

// MD5 over, one after the other and without separators:
//   - the text, UTF-8;
//   - of each reference, in its order: name, subject, version (4 bytes, big-endian);
//   - where there is metadata, the byte 1 and `metadata`;
//   - where there is a rule set, the byte 1 and `rule_set`.
//
// Those two are not JSON. For Confluent's GUID, `metadata` holds, as bare UTF-8 and with the keys
// of each object sorted: of `tags` each key and then its values, sorted; of `properties` each key
// and its value; the values of `sensitive`, sorted. `rule_set` holds the rules of `migrationRules`
// and then those of `domainRules`, in their order, and of each rule what it has of: name, doc,
// kind, mode, type; tags, sorted; params, sorted by key, each key and its value; expr, onSuccess,
// onFailure; the byte 1 where it is disabled. What is null is left out.
//
// Empty: there is none. (Confluent tells an empty object from none; this function does not.) Pure;
// thread-safe.
SchemaGuid GuidOf(std::string_view text, std::span<const GuidReference> references = {},
                  std::string_view metadata = {}, std::string_view rule_set = {});

}  // namespace tocsin::schema
