// The rules of all streams: read from the compacted topic correlation.rules (key: rule id),
// checked, compiled, arranged for the workers, and changed on request.
//
// Every process of the group reads the whole topic and so comes to the same rules. A change is a
// record; it counts once it has been read back.
//
// Threads: Start, Poll and the destructor from one control thread; everything else from any.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "lib/base/clock.h"
#include "lib/base/mutex.h"
#include "lib/events/own_topic.h"
#include "lib/kafka/admin.h"
#include "lib/kafka/consumer.h"
#include "lib/kafka/producer.h"
#include "services/correlation/rules/compiled_rule.h"
#include "services/correlation/worker/io.h"
#include "tocsin/rule/v1/rule.pb.h"

namespace tocsin::correlation {

inline constexpr std::string_view kRulesTopic = "correlation.rules";

struct RuleKeeperIo {
  const StreamDirectory* streams = nullptr;
  kafka::Admin* admin = nullptr;
  kafka::Producer* producer = nullptr;
  std::function<absl::StatusOr<std::unique_ptr<kafka::Consumer>>()> make_consumer;
  const Clock* clock = nullptr;
  // The epoch that every worker of this process runs; less when one is not there yet. Called on any
  // thread, without a lock of the keeper.
  std::function<std::int64_t()> running_epoch;
};

struct RuleKeeperOptions {
  std::int32_t replication = -1;
  // Where workers keep the number of their incarnation; made with the other internal topics.
  std::string workers_topic = "correlation-workers";
  std::chrono::milliseconds admin_timeout{10'000};
};

struct AppliedRule {
  tocsin::rule::v1::RuleVersion version;
  bool changed = false;
};

class RuleKeeper final : public RuleSource {
 public:
  RuleKeeper(RuleKeeperIo io, RuleKeeperOptions options);
  ~RuleKeeper() override;

  // Once the topics are known: `streams` with their true number of partitions. `rules`: how
  // records of the rules topic are written.
  void Start(std::vector<StreamSpec> streams, events::OwnTopic rules);

  // One round: reads what is new, compiles what could not be compiled so far, makes the internal
  // topics that new rules need. OK: everything that the topic says runs or is refused for good.
  // Otherwise why not, and the next round tries again. Waits up to `timeout` for records.
  absl::Status Poll(std::chrono::milliseconds timeout);

  // RuleSource. Has no plans before the first OK of Poll.
  std::shared_ptr<const RuleSet> Current() const override;

  // Checks only. INVALID_ARGUMENT with line and column.
  absl::StatusOr<std::shared_ptr<const CompiledRule>> Compile(std::string_view source,
                                                              std::string_view file_name) const;
  // Returns once the rule is stored and every worker of this process runs it. UNAVAILABLE: still
  // starting, or Kafka does not take it. DEADLINE_EXCEEDED: see the message for what has happened
  // and what has not; the call may be repeated.
  absl::StatusOr<AppliedRule> Apply(std::string_view source, std::string_view file_name,
                                    SteadyTime deadline);
  // NOT_FOUND: no such rule. Otherwise as Apply.
  absl::Status Delete(const std::string& id, SteadyTime deadline);
  // Sorted by id.
  std::vector<tocsin::rule::v1::RuleVersion> List() const;

 private:
  struct Entry {
    tocsin::rule::v1::RuleVersion version;
    std::shared_ptr<const CompiledRule> compiled;
    // Why it is not compiled. INVALID_ARGUMENT: it never will be.
    absl::Status error;
  };

  absl::Status OpenTopic();
  void Read(const kafka::Record& record) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // The streams of a join have equally many partitions.
  absl::Status CheckPartitions(const CompiledRule& rule) const;
  absl::Status CompileMissing();
  absl::Status EnsureTopics(const std::vector<std::shared_ptr<const CompiledRule>>& rules);
  absl::Status Publish();
  // Writes a record of the rules topic and waits until it has been read back and runs.
  absl::Status Write(kafka::OutgoingRecord record, std::string_view what, SteadyTime deadline);
  absl::Status NotStarted() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const RuleKeeperIo io_;
  const RuleKeeperOptions options_;

  // The control thread's own.
  std::unique_ptr<kafka::Consumer> consumer_;
  kafka::Offsets caught_up_at_;

  // One change at a time.
  Mutex changing_;

  mutable Mutex mutex_;
  CondVar changed_;
  std::optional<events::OwnTopic> own_topic_ ABSL_GUARDED_BY(mutex_);
  std::vector<StreamSpec> streams_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, Entry> entries_ ABSL_GUARDED_BY(mutex_);
  // Behind the last record read, for each partition of the rules topic.
  std::map<std::int32_t, std::int64_t> read_to_ ABSL_GUARDED_BY(mutex_);
  // Internal topics that exist.
  std::set<std::string> ensured_ ABSL_GUARDED_BY(mutex_);
  bool dirty_ ABSL_GUARDED_BY(mutex_) = true;
  bool started_ ABSL_GUARDED_BY(mutex_) = false;
  std::string waiting_for_ ABSL_GUARDED_BY(mutex_) = "the process is starting";
  std::shared_ptr<const RuleSet> current_ ABSL_GUARDED_BY(mutex_);
  // What of read_to_ is in current_.
  std::map<std::int32_t, std::int64_t> published_to_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace tocsin::correlation
