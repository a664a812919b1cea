#include "cli/watch.h"

#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <chrono>
#include <optional>
#include <random>

#include "cli/core/columns.h"
#include "cli/core/resend.h"
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

constexpr std::chrono::milliseconds kShortestPause{50};

bool CanReturn(const absl::Status& status) { return status.ok() || MayResend(status.code()); }

// One subscription from its start to its end. nullopt: the connection ended; else how Watch ends.
class Subscription {
 public:
  Subscription(LiveService::Stub& stub, const std::string& token) : stub_(stub), context_(token) {}

  std::optional<absl::Status> Run(live::v1::SubscribeRequest& request,
                                  const std::function<bool(const SubscribeResponse&)>& on_change,
                                  const StopRequest& stop, absl::Status& ended, bool& received) {
    enum : std::intptr_t { kStart = 1, kRead = 2, kFinish = 3 };
    const auto tag = [](std::intptr_t number) { return reinterpret_cast<void*>(number); };
    grpc::Status status;
    SubscribeResponse response;
    std::optional<absl::Status> result;
    const auto reader = stub_.AsyncSubscribe(&context_, request, &queue_, tag(kStart));
    const OnStop cancel(stop, [this] { context_.TryCancel(); });
    bool finishing = false;
    void* got = nullptr;
    for (bool ok = false; queue_.Next(&got, &ok) && got != tag(kFinish);) {
      if (ok && got == tag(kRead) && !result.has_value() && !stop.made()) {
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
    if (!result.has_value() && stop.made()) result = absl::CancelledError("stopped");
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

// What producers wrote, in one line.
std::string Key(const google::protobuf::RepeatedPtrField<std::string>& key) {
  return OneLine(Join({key.begin(), key.end()}, " / "));
}

std::string Padded(std::string text, std::size_t width) {
  if (text.size() < width) text.append(width - text.size(), ' ');
  return text;
}

std::string WhatHappened(const incident::v1::Incident& incident) {
  if (IsWithdrawn(incident)) return "withdrawn: late events leave no detection";
  if (incident.revision() <= 1) return "opened";
  return Concat(incident.corrected() ? "corrected to " : "grew to ", incident.detection_count(),
                incident.detection_count() == 1 ? " detection" : " detections");
}

std::string WhatHappened(const correlation::v1::Detection& detection) {
  if (detection.retracted()) {
    return Concat("retracted: with late events the rule does not fire here  ", detection.id());
  }
  return Concat(
      detection.corrects().empty() ? "detected from " : "detected anew, with late events, from ",
      detection.evidence_size(), " events");
}

}  // namespace

absl::Status Watch(const std::string& gateway, const std::string& token,
                   live::v1::SubscribeRequest request,
                   const std::function<bool(const SubscribeResponse&)>& on_change,
                   const std::function<void(const absl::Status&)>& on_lost,
                   const StopRequest& stop) {
  TOCSIN_ASSIGN_OR_RETURN(const auto channel,
                          rpc::MakePublicChannel(gateway, "", {LiveService::service_full_name()}));
  const auto stub = LiveService::NewStub(channel);
  Backoff pauses({std::chrono::milliseconds(200), std::chrono::milliseconds(3000)},
                 std::random_device{}());
  bool told = false;
  for (;;) {
    absl::Status ended;
    bool received = false;
    if (auto result = Subscription(*stub, token).Run(request, on_change, stop, ended, received)) {
      return *result;
    }
    if (!CanReturn(ended)) return ended;
    if (received) {
      told = false;
      pauses.Reset();
    }
    if (!told) on_lost(ended.ok() ? Unavailable("the gateway ended the stream") : ended);
    told = true;
    if (stop.WaitFor(std::max(pauses.Next(), kShortestPause))) {
      return absl::CancelledError("stopped");
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

bool IsWithdrawn(const incident::v1::Incident& incident) {
  return incident.corrected() && incident.detection_count() == 0;
}

std::string ChangeText(const SubscribeResponse& response) {
  switch (response.change_case()) {
    case SubscribeResponse::kIncident: {
      const auto& incident = response.incident();
      return Concat(TimeText(incident.last_detection_time()), "  ",
                    Padded(SeverityText(incident.severity()), 8), "  ",
                    Padded(incident.rule_id(), 16), "  ", Key(incident.group_key()), "  ",
                    WhatHappened(incident), "  ", incident.id(), "\n");
    }
    case SubscribeResponse::kActivity: {
      const auto& activity = response.activity();
      const bool resolved = activity.kind() == incident::v1::ACTIVITY_KIND_RESOLVED;
      return Concat(TimeText(activity.time()), "  ", activity.actor(),
                    resolved ? " resolved " : " acknowledged ", activity.incident_id(),
                    activity.note().empty() ? "" : Concat(": ", OneLine(activity.note())), "\n");
    }
    case SubscribeResponse::kDetection: {
      const auto& detection = response.detection();
      return Concat(TimeText(detection.time()), "  ", Padded(SeverityText(detection.severity()), 8),
                    "  ", Padded(detection.rule_id(), 16), "  ", Key(detection.group_key()), "  ",
                    WhatHappened(detection), "\n");
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
