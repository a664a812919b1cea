// The `join` part of a rule as the engine runs it: which events of two streams make pairs.
//
// Threads: a CompiledJoin never changes; any number of threads may ask it at once.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "lib/cel/cel.h"
#include "services/correlation/rules/mistakes.h"
#include "tocsin/rule/v1/rule.pb.h"

namespace google::protobuf {
class Descriptor;
}  // namespace google::protobuf

namespace tocsin::correlation {

class CompiledRule;

struct CompiledJoin {
  // Times of a pair are at most so far apart.
  std::chrono::microseconds within{0};
  std::size_t max_events = 0;
  std::size_t max_pairs = 0;

  // What the right stream's own tasks need to know: its filter, its key, the topic in which its
  // events come to the left stream's tasks. Its stream() is the right one.
  std::shared_ptr<const CompiledRule> right;
  // Left tasks tell the right ones in the first topic how far their stream has come, right ones
  // each other in the second, so that a silent right partition can follow.
  std::string time_topic;
  std::string right_time_topic;

  // A message with one field for each side; on the wire the tag, the length and the bytes of each.
  // nullptr where there is no `where`. Lives as long as `owner`.
  std::shared_ptr<const void> owner;
  const google::protobuf::Descriptor* pair = nullptr;
  std::string left_tag;
  std::string right_tag;
  // Over `pair`; nullptr: every pair counts.
  std::unique_ptr<cel::Program> where;
};

// Checks `spec.join()` and writes its defaults; what needs no schema.
CompiledJoin CheckJoin(tocsin::rule::v1::Rule& spec, Mistakes& mistakes);
// Compiles `spec.join().where()` over the two messages.
void ResolvePair(const tocsin::rule::v1::Rule& spec, const google::protobuf::Descriptor& left,
                 const google::protobuf::Descriptor& right, CompiledJoin& join, Mistakes& mistakes);

// In which topics the two streams of a join meet.
std::string JoinTopic(const tocsin::rule::v1::Rule& spec);
std::string JoinTimeTopic(const tocsin::rule::v1::Rule& spec);
std::string JoinRightTimeTopic(const tocsin::rule::v1::Rule& spec);

// Lower-case letters, digits and underscores, a letter first: what may stand for an event or a row
// in an expression.
bool IsVariableName(std::string_view name);
inline constexpr std::size_t kLongestVariableName = 32;
// What stands before the length and the bytes of a message field on the wire.
std::string MessageFieldTag(std::int32_t number);

}  // namespace tocsin::correlation
