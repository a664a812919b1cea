#include "services/correlation/rules/enrichment.h"

#include <google/protobuf/descriptor.h>

#include <algorithm>
#include <set>
#include <utility>

#include "lib/base/status.h"
#include "lib/base/text.h"
#include "services/correlation/rules/join_rule.h"
#include "services/correlation/rules/joined_message.h"

namespace tocsin::correlation {
namespace {

using google::protobuf::Descriptor;

constexpr int kMostLookups = 4;
constexpr int kMostOutputs = 16;

std::string Place(int i, std::string_view key) { return Concat("enrich[", i, "].", key); }

void CheckAs(const rule::v1::Enrichment& entry, int i, const Descriptor& message,
             std::set<std::string>& names, Mistakes& mistakes) {
  const std::string place = Place(i, "as");
  if (entry.as().empty()) {
    mistakes.Missing(place,
                     "'as' is missing: what shall the row be called? For example as: device");
  } else if (!IsVariableName(entry.as())) {
    mistakes.AtValue(place, Concat("'", entry.as().substr(0, kLongestVariableName),
                                   "' is not a name: write lower-case letters, digits and "
                                   "underscores, a letter first, at most ",
                                   kLongestVariableName));
  } else if (message.FindFieldByName(entry.as()) != nullptr) {
    mistakes.AtValue(place, Concat(message.full_name(), " has a field '", entry.as(),
                                   "' already; give the row another name"));
  } else if (!names.insert(entry.as()).second) {
    mistakes.AtValue(place, Concat("'", entry.as(), "' is named twice"));
  }
}

}  // namespace

absl::StatusOr<Enrichment> ResolveEnrichment(
    const rule::v1::Rule& spec, const Descriptor& message,
    const std::function<absl::StatusOr<TableInfo>(std::string_view)>& find_table,
    const std::vector<std::string>& table_names, Mistakes& mistakes) {
  Enrichment enrichment;
  enrichment.message = &message;
  std::vector<TableInfo> tables;
  std::set<std::string> names;
  bool sound = true;
  if (spec.enrich_size() > kMostLookups) {
    mistakes.AtKey("enrich", Concat("more than ", kMostLookups, " look-ups"));
    return enrichment;
  }
  for (int i = 0; i < spec.enrich_size(); ++i) {
    const rule::v1::Enrichment& entry = spec.enrich(i);
    const std::size_t before = names.size();
    CheckAs(entry, i, message, names, mistakes);
    sound = sound && names.size() > before;
    Lookup& lookup = enrichment.lookups.emplace_back();
    lookup.table = entry.table();
    lookup.as = entry.as();
    lookup.required = entry.required();
    if (entry.key().empty()) {
      mistakes.Missing(Place(i, "key"),
                       "'key' is missing: which field of the event is the row's key?");
      sound = false;
    } else if (auto key = FieldPath::Resolve(entry.key(), message); key.ok()) {
      lookup.key = *std::move(key);
      lookup.key_at = enrichment.key_paths.size();
      for (schema::FieldPath& path : lookup.key.Paths()) {
        enrichment.key_paths.push_back(std::move(path));
      }
    } else {
      mistakes.AtValue(Place(i, "key"), Message(key.status()));
      sound = false;
    }
    absl::StatusOr<TableInfo> table = find_table(entry.table());
    if (table.ok()) {
      tables.push_back(*std::move(table));
      continue;
    }
    if (!absl::IsNotFound(table.status())) return table.status();
    sound = false;
    const std::string near = NearestName(entry.table(), table_names);
    const std::string known = table_names.empty()
                                  ? "; no pack has a table"
                                  : Concat("; there are: ", Join(table_names, ", "));
    if (entry.table().empty()) {
      mistakes.Missing(Place(i, "table"), Concat("'table' is missing", known));
    } else {
      mistakes.AtValue(Place(i, "table"),
                       Concat("unknown table '", entry.table(), "'",
                              near.empty() ? known : Concat("; did you mean '", near, "'?")));
    }
  }
  if (!sound) return enrichment;

  std::vector<FieldToJoin> fields;
  for (std::size_t i = 0; i < tables.size(); ++i) {
    fields.push_back({enrichment.lookups[i].as, tables[i].descriptor});
  }
  const absl::StatusOr<JoinedMessage> joined = JoinMessages(message, fields);
  if (!joined.ok()) {
    mistakes.AtKey("enrich", Concat("the tables' messages do not go together with ",
                                    message.full_name(), ": ", Message(joined.status())));
    return enrichment;
  }
  enrichment.joined = joined->descriptor;
  enrichment.owner = joined->owner;
  for (int i = 0; i < spec.enrich_size(); ++i) {
    Lookup& lookup = enrichment.lookups[static_cast<std::size_t>(i)];
    lookup.tag = MessageFieldTag(joined->numbers[static_cast<std::size_t>(i)]);
    const auto& outputs = spec.enrich(i).fields();
    if (!outputs.empty() && spec.has_window()) {
      mistakes.AtKey(Place(i, "fields"),
                     "'fields' are shown by detections, and windows have none; use group-by");
      continue;
    }
    if (outputs.size() > kMostOutputs) {
      mistakes.AtKey(Place(i, "fields"), Concat("more than ", kMostOutputs, " fields"));
      continue;
    }
    for (int k = 0; k < outputs.size(); ++k) {
      auto path = FieldPath::ResolveAny(Concat(lookup.as, ".", outputs[k]), *enrichment.joined);
      if (path.ok()) {
        lookup.outputs.push_back({outputs[k], *std::move(path)});
      } else {
        mistakes.AtValue(Place(i, Concat("fields[", k, "]")), Message(path.status()));
      }
    }
  }
  return enrichment;
}

std::string TopicPart(const rule::v1::Rule& spec, const std::string& field) {
  for (const rule::v1::Enrichment& entry : spec.enrich()) {
    const std::string prefix = Concat(entry.as(), ".");
    // No field's name begins with a dot.
    if (field.starts_with(prefix)) {
      return Concat(".", entry.table(), ".", entry.key(), ".", field.substr(prefix.size()));
    }
  }
  return field;
}

}  // namespace tocsin::correlation
