// The rules of one stream, arranged as the engine runs them: which are evaluated where the event
// lies, which need a repartition topic, and what each knows of time.
//
// Threads: a plan never changes; any number of tasks share one.
#pragma once

#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "lib/schema/wire_projection.h"
#include "services/correlation/engine/partition_time.h"
#include "services/correlation/rules/compiled_rule.h"

namespace google::protobuf {
class Descriptor;
class DynamicMessageFactory;
class Message;
}  // namespace google::protobuf

namespace tocsin::correlation {

// A stream as its pack declares it.
struct StreamSpec {
  std::string topic;
  std::int32_t partitions = 1;
  // Full name of its message: events of another type are refused. Empty: any.
  std::string message_type;
  // Every accepted event is also written to ProcessedTopic().
  bool processed = false;
  // Events that came too late for a rule are kept in LateTopic().
  bool late = false;

  std::string ProcessedTopic() const;
  std::string DeadLetterTopic() const;
  std::string LateTopic() const;
  std::string ChangelogTopic() const;
};

struct RuleEntry {
  std::shared_ptr<const CompiledRule> rule;
  std::int32_t version = 1;
};

struct PlannedRule {
  std::shared_ptr<const CompiledRule> rule;
  std::int32_t version = 1;
  // keys.h: RulePrefix.
  std::string prefix;
  // Names of the group-by fields, joined.
  std::string group_by;
  // Counts the rules of a plan.
  std::size_t number = 0;
  // Which of RulePlan::messages() it reads, and where in it each of the rule's paths().
  std::size_t message = 0;
  std::vector<std::uint32_t> slots;
  // nullptr: it looks nothing up. Otherwise the stream's own message in RulePlan::messages(), and
  // where in it each of Enrichment::key_paths.
  const Enrichment* enrichment = nullptr;
  std::size_t own_message = 0;
  std::vector<std::uint32_t> key_slots;
  // A join whose pairs are judged, and where in `pair` each of the expression's paths; nullptr:
  // none.
  std::shared_ptr<const schema::WireProjection> pair;
  const google::protobuf::Message* pair_prototype = nullptr;
  std::vector<std::uint32_t> pair_slots;
  // The right side of a join, in the plan of the left side's stream: the join itself, under which
  // its events are held. nullptr: the rule itself.
  const PlannedRule* join = nullptr;

  // Time goes on for it in silence, so that its last windows close.
  bool closes_in_silence() const {
    return rule->window() != nullptr && rule->window()->type != WindowType::kSliding;
  }
  std::size_t key_fields() const { return static_cast<std::size_t>(rule->group_by().size()); }
  bool event_time() const { return rule->order() == RuleOrder::kEventTime; }
};

struct Repartition {
  std::string topic;
  // Of a join the right side; none where the topic is there for its marks alone.
  std::vector<PlannedRule> rules;
  // Some rule of it needs watermarks.
  bool marked = false;
  // Which of RulePlan's kinds of messages lies on it.
  std::size_t source = 0;
};

class RulePlan {
 public:
  // `rules`: those of this stream. `retained`: further rule versions (id, version) whose state must
  // be kept although they do not run now (a rule that could not be compiled for the moment).
  // `joins`: those of other streams whose right side this one is.
  static std::shared_ptr<const RulePlan> Make(
      StreamSpec stream, const std::vector<RuleEntry>& rules,
      std::set<std::pair<std::string, std::int32_t>> retained = {},
      const std::vector<RuleEntry>& joins = {});
  ~RulePlan();
  RulePlan(const RulePlan&) = delete;
  RulePlan& operator=(const RulePlan&) = delete;

  const StreamSpec& stream() const { return stream_; }
  const std::vector<PlannedRule>& local() const { return local_; }
  // Written and read by this stream's tasks.
  const std::vector<Repartition>& repartitions() const { return repartitions_; }
  // Joins only. Written by this stream's tasks for those of others, and the other way round.
  const std::vector<Repartition>& forwards() const { return forwards_; }
  const std::vector<Repartition>& foreign() const { return foreign_; }
  // Of repartitions() and foreign(). nullptr: no rule reads this topic (any more).
  const Repartition* FindRepartition(std::string_view topic) const;
  // Of repartitions() and forwards(). nullptr: nothing is written to it (any more).
  const Repartition* FindWritten(std::string_view topic) const;
  // In foreign(): where the right side of a join comes.
  const Repartition& RightSide(const PlannedRule& join) const;
  // What a task reads: the stream, then the repartition topics.
  std::vector<std::string> InputTopics() const;
  // Every rule, the right sides of joins too, by its number.
  const std::vector<const PlannedRule*>& rules() const { return rules_; }

  // One for each distinct descriptor that a rule was compiled against: what its rules read of it.
  struct MessageType {
    std::shared_ptr<const schema::WireProjection> projection;
    const google::protobuf::Message* prototype = nullptr;
    // With rows of tables joined to it; otherwise it is what a stream carries.
    bool joined = false;
    // 0: this stream's; others are of foreign streams.
    std::size_t source = 0;
  };
  const std::vector<MessageType>& messages() const { return messages_; }
  std::size_t rule_count() const { return rule_count_; }
  // Some rule joins rows of tables to its events.
  bool looks_rows_up() const { return looks_rows_up_; }

  // The idle_timeouts of all rules in event-time order, ascending, each once. Empty: silence means
  // nothing here.
  const std::vector<Duration>& idle_timeouts() const { return idle_timeouts_; }
  // The largest disorder that any rule allows.
  Duration max_disorder() const { return max_disorder_; }

  // For how much time to go on, for window rules, after `beyond` of a silence longer than their
  // idle_timeout: as far as some window may stay open. Zero without window rules in event-time
  // order.
  Duration TimeInSilence(Duration beyond) const;

  // Does the plan still need the state of this rule version?
  bool Keeps(const std::string& rule_id, std::int32_t version) const {
    return kept_.contains({rule_id, version});
  }
  bool KeepsAnyOf(const std::string& rule_id) const;

 private:
  class Maker;

  RulePlan(StreamSpec stream, std::set<std::pair<std::string, std::int32_t>> kept);

  StreamSpec stream_;
  std::set<std::pair<std::string, std::int32_t>> kept_;
  std::vector<PlannedRule> local_;
  std::vector<Repartition> repartitions_;
  std::vector<Repartition> forwards_;
  std::vector<Repartition> foreign_;
  std::vector<const PlannedRule*> rules_;
  std::unique_ptr<google::protobuf::DynamicMessageFactory> factory_;
  std::vector<MessageType> messages_;
  std::size_t rule_count_ = 0;
  bool looks_rows_up_ = false;
  std::vector<Duration> idle_timeouts_;
  Duration max_disorder_{};
  Duration window_horizon_{};
};

}  // namespace tocsin::correlation
