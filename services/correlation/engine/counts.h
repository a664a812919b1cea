// What a batch has counted. After every committed transaction
//
//   for each stream  in = invalid + duplicate + accepted
//   for each rule    accepted = filtered + missing_key + late + taken + undecided
//
// Every event is counted where it came in from its stream, also for rules that read a repartition
// topic, so that nothing under way is missing. Only what cannot be known there is `undecided`
// until it is.
#pragma once

#include <cstdint>
#include <map>
#include <string>

namespace tocsin::correlation {

struct RuleCounts {
  std::int64_t filtered = 0;
  std::int64_t missing_key = 0;
  std::int64_t late = 0;
  std::int64_t taken = 0;
  // Window rules: events of which it is not decided yet whether they are late, less those of which
  // it has been decided now: may be negative.
  std::int64_t undecided = 0;
  std::int64_t where_errors = 0;
  // Look-ups in tables: that found a row, that found none, and whose row is no message of the
  // table's type.
  std::int64_t found_rows = 0;
  std::int64_t absent_rows = 0;
  std::int64_t unreadable_rows = 0;
  std::int64_t detections = 0;
  std::int64_t incidents = 0;
  // Window rules: results written; and by reason what their caps have dropped of what was taken.
  std::int64_t results = 0;
  // Of `taken`: came late and have corrected what was told (correct_within).
  std::int64_t corrections = 0;
  std::map<std::string, std::int64_t> dropped;
  friend bool operator==(const RuleCounts&, const RuleCounts&) = default;
  RuleCounts& operator+=(const RuleCounts& other);
};

struct Counts {
  std::int64_t in = 0;
  std::int64_t invalid = 0;
  std::int64_t duplicate = 0;
  std::int64_t accepted = 0;
  std::int64_t forwarded = 0;
  // Records of the repartition topics that nobody of us wrote so.
  std::int64_t refused = 0;
  // Records written to the stream's topic of late events.
  std::int64_t kept_late = 0;
  // By rule id.
  std::map<std::string, RuleCounts> rules;
  Counts& operator+=(const Counts& other);
};

// Which of the equations above does not hold, in words; empty when all do.
std::string Unreconciled(const Counts& counts);

}  // namespace tocsin::correlation
