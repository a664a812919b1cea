#include "services/correlation/engine/counts.h"

#include "lib/base/text.h"

namespace tocsin::correlation {

RuleCounts& RuleCounts::operator+=(const RuleCounts& other) {
  filtered += other.filtered;
  missing_key += other.missing_key;
  late += other.late;
  taken += other.taken;
  undecided += other.undecided;
  where_errors += other.where_errors;
  found_rows += other.found_rows;
  absent_rows += other.absent_rows;
  unreadable_rows += other.unreadable_rows;
  detections += other.detections;
  incidents += other.incidents;
  results += other.results;
  corrections += other.corrections;
  for (const auto& [reason, number] : other.dropped) dropped[reason] += number;
  return *this;
}

Counts& Counts::operator+=(const Counts& other) {
  in += other.in;
  invalid += other.invalid;
  duplicate += other.duplicate;
  accepted += other.accepted;
  forwarded += other.forwarded;
  refused += other.refused;
  kept_late += other.kept_late;
  for (const auto& [id, of_rule] : other.rules) rules[id] += of_rule;
  return *this;
}

std::string Unreconciled(const Counts& counts) {
  std::string wrong;
  if (counts.in != counts.invalid + counts.duplicate + counts.accepted) {
    wrong = Concat("in ", counts.in, " is not invalid ", counts.invalid, " + duplicate ",
                   counts.duplicate, " + accepted ", counts.accepted, "; ");
  }
  for (const auto& [id, of_rule] : counts.rules) {
    if (counts.accepted ==
        of_rule.filtered + of_rule.missing_key + of_rule.late + of_rule.taken + of_rule.undecided) {
      continue;
    }
    wrong +=
        Concat("rule ", id, ": accepted ", counts.accepted, " is not filtered ", of_rule.filtered,
               " + missing_key ", of_rule.missing_key, " + late ", of_rule.late, " + taken ",
               of_rule.taken, " + undecided ", of_rule.undecided, "; ");
  }
  return wrong;
}

}  // namespace tocsin::correlation
