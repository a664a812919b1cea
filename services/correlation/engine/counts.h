// What a batch has counted.
//
// for each stream  in = invalid + duplicate + accepted
// for each rule    accepted = filtered + missing_key + late + taken
//                  (and events of session windows of which it is not decided yet whether they are
//                  late)
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
  std::int64_t where_errors = 0;
  std::int64_t detections = 0;
  std::int64_t incidents = 0;
  // Window rules: results written; and by reason what their caps have dropped of what was taken.
  std::int64_t results = 0;
  std::map<std::string, std::int64_t> dropped;
  friend bool operator==(const RuleCounts&, const RuleCounts&) = default;
};

struct Counts {
  std::int64_t in = 0;
  std::int64_t invalid = 0;
  std::int64_t duplicate = 0;
  std::int64_t accepted = 0;
  std::int64_t forwarded = 0;
  // By rule id.
  std::map<std::string, RuleCounts> rules;
};

}  // namespace tocsin::correlation
