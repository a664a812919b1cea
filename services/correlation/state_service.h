// The gRPC edge of what can be seen of correlation while it runs.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "lib/base/clock.h"
#include "lib/kafka/consumer.h"
#include "services/correlation/inspection/state_question.h"
#include "services/correlation/lag/lag_reader.h"
#include "services/correlation/worker/io.h"
#include "services/correlation/worker/state_questions.h"
#include "tocsin/correlation/v1/state_service.grpc.pb.h"

namespace tocsin::correlation {

struct StateServiceIo {
  const RuleSource* rules = nullptr;
  LagReader* lag = nullptr;
  const Clock* clock = nullptr;
  std::string group;
  // The worker of this process that has the task: as WorkerPool::Ask.
  std::function<absl::StatusOr<std::string>(const TaskId& task, const StateQuestions::Look& look,
                                            SteadyTime deadline)>
      ask;
  std::function<absl::StatusOr<std::unique_ptr<kafka::Consumer>>(kafka::ConsumerOptions)>
      make_consumer;
  // The field that the records of a stream are keyed by.
  std::function<std::string(std::string_view stream)> stream_key;
  kafka::Admin* admin = nullptr;
  // Everything that workers with these rules, and with those that ran before, write but changelogs.
  std::function<absl::StatusOr<std::set<std::string>>(const RuleSet& rules)> output_topics;
};

// Thread-safe. What `io` points to must outlive it.
class StateService final : public v1::StateService::Service {
 public:
  explicit StateService(StateServiceIo io) : io_(std::move(io)) {}

  grpc::Status GetLag(grpc::ServerContext* context, const v1::GetLagRequest* request,
                      v1::GetLagResponse* response) override;
  grpc::Status ShowState(grpc::ServerContext* context, const v1::ShowStateRequest* request,
                         v1::ShowStateResponse* response) override;
  grpc::Status Verify(grpc::ServerContext* context, const v1::VerifyRequest* request,
                      grpc::ServerWriter<v1::VerifyResponse>* writer) override;

 private:
  // Each reads as fast as it can.
  static constexpr int kMostVerifications = 2;

  absl::StatusOr<v1::ShowStateResponse> Show(const v1::ShowStateRequest& request,
                                             SteadyTime deadline) const;
  absl::StatusOr<std::int32_t> PartitionOf(const v1::ShowStateRequest& request,
                                           const StateQuestion& question) const;

  const StateServiceIo io_;
  std::atomic<int> verifications_{0};
};

}  // namespace tocsin::correlation
