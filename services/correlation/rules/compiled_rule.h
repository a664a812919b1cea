// A rule as the engine runs it: YAML, checked against the schema of its stream, with every default
// filled in, `where` compiled and every field path resolved. The engine asks it questions about one
// message at a time and keeps all state itself.
//
// Threads: a CompiledRule never changes; any number of threads may ask it at once.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "lib/schema/wire_projection.h"
#include "services/correlation/rules/enrichment.h"
#include "services/correlation/rules/join_rule.h"
#include "services/correlation/rules/window_rule.h"
#include "tocsin/rule/v1/rule.pb.h"

namespace google::protobuf {
class Descriptor;
class Message;
}  // namespace google::protobuf

namespace tocsin::correlation {

// What a rule needs to know of the stream that it reads.
struct StreamInfo {
  std::string topic;
  // The message of the stream. Evaluated messages must have this very descriptor.
  const google::protobuf::Descriptor* descriptor = nullptr;
  // The field whose value is the record key (tocsin.pack.v1.Stream.partition_key); empty: none.
  std::string partition_key_field;
  // Owns the descriptor's pool; a CompiledRule holds it for as long as it lives.
  std::shared_ptr<const void> owner;
};

// The streams that rules may read. Find's NOT_FOUND means that there is no such stream and becomes
// an error of the rule; other codes (UNAVAILABLE: the registry is away) are passed on unchanged.
class StreamDirectory {
 public:
  virtual ~StreamDirectory() = default;
  virtual absl::StatusOr<StreamInfo> Find(std::string_view topic) const = 0;
  // For "did you mean".
  virtual std::vector<std::string> Names() const = 0;
  // The tables that rules may look into, alike.
  virtual absl::StatusOr<TableInfo> FindTable(std::string_view topic) const;
  virtual std::vector<std::string> TableNames() const { return {}; }
};

// A directory of streams known beforehand.
class FixedStreams final : public StreamDirectory {
 public:
  explicit FixedStreams(std::vector<StreamInfo> streams, std::vector<TableInfo> tables = {});
  absl::StatusOr<StreamInfo> Find(std::string_view topic) const override;
  std::vector<std::string> Names() const override;
  absl::StatusOr<TableInfo> FindTable(std::string_view topic) const override;
  std::vector<std::string> TableNames() const override;

 private:
  std::map<std::string, StreamInfo, std::less<>> streams_;
  std::map<std::string, TableInfo, std::less<>> tables_;
};

enum class RuleOrder { kArrival, kEventTime };
enum class RuleType { kEventCount, kValueCount };

class CompiledRule {
 public:
  virtual ~CompiledRule() = default;

  // With all defaults filled in, so that equal behaviour has equal content.
  virtual const tocsin::rule::v1::Rule& spec() const = 0;
  const std::string& id() const { return spec().id(); }
  // The same for two texts that mean the same (comments, order of keys and defaults written out
  // make no difference), on every machine: a rule's version counts its changes.
  virtual const std::string& content_hash() const = 0;
  // The YAML as it was written.
  virtual const std::string& source() const = 0;

  const std::string& stream() const { return spec().stream(); }
  // Of the messages that it is asked about: the stream's own, or with rows of tables joined to it.
  virtual const google::protobuf::Descriptor* descriptor() const = 0;
  // nullptr: it looks nothing up.
  virtual const Enrichment* enrichment() const { return nullptr; }

  virtual RuleOrder order() const = 0;
  // Zero for order: arrival.
  virtual std::chrono::microseconds max_disorder() const = 0;
  virtual std::chrono::microseconds idle_timeout() const = 0;

  // order: event_time. How far behind the watermark a late event may still correct what was told;
  // zero: it may not.
  std::chrono::microseconds correct_within() const {
    return std::chrono::seconds(spec().correct_within().seconds()) +
           std::chrono::microseconds(spec().correct_within().nanos() / 1000);
  }

  // Fields whose values make the key.
  const google::protobuf::RepeatedPtrField<std::string>& group_by() const {
    if (spec().has_join()) return spec().join().left().key();
    return spec().has_window() ? spec().window().group_by() : spec().correlation().group_by();
  }
  // The windows of a window rule, which has neither condition nor incidents; nullptr for a
  // correlation rule.
  virtual const CompiledWindow* window() const { return nullptr; }

  // Of a join; the rule itself is then its left side. nullptr: it reads one stream.
  virtual const CompiledJoin* join() const { return nullptr; }

  virtual RuleType type() const = 0;
  // The window of the event at t is (t - timespan, t]. Of a join `within`.
  virtual std::chrono::microseconds timespan() const = 0;
  virtual std::chrono::microseconds join_within() const = 0;
  // The incident's title: the policy's, else the rule's, else the rule's id.
  virtual const std::string& incident_title() const = 0;

  // True when one partition of the stream holds all events of a group key: the stream's partition
  // key field is among the group-by fields. Otherwise the rule reads `repartition_topic`.
  virtual bool local() const = 0;
  // `correlation-<stream>-by-<fields joined by ->-repartition`; empty for a local rule. Two rules
  // of one stream with the same group-by share it. Without fields: `by-.all`, which is no field. Of
  // the right side of a join `…-for-<left stream>-repartition`, which the left stream's tasks read.
  virtual const std::string& repartition_topic() const = 0;

  // Does `where` hold? An evaluation error (overflow, missing map key …) means that it does not;
  // `error`, where given, gets it, so that it can be counted.
  virtual bool Matches(const google::protobuf::Message& message,
                       absl::Status* error = nullptr) const = 0;

  // The values of the group-by fields as text, in the rule's order. nullopt: one is missing
  // (unset, or an empty text, or an enum's zero), the event does not take part (`missing_key`).
  virtual std::optional<std::vector<std::string>> GroupKey(
      const google::protobuf::Message& message) const = 0;

  // value_count: the values of condition.field as text. nullopt: one is missing, the event does not
  // take part. For event_count always an empty tuple.
  virtual std::optional<std::vector<std::string>> Value(
      const google::protobuf::Message& message) const = 0;

  // The same questions to an event's bytes, without building a message. `fields` is a view of
  // paths(), in that order, of a message of descriptor().
  virtual const std::vector<schema::FieldPath>& paths() const = 0;
  virtual bool Matches(const schema::FieldView& fields, absl::Status* error = nullptr) const = 0;
  // JoinKey of GroupKey and of Value, written over `joined`. False: one of the fields is missing.
  virtual bool JoinedGroupKey(const schema::FieldView& fields, std::string& joined) const = 0;
  virtual bool JoinedValue(const schema::FieldView& fields, std::string& joined) const = 0;

  // All comparisons of the condition, for the number of events or of distinct values in the window.
  virtual bool ConditionHolds(std::int64_t value) const = 0;
};

// One text for a group key or a value tuple: equal exactly when the tuples are equal, whatever
// bytes their values hold. A single value is its own text.
std::string JoinKey(const std::vector<std::string>& values);
// The values again, `count` of them.
std::vector<std::string> SplitKey(std::string_view joined, std::size_t count);

// INVALID_ARGUMENT with `file:line:column: reason` lines when the rule is refused. Nothing is
// accepted and then ignored: what the engine cannot honour is refused here.
absl::StatusOr<std::shared_ptr<const CompiledRule>> CompileRule(std::string_view yaml,
                                                                std::string_view file_name,
                                                                const StreamDirectory& streams);

}  // namespace tocsin::correlation
