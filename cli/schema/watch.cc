// `tocsin schema watch`: every change as it counts, across lost connections.
#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <random>

#include "cli/console.h"
#include "cli/core/columns.h"
#include "cli/core/exit_code.h"
#include "cli/core/resend.h"
#include "cli/output.h"
#include "cli/schema/commands.h"
#include "cli/stop_request.h"
#include "lib/base/backoff.h"
#include "lib/base/status.h"
#include "lib/base/text.h"
#include "lib/rpc/client_context.h"
#include "lib/rpc/status.h"
#include "tocsin/schema/v1/registry.grpc.pb.h"

namespace tocsin::cli {
namespace {

using schema::v1::SchemaRegistryService;

std::string_view KindText(schema::v1::Change::Kind kind) {
  switch (kind) {
    case schema::v1::Change::KIND_REGISTERED:
      return "registered";
    case schema::v1::Change::KIND_DELETED:
      return "deleted";
    case schema::v1::Change::KIND_PERMANENTLY_DELETED:
      return "deleted for good";
    case schema::v1::Change::KIND_CONFIG:
      return "configuration changed";
    case schema::v1::Change::KIND_MODE:
      return "mode changed";
    case schema::v1::Change::KIND_CONTEXT:
      return "context changed";
    default:
      return "changed";
  }
}

std::string ChangeText(const schema::v1::Change& change) {
  std::string line = change.has_time() ? Concat(TimeText(change.time()), "  ") : "";
  line += change.subject().empty() ? "everything" : OneLine(change.subject());
  if (change.version() > 0) line += Concat(" version ", change.version());
  line += Concat("  ", KindText(change.kind()));
  if (change.id() > 0) line += Concat("  id ", change.id());
  if (!change.actor().empty()) line += Concat("  by ", OneLine(change.actor()));
  return Concat(line, "  revision ", change.revision(), "\n");
}

class Follower {
 public:
  Follower(const Session& session, const SchemaWatchFlags& flags)
      : session_(session), flags_(flags), after_(flags.after) {}

  std::int64_t after() const { return after_; }
  std::int64_t seen() const { return seen_; }
  bool received() const { return received_; }
  bool enough() const { return flags_.count > 0 && seen_ >= flags_.count; }

  // One stream, from its begin to its end.
  absl::Status Run(SchemaRegistryService::Stub& stub, const std::string& token) {
    received_ = false;
    rpc::StreamContext context(token);
    schema::v1::WatchRequest request;
    request.set_after_revision(after_);
    request.set_subject_prefix(flags_.prefix);
    const auto reader = stub.Watch(&context, request);
    const OnStop cancel(ProcessStop(), [&context] { context.TryCancel(); });
    schema::v1::WatchResponse response;
    while (!ProcessStop().made() && !enough() && reader->Read(&response)) {
      received_ = true;
      Take(response);
    }
    if (enough()) context.TryCancel();
    while (reader->Read(&response)) {
    }
    return rpc::FromGrpc(reader->Finish());
  }

 private:
  void Take(const schema::v1::WatchResponse& response) {
    const bool told = session_.flags().output == OutputForm::kTable;
    switch (response.event_case()) {
      case schema::v1::WatchResponse::kChange:
        after_ = response.change().revision();
        ++seen_;
        Print(told ? ChangeText(response.change()) : Concat(Json(response.change(), false), "\n"));
        break;
      case schema::v1::WatchResponse::kGap:
        Say(Concat("The changes after revision ", after_,
                   " are no longer kept: read the state anew (tocsin schema ls); going on behind "
                   "revision ",
                   response.gap().resume_after(), "."));
        after_ = response.gap().resume_after();
        break;
      case schema::v1::WatchResponse::kCaughtUp:
        after_ = std::max(after_, response.caught_up().revision());
        break;
      default:
        break;
    }
  }

  const Session& session_;
  const SchemaWatchFlags& flags_;
  std::int64_t after_;
  std::int64_t seen_ = 0;
  bool received_ = false;
};

}  // namespace

absl::StatusOr<int> WatchSchemas(const Session& session, const SchemaWatchFlags& flags) {
  TOCSIN_ASSIGN_OR_RETURN(const auto channel, session.Gateway<SchemaRegistryService>());
  TOCSIN_ASSIGN_OR_RETURN(const std::string token, session.Token());
  const auto stub = SchemaRegistryService::NewStub(channel);
  Backoff pauses({std::chrono::milliseconds(200), std::chrono::milliseconds(3'000)},
                 std::random_device{}());
  Follower follower(session, flags);
  bool told = false;
  for (;;) {
    const absl::Status ended = follower.Run(*stub, token);
    if (follower.enough()) return kExitOk;
    if (ProcessStop().made()) {
      if (!PrintedSoFar().ok()) return absl::CancelledError();
      Say(Concat("Stopped after ", follower.seen(), follower.seen() == 1 ? " change." : " changes.",
                 " Go on behind the last one:\n  tocsin schema watch --after ", follower.after()));
      return kExitInterrupted;
    }
    if (!ended.ok() && !MayResend(ended.code())) {
      return session.Explain(ended, /*server_said=*/true);
    }
    if (follower.received()) {
      told = false;
      pauses.Reset();
    }
    if (!told) {
      Say(Concat("Connection lost, trying again: ",
                 ended.ok() ? "the registry ended the stream" : Message(ended)));
    }
    told = true;
    if (ProcessStop().WaitFor(std::max(pauses.Next(), std::chrono::milliseconds(50)))) continue;
  }
}

}  // namespace tocsin::cli
