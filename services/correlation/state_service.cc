#include "services/correlation/state_service.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "google/protobuf/util/time_util.h"
#include "lib/base/status.h"
#include "lib/base/text.h"
#include "lib/rpc/caller.h"
#include "lib/rpc/status.h"
#include "services/correlation/engine/keys.h"
#include "services/correlation/inspection/changelog_reader.h"
#include "services/correlation/inspection/held_state.h"
#include "services/correlation/verifier/range_verifier.h"

namespace tocsin::correlation {
namespace {

using google::protobuf::util::TimeUtil;
using std::chrono::milliseconds;

// So that an answer that is not whole still reaches the caller in time.
constexpr milliseconds kForTheAnswer{500};
// A worker that has not answered by then is not going to.
constexpr milliseconds kForTheWorker{5'000};

SteadyTime DeadlineOf(const grpc::ServerContext& context) {
  const milliseconds left = std::min(rpc::Caller(context).TimeLeft(), milliseconds(60'000));
  return std::chrono::steady_clock::now() + std::max(left - kForTheAnswer, left / 2);
}

void Describe(const PartitionLag& lag, v1::PartitionLag& out) {
  out.set_topic(lag.where.topic);
  out.set_partition(lag.where.partition);
  out.set_stream(lag.stream);
  if (lag.committed.has_value()) out.set_committed(*lag.committed);
  out.set_end(lag.end);
  out.set_high_watermark(lag.high_watermark);
  out.set_records_behind(lag.records);
  out.set_seconds_behind(std::chrono::duration<double>(lag.behind).count());
  if (lag.oldest.has_value()) {
    *out.mutable_oldest() = TimeUtil::MicrosecondsToTimestamp(Micros(*lag.oldest));
  }
  out.set_owner(lag.owner);
  out.set_problem(lag.problem);
}

// What was taken out of a state, and where it stood.
struct Taken {
  explicit Taken(std::shared_ptr<const StateQuestion> question) : excerpt(std::move(question)) {}
  StateExcerpt excerpt;
  std::int64_t position = 0;
};

}  // namespace

absl::StatusOr<std::int32_t> StateService::PartitionOf(const v1::ShowStateRequest& request,
                                                       const StateQuestion& question) const {
  const StreamSpec& stream = question.plan().stream();
  if (request.has_partition()) {
    if (request.partition() < 0 || request.partition() >= stream.partitions) {
      return InvalidArgument(
          Concat("partition: ", stream.topic, " has the partitions 0 to ", stream.partitions - 1));
    }
    return request.partition();
  }
  const auto partition = question.Partition(io_.stream_key(stream.topic));
  if (partition.has_value()) return *partition;
  return FailedPrecondition(
      Concat("the records of ", stream.topic,
             " are not keyed by a field of this rule's key: name the partition"));
}

absl::StatusOr<v1::ShowStateResponse> StateService::Show(const v1::ShowStateRequest& request,
                                                         SteadyTime deadline) const {
  const auto rules = io_.rules->Current();
  if (rules->plans.empty()) {
    return Unavailable("the rules are not known yet: the process is starting");
  }
  TOCSIN_ASSIGN_OR_RETURN(StateQuestion made, StateQuestion::Make(*rules, request.rule_id(),
                                                                  {request.group_key().begin(),
                                                                   request.group_key().end()}));
  const auto question = std::make_shared<const StateQuestion>(std::move(made));
  TOCSIN_ASSIGN_OR_RETURN(const std::int32_t partition, PartitionOf(request, *question));
  const StreamSpec& stream = question->plan().stream();

  const auto taken = std::make_shared<Taken>(question);
  const absl::StatusOr<std::string> worker = io_.ask(
      {stream.topic, partition},
      [taken](const StateReader& state, std::int64_t position) {
        taken->excerpt.Take(state);
        taken->position = position;
      },
      std::min(deadline, io_.clock->SteadyNow() + kForTheWorker));
  v1::ShowStateResponse response;
  if (worker.ok()) {
    response = Describe(taken->excerpt);
    response.set_source(v1::ShowStateResponse::SOURCE_STORE);
    response.set_worker(*worker);
    response.set_changelog_position(taken->position);
  } else if (absl::IsDeadlineExceeded(worker.status())) {
    return worker.status();
  } else {
    StateExcerpt excerpt(question);
    TOCSIN_ASSIGN_OR_RETURN(const std::int64_t position,
                            ReadChangelog(io_.make_consumer, {stream.ChangelogTopic(), partition},
                                          *io_.clock, deadline, excerpt));
    response = Describe(excerpt);
    response.set_source(v1::ShowStateResponse::SOURCE_CHANGELOG);
    response.set_changelog_position(position);
  }
  response.set_partition(partition);
  response.set_changelog(stream.ChangelogTopic());
  return response;
}

grpc::Status StateService::ShowState(grpc::ServerContext* context,
                                     const v1::ShowStateRequest* request,
                                     v1::ShowStateResponse* response) {
  absl::StatusOr<v1::ShowStateResponse> shown = Show(*request, DeadlineOf(*context));
  if (!shown.ok()) return rpc::ToGrpc(shown.status());
  *response = *std::move(shown);
  return grpc::Status::OK;
}

grpc::Status StateService::Verify(grpc::ServerContext* context, const v1::VerifyRequest* request,
                                  grpc::ServerWriter<v1::VerifyResponse>* writer) {
  const auto rules = io_.rules->Current();
  if (rules->plans.empty()) {
    return rpc::ToGrpc(Unavailable("the rules are not known yet: the process is starting"));
  }
  TimeSpan span;
  span.to = request->has_to_time()
                ? FromMicros(TimeUtil::TimestampToMicroseconds(request->to_time()))
                : io_.clock->Now();
  span.from = request->has_from_time()
                  ? FromMicros(TimeUtil::TimestampToMicroseconds(request->from_time()))
                  : span.to - std::chrono::hours(1);
  absl::StatusOr<std::set<std::string>> topics = io_.output_topics(*rules);
  if (!topics.ok()) return rpc::ToGrpc(topics.status());
  if (verifications_.fetch_add(1) >= kMostVerifications) {
    verifications_.fetch_sub(1);
    return rpc::ToGrpc(
        absl::ResourceExhaustedError("this process verifies for others already: try again later"));
  }
  RangeVerifier verifier({io_.make_consumer, io_.admin, io_.clock}, *std::move(topics), span);
  const absl::Status status = verifier.Run([&](const v1::VerifyResponse& response) {
    return !context->IsCancelled() && writer->Write(response);
  });
  verifications_.fetch_sub(1);
  return rpc::ToGrpc(status);
}

grpc::Status StateService::GetLag(grpc::ServerContext* context, const v1::GetLagRequest*,
                                  v1::GetLagResponse* response) {
  const absl::StatusOr<Lag> lag = io_.lag->Read(*io_.rules->Current(), DeadlineOf(*context));
  if (!lag.ok()) return rpc::ToGrpc(lag.status());
  response->set_group(io_.group);
  *response->mutable_time() = TimeUtil::MicrosecondsToTimestamp(Micros(lag->time));
  for (const PartitionLag& partition : lag->partitions) {
    Describe(partition, *response->add_partitions());
  }
  return grpc::Status::OK;
}

}  // namespace tocsin::correlation
