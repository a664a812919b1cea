#include <atomic>
#include <map>
#include <memory>
#include <thread>
#include <utility>

#include "lib/base/mutex.h"
#include "lib/base/status.h"
#include "lib/kafka/producer.h"
#include "lib/kafka/rd.h"

namespace tocsin::kafka {
namespace {
using internal::ConfBuilder;
using internal::EventPtr;
using internal::QueuePtr;
using std::chrono::milliseconds;

constexpr milliseconds kServeInterval{100};

// One librdkafka client. Replaced as a whole after a fatal error: then the idempotence of what was
// in flight is gone for good.
struct Client {
  ConfBuilder::Hooks hooks;
  rd_kafka_t* handle = nullptr;
  QueuePtr queue;

  ~Client() {
    queue.reset();
    if (handle != nullptr) rd_kafka_destroy(handle);
  }
};

absl::StatusOr<std::shared_ptr<Client>> MakeClient(const ProducerOptions& options) {
  auto client = std::make_shared<Client>();
  ConfBuilder conf(options.connection);
  conf.Set("enable.idempotence", true)
      .Set("acks", std::string_view("all"))
      .Set("compression.codec", std::string_view("lz4"))
      .Set("partitioner", std::string_view("murmur2_random"))
      .Set("message.timeout.ms", options.message_timeout)
      .Set("message.max.bytes", static_cast<std::int64_t>(options.max_record_bytes))
      .Set("queue.buffering.max.messages", static_cast<std::int64_t>(options.max_queued_records))
      .Set("queue.buffering.max.kbytes",
           static_cast<std::int64_t>(std::max<std::size_t>(1, options.max_queued_bytes / 1024)))
      .Set("linger.ms", options.linger)
      .Set("topic.metadata.propagation.max.ms", milliseconds(5'000));
  rd_kafka_conf_set_events(conf.raw(), RD_KAFKA_EVENT_DR | RD_KAFKA_EVENT_ERROR);
  TOCSIN_ASSIGN_OR_RETURN(client->handle, conf.Make(RD_KAFKA_PRODUCER, &client->hooks));
  client->queue.reset(rd_kafka_queue_get_main(client->handle));
  return client;
}

class RdProducer final : public Producer {
 public:
  RdProducer(ProducerOptions options, std::shared_ptr<Client> client)
      : options_(std::move(options)), client_(std::move(client)) {
    server_ = std::thread([this] { Serve(); });
  }

  ~RdProducer() override {
    (void)Flush(options_.close_timeout);
    stopping_ = true;  // before the purge: what it reports is then cancelled, not aborted
    rd_kafka_purge(Current()->handle, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
    server_.join();
  }

  absl::Status Produce(OutgoingRecord record, DeliveryCallback done) override {
    if (record.value.has_value() && record.value->size() > options_.max_record_bytes) {
      return InvalidArgument(Concat("a record of ", record.value->size(), " bytes for ",
                                    record.topic, " is over the limit of ",
                                    options_.max_record_bytes, " bytes"));
    }
    auto pending = std::make_unique<Pending>();
    pending->record = std::move(record);
    pending->done = std::move(done);
    const std::shared_ptr<Client> client = Current();
    Take(*pending);
    const rd_kafka_resp_err_t error =
        internal::Enqueue(client->handle, pending->record, pending.get());
    if (error == RD_KAFKA_RESP_ERR_NO_ERROR) {
      (void)pending.release();  // comes back with the delivery report
      return absl::OkStatus();
    }
    Settle(*pending);
    const std::string what = Concat("producing to ", pending->record.topic);
    if (error == RD_KAFKA_RESP_ERR__QUEUE_FULL) {
      return ResourceExhausted(Concat(what, ": the queue to Kafka is full (", outstanding(),
                                      " records wait); Kafka is away or too slow, retry later"));
    }
    if (error == RD_KAFKA_RESP_ERR__FATAL) {
      return Unavailable(Concat(what, ": the client is being replaced after an error, retry"));
    }
    return internal::StatusOf(error, what);
  }

  absl::Status Flush(milliseconds timeout) override {
    const SteadyTime deadline = Clock::Real().SteadyNow() + timeout;
    MutexLock lock(mutex_);
    const std::uint64_t last = epoch_++;
    while (!waiting_.empty() && waiting_.begin()->first <= last) {
      const auto left = deadline - Clock::Real().SteadyNow();
      if (left <= std::chrono::nanoseconds::zero()) {
        return DeadlineExceeded(Concat("kafka: ", outstanding_, " records are still waiting to be ",
                                       "confirmed after ", timeout.count(), " ms"));
      }
      settled_.WaitFor(mutex_, left);
    }
    return absl::OkStatus();
  }

  absl::Status Probe(milliseconds timeout) override {
    return internal::ProbeCluster(Current()->handle, timeout);
  }

  std::size_t outstanding() const override {
    MutexLock lock(mutex_);
    return outstanding_;
  }

  rd_kafka_t* handle() const { return Current()->handle; }

 private:
  struct Pending {
    OutgoingRecord record;
    DeliveryCallback done;
    std::uint64_t epoch = 0;
  };

  std::shared_ptr<Client> Current() const {
    MutexLock lock(mutex_);
    return client_;
  }

  void Take(Pending& pending) {
    MutexLock lock(mutex_);
    pending.epoch = epoch_;
    ++waiting_[epoch_];
    ++outstanding_;
  }

  void Settle(const Pending& pending) {
    MutexLock lock(mutex_);
    --outstanding_;
    const auto entry = waiting_.find(pending.epoch);
    if (--entry->second == 0) waiting_.erase(entry);
    settled_.NotifyAll();
  }

  void Serve() {
    // After a purge every record is reported at once; the limit is for a client that never does.
    int rounds_left = 20;
    while (!stopping_ || (outstanding() > 0 && rounds_left-- > 0)) {
      const std::shared_ptr<Client> client = Current();
      ServeOnce(*client, kServeInterval);
      std::array<char, 512> reason{};
      if (!stopping_ && rd_kafka_fatal_error(client->handle, reason.data(), reason.size()) !=
                            RD_KAFKA_RESP_ERR_NO_ERROR) {
        Replace(client, reason.data());
      }
    }
  }

  void ServeOnce(Client& client, milliseconds timeout) {
    const EventPtr event(rd_kafka_queue_poll(client.queue.get(), internal::Milliseconds(timeout)));
    if (event == nullptr || rd_kafka_event_type(event.get()) != RD_KAFKA_EVENT_DR) return;
    while (const rd_kafka_message_t* message = rd_kafka_event_message_next(event.get())) {
      Report(*message);
    }
  }

  void Report(const rd_kafka_message_t& message) {
    const std::unique_ptr<Pending> pending(static_cast<Pending*>(message._private));
    if (pending->done) {
      if (message.err == RD_KAFKA_RESP_ERR_NO_ERROR) {
        pending->done(
            Delivered{{std::move(pending->record.topic), message.partition}, message.offset});
      } else {
        pending->done(OutcomeOf(message, pending->record.topic));
      }
    }
    Settle(*pending);
  }

  absl::Status OutcomeOf(const rd_kafka_message_t& message, const std::string& topic) const {
    const std::string what = Concat("producing to ", topic);
    const bool purged = message.err == RD_KAFKA_RESP_ERR__PURGE_QUEUE ||
                        message.err == RD_KAFKA_RESP_ERR__PURGE_INFLIGHT;
    if (purged && stopping_) {
      return absl::CancelledError(
          ToAbsl(Concat(what, ": the producer was closed before Kafka confirmed the record")));
    }
    if (purged || message.err == RD_KAFKA_RESP_ERR__FATAL) {
      return Aborted(Concat(what,
                            ": the client was replaced after an error before Kafka confirmed the "
                            "record; it may be in the log, send it again under the same identity"));
    }
    return internal::StatusOf(message.err, what);
  }

  void Replace(const std::shared_ptr<Client>& broken, std::string_view reason) {
    if (broken->hooks.log) {
      broken->hooks.log(LogLevel::kError,
                        Concat("the producer is replaced after a fatal error: ", reason));
    }
    auto made = MakeClient(options_);
    if (!made.ok()) {
      // The same options made a client before, so this is want of memory or threads: try again at
      // the next round.
      broken->hooks.log(LogLevel::kError, tocsin::Describe(made.status()));
      return;
    }
    {
      MutexLock lock(mutex_);
      client_ = *std::move(made);
    }
    rd_kafka_purge(broken->handle, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
    // Others may still be inside Produce with it. Its records must all be reported before it goes.
    while (broken.use_count() > 1 || rd_kafka_outq_len(broken->handle) > 0) {
      ServeOnce(*broken, milliseconds(10));
    }
  }

  const ProducerOptions options_;
  std::atomic<bool> stopping_{false};

  mutable Mutex mutex_;
  CondVar settled_;
  std::shared_ptr<Client> client_ ABSL_GUARDED_BY(mutex_);
  // Flush waits for all records of its epoch and earlier ones: epoch → records not reported yet.
  std::uint64_t epoch_ ABSL_GUARDED_BY(mutex_) = 0;
  std::map<std::uint64_t, std::size_t> waiting_ ABSL_GUARDED_BY(mutex_);
  std::size_t outstanding_ ABSL_GUARDED_BY(mutex_) = 0;

  std::thread server_;
};

}  // namespace

rd_kafka_t* internal::HandleOf(Producer& producer) {
  return dynamic_cast<RdProducer&>(producer).handle();
}

absl::StatusOr<std::unique_ptr<Producer>> MakeProducer(ProducerOptions options) {
  TOCSIN_ASSIGN_OR_RETURN(std::shared_ptr<Client> client, MakeClient(options));
  return std::make_unique<RdProducer>(std::move(options), std::move(client));
}

}  // namespace tocsin::kafka
