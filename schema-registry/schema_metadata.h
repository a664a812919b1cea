// The JSON that travels with a schema: metadata (tags, properties, sensitive) and rule sets
// (migrationRules, domainRules, encodingRules), in the shapes of Confluent's registry. Kept, merged
// and handed out; nothing of it is executed here. Pure; thread-safe. All texts are JSON objects,
// compact, or empty: none.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"

namespace tocsin::registry {

// kInvalidSchema, kTooLarge: not of that shape, over 256 KiB.
absl::Status CheckMetadata(std::string_view metadata);
// kInvalidRuleSet, kTooLarge. A rule needs a name (a letter or '_', then letters, digits, '_', '-')
// that is its own in its list, and a type.
absl::Status CheckRuleSet(std::string_view rule_set);

// What `newer` says, and what only `older` says. Tags and properties by name, rules by name,
// sensitive ones from both.
std::string MergeMetadata(std::string_view older, std::string_view newer);
std::string MergeRuleSets(std::string_view older, std::string_view newer);

// Without the rules of these names, whatever list they are in; "{}" where none are left.
std::string WithoutRules(std::string_view rule_set, const std::vector<std::string>& names);

// metadata.properties; empty where there are none.
std::map<std::string, std::string> PropertiesOf(std::string_view metadata);

// Equal for texts that differ in nothing but layout and the order of fields.
std::string CanonicalJson(std::string_view text);

// What goes into a GUID for them: names and values in their order, as Confluent's registry does.
std::string HashedMetadata(std::string_view metadata);
std::string HashedRuleSet(std::string_view rule_set);

}  // namespace tocsin::registry
