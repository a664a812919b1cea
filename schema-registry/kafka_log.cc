#include "schema-registry/kafka_log.h"

#include <algorithm>
#include <atomic>
#include <charconv>
#include <thread>
#include <utility>

#include "lib/base/mutex.h"
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

constexpr std::string_view kActor = "actor";
constexpr std::string_view kContentKey = "content-key";
constexpr std::string_view kRegistered = "registered";
constexpr std::string_view kRegisteredBy = "registered-by";

RecordNotes NotesOf(const kafka::Headers& headers) {
  RecordNotes notes;
  notes.actor = headers.Find(kActor).value_or("");
  notes.content_key = headers.Find(kContentKey).value_or("");
  notes.registered_by = headers.Find(kRegisteredBy).value_or("");
  if (const auto text = headers.Find(kRegistered)) {
    std::int64_t micros = 0;
    const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), micros);
    if (error == std::errc() && end == text->data() + text->size()) {
      notes.registered = WallTime(std::chrono::microseconds(micros));
    }
  }
  return notes;
}

// The outcomes of one call of Append.
class Waiting {
 public:
  Waiting(std::size_t count, milliseconds timeout)
      : outcomes_(count, DeadlineExceeded(Concat("Kafka did not confirm the record within ",
                                                 timeout.count(), " ms"))),
        missing_(count) {}

  // Once for each.
  void Set(std::size_t i, absl::StatusOr<std::int64_t> outcome) {
    MutexLock lock(mutex_);
    outcomes_[i] = std::move(outcome);
    if (--missing_ == 0) changed_.NotifyAll();
  }
  std::vector<absl::StatusOr<std::int64_t>> Get(milliseconds timeout) {
    const auto deadline = std::chrono::steady_clock::now() + timeout;
    MutexLock lock(mutex_);
    while (missing_ > 0) {
      const auto left = deadline - std::chrono::steady_clock::now();
      if (left <= left.zero()) break;
      changed_.WaitFor(mutex_, left);
    }
    return outcomes_;
  }

 private:
  Mutex mutex_;
  CondVar changed_;
  std::vector<absl::StatusOr<std::int64_t>> outcomes_ ABSL_GUARDED_BY(mutex_);
  std::size_t missing_ ABSL_GUARDED_BY(mutex_);
};

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

  std::vector<absl::StatusOr<std::int64_t>> Append(std::vector<NewRecord> records,
                                                   milliseconds timeout) override {
    if (!opened_) {
      const absl::Status closed =
          Unavailable(Concat("the topic ", options_.topic, " is not open yet"));
      return std::vector<absl::StatusOr<std::int64_t>>(records.size(), closed);
    }
    // Outlives this call when answers come too late.
    auto waiting = std::make_shared<Waiting>(records.size(), timeout);
    for (std::size_t i = 0; i < records.size(); ++i) {
      const absl::Status taken = producer_->Produce(
          ToKafka(std::move(records[i])), [waiting, i](const absl::StatusOr<kafka::Delivered>& at) {
            waiting->Set(i, at.ok() ? absl::StatusOr<std::int64_t>(at->offset) : at.status());
          });
      if (taken.ok()) continue;
      // Nothing may follow what was not even taken.
      for (std::size_t rest = i; rest < records.size(); ++rest) waiting->Set(rest, taken);
      break;
    }
    return waiting->Get(timeout);
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
      RecordNotes notes = NotesOf(record.headers);
      chunk.records.push_back({record.offset, std::move(record.key), std::move(record.value),
                               record.timestamp, std::move(notes)});
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

  std::string ClusterId() const override {
    MutexLock lock(mutex_);
    return cluster_id_;
  }

 private:
  kafka::OutgoingRecord ToKafka(NewRecord record) const {
    kafka::OutgoingRecord out;
    out.topic = options_.topic;
    out.partition = 0;
    out.key = std::move(record.key);
    out.value = std::move(record.value);
    const RecordNotes& notes = record.notes;
    if (!notes.actor.empty()) out.headers.Set(kActor, notes.actor);
    if (!notes.content_key.empty()) out.headers.Set(kContentKey, notes.content_key);
    if (notes.registered) {
      out.headers.Set(kRegistered, std::to_string(notes.registered->time_since_epoch().count()));
      out.headers.Set(kRegisteredBy, notes.registered_by);
    }
    return out;
  }

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
    if (const auto id = admin_->ClusterId(kAdminTimeout); id.ok()) {
      MutexLock lock(mutex_);
      cluster_id_ = *id;
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
  mutable Mutex mutex_;
  std::string cluster_id_ ABSL_GUARDED_BY(mutex_);
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
