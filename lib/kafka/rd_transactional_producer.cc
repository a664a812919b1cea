#include <array>
#include <atomic>
#include <memory>
#include <thread>
#include <utility>

#include "lib/base/status.h"
#include "lib/kafka/rd.h"
#include "lib/kafka/rd_sender.h"
#include "lib/kafka/transaction_watch.h"
#include "lib/kafka/transactional_producer.h"

namespace tocsin::kafka {
namespace {
using internal::ConfBuilder;
using internal::ErrorPtr;
using internal::EventPtr;
using internal::GroupMetadataPtr;
using internal::QueuePtr;
using std::chrono::milliseconds;

constexpr milliseconds kServeInterval{100};
constexpr milliseconds kRetryPause{50};
// While the queue is full, or for the first delivery.
constexpr milliseconds kFullPause{1};
// What was refused because the coordinator still writes the markers of the transaction before is
// asked again so soon. The client's default, 100 ms, would be the pace of transactions that follow
// one another.
constexpr milliseconds kRetryBackoff{5};
// Between two looks whether everything is delivered, and how long they are worth it.
constexpr std::chrono::microseconds kDeliveryPause{500};
constexpr milliseconds kDeliveryWait{100};
// Aborting while the first AddPartitionsToTxn is on its way ends in a fatal INVALID_TXN_STATE
// (librdkafka issue 4849): wait for the first delivery report, at most so long.
constexpr milliseconds kFirstDeliveryWait{2'000};

class RdTransactionalProducer final : public TransactionalProducer {
 public:
  explicit RdTransactionalProducer(TransactionalProducerOptions options)
      : options_(std::move(options)), watch_(options_.indefinite_after) {}

  absl::Status Start() {
    ConfBuilder conf(options_.connection);
    conf.Set("transactional.id", options_.transactional_id)
        .Set("transaction.timeout.ms", options_.transaction_timeout)
        .Set("message.timeout.ms", options_.transaction_timeout)
        .Set("socket.timeout.ms", std::min(milliseconds(6'000), options_.transaction_timeout))
        .Set("compression.codec", std::string_view("lz4"))
        .Set("partitioner", std::string_view("murmur2_random"))
        .Set("message.max.bytes", static_cast<std::int64_t>(options_.max_record_bytes))
        .Set("queue.buffering.max.messages", static_cast<std::int64_t>(options_.max_queued_records))
        .Set("queue.buffering.max.kbytes",
             static_cast<std::int64_t>(std::max<std::size_t>(1, options_.max_queued_bytes / 1024)))
        // Commit ends the wait. What was produced before is on its way while the offsets are sent,
        // in requests that are still large where much is produced at once.
        .Set("linger.ms", milliseconds(2))
        .Set("retry.backoff.ms", kRetryBackoff)
        .Set("topic.metadata.propagation.max.ms", options_.transaction_timeout)
        .Set("statistics.interval.ms", milliseconds(1'000));
    rd_kafka_conf_set_events(conf.raw(), RD_KAFKA_EVENT_ERROR | RD_KAFKA_EVENT_STATS);
    sender_.Install(conf.raw());
    hooks_.on_log = [this](std::string_view facility, std::string_view message) {
      // The only sign of a request that timed out while its connection lives on.
      if (facility == "REQTMOUT") watch_.ConnectionTrouble(message);
    };
    TOCSIN_ASSIGN_OR_RETURN(handle_, conf.Make(RD_KAFKA_PRODUCER, &hooks_));
    sender_.Attach(handle_);
    queue_.reset(rd_kafka_queue_get_main(handle_));
    server_ = std::thread([this] { Serve(); });
    return absl::OkStatus();
  }

  ~RdTransactionalProducer() override {
    if (handle_ == nullptr) return;
    rd_kafka_purge(handle_, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
    stopping_ = true;
    server_.join();
    queue_.reset();
    sender_.Detach();
    rd_kafka_destroy(handle_);
  }

  TransactionResult Init() override {
    return Run("starting as a transactional producer", [this] {
      return ErrorPtr(rd_kafka_init_transactions(
          handle_, internal::Milliseconds(options_.transaction_timeout)));
    });
  }

  TransactionResult Begin() override {
    TransactionResult result = Run("beginning a transaction", [this] {
      return ErrorPtr(rd_kafka_begin_transaction(handle_));
    });
    if (!result.ok()) return result;
    watch_.Opened();
    in_transaction_ = true;
    sender_.Forget();
    return result;
  }

  TransactionResult ProduceView(const OutgoingView& record) override {
    const auto what = [&] { return Concat("producing to ", record.topic); };
    if (record.value.has_value() && record.value->size() > options_.max_record_bytes) {
      return {InvalidArgument(Concat(what(), ": a record of ", record.value->size(),
                                     " bytes is over the limit of ", options_.max_record_bytes,
                                     " bytes")),
              ErrorClass::kAbort};
    }
    if (!in_transaction_) {
      return {FailedPrecondition(Concat(what(), ": no transaction is open")), ErrorClass::kFatal};
    }
    rd_kafka_resp_err_t error = sender_.Send(record);
    if (error == RD_KAFKA_RESP_ERR__QUEUE_FULL) {
      const SteadyTime deadline = Now() + options_.transaction_timeout;
      while (error == RD_KAFKA_RESP_ERR__QUEUE_FULL && Now() < deadline) {
        std::this_thread::sleep_for(kFullPause);
        error = sender_.Send(record);
      }
    }
    if (error == RD_KAFKA_RESP_ERR_NO_ERROR) return {};
    const bool fatal = error == RD_KAFKA_RESP_ERR__FATAL || error == RD_KAFKA_RESP_ERR__FENCED;
    return {internal::StatusOf(error, what()), fatal ? ErrorClass::kFatal : ErrorClass::kAbort};
  }

  using TransactionalProducer::SendOffsets;
  TransactionResult SendOffsets(const Offsets& next, const GroupMetadata& member) override {
    const SteadyTime deadline = Now() + options_.transaction_timeout;
    rd_kafka_consumer_group_metadata_t* read = nullptr;
    const ErrorPtr unreadable(
        rd_kafka_consumer_group_metadata_read(&read, member.opaque.data(), member.opaque.size()));
    if (unreadable != nullptr) {
      return {internal::StatusOf(unreadable, "reading the group metadata"), ErrorClass::kAbort};
    }
    const GroupMetadataPtr group(read);
    const auto offsets = internal::ToList(next);
    // A repetition must be with identical offsets and metadata.
    return RunUntil(deadline, Concat("sending the offsets of group ", member.group), [&] {
      return ErrorPtr(rd_kafka_send_offsets_to_transaction(
          handle_, offsets.get(), group.get(),
          internal::Milliseconds(options_.transaction_timeout)));
    });
  }

  CommitResult Commit() override {
    const SteadyTime start = Now();
    // The commit itself would look only every ten milliseconds whether everything is delivered.
    while (sender_.reported() < sender_.sent() && Now() < start + kDeliveryWait) {
      std::this_thread::sleep_for(kDeliveryPause);
    }
    // -1, the time that the transaction has left, is the only value that cannot leave the client
    // and the coordinator of two minds.
    const TransactionResult result = Run("committing the transaction", [this] {
      return ErrorPtr(rd_kafka_commit_transaction(handle_, -1));
    });
    watch_.Ended("commit", Now() - start);
    CommitResult commit{result.status, result.error_class, {}};
    if (result.error_class == ErrorClass::kRetriable) return commit;
    if (result.error_class != ErrorClass::kAbort) watch_.Closed();
    if (!result.ok()) return commit;
    in_transaction_ = false;
    // The commit waited for every delivery, and each was noted before it counted as made.
    commit.written = sender_.TakeWritten();
    return commit;
  }

  TransactionResult Abort() override {
    const SteadyTime deadline = Now() + kFirstDeliveryWait;
    while (sender_.sent() > 0 && sender_.reported() == 0 && Now() < deadline) {
      std::this_thread::sleep_for(kFullPause);
    }
    const SteadyTime start = Now();
    const TransactionResult result = Run("aborting the transaction", [this] {
      return ErrorPtr(rd_kafka_abort_transaction(handle_, -1));
    });
    watch_.Ended("abort", Now() - start);
    if (result.error_class == ErrorClass::kRetriable) return result;
    watch_.Closed();
    in_transaction_ = false;
    return result;
  }

  bool outcome_indefinite() const override { return watch_.indefinite(); }
  std::string indefinite_reason() const override { return watch_.reason(); }

 private:
  static SteadyTime Now() { return Clock::Real().SteadyNow(); }

  static ErrorClass ClassOf(const ErrorPtr& error) {
    if (error == nullptr) return ErrorClass::kNone;
    if (rd_kafka_error_is_fatal(error.get()) != 0) return ErrorClass::kFatal;
    if (rd_kafka_error_txn_requires_abort(error.get()) != 0) return ErrorClass::kAbort;
    if (rd_kafka_error_is_retriable(error.get()) != 0) return ErrorClass::kRetriable;
    return ErrorClass::kFatal;
  }

  template <typename Call>
  TransactionResult Run(std::string_view what, Call call) {
    return RunUntil(Now() + options_.transaction_timeout, what, call);
  }

  template <typename Call>
  TransactionResult RunUntil(SteadyTime deadline, std::string_view what, Call call) {
    for (;;) {
      const ErrorPtr error = call();
      const ErrorClass error_class = ClassOf(error);
      if (error_class == ErrorClass::kRetriable && Now() < deadline) {
        std::this_thread::sleep_for(kRetryPause);
        continue;
      }
      return {internal::StatusOf(error, what), error_class};
    }
  }

  void Serve() {
    // After the purge of the destructor every record is reported at once.
    int rounds_left = 10;
    while (!stopping_ || (rd_kafka_outq_len(handle_) > 0 && rounds_left-- > 0)) {
      const EventPtr event(
          rd_kafka_queue_poll(queue_.get(), internal::Milliseconds(kServeInterval)));
      watch_.Tick(Now());
      if (event == nullptr) continue;
      switch (rd_kafka_event_type(event.get())) {
        case RD_KAFKA_EVENT_ERROR:
          OnError(*event);
          break;
        case RD_KAFKA_EVENT_STATS:
          watch_.Statistics(internal::TroublesInStatistics(rd_kafka_event_stats(event.get())));
          break;
        default:
          break;
      }
    }
  }

  void OnError(rd_kafka_event_t& event) {
    switch (rd_kafka_event_error(&event)) {
      case RD_KAFKA_RESP_ERR__TRANSPORT:
      case RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN:
      case RD_KAFKA_RESP_ERR__TIMED_OUT:
      case RD_KAFKA_RESP_ERR__RESOLVE:
        watch_.ConnectionTrouble(rd_kafka_event_error_string(&event));
        break;
      default:
        break;  // fatal and abortable errors come back from the calls
    }
  }

  const TransactionalProducerOptions options_;
  internal::TransactionWatch watch_;
  ConfBuilder::Hooks hooks_;
  internal::Sender sender_;
  rd_kafka_t* handle_ = nullptr;
  QueuePtr queue_;
  std::atomic<bool> stopping_{false};

  bool in_transaction_ = false;

  std::thread server_;
};

}  // namespace

TransactionResult TransactionalProducer::Produce(const OutgoingRecord& record) {
  HeaderMemory memory;
  return ProduceView(AsView(record, memory));
}

TransactionResult TransactionalProducer::SendOffsets(const Offsets& next, Consumer& consumer) {
  const absl::StatusOr<GroupMetadata> member = consumer.CurrentGroupMetadata();
  if (!member.ok()) return {member.status(), ErrorClass::kAbort};
  return SendOffsets(next, *member);
}

std::string_view ErrorClassName(ErrorClass error_class) {
  switch (error_class) {
    case ErrorClass::kNone:
      return "none";
    case ErrorClass::kRetriable:
      return "retriable";
    case ErrorClass::kAbort:
      return "abort";
    case ErrorClass::kFatal:
      return "fatal";
  }
  return "fatal";
}

absl::StatusOr<std::unique_ptr<TransactionalProducer>> MakeTransactionalProducer(
    TransactionalProducerOptions options) {
  if (options.transactional_id.empty()) {
    return InvalidArgument("kafka: a transactional producer needs a transactional_id");
  }
  auto producer = std::make_unique<RdTransactionalProducer>(std::move(options));
  TOCSIN_RETURN_IF_ERROR(producer->Start());
  return producer;
}

}  // namespace tocsin::kafka
