// What tests of the engine are made of: a message type built in memory, rules over it without YAML,
// and records that carry it.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "lib/kafka/types.h"
#include "services/correlation/rules/compiled_rule.h"

namespace tocsin::correlation::testing {

// message Call { string place = 1; string township = 2; string agency = 3; }, full name test.Call.
const google::protobuf::Descriptor* CallDescriptor();

struct RuleSpec {
  std::string id = "rule";
  std::string stream = "calls.raw";
  // Of Call. Without township the rule needs a repartition topic: the stream's key is township.
  std::vector<std::string> group_by = {"place"};
  // Empty: event_count, else value_count.
  std::string count_field;
  std::int64_t at_least = 2;
  std::chrono::microseconds timespan = std::chrono::minutes(10);
  std::chrono::microseconds join_within = std::chrono::minutes(30);
  RuleOrder order = RuleOrder::kEventTime;
  std::chrono::microseconds max_disorder{0};
  std::chrono::microseconds idle_timeout = std::chrono::seconds(10);
  // Zero: late events correct nothing.
  std::chrono::seconds correct_within{0};
  // Only calls of this agency; empty: all.
  std::string agency;
};
std::shared_ptr<const CompiledRule> MakeRule(RuleSpec spec);

struct Call {
  std::string place;
  std::string township;
  std::string agency = "EMS";
  WallTime time{};
  // ce_id; empty: `row`.
  std::string id;
  std::int64_t row = 0;
};
// A record of topic calls.raw with the township as its key; partition and offset are the caller's.
kafka::Record MakeCallRecord(const Call& call, std::int32_t partition = 0, std::int64_t offset = 0);

}  // namespace tocsin::correlation::testing
