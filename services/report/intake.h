// Reads the topics into the database, on a thread of its own.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "lib/base/backoff.h"
#include "lib/base/stop_signal.h"
#include "lib/kafka/admin.h"
#include "lib/kafka/consumer.h"
#include "lib/kafka/read_loop.h"
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
  BackoffOptions retry{.initial = std::chrono::milliseconds(100),
                       .maximum = std::chrono::milliseconds(2'000)};
  // How often partitions are counted anew.
  std::chrono::seconds refresh{60};
};

class Intake final : private kafka::LogReader {
 public:
  // Told at each step whether the topics are there and being read; from the intake's thread.
  using Told = std::function<void(const absl::Status&)>;

  // `make_consumer` makes one without a group, read_committed; again when one is of no use any
  // more. All references must outlive the intake.
  Intake(kafka::ReadLoop::MakeConsumer make_consumer, kafka::Admin& admin, ReportStore& store,
         Told told, IntakeOptions options = {});
  // Calls Stop.
  ~Intake() override;

  void Start();
  // Does not block; Stop then has less to wait for.
  void BeginStop() { stop_.Stop(); }
  // Ends after the batch in hand, at most about 4 s when Kafka does not answer. Idempotent.
  void Stop();

  // One round, for tests that need no thread. An error has changed nothing, or is about a part of
  // the topics; the round is to be repeated.
  absl::Status RunOnce() { return loop_.Step(); }

 private:
  absl::StatusOr<std::chrono::nanoseconds> Attach(kafka::Consumer& consumer,
                                                  kafka::RebalanceListener& listener,
                                                  bool fresh) override;
  absl::Status Take(kafka::Consumer& consumer, const kafka::Batch& batch) override;
  void OnMoved(const kafka::TopicPartition& where, std::optional<std::int64_t> position,
               std::int64_t beginning) override;
  void OnState(const absl::Status& state) override { told_(state); }

  kafka::Admin& admin_;
  ReportStore& store_;
  const Told told_;
  const IntakeOptions options_;
  const std::vector<std::string> topics_;
  std::map<std::string, telemetry::Counter> applied_;
  std::map<std::string, telemetry::Counter> invalid_;
  telemetry::Histogram seconds_;
  std::size_t assigned_ = 0;
  kafka::ReadLoop loop_;
  StopSignal stop_;
  std::thread thread_;
};

}  // namespace tocsin::report
