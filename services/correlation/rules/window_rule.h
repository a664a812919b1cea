// The `window` part of a rule as the engine runs it: which windows an event belongs to, when they
// close, and what the aggregates read of the event.
//
// Threads: a CompiledWindow never changes; any number of threads may ask it at once.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "services/correlation/aggregate/accumulator.h"
#include "services/correlation/rules/field_path.h"
#include "services/correlation/rules/mistakes.h"
#include "tocsin/rule/v1/rule.pb.h"

namespace tocsin::correlation {

enum class WindowType { kTumbling, kHopping, kSliding, kSession };
enum class Emit { kOnClose, kOnChange, kEvery };

struct CompiledAggregate {
  std::string name;
  aggregate::Spec spec;
  // None for count and rate.
  std::optional<FieldPath> field;
};

struct CompiledWindow {
  WindowType type = WindowType::kTumbling;
  // All are whole milliseconds; what a type does not have is zero. Tumbling windows are hopping
  // ones whose slide is their size.
  std::chrono::microseconds size{0};
  std::chrono::microseconds slide{0};
  std::chrono::microseconds gap{0};
  std::chrono::microseconds grace{0};
  // What has closed is kept for so long after its end, for late events. Zero: it is not.
  std::chrono::microseconds correct_within{0};
  // Time is divided into pieces of this length, which windows share.
  std::chrono::microseconds pane{0};
  Emit emit = Emit::kOnClose;
  std::chrono::microseconds every{0};
  std::optional<std::chrono::microseconds> ttl;
  std::int64_t max_keys = 0;
  std::vector<CompiledAggregate> aggregates;

  // For how long a window may stay open after its last event's time.
  std::chrono::microseconds longest_open() const;
  // What the aggregates read, in their order.
  std::vector<aggregate::Value> Values(const google::protobuf::Message& message) const;
};

// Checks `spec.window()` and writes its defaults; what needs no schema.
CompiledWindow CheckWindow(tocsin::rule::v1::Rule& spec, Mistakes& mistakes);
// Finds the aggregates' fields.
void ResolveAggregates(const tocsin::rule::v1::Rule& spec,
                       const google::protobuf::Descriptor& message, CompiledWindow& window,
                       Mistakes& mistakes);

}  // namespace tocsin::correlation
