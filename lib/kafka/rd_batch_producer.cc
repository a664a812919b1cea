#include <algorithm>
#include <array>
#include <thread>
#include <utility>

#include "lib/base/status.h"
#include "lib/kafka/batch_producer.h"
#include "lib/kafka/rd.h"
#include "lib/kafka/rd_sender.h"

namespace tocsin::kafka {
namespace {
using internal::ConfBuilder;
using std::chrono::milliseconds;

// While the queue is full.
constexpr milliseconds kFullPause{1};

class RdBatchProducer final : public BatchProducer {
 public:
  explicit RdBatchProducer(BatchProducerOptions options) : options_(std::move(options)) {}

  absl::Status Start() {
    ConfBuilder conf(options_.connection);
    conf.Set("enable.idempotence", true)
        .Set("acks", std::string_view("all"))
        .Set("compression.codec", std::string_view("lz4"))
        .Set("partitioner", std::string_view("murmur2_random"))
        .Set("message.timeout.ms", options_.message_timeout)
        .Set("message.max.bytes", static_cast<std::int64_t>(options_.max_record_bytes))
        .Set("queue.buffering.max.messages", static_cast<std::int64_t>(options_.max_queued_records))
        .Set("queue.buffering.max.kbytes",
             static_cast<std::int64_t>(std::max<std::size_t>(1, options_.max_queued_bytes / 1024)))
        .Set("linger.ms", options_.linger)
        .Set("topic.metadata.propagation.max.ms",
             std::min(milliseconds(5'000), options_.message_timeout));
    sender_.Install(conf.raw());
    TOCSIN_ASSIGN_OR_RETURN(handle_, conf.Make(RD_KAFKA_PRODUCER, &hooks_));
    sender_.Attach(handle_);
    return absl::OkStatus();
  }

  ~RdBatchProducer() override {
    if (handle_ == nullptr) return;
    rd_kafka_purge(handle_, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
    sender_.Detach();
    rd_kafka_destroy(handle_);
  }

  TransactionResult ProduceView(const OutgoingView& record) override {
    const auto what = [&] { return Concat("producing to ", record.topic); };
    if (record.value.has_value() && record.value->size() > options_.max_record_bytes) {
      return {InvalidArgument(Concat(what(), ": a record of ", record.value->size(),
                                     " bytes is over the limit of ", options_.max_record_bytes,
                                     " bytes")),
              ErrorClass::kAbort};
    }
    rd_kafka_resp_err_t error = sender_.Send(record);
    if (error == RD_KAFKA_RESP_ERR__QUEUE_FULL) {
      const SteadyTime deadline = Now() + options_.message_timeout;
      while (error == RD_KAFKA_RESP_ERR__QUEUE_FULL && Now() < deadline) {
        std::this_thread::sleep_for(kFullPause);
        rd_kafka_poll(handle_, 0);
        error = sender_.Send(record);
      }
    }
    if (error == RD_KAFKA_RESP_ERR_NO_ERROR) return {};
    const bool fatal = error == RD_KAFKA_RESP_ERR__FATAL || error == RD_KAFKA_RESP_ERR__FENCED;
    return {internal::StatusOf(error, what()), fatal ? ErrorClass::kFatal : ErrorClass::kAbort};
  }

  CommitResult Flush(milliseconds timeout) override {
    const rd_kafka_resp_err_t flushed = rd_kafka_flush(handle_, internal::Milliseconds(timeout));
    if (flushed == RD_KAFKA_RESP_ERR__TIMED_OUT) {
      return {internal::StatusOf(flushed, "flushing"), ErrorClass::kRetriable, {}};
    }
    CommitResult result;
    std::array<char, 512> reason{};
    const rd_kafka_resp_err_t fatal = rd_kafka_fatal_error(handle_, reason.data(), reason.size());
    const rd_kafka_resp_err_t failure = sender_.failure();
    if (fatal != RD_KAFKA_RESP_ERR_NO_ERROR) {
      result = {internal::StatusOf(fatal, "producing", reason.data()), ErrorClass::kFatal, {}};
    } else if (failure != RD_KAFKA_RESP_ERR_NO_ERROR) {
      result = {internal::StatusOf(failure, "producing"), ErrorClass::kAbort, {}};
    } else {
      result.written = sender_.TakeWritten();
    }
    sender_.Forget();
    return result;
  }

 private:
  static SteadyTime Now() { return Clock::Real().SteadyNow(); }

  const BatchProducerOptions options_;
  ConfBuilder::Hooks hooks_;
  internal::Sender sender_;
  rd_kafka_t* handle_ = nullptr;
};

}  // namespace

TransactionResult BatchProducer::Produce(const OutgoingRecord& record) {
  HeaderMemory memory;
  return ProduceView(AsView(record, memory));
}

absl::StatusOr<std::unique_ptr<BatchProducer>> MakeBatchProducer(BatchProducerOptions options) {
  if (options.message_timeout <= milliseconds(0)) {
    return InvalidArgument("kafka: message_timeout must be more than zero");
  }
  auto producer = std::make_unique<RdBatchProducer>(std::move(options));
  TOCSIN_RETURN_IF_ERROR(producer->Start());
  return producer;
}

}  // namespace tocsin::kafka
