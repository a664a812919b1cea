// Carries activities from the database to incidents.activity, on a thread of its own: at least
// once, in order, each always under the same id.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include "absl/status/status.h"
#include "lib/base/mutex.h"
#include "lib/events/own_topic.h"
#include "lib/events/registry_client.h"
#include "lib/kafka/producer.h"
#include "lib/telemetry/metrics.h"
#include "services/report/io.h"
#include "services/report/report_store.h"

namespace tocsin::report {

struct OutboxOptions {
  std::string topic = Topics().activity;
  // Between two looks at the database, where nobody calls Wake.
  std::chrono::milliseconds pause{1'000};
};

class Outbox {
 public:
  Outbox(ReportStore& store, kafka::Producer& producer, events::RegistryClient& registry,
         OutboxOptions options = {});
  // Calls Stop.
  ~Outbox();

  void Start();
  // There is something to send. Any thread.
  void Wake();
  // Does not block; Stop then has less to wait for.
  void BeginStop();
  // At most one call to the registry; what is not confirmed stays in the database for the next
  // start. Idempotent.
  void Stop();

 private:
  void Run();
  // One round: sends all that is there and waits until it is confirmed, or until Stop.
  absl::Status SendAll();

  ReportStore& store_;
  kafka::Producer& producer_;
  events::RegistryClient& registry_;
  const OutboxOptions options_;
  const telemetry::Counter sent_;
  std::optional<events::OwnTopic> topic_;

  // What the producer's callbacks change; they may come after this object has gone.
  struct Shared {
    Mutex mutex;
    CondVar changed;
    bool stopped ABSL_GUARDED_BY(mutex) = false;
    bool woken ABSL_GUARDED_BY(mutex) = false;
  };
  const std::shared_ptr<Shared> shared_ = std::make_shared<Shared>();
  std::thread thread_;
};

}  // namespace tocsin::report
