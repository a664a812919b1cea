// Writes records to Kafka, durably: idempotent, acks=all, lz4, order kept per partition.
//
// A fatal error of the client library (the broker has forgotten this producer, say) ends its
// idempotence, not what it has taken: the client is replaced, and what was not confirmed is sent
// once more, in the order produced and before anything taken later. Such records may lie in the log
// twice; the first copies are in order.
//
//   auto producer = kafka::MakeProducer({.connection = {.bootstrap_servers = "…"}});
//   (*producer)->Produce({.topic = "alerts.raw", .key = "RYERSS AVE", .value = bytes},
//                        [](const absl::StatusOr<kafka::Delivered>& outcome) { … });
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "lib/kafka/types.h"

namespace tocsin::kafka {

// Where a record came to lie, on min.insync.replicas of its partition.
struct Delivered {
  TopicPartition where = {};
  std::int64_t offset = 0;
};

// Called exactly once for each record that Produce took, from a thread that the producer owns; for
// one partition in the order produced. Must not block and must not destroy the producer; it may
// call Produce. Errors:
//   UNAVAILABLE / DEADLINE_EXCEEDED  not confirmed within `message_timeout`; it may or may not be
//                                    in the log. Resend under the same identity.
//   CANCELLED                        the producer was destroyed first; as above.
//   NOT_FOUND                        no such topic or partition. INVALID_ARGUMENT: too large for
//                                    the topic. PERMISSION_DENIED. Resending will not help.
using DeliveryCallback = std::function<void(const absl::StatusOr<Delivered>& outcome)>;

struct ProducerOptions {
  Connection connection = {};
  // From Produce to giving up; again from the start where the client was replaced meanwhile. Zero
  // (the default): never; the record waits until the broker answers.
  std::chrono::milliseconds message_timeout{0};
  // Bounds of what waits inside: Produce refuses beyond either.
  std::size_t max_queued_records = 100'000;
  std::size_t max_queued_bytes = 64U << 20;
  // Limit of one record (message.max.bytes); the topic has its own, checked by the broker.
  std::size_t max_record_bytes = 2U << 20;
  // How long a record may wait for company.
  std::chrono::milliseconds linger{1};
  // How long the destructor waits for outstanding records before it cancels them.
  std::chrono::milliseconds close_timeout{5'000};
};

// All methods may be called from any thread at the same time. The destructor blocks for at most
// `close_timeout` + about 1 s and has called every callback when it returns.
class Producer {
 public:
  virtual ~Producer() = default;

  // Does not block. OK: the record is taken and `done` will be called. Otherwise `done` is never
  // called: RESOURCE_EXHAUSTED (the queue is full: Kafka is away or too slow; or the client is
  // being replaced after a fatal error; retry later), INVALID_ARGUMENT (the record is larger than
  // `max_record_bytes`).
  virtual absl::Status Produce(OutgoingRecord record, DeliveryCallback done) = 0;

  // Waits until everything taken so far has been reported. DEADLINE_EXCEEDED after `timeout`; the
  // records go on waiting.
  virtual absl::Status Flush(std::chrono::milliseconds timeout) = 0;

  // OK when a broker answers within `timeout`: for readiness. UNAVAILABLE otherwise.
  virtual absl::Status Probe(std::chrono::milliseconds timeout) = 0;

  // How many records have been taken and not yet reported.
  virtual std::size_t outstanding() const = 0;
};

// INVALID_ARGUMENT: an option does not make sense. Does not wait for the broker: a cluster that is
// away shows in Probe and in Produce, and is waited for.
absl::StatusOr<std::unique_ptr<Producer>> MakeProducer(ProducerOptions options);

}  // namespace tocsin::kafka
