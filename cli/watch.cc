#include "cli/watch.h"

#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <chrono>
#include <optional>
#include <random>
#include <thread>

#include "cli/output.h"
#include "lib/base/backoff.h"
#include "lib/base/status.h"
#include "lib/base/text.h"
#include "lib/rpc/channel.h"
#include "lib/rpc/client_context.h"
#include "lib/rpc/status.h"
#include "tocsin/live/v1/live.grpc.pb.h"

namespace tocsin::cli {
namespace {

using live::v1::LiveService;
using live::v1::SubscribeResponse;

constexpr std::chrono::milliseconds kTick{250};

bool CanReturn(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kOk:
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kInternal:
    case absl::StatusCode::kUnknown:
    case absl::StatusCode::kDeadlineExceeded:
    case absl::StatusCode::kCancelled:
    case absl::StatusCode::kAborted:
    case absl::StatusCode::kResourceExhausted:
      return true;
    default:
      return false;
  }
}

// One subscription from its start to its end. nullopt: the connection ended; else how Watch ends.
class Subscription {
 public:
  Subscription(LiveService::Stub& stub, const std::string& token) : stub_(stub), context_(token) {}

  std::optional<absl::Status> Run(live::v1::SubscribeRequest& request,
                                  const std::function<bool(const SubscribeResponse&)>& on_change,
                                  const std::function<bool()>& stopped, absl::Status& ended,
                                  bool& received) {
    enum : std::intptr_t { kStart = 1, kRead = 2, kFinish = 3 };
    const auto tag = [](std::intptr_t number) { return reinterpret_cast<void*>(number); };
    grpc::Status status;
    SubscribeResponse response;
    std::optional<absl::Status> result;
    const auto reader = stub_.AsyncSubscribe(&context_, request, &queue_, tag(kStart));
    bool finishing = false;
    for (;;) {
      void* got = nullptr;
      bool ok = false;
      const auto next = queue_.AsyncNext(&got, &ok, std::chrono::system_clock::now() + kTick);
      if (!result.has_value() && stopped()) {
        result = absl::CancelledError("stopped");
        context_.TryCancel();
      }
      if (next == grpc::CompletionQueue::TIMEOUT) continue;
      if (got == tag(kFinish)) break;
      if (ok && got == tag(kRead) && !result.has_value()) {
        received = true;
        if (!response.cursor().empty()) request.set_cursor(response.cursor());
        if (!on_change(response)) {
          result = absl::OkStatus();
          context_.TryCancel();
        }
      }
      if (ok) {
        reader->Read(&response, tag(kRead));
      } else if (!finishing) {
        finishing = true;
        reader->Finish(&status, tag(kFinish));
      }
    }
    ended = rpc::FromGrpc(status);
    return result;
  }

  ~Subscription() {
    queue_.Shutdown();
    void* got = nullptr;
    bool ok = false;
    while (queue_.Next(&got, &ok)) {
    }
  }

 private:
  LiveService::Stub& stub_;
  rpc::StreamContext context_;
  grpc::CompletionQueue queue_;
};

std::string Padded(std::string text, std::size_t width) {
  if (text.size() < width) text.append(width - text.size(), ' ');
  return text;
}

}  // namespace

absl::Status Watch(const std::string& gateway, const std::string& token,
                   live::v1::SubscribeRequest request,
                   const std::function<bool(const SubscribeResponse&)>& on_change,
                   const std::function<void(const absl::Status&)>& on_lost,
                   const std::function<bool()>& stopped) {
  TOCSIN_ASSIGN_OR_RETURN(const auto channel,
                          rpc::MakePublicChannel(gateway, "", {LiveService::service_full_name()}));
  const auto stub = LiveService::NewStub(channel);
  Backoff pauses({std::chrono::milliseconds(200), std::chrono::milliseconds(3000)},
                 std::random_device{}());
  bool told = false;
  for (;;) {
    absl::Status ended;
    bool received = false;
    if (auto result =
            Subscription(*stub, token).Run(request, on_change, stopped, ended, received)) {
      return *result;
    }
    if (!CanReturn(ended)) return ended;
    if (received) {
      told = false;
      pauses.Reset();
    }
    if (!told) on_lost(ended.ok() ? Unavailable("the gateway ended the stream") : ended);
    told = true;
    // Short naps, so that a stop is heard.
    for (auto left = std::max(pauses.Next(), kTick); left > left.zero(); left -= kTick) {
      if (stopped()) return absl::CancelledError("stopped");
      std::this_thread::sleep_for(kTick);
    }
  }
}

std::string IncidentStateText(incident::v1::IncidentState state) {
  switch (state) {
    case incident::v1::INCIDENT_STATE_ACKNOWLEDGED:
      return "acknowledged";
    case incident::v1::INCIDENT_STATE_RESOLVED:
      return "resolved";
    default:
      return "open";
  }
}

std::string ChangeText(const SubscribeResponse& response) {
  switch (response.change_case()) {
    case SubscribeResponse::kIncident: {
      const auto& incident = response.incident();
      const std::string what = incident.revision() <= 1
                                   ? "opened"
                                   : Concat("grew to ", incident.detection_count(), " detections");
      return Concat(TimeText(incident.last_detection_time()), "  ",
                    Padded(SeverityText(incident.severity()), 8), "  ",
                    Padded(incident.rule_id(), 16), "  ",
                    Join({incident.group_key().begin(), incident.group_key().end()}, " / "), "  ",
                    what, "  ", incident.id(), "\n");
    }
    case SubscribeResponse::kActivity: {
      const auto& activity = response.activity();
      const bool resolved = activity.kind() == incident::v1::ACTIVITY_KIND_RESOLVED;
      return Concat(TimeText(activity.time()), "  ", activity.actor(),
                    resolved ? " resolved " : " acknowledged ", activity.incident_id(),
                    activity.note().empty() ? "" : Concat(": ", activity.note()), "\n");
    }
    case SubscribeResponse::kDetection: {
      const auto& detection = response.detection();
      return Concat(TimeText(detection.time()), "  ", Padded(SeverityText(detection.severity()), 8),
                    "  ", Padded(detection.rule_id(), 16), "  ",
                    Join({detection.group_key().begin(), detection.group_key().end()}, " / "),
                    "  detected from ", detection.evidence_size(), " events\n");
    }
    case SubscribeResponse::kGap: {
      const auto& gap = response.gap();
      return Concat("missed: ", gap.topic(), "[", gap.partition(), "] offsets ", gap.from_offset(),
                    " to ", gap.to_offset() - 1, ": ", gap.reason(), "\n");
    }
    default:
      return Concat(Json(response, false), "\n");
  }
}

}  // namespace tocsin::cli
