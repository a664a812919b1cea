#include "cli/gateway_replay.h"

#include <grpcpp/grpcpp.h>

#include <cstdio>
#include <utility>

#include "cli/commands.h"
#include "cli/console.h"
#include "cli/core/exit_code.h"
#include "lib/base/status.h"
#include "lib/base/text.h"
#include "lib/rpc/channel.h"
#include "lib/rpc/client_context.h"
#include "lib/rpc/status.h"
#include "lib/telemetry/trace.h"
#include "tocsin/ingest/v1/ingest.grpc.pb.h"

namespace tocsin::cli {
namespace {

using ingest::v1::IngestService;
using io::cloudevents::v1::CloudEvent;

constexpr std::chrono::seconds kBatchTimeout{30};

class GatewayReplayIo : public ReplayIo {
 public:
  GatewayReplayIo(std::unique_ptr<IngestService::Stub> stub, std::string token, std::string stream,
                  const ReplayEvents& events)
      : stub_(std::move(stub)),
        token_(std::move(token)),
        stream_(std::move(stream)),
        events_(events) {}

  absl::StatusOr<std::vector<ingest::v1::Receipt>> Publish(
      const std::vector<CloudEvent>& chunk) override {
    telemetry::Span span("publish chunk", {.kind = telemetry::SpanKind::kInternal});
    span.SetAttribute("messaging.batch.message_count", static_cast<std::int64_t>(chunk.size()));
    const telemetry::ScopedCurrent current(span);
    rpc::ClientContext context(kBatchTimeout);
    context.SetToken(token_);
    const OnStop cancel(events_.stop, [&context] { context.TryCancel(); });
    ingest::v1::PublishBatchResponse response;
    const auto writer = stub_->PublishBatch(&context, &response);
    ingest::v1::PublishBatchRequest request;
    request.set_stream(stream_);
    for (const CloudEvent& event : chunk) {
      *request.add_events() = event;
      if (request.events_size() < kEventsPerMessage) continue;
      if (!writer->Write(request)) break;  // Finish says why
      request.clear_events();
    }
    if (request.events_size() > 0) writer->Write(request);
    writer->WritesDone();
    const absl::Status status = rpc::FromGrpc(writer->Finish());
    span.SetStatus(status);
    if (!status.ok()) return status;
    return std::vector<ingest::v1::Receipt>(response.receipts().begin(), response.receipts().end());
  }

  bool Wait(std::chrono::milliseconds duration) override { return !events_.stop.WaitFor(duration); }
  SteadyTime Now() const override { return Clock::Real().SteadyNow(); }
  void OnProgress(const ReplayProgress& progress) override { events_.on_progress(progress); }
  void OnRefused(const RefusedRow& row) override { events_.on_refused(row); }

 private:
  static constexpr int kEventsPerMessage = 100;
  const std::unique_ptr<IngestService::Stub> stub_;
  const std::string token_;
  const std::string stream_;
  const ReplayEvents& events_;
};

std::string ProgressBar(const ReplayProgress& progress, SteadyTime::duration elapsed) {
  constexpr std::int64_t kWidth = 24;
  const std::int64_t done = progress.acknowledged + progress.refused;
  const std::int64_t filled = progress.total == 0 ? kWidth : kWidth * done / progress.total;
  std::string bar;
  for (std::int64_t i = 0; i < kWidth; ++i) bar += i < filled ? "█" : "░";
  return Concat(bar, " ", ProgressText(progress, elapsed));
}

}  // namespace

absl::StatusOr<ReplayResult> RunReplay(const ReplayJob& job, const ReplayEvents& events) {
  TOCSIN_ASSIGN_OR_RETURN(const auto header, ReadHeader(job.csv));
  TOCSIN_ASSIGN_OR_RETURN(const auto* const mapping,
                          ChooseMapping(job.pack.pack, header, job.mapping));
  TOCSIN_ASSIGN_OR_RETURN(const auto* const stream, FindStream(job.pack.pack, mapping->stream()));
  TOCSIN_ASSIGN_OR_RETURN(auto schema, LoadStreamSchema(job.pack, *stream));
  TOCSIN_ASSIGN_OR_RETURN(const auto mapper,
                          CsvMapper::Create({mapping, stream, std::move(schema), header,
                                             job.csv.stem().string(), job.source}));
  TOCSIN_ASSIGN_OR_RETURN(
      const auto channel,
      rpc::MakePublicChannel(job.gateway, "", {IngestService::service_full_name()}));
  GatewayReplayIo io(IngestService::NewStub(channel), job.token, stream->topic(), events);
  return Replay(job.csv, *mapper, job.options, io);
}

Outcome Replay(const Session& session, const ReplayFlags& flags) {
  ReplayJob job;
  const auto speed = ParseSpeed(flags.speed);
  if (!speed.ok()) return AsUsage(speed.status());
  job.options.speed = *speed;
  TOCSIN_ASSIGN_OR_RETURN(job.pack, LoadPack(flags.pack, session.packs_dir()));
  job.options.chunk_events = static_cast<std::size_t>(flags.chunk);
  job.options.patience = flags.patience;
  job.csv = flags.csv;
  job.mapping = flags.mapping;
  job.source = flags.source;
  TOCSIN_ASSIGN_OR_RETURN(job.gateway, session.GatewayAddress());
  TOCSIN_ASSIGN_OR_RETURN(job.token, session.Token());
  telemetry::Span span("replay");
  const telemetry::ScopedCurrent current(span);
  StatusLine line(session.stderr_terminal());
  const SteadyTime start = Clock::Real().SteadyNow();
  std::int64_t told = 0;
  bool waiting = false;
  ReplayEvents events{ProcessStop(), nullptr, nullptr};
  events.on_progress = [&](const ReplayProgress& progress) {
    // Where there is no progress line, a log still deserves to know why nothing moves.
    if (!session.stderr_terminal() && waiting != !progress.waiting_for.empty()) {
      waiting = !progress.waiting_for.empty();
      if (waiting) Say(Concat("Waiting to send again: ", progress.waiting_for));
    }
    line.Show(ProgressBar(progress, Clock::Real().SteadyNow() - start));
  };
  events.on_refused = [&](const RefusedRow& row) {
    constexpr std::int64_t kMostTold = 20;
    if (++told > kMostTold) return;
    line.Clear();
    Say(Concat("row ", row.row, ": ", row.reason));
    if (told == kMostTold) Say("Further refused rows are counted and not listed.");
  };
  const auto result = RunReplay(job, events);
  line.Clear();
  span.SetStatus(result.status());
  if (absl::IsCancelled(result.status())) {
    Say(Concat("Stopped. Go on with:\n  tocsin replay --pack ", flags.pack, " --csv ", flags.csv,
               flags.mapping.empty() ? "" : " --mapping ", flags.mapping,
               flags.source.empty() ? "" : " --source ", flags.source, " --speed ", flags.speed,
               "\nWhat was acknowledged is sent again under the same ids and counts once."));
    return kExitInterrupted;
  }
  if (!result.ok()) {
    if (absl::IsInvalidArgument(result.status())) {
      return Annotate(result.status(), flags.csv);
    }
    return session.Explain(result.status(), /*server_said=*/true);
  }
  const double seconds = std::chrono::duration<double>(Clock::Real().SteadyNow() - start).count();
  char took[32];
  std::snprintf(took, sizeof(took), "%.1f s", seconds);
  const auto rate =
      seconds > 0 ? static_cast<std::int64_t>(static_cast<double>(result->acknowledged) / seconds)
                  : result->acknowledged;
  Say(Concat(
      WithCommas(result->acknowledged), " of ", WithCommas(result->rows), " rows acknowledged in ",
      took, " (", WithCommas(rate), "/s)",
      result->resends > 0 ? Concat(", ", WithCommas(result->resends), " calls made again") : "",
      result->refused.empty()
          ? "."
          : Concat(", ", WithCommas(static_cast<std::int64_t>(result->refused.size())),
                   " refused.")));
  return result->refused.empty() ? kExitOk : kExitPartial;
}

}  // namespace tocsin::cli
