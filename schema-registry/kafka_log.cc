#include "schema-registry/kafka_log.h"

#include <algorithm>
#include <atomic>
#include <future>
#include <thread>
#include <utility>

#include "lib/base/status.h"
#include "lib/kafka/admin.h"
#include "lib/kafka/consumer.h"
#include "lib/kafka/producer.h"

namespace tocsin::registry {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kAdminTimeout{3'000};
// A schema of 1 MiB, escaped as JSON; see README.md.
constexpr std::size_t kMaxRecordBytes = std::size_t{8} << 20;

class KafkaLog final : public RegistryLog {
 public:
  KafkaLog(KafkaLogOptions options, std::unique_ptr<kafka::Admin> admin,
           std::unique_ptr<kafka::Consumer> consumer, std::unique_ptr<kafka::Consumer> asking,
           std::unique_ptr<kafka::Producer> producer)
      : options_(std::move(options)),
        where_{options_.topic, 0},
        admin_(std::move(admin)),
        consumer_(std::move(consumer)),
        asking_(std::move(asking)),
        producer_(std::move(producer)) {}

  absl::StatusOr<std::int64_t> EndOffset(milliseconds timeout) override {
    if (!opened_) return Unavailable(Concat("the topic ", options_.topic, " is not open yet"));
    return asking_->QueryEndOffset(where_, kafka::Isolation::kReadUncommitted, timeout);
  }

  absl::StatusOr<std::int64_t> Append(std::string key, std::string value,
                                      milliseconds timeout) override {
    if (!opened_) return Unavailable(Concat("the topic ", options_.topic, " is not open yet"));
    // Outlives this call when the answer comes too late.
    auto outcome = std::make_shared<std::promise<absl::StatusOr<kafka::Delivered>>>();
    auto delivered = outcome->get_future();
    kafka::OutgoingRecord record;
    record.topic = options_.topic;
    record.partition = 0;
    record.key = std::move(key);
    record.value = std::move(value);
    TOCSIN_RETURN_IF_ERROR(producer_->Produce(
        std::move(record),
        [outcome](const absl::StatusOr<kafka::Delivered>& result) { outcome->set_value(result); }));
    if (delivered.wait_for(timeout) != std::future_status::ready) {
      return DeadlineExceeded(
          Concat("Kafka did not confirm the record within ", timeout.count(), " ms"));
    }
    TOCSIN_ASSIGN_OR_RETURN(const kafka::Delivered where, delivered.get());
    return where.offset;
  }

  absl::StatusOr<LogChunk> Poll(milliseconds timeout) override {
    if (!opened_) {
      const absl::Status opened = Open();
      if (!opened.ok()) return opened;
      opened_ = true;
    }
    kafka::Batch batch = consumer_->Poll(timeout);
    LogChunk chunk;
    chunk.records.reserve(batch.records.size());
    for (kafka::Record& record : batch.records) {
      chunk.records.push_back(
          {record.offset, std::move(record.key), std::move(record.value), record.timestamp});
    }
    if (const auto end = batch.ends.find(where_); end != batch.ends.end()) {
      chunk.end = end->second;
    }
    if (!chunk.records.empty() || chunk.end || batch.errors.empty()) return chunk;
    const kafka::PollError& error = batch.errors.front();
    if (error.status.code() == absl::StatusCode::kOutOfRange || error.fatal) {
      return FailedPrecondition(Concat("the topic ", options_.topic,
                                       " does not hold what was to be read next (it was deleted, "
                                       "or its data were lost); restart the registry to read it "
                                       "anew: ",
                                       Message(error.status)));
    }
    return error.status;
  }

 private:
  absl::Status Open() {
    TOCSIN_ASSIGN_OR_RETURN(auto topics, admin_->DescribeTopics({options_.topic}, kAdminTimeout));
    if (!topics.contains(options_.topic)) {
      if (!options_.may_create) {
        return Unavailable(Concat("the topic ", options_.topic,
                                  " does not exist; make it with 1 partition and "
                                  "cleanup.policy=compact, or set topic_must_exist to false"));
      }
      kafka::TopicSpec spec;
      spec.name = options_.topic;
      spec.partitions = 1;
      spec.replication_factor = options_.replication_factor;
      spec.configs = {{"cleanup.policy", "compact"},
                      {"max.message.bytes", std::to_string(kMaxRecordBytes)}};
      if (options_.replication_factor >= 3) spec.configs["min.insync.replicas"] = "2";
      TOCSIN_RETURN_IF_ERROR(admin_->CreateTopics({spec}, kAdminTimeout));
      // Another replica may have been first: what is there now counts.
      TOCSIN_ASSIGN_OR_RETURN(topics, admin_->DescribeTopics({options_.topic}, kAdminTimeout));
    }
    const auto found = topics.find(options_.topic);
    if (found == topics.end()) {
      return Unavailable(Concat("the topic ", options_.topic, " was made and is not there yet"));
    }
    const kafka::TopicDescription& topic = found->second;
    if (topic.partitions != 1) {
      return FailedPrecondition(Concat("the topic ", options_.topic, " has ", topic.partitions,
                                       " partitions, and the registry needs exactly one: its "
                                       "records have one order"));
    }
    const auto policy = topic.configs.find("cleanup.policy");
    if (policy == topic.configs.end() || policy->second != "compact") {
      return FailedPrecondition(
          Concat("the topic ", options_.topic, " has cleanup.policy=",
                 policy == topic.configs.end() ? "delete (the default)" : policy->second,
                 ", so Kafka would delete schemas after a while; set cleanup.policy=compact on it "
                 "and start the registry again"));
    }
    return consumer_->Assign({{where_, 0}});
  }

  const KafkaLogOptions options_;
  const kafka::TopicPartition where_;
  const std::unique_ptr<kafka::Admin> admin_;
  const std::unique_ptr<kafka::Consumer> consumer_;
  // Asks for the end of the topic on a connection of its own: on the reader's the question would
  // stand in line behind a fetch that waits half a second for new records.
  const std::unique_ptr<kafka::Consumer> asking_;
  const std::unique_ptr<kafka::Producer> producer_;
  // Set by the polling thread, read by all.
  std::atomic<bool> opened_{false};
};

}  // namespace

absl::StatusOr<std::unique_ptr<RegistryLog>> MakeKafkaLog(KafkaLogOptions options) {
  TOCSIN_ASSIGN_OR_RETURN(auto admin, kafka::MakeAdmin(options.connection));
  kafka::ConsumerOptions reading;
  reading.connection = options.connection;
  reading.isolation = kafka::Isolation::kReadUncommitted;
  TOCSIN_ASSIGN_OR_RETURN(auto consumer, kafka::MakeConsumer(reading));
  TOCSIN_ASSIGN_OR_RETURN(auto asking, kafka::MakeConsumer(std::move(reading)));
  kafka::ProducerOptions writing;
  writing.connection = options.connection;
  writing.message_timeout = options.write_timeout;
  writing.max_record_bytes = kMaxRecordBytes;
  writing.linger = milliseconds(0);
  TOCSIN_ASSIGN_OR_RETURN(auto producer, kafka::MakeProducer(std::move(writing)));
  return std::unique_ptr<RegistryLog>(
      std::make_unique<KafkaLog>(std::move(options), std::move(admin), std::move(consumer),
                                 std::move(asking), std::move(producer)));
}

}  // namespace tocsin::registry
