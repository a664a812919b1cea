// What the engine must find, by brute force over events in the order in which they are to be
// judged, and what it has found, read back from the records that it wrote.
#pragma once

#include <cstdint>
#include <iosfwd>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "lib/kafka/types.h"
#include "services/correlation/engine/rule_plan.h"
#include "services/correlation/testing/test_rule.h"

namespace tocsin::correlation::testing {

struct Found {
  std::string rule;
  std::string key;
  std::string time;
  std::vector<std::int64_t> rows;
  friend auto operator<=>(const Found&, const Found&) = default;
};
std::ostream& operator<<(std::ostream& out, const Found& found);

struct Answers {
  // Sorted.
  std::vector<Found> detections;
  // By rule.
  std::map<std::string, std::int64_t> incidents;
};

// No code shared with the engine.
Answers BruteForce(const std::vector<Call>& calls, const std::vector<RuleSpec>& rules);

// From the records of `detections` and `incidents.correlated`, each in the order of its partitions.
// Expects every detection once, and every revision of every incident once and in order.
Answers Observed(const std::vector<kafka::Record>& detections,
                 const std::vector<kafka::Record>& incidents);

// The same for rules with correct_within: what stands when all was told.
Answers Corrected(const std::vector<kafka::Record>& detections,
                  const std::vector<kafka::Record>& incidents);

void ExpectSame(const Answers& observed, const Answers& expected);

// repeat-location, multi-agency and area-surge.
std::vector<RuleSpec> PublicSafetyRules();
RuleSpec MakeSpec(std::string id, std::string key, std::string count_field, std::int64_t at_least,
                  std::chrono::minutes timespan, std::chrono::minutes join_within);

std::shared_ptr<const RulePlan> MakePlan(const std::vector<RuleSpec>& rules,
                                         std::int32_t partitions, std::string stream = "calls.raw");

// In the order of time. Many in one minute, places that lie in two townships, long gaps.
std::vector<Call> RandomCalls(std::uint64_t seed, std::size_t count);

}  // namespace tocsin::correlation::testing
