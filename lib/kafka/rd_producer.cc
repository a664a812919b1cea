#include <algorithm>
#include <array>
#include <atomic>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

#include "lib/base/backoff.h"
#include "lib/base/hash.h"
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

// Between a fatal error and the next client, where the error comes again and again.
constexpr BackoffOptions kReplacePause{.initial = milliseconds(100),
                                       .maximum = milliseconds(5'000)};

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
    std::shared_ptr<Client> client;
    {
      MutexLock lock(mutex_);
      stopping_ = true;  // before the purge: what it reports is then cancelled, not sent again
      changed_.NotifyAll();
      client = client_;
    }
    if (client != nullptr) Purge(*client);
    client.reset();
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
    const std::shared_ptr<Client> client = Take(*pending);
    const std::string what = Concat("producing to ", pending->record.topic);
    if (client == nullptr) return BeingReplaced(what);
    const rd_kafka_resp_err_t error =
        internal::Enqueue(client->handle, pending->record, pending.get());
    if (error == RD_KAFKA_RESP_ERR_NO_ERROR) {
      (void)pending.release();  // comes back with the delivery report
      return absl::OkStatus();
    }
    Settle(*pending);
    if (error == RD_KAFKA_RESP_ERR__QUEUE_FULL) {
      return ResourceExhausted(Concat(what, ": the queue to Kafka is full (", outstanding(),
                                      " records wait); Kafka is away or too slow, retry later"));
    }
    if (FellWith(*client, error)) return BeingReplaced(what);
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
      changed_.WaitFor(mutex_, left);
    }
    return absl::OkStatus();
  }

  absl::Status Probe(milliseconds timeout) override {
    const std::shared_ptr<Client> client = Current();
    if (client == nullptr) return Unavailable("the client is being replaced after an error");
    return internal::ProbeCluster(client->handle, timeout);
  }

  std::size_t outstanding() const override {
    MutexLock lock(mutex_);
    return outstanding_;
  }

  std::shared_ptr<rd_kafka_t> handle() const {
    const std::shared_ptr<Client> client = Current();
    return client == nullptr ? nullptr : std::shared_ptr<rd_kafka_t>(client, client->handle);
  }

 private:
  struct Pending {
    OutgoingRecord record;
    DeliveryCallback done;
    std::uint64_t epoch = 0;
    // In the order of Produce.
    std::uint64_t number = 0;
    SteadyTime since;
  };

  static absl::Status BeingReplaced(std::string_view what) {
    return ResourceExhausted(
        Concat(what, ": the client is being replaced after an error, retry later"));
  }

  static void Purge(const Client& client) {
    rd_kafka_purge(client.handle, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
  }
  static rd_kafka_resp_err_t FatalError(const Client& client, std::string* reason = nullptr) {
    std::array<char, 512> text{};
    const rd_kafka_resp_err_t error = rd_kafka_fatal_error(client.handle, text.data(), text.size());
    if (reason != nullptr) *reason = text.data();
    return error;
  }

  // nullptr while it is being replaced.
  std::shared_ptr<Client> Current() const {
    MutexLock lock(mutex_);
    return client_;
  }

  // The client that takes the record; nullptr: none does now, and nothing has changed.
  std::shared_ptr<Client> Take(Pending& pending) {
    MutexLock lock(mutex_);
    if (client_ == nullptr) return nullptr;
    pending.epoch = epoch_;
    pending.number = next_number_++;
    pending.since = Clock::Real().SteadyNow();
    ++waiting_[epoch_];
    ++outstanding_;
    return client_;
  }

  void Settle(const Pending& pending) {
    MutexLock lock(mutex_);
    --outstanding_;
    const auto entry = waiting_.find(pending.epoch);
    if (--entry->second == 0) waiting_.erase(entry);
    changed_.NotifyAll();
  }

  void Serve() {
    // After a purge every record is reported at once; the limit is for a client that never does.
    int rounds_left = 20;
    while (!stopping_ || (outstanding() > 0 && rounds_left-- > 0)) {
      bool fatal = false;
      {
        const std::shared_ptr<Client> client = Current();
        if (client == nullptr) break;  // stopped while it was being replaced
        if (stopping_) Purge(*client);
        ServeOnce(*client, kServeInterval);
        fatal = FatalError(*client) != RD_KAFKA_RESP_ERR_NO_ERROR;
      }
      if (fatal && !stopping_) Replace();
    }
    for (const auto& [number, pending] : unconfirmed_) {
      Finish(*pending, OutcomeOf(RD_KAFKA_RESP_ERR__PURGE_QUEUE, pending->record.topic));
    }
  }

  void ServeOnce(Client& client, milliseconds timeout) {
    const EventPtr event(rd_kafka_queue_poll(client.queue.get(), internal::Milliseconds(timeout)));
    if (event == nullptr || rd_kafka_event_type(event.get()) != RD_KAFKA_EVENT_DR) return;
    while (const rd_kafka_message_t* message = rd_kafka_event_message_next(event.get())) {
      Report(client, *message);
    }
  }

  void Report(const Client& client, const rd_kafka_message_t& message) {
    std::unique_ptr<Pending> pending(static_cast<Pending*>(message._private));
    if (message.err == RD_KAFKA_RESP_ERR_NO_ERROR) {
      backoff_.Reset();
      Finish(*pending, Delivered{{pending->record.topic, message.partition}, message.offset});
    } else if (!stopping_ && FellWith(client, message.err)) {
      unconfirmed_.emplace(pending->number, std::move(pending));
    } else {
      Finish(*pending, OutcomeOf(message.err, pending->record.topic));
    }
  }

  void Finish(const Pending& pending, const absl::StatusOr<Delivered>& outcome) {
    if (pending.done) pending.done(outcome);
    Settle(pending);
  }

  // Does the error say nothing about the record, but that its client is of no use any more?
  static bool FellWith(const Client& client, rd_kafka_resp_err_t error) {
    const rd_kafka_resp_err_t fatal = FatalError(client);
    return fatal != RD_KAFKA_RESP_ERR_NO_ERROR &&
           (error == fatal || error == RD_KAFKA_RESP_ERR__FATAL ||
            error == RD_KAFKA_RESP_ERR__PURGE_QUEUE || error == RD_KAFKA_RESP_ERR__PURGE_INFLIGHT);
  }

  absl::Status OutcomeOf(rd_kafka_resp_err_t error, const std::string& topic) const {
    const std::string what = Concat("producing to ", topic);
    const bool purged = error == RD_KAFKA_RESP_ERR__PURGE_QUEUE ||
                        error == RD_KAFKA_RESP_ERR__PURGE_INFLIGHT ||
                        error == RD_KAFKA_RESP_ERR__FATAL;
    if (purged && stopping_) {
      return absl::CancelledError(
          ToAbsl(Concat(what, ": the producer was closed before Kafka confirmed the record")));
    }
    return internal::StatusOf(error, what);
  }

  // Puts another client in the place of one with a fatal error. What the old one had not confirmed
  // goes to the new one first, in the order produced, so that nothing taken later overtakes it;
  // until then nothing is taken.
  void Replace() {
    do {
      LogSink log;
      {
        std::shared_ptr<Client> broken;
        {
          MutexLock lock(mutex_);
          broken = std::exchange(client_, nullptr);
        }
        log = broken->hooks.log;
        std::string reason;
        FatalError(*broken, &reason);
        if (log) {
          log(LogLevel::kError, Concat("the producer is replaced after a fatal error: ", reason));
        }
        // Others may still be inside Produce with it.
        do {
          Purge(*broken);
          ServeOnce(*broken, milliseconds(10));
        } while (broken.use_count() > 1 || rd_kafka_outq_len(broken->handle) > 0);
      }
      std::shared_ptr<Client> next = MakeNext(log);
      if (next == nullptr) return;
      SendUnconfirmed(*next);
      MutexLock lock(mutex_);
      client_ = std::move(next);
    } while (!unconfirmed_.empty());
  }

  // nullptr: the producer is closing.
  std::shared_ptr<Client> MakeNext(const LogSink& log) {
    for (;;) {
      const bool first = backoff_.attempt() == 0;
      const milliseconds pause = backoff_.Next();
      if (!first) {
        MutexLock lock(mutex_);
        if (!stopping_) changed_.WaitFor(mutex_, pause);
      }
      if (stopping_) return nullptr;
      auto made = MakeClient(options_);
      if (made.ok()) return *std::move(made);
      // The same options made a client before, so this is want of memory or threads.
      if (log) log(LogLevel::kError, tocsin::Describe(made.status()));
    }
  }

  // What the client does not take, because it has a fatal error too, stays.
  void SendUnconfirmed(Client& client) {
    auto waiting = std::exchange(unconfirmed_, {});
    for (auto& [number, pending] : waiting) {
      const SteadyTime now = Clock::Real().SteadyNow();
      if (options_.message_timeout > milliseconds(0) &&
          now - pending->since >= options_.message_timeout) {
        Finish(*pending, OutcomeOf(RD_KAFKA_RESP_ERR__MSG_TIMED_OUT, pending->record.topic));
        continue;
      }
      const rd_kafka_resp_err_t error =
          internal::Enqueue(client.handle, pending->record, pending.get());
      if (error == RD_KAFKA_RESP_ERR_NO_ERROR) {
        (void)pending.release();
      } else if (FellWith(client, error)) {
        unconfirmed_.emplace(number, std::move(pending));
      } else {
        Finish(*pending, OutcomeOf(error, pending->record.topic));
      }
    }
  }

  const ProducerOptions options_;
  std::atomic<bool> stopping_{false};

  mutable Mutex mutex_;
  CondVar changed_;
  std::shared_ptr<Client> client_ ABSL_GUARDED_BY(mutex_);
  // Flush waits for all records of its epoch and earlier ones: epoch → records not reported yet.
  std::uint64_t epoch_ ABSL_GUARDED_BY(mutex_) = 0;
  std::map<std::uint64_t, std::size_t> waiting_ ABSL_GUARDED_BY(mutex_);
  std::size_t outstanding_ ABSL_GUARDED_BY(mutex_) = 0;
  std::uint64_t next_number_ ABSL_GUARDED_BY(mutex_) = 0;

  // Of the serving thread alone: what a client with a fatal error has not confirmed, by number.
  std::map<std::uint64_t, std::unique_ptr<Pending>> unconfirmed_;
  Backoff backoff_{kReplacePause, Murmur2(options_.connection.bootstrap_servers)};

  std::thread server_;
};

}  // namespace

std::shared_ptr<rd_kafka_t> internal::HandleOf(Producer& producer) {
  return dynamic_cast<RdProducer&>(producer).handle();
}

absl::StatusOr<std::unique_ptr<Producer>> MakeProducer(ProducerOptions options) {
  TOCSIN_ASSIGN_OR_RETURN(std::shared_ptr<Client> client, MakeClient(options));
  return std::make_unique<RdProducer>(std::move(options), std::move(client));
}

}  // namespace tocsin::kafka
