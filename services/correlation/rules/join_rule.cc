#include "services/correlation/rules/join_rule.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>

#include <algorithm>
#include <utility>

#include "lib/base/status.h"
#include "lib/base/text.h"
#include "services/correlation/rules/compiled_rule.h"
#include "services/correlation/rules/joined_message.h"

namespace tocsin::correlation {
namespace {

using google::protobuf::Descriptor;
using std::chrono::microseconds;

constexpr microseconds kShortestWithin = std::chrono::milliseconds(1);
constexpr microseconds kLongestWithin = std::chrono::hours(24 * 366);
constexpr std::int64_t kDefaultEvents = 1'000;
constexpr std::int64_t kMostEvents = 10'000;
constexpr std::int64_t kDefaultPairs = 100;
constexpr std::int64_t kMostPairs = 1'000;

void CheckSide(const rule::v1::JoinSide& side, std::string_view name, Mistakes& mistakes) {
  const std::string path = Concat("join.", name);
  if (!mistakes.Has(path)) {
    mistakes.Missing(path, Concat("'", name, "' is missing: a join has two sides, for example ",
                                  name, ": {stream: payments, key: [card], as: payment}"));
    return;
  }
  if (side.stream().empty()) {
    mistakes.Missing(Concat(path, ".stream"),
                     "'stream' is missing: which topic does this side read?");
  }
  if (side.key().empty()) {
    mistakes.Missing(Concat(path, ".key"),
                     "'key' is missing: name the fields whose values must be equal on both sides, "
                     "for example key: [card]");
  }
  if (side.as().empty()) {
    mistakes.Missing(Concat(path, ".as"),
                     "'as' is missing: what shall the event be called? For example as: payment");
  } else if (!IsVariableName(side.as())) {
    mistakes.AtValue(Concat(path, ".as"),
                     Concat("'", side.as().substr(0, kLongestVariableName),
                            "' is not a name: write lower-case letters, digits and underscores, a "
                            "letter first, at most ",
                            kLongestVariableName));
  }
}

// 0: not given.
void CheckNumber(std::string_view key, std::int64_t most, std::int64_t value, Mistakes& mistakes) {
  const std::string path = Concat("join.", key);
  if (!mistakes.Has(path) || (value >= 1 && value <= most)) return;
  mistakes.AtValue(path, Concat("write a number from 1 to ", most));
}

// message TocsinPair {}, in the scope in which the left stream's message is looked up.
struct EmptyMessage {
  std::shared_ptr<google::protobuf::DescriptorPool> pool;
  const Descriptor* descriptor = nullptr;
};
EmptyMessage MakeEmpty(const std::string& package) {
  google::protobuf::FileDescriptorProto file;
  file.set_name("tocsin_joined_pair.proto");
  file.set_package(package);
  file.set_syntax("proto3");
  file.add_message_type()->set_name("TocsinPair");
  EmptyMessage empty;
  empty.pool = std::make_shared<google::protobuf::DescriptorPool>();
  empty.descriptor = empty.pool->BuildFile(file)->message_type(0);
  return empty;
}

}  // namespace

bool IsVariableName(std::string_view name) {
  if (name.empty() || name.size() > kLongestVariableName || name.front() < 'a' ||
      name.front() > 'z') {
    return false;
  }
  return std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
  });
}

std::string MessageFieldTag(std::int32_t number) {
  constexpr std::uint32_t kLengthDelimited = 2;
  std::string tag;
  std::uint32_t rest = static_cast<std::uint32_t>(number) << 3 | kLengthDelimited;
  for (; rest >= 0x80; rest >>= 7) tag.push_back(static_cast<char>(rest | 0x80));
  tag.push_back(static_cast<char>(rest));
  return tag;
}

CompiledJoin CheckJoin(rule::v1::Rule& spec, Mistakes& mistakes) {
  CompiledJoin compiled;
  rule::v1::Join& join = *spec.mutable_join();
  if (spec.order() != rule::v1::ORDER_EVENT_TIME) {
    mistakes.AtKey("join",
                   "a join needs 'order: event_time': two streams have no common order of arrival");
  }
  for (const std::string_view key : {"stream", "where"}) {
    if (!mistakes.Has(key)) continue;
    mistakes.AtKey(key, Concat("a join has two streams: give '", key,
                               "' in join.left and in "
                               "join.right",
                               key == "where" ? ", and what both must fulfil in join.where" : ""));
  }
  if (mistakes.Has("enrich")) {
    mistakes.AtKey("enrich", "joins do not look rows up in tables");
  }
  if (mistakes.Has("correct_within")) {
    mistakes.AtKey("correct_within", "what a join has told stands. Remove it");
  }
  CheckSide(join.left(), "left", mistakes);
  CheckSide(join.right(), "right", mistakes);
  if (!join.left().stream().empty() && join.left().stream() == join.right().stream()) {
    mistakes.AtValue("join.right.stream",
                     "both sides read one stream; a join needs two. Within one stream use "
                     "'correlation'");
  }
  if (!join.left().as().empty() && join.left().as() == join.right().as()) {
    mistakes.AtValue("join.right.as", Concat("'", join.right().as(), "' is the left event's name"));
  }
  if (!join.left().key().empty() && !join.right().key().empty() &&
      join.left().key_size() != join.right().key_size()) {
    mistakes.AtValue("join.right.key",
                     Concat("the left key has ", join.left().key_size(), " fields, this one ",
                            join.right().key_size(), ": they are compared one by one"));
  }
  if (!join.has_within()) {
    mistakes.Missing("join.within",
                     "'within' is missing: how far apart may the two events be? For example "
                     "within: 10m");
  } else {
    compiled.within = FromProto(join.within());
    mistakes.CheckSpan("join.within", compiled.within, kShortestWithin, kLongestWithin);
  }
  CheckNumber("max_events", kMostEvents, join.max_events(), mistakes);
  CheckNumber("max_pairs", kMostPairs, join.max_pairs(), mistakes);
  if (join.max_events() == 0) join.set_max_events(kDefaultEvents);
  if (join.max_pairs() == 0) join.set_max_pairs(kDefaultPairs);
  compiled.max_events = static_cast<std::size_t>(std::max<std::int64_t>(join.max_events(), 1));
  compiled.max_pairs = static_cast<std::size_t>(std::max<std::int64_t>(join.max_pairs(), 1));
  spec.set_stream(join.left().stream());
  compiled.time_topic = JoinTimeTopic(spec);
  compiled.right_time_topic = JoinRightTimeTopic(spec);
  return compiled;
}

void ResolvePair(const rule::v1::Rule& spec, const Descriptor& left, const Descriptor& right,
                 CompiledJoin& join, Mistakes& mistakes) {
  const rule::v1::Join& of = spec.join();
  if (of.where().empty() || !IsVariableName(of.left().as()) || !IsVariableName(of.right().as()) ||
      of.left().as() == of.right().as()) {
    return;
  }
  const EmptyMessage empty = MakeEmpty(left.file()->package());
  const absl::StatusOr<JoinedMessage> pair =
      JoinMessages(*empty.descriptor, {{of.left().as(), &left}, {of.right().as(), &right}});
  if (!pair.ok()) {
    mistakes.AtKey("join.where", Concat("the messages of the two streams do not go together: ",
                                        Message(pair.status())));
    return;
  }
  join.pair = pair->descriptor;
  join.owner = pair->owner;
  join.left_tag = MessageFieldTag(pair->numbers[0]);
  join.right_tag = MessageFieldTag(pair->numbers[1]);
  cel::CompileError error;
  auto program = cel::Compile(of.where(), join.pair, &error);
  if (program.ok()) {
    join.where = *std::move(program);
    return;
  }
  const std::string_view text = Message(program.status());
  const std::size_t picture = text.find('\n');
  mistakes.At(mistakes.positions().Inside("join.where", error.offset),
              Concat("join.where: ", error.reason,
                     picture == std::string_view::npos ? "" : text.substr(picture)));
}

std::string JoinTopic(const rule::v1::Rule& spec) {
  const rule::v1::JoinSide& right = spec.join().right();
  return Concat("correlation-", right.stream(), "-by-",
                Join({right.key().begin(), right.key().end()}, "-"), "-for-",
                spec.join().left().stream(), "-repartition");
}

std::string JoinTimeTopic(const rule::v1::Rule& spec) {
  // No field's name begins with a dot.
  return Concat("correlation-", spec.join().left().stream(), "-by-.time-for-",
                spec.join().right().stream(), "-repartition");
}

std::string JoinRightTimeTopic(const rule::v1::Rule& spec) {
  return Concat("correlation-", spec.join().right().stream(), "-by-.time-repartition");
}

}  // namespace tocsin::correlation
