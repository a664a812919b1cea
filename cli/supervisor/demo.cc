#include "cli/supervisor/demo.h"

#include <signal.h>

#include <chrono>
#include <utility>
#include <vector>

#include "cli/console.h"
#include "cli/gateway_replay.h"
#include "cli/watch.h"
#include "lib/auth/keys.h"
#include "lib/base/status.h"
#include "lib/base/text.h"

namespace tocsin::cli {
namespace {

constexpr std::chrono::seconds kLength{60};

}  // namespace

Demo::Demo(const SystemPlan& plan, std::string token, Narrator& narrator)
    : plan_(plan), token_(std::move(token)), narrator_(narrator) {}

Demo::~Demo() {
  stop_.Make(SIGTERM);
  if (playing_.joinable()) playing_.join();
  if (following_.joinable()) following_.join();
}

void Demo::Play(const std::filesystem::path& played) {
  std::vector<ReplayJob> jobs;
  std::string titles;
  for (const LoadedPack& pack : plan_.packs) {
    for (const auto& scenario : pack.pack.scenarios()) {
      ReplayJob& job = jobs.emplace_back();
      job.gateway = plan_.gateway;
      job.token = token_;
      job.pack = pack;
      job.csv = pack.folder / scenario.csv_file();
      job.mapping = scenario.csv_mapping();
      job.options.patience = std::chrono::hours(1);
      job.options.within = kLength;
      titles += Concat(titles.empty() ? "" : ", ", scenario.title());
    }
  }
  if (jobs.empty()) return;
  narrator_.Write(Concat("\nPlaying for about a minute: ", titles, ".\n"));
  playing_ = std::thread([this, jobs = std::move(jobs), played] {
    const ReplayEvents events{stop_, [](const ReplayProgress&) {}, [](const RefusedRow&) {}};
    for (const ReplayJob& job : jobs) {
      const auto result = RunReplay(job, events);
      if (absl::IsCancelled(result.status())) return;
      if (!result.ok()) {
        narrator_.Write(Concat("The demo stopped: ", Message(result.status()), "\n"));
        return;
      }
    }
    const absl::Status marked = auth::WriteFileAtomically(played.string(), "played\n");
    narrator_.Write(marked.ok() ? "The demo has been played.\n" : Concat(Message(marked), "\n"));
  });
}

void Demo::FollowIncidents() {
  following_ = std::thread([this] {
    live::v1::SubscribeRequest request;
    request.add_kinds(live::v1::KIND_INCIDENT);
    request.add_kinds(live::v1::KIND_ACTIVITY);
    request.set_from(live::v1::FROM_LATEST);
    const absl::Status status = Watch(
        plan_.gateway, token_, request,
        [](const live::v1::SubscribeResponse& response) {
          if (response.change_case() != live::v1::SubscribeResponse::kHeartbeat) {
            Print(ChangeText(response));
          }
          return true;
        },
        [](const absl::Status&) {}, stop_);
    if (!status.ok() && !absl::IsCancelled(status)) {
      narrator_.Write(Concat("Incidents are no longer followed: ", Message(status), "\n"));
    }
  });
}

}  // namespace tocsin::cli
