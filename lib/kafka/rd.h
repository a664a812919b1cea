// What the four clients share of librdkafka: ownership, configuration, errors, records. Internal to
// this folder: it includes librdkafka's header, which nothing outside does.
#pragma once

#include <librdkafka/rdkafka.h>

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "lib/kafka/consumer.h"
#include "lib/kafka/types.h"

namespace tocsin::kafka {
class Producer;
}

namespace tocsin::kafka::internal {

template <auto Destroy>
struct Deleter {
  template <typename T>
  void operator()(T* object) const {
    Destroy(object);
  }
};

using ErrorPtr = std::unique_ptr<rd_kafka_error_t, Deleter<rd_kafka_error_destroy>>;
using EventPtr = std::unique_ptr<rd_kafka_event_t, Deleter<rd_kafka_event_destroy>>;
using QueuePtr = std::unique_ptr<rd_kafka_queue_t, Deleter<rd_kafka_queue_destroy>>;
using MessagePtr = std::unique_ptr<rd_kafka_message_t, Deleter<rd_kafka_message_destroy>>;
using PartitionListPtr = std::unique_ptr<rd_kafka_topic_partition_list_t,
                                         Deleter<rd_kafka_topic_partition_list_destroy>>;
using GroupMetadataPtr = std::unique_ptr<rd_kafka_consumer_group_metadata_t,
                                         Deleter<rd_kafka_consumer_group_metadata_destroy>>;

// The properties of a client to be, and its hooks. Collects the first error.
class ConfBuilder {
 public:
  // Everything that all clients have in common (docs: reconnects within a second, no Nagle, …).
  explicit ConfBuilder(const Connection& connection);
  ~ConfBuilder();
  ConfBuilder(const ConfBuilder&) = delete;
  ConfBuilder& operator=(const ConfBuilder&) = delete;

  ConfBuilder& Set(const char* name, std::string_view value);
  ConfBuilder& Set(const char* name, bool value);
  ConfBuilder& Set(const char* name, std::chrono::milliseconds value);
  ConfBuilder& Set(const char* name, std::int64_t value);
  // For callbacks and events.
  rd_kafka_conf_t* raw() { return conf_; }

  // Applies the overrides, then makes the client. INVALID_ARGUMENT names the property. `hooks` must
  // outlive the client; it becomes its opaque.
  struct Hooks {
    LogSink log;
    // Called for each line of the library's log, before it goes to `log`; from its threads.
    std::function<void(std::string_view facility, std::string_view message)> on_log;
    void* owner = nullptr;
  };
  absl::StatusOr<rd_kafka_t*> Make(rd_kafka_type_t type, Hooks* hooks);

 private:
  rd_kafka_conf_t* conf_;
  std::map<std::string, std::string> overrides_;
  LogSink log_;
  absl::Status error_;
};

// Telemetry's log, for who gives no sink.
LogSink DefaultLogSink(std::string client_id);

// `what` says what was being done: "producing to alerts.raw".
absl::Status StatusOf(rd_kafka_resp_err_t error, std::string_view what,
                      std::string_view detail = {});
// OK for nullptr.
absl::Status StatusOf(const ErrorPtr& error, std::string_view what);

int Milliseconds(std::chrono::milliseconds duration);

PartitionListPtr ToList(const std::vector<TopicPartition>& partitions);
PartitionListPtr ToList(const Offsets& offsets);
std::vector<TopicPartition> FromList(const rd_kafka_topic_partition_list_t& list);

// nullptr for no headers. The caller, or a successful produce, owns it.
rd_kafka_headers_t* MakeHeaders(const Headers& headers);

// Hands a record to the client's queue without copying its value: `value` must stay until the
// delivery report that carries `opaque`.
rd_kafka_resp_err_t Enqueue(rd_kafka_t* client, const OutgoingRecord& record, void* opaque);

// As the property isolation.level has it.
std::string_view IsolationName(Isolation isolation);

// The client fetches no further while so many records wait.
inline constexpr std::size_t kMaxRecordsAhead = 100'000;

// The properties of a consumer: what is fetched, how far ahead, how it is checked. The group's are
// set besides. For MakeConsumer and for measurements that stand beside it.
void SetFetching(ConfBuilder& conf, const ConsumerOptions& options);

// The client that a producer of MakeProducer uses now; nullptr while it is being replaced. It is
// not destroyed while the answer is held. For tests that break it.
std::shared_ptr<rd_kafka_t> HandleOf(Producer& producer);

// Asks any broker for metadata.
absl::Status ProbeCluster(rd_kafka_t* client, std::chrono::milliseconds timeout);

enum class LogEdge { kBeginning, kEnd };
// The first offset in the log, or that of the next record. By rd_kafka_offsets_for_times, because
// librdkafka 2.0.2's rd_kafka_query_watermark_offsets forgets its timeout when a broker that was
// connected stops answering.
absl::StatusOr<std::int64_t> QueryOffset(rd_kafka_t* client, const TopicPartition& where,
                                         LogEdge edge, std::chrono::milliseconds timeout);
// The first record of this time or later; nullopt: there is none.
absl::StatusOr<std::optional<std::int64_t>> QueryOffset(rd_kafka_t* client,
                                                        const TopicPartition& where, WallTime time,
                                                        std::chrono::milliseconds timeout);

}  // namespace tocsin::kafka::internal
