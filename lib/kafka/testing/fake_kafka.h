// Kafka in memory, for unit tests: the four clients over one log, with transactions,
// read_committed, groups with eager and static membership, and failures at every step on demand.
// What it promises is what the headers of lib/kafka promise; broker_test.cc and fake_kafka_test.cc
// hold both to the same.
//
//   FakeKafka kafka;
//   kafka.CreateTopic("alerts.raw", 6);
//   kafka.Append({.topic = "alerts.raw", .key = "a", .value = "1"});
//   kafka.FailNext(FakeKafka::Step::kCommit, {Unavailable("cut"), ErrorClass::kRetriable}, 2);
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "lib/base/clock.h"
#include "lib/kafka/admin.h"
#include "lib/kafka/batch_producer.h"
#include "lib/kafka/consumer.h"
#include "lib/kafka/producer.h"
#include "lib/kafka/transactional_producer.h"
#include "lib/kafka/types.h"

namespace tocsin::kafka::testing {

// Thread-safe; so are its clients as far as their interfaces say. Clients may outlive it. `clock`
// gives records their timestamps and must outlive everything.
class FakeKafka {
 public:
  explicit FakeKafka(const Clock& clock = Clock::Real());
  ~FakeKafka();
  FakeKafka(const FakeKafka&) = delete;
  FakeKafka& operator=(const FakeKafka&) = delete;

  // --- clients ---
  // Delivery callbacks come from a thread of the producer's own, as with the real one.
  std::unique_ptr<Producer> MakeProducer(ProducerOptions options = {});
  std::unique_ptr<TransactionalProducer> MakeTransactionalProducer(std::string transactional_id);
  std::unique_ptr<BatchProducer> MakeBatchProducer();
  // Poll waits in real time where there is nothing to report; with a timeout of zero it never
  // waits.
  std::unique_ptr<Consumer> MakeConsumer(ConsumerOptions options);
  std::unique_ptr<Admin> MakeAdmin();

  // --- the log ---
  void CreateTopic(const std::string& name, std::int32_t partitions);
  // As some other producer would, outside any transaction. Gives the offset.
  std::int64_t Append(const OutgoingRecord& record);
  // In the order of partition and offset; markers are not shown.
  std::vector<Record> Log(std::string_view topic,
                          Isolation isolation = Isolation::kReadCommitted) const;
  std::int64_t EndOffset(const TopicPartition& where,
                         Isolation isolation = Isolation::kReadCommitted) const;
  Offsets Committed(std::string_view group) const;
  // As an administrator may, by kafka-consumer-groups.
  void SetCommitted(std::string_view group, const Offsets& offsets);
  // Retention: what lies before `offset` is gone.
  void DeleteBefore(const TopicPartition& where, std::int64_t offset);
  // A leader that was not in sync took over, or the topic was made anew: what lies at `offset` and
  // behind it is gone. No transaction may be open there.
  void TruncateTo(const TopicPartition& where, std::int64_t offset);

  // --- failures ---
  enum class Step {
    kInit,
    kBegin,
    kTransactionalProduce,
    kSendOffsets,
    kTransactionCommit,
    kAbort,
    kProduce,         // Producer::Produce itself, and BatchProducer's
    kDelivery,        // its outcome; `took_effect`: the record is in the log all the same
    kConsumerCommit,  // Consumer::Commit
    kCommitted,
    kQueryOffset,
    kProbe,
    kAdmin,
  };
  struct Failure {
    // OK with `indefinite`: the step succeeds, and leaves doubt.
    absl::Status status = absl::OkStatus();
    // For the steps of transactions.
    ErrorClass error_class = ErrorClass::kNone;
    // The broker did it, and only the answer was lost.
    bool took_effect = false;
    // The producer's outcome_indefinite() is true from then on.
    bool indefinite = false;
  };
  // The calls number `after`+1 to `after`+`times` of this step, counted from now, fail so.
  void FailNext(Step step, Failure failure, int times = 1, int after = 0);
  // How often a step was taken, failed ones counted.
  int calls(Step step) const;

  // The cluster is away: producers keep records waiting, everything else fails with UNAVAILABLE.
  void SetReachable(bool reachable);
  // After each of the next `assigns` calls of Assign that name this partition nothing of it is
  // read.
  void StallReaders(const TopicPartition& where, int assigns);
  // Keeps delivery reports (and the appends) of plain producers back until released.
  void HoldDeliveries(bool hold);

  // Ends every open transaction whose producer is gone or silent, as the coordinator does after the
  // transaction timeout: aborted, its producer fenced.
  void ExpireTransactions();

  // --- groups ---
  // The next Poll of each member gives its partitions back in good order; they are dealt anew when
  // all have.
  void Rebalance(std::string_view group);
  // The session of every member expires: each learns at its next Poll that it has lost its
  // partitions, and joins again.
  void ExpireSessions(std::string_view group);
  // The member that keeps its place by static membership, but is closed, loses it.
  void ForgetMember(std::string_view group, std::string_view instance_id);

  struct State;

 private:
  std::shared_ptr<State> state_;
};

}  // namespace tocsin::kafka::testing
