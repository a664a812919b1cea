// Reads the topics into the database, on a thread of its own.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "lib/base/stop_signal.h"
#include "lib/kafka/admin.h"
#include "lib/kafka/consumer.h"
#include "lib/telemetry/metrics.h"
#include "services/report/io.h"
#include "services/report/report_store.h"

namespace tocsin::report {

// What a record of one of the three topics says. INVALID_ARGUMENT: it is none of ours; reading it
// again will not help.
absl::StatusOr<Arrival> Decode(const kafka::Record& record, const Topics& topics);

struct IntakeOptions {
  Topics topics = {};
  std::chrono::milliseconds poll{500};
  // Between attempts while Kafka or the database does not answer.
  std::chrono::milliseconds retry{1'000};
  // How often partitions are counted anew.
  std::chrono::seconds refresh{60};
};

class Intake {
 public:
  // Told at each step whether the topics are there and being read; from the intake's thread.
  using Told = std::function<void(const absl::Status&)>;

  Intake(kafka::Consumer& consumer, kafka::Admin& admin, ReportStore& store, Told told,
         IntakeOptions options = {});
  // Calls Stop.
  ~Intake();

  void Start();
  // Ends after the batch in hand, at most about 10 s when Kafka does not answer. Idempotent.
  void Stop();

  // One round, for tests that need no thread: assigns where that is due, polls, stores. An error
  // has changed nothing, and the round is to be repeated.
  absl::Status RunOnce();

 private:
  void Run();
  absl::Status AssignPartitions();
  absl::Status Handle(const kafka::PollError& error);
  absl::Status StoreBatch(const kafka::Batch& batch);

  kafka::Consumer& consumer_;
  kafka::Admin& admin_;
  ReportStore& store_;
  const Told told_;
  const IntakeOptions options_;
  const std::vector<std::string> topics_;
  std::map<std::string, telemetry::Counter> applied_;
  std::map<std::string, telemetry::Counter> invalid_;
  telemetry::Histogram seconds_;
  std::size_t assigned_ = 0;
  std::chrono::steady_clock::time_point assigned_at_;
  // What has been polled and could not be stored yet.
  kafka::Batch in_hand_;
  StopSignal stop_;
  std::thread thread_;
};

}  // namespace tocsin::report
