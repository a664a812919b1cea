#include "services/report/outbox.h"

#include <cstddef>
#include <utility>
#include <vector>

#include "lib/base/status.h"
#include "lib/base/text.h"
#include "lib/telemetry/log.h"
#include "lib/telemetry/names.h"
#include "lib/telemetry/trace.h"

namespace tocsin::report {
namespace {

constexpr int kMaxRound = 500;

}  // namespace

Outbox::Outbox(ReportStore& store, kafka::Producer& producer, events::RegistryClient& registry,
               OutboxOptions options)
    : store_(store),
      producer_(producer),
      registry_(registry),
      options_(std::move(options)),
      sent_(telemetry::GetCounter("tocsin_report_activities_sent_total",
                                  "Activities confirmed by Kafka.")) {}

Outbox::~Outbox() { Stop(); }

void Outbox::Start() {
  thread_ = std::thread([this] { Run(); });
}

void Outbox::Wake() {
  {
    MutexLock lock(shared_->mutex);
    shared_->woken = true;
  }
  shared_->changed.NotifyAll();
}

void Outbox::BeginStop() {
  {
    MutexLock lock(shared_->mutex);
    shared_->stopped = true;
  }
  shared_->changed.NotifyAll();
}

void Outbox::Stop() {
  BeginStop();
  if (thread_.joinable()) thread_.join();
}

void Outbox::Run() {
  bool failing = false;
  for (;;) {
    const absl::Status sent = SendAll();
    if (!sent.ok() && !failing) {
      telemetry::LogWarning("activities wait in the database", {{"error", sent}});
    }
    failing = !sent.ok();
    MutexLock lock(shared_->mutex);
    if (!shared_->woken && !shared_->stopped) {
      shared_->changed.WaitFor(shared_->mutex, options_.pause);
    }
    if (shared_->stopped) return;
    // After a failure one pause is made in any case.
    if (failing) shared_->changed.WaitFor(shared_->mutex, options_.pause);
    shared_->woken = false;
  }
}

absl::Status Outbox::SendAll() {
  TOCSIN_ASSIGN_OR_RETURN(const std::vector<OutboxEntry> entries, store_.Outbox(kMaxRound));
  if (entries.empty()) return absl::OkStatus();
  if (!topic_.has_value()) {
    TOCSIN_ASSIGN_OR_RETURN(
        topic_,
        events::OwnTopic::Register(registry_, options_.topic,
                                   incident::v1::IncidentActivity::descriptor(), "/tocsin/report"));
  }

  struct Round {
    std::vector<std::int64_t> delivered;
    absl::Status error;
    std::size_t missing = 0;
  };
  const auto round = std::make_shared<Round>();
  for (const OutboxEntry& entry : entries) {
    auto span = std::make_shared<telemetry::Span>(
        Concat("send ", options_.topic),
        telemetry::SpanOptions{
            .kind = telemetry::SpanKind::kProducer,
            .parent = telemetry::TraceContext::FromTraceparent(entry.traceparent)});
    span->SetAttribute(telemetry::kMessagingSystem, "kafka");
    span->SetAttribute(telemetry::kMessagingOperationName, "send");
    span->SetAttribute(telemetry::kMessagingOperationType, "send");
    span->SetAttribute(telemetry::kMessagingDestination, options_.topic);
    span->SetAttribute(telemetry::kCloudEventsId, entry.activity.id());
    span->SetAttribute(telemetry::kMessagingConversationId, entry.activity.incident_id());
    {
      MutexLock lock(shared_->mutex);
      ++round->missing;
    }
    const absl::Status taken = producer_.Produce(
        topic_->Encode(entry.activity, {.id = entry.activity.id(),
                                        .key = entry.activity.incident_id(),
                                        .time = ToWallTime(entry.activity.time()),
                                        .subject = entry.activity.incident_id(),
                                        .recorded_time = ToWallTime(entry.activity.time()),
                                        .origin_traceparent = entry.traceparent,
                                        .traceparent = span->context().ToTraceparent(),
                                        .tracestate = span->context().tracestate()}),
        [shared = shared_, round, span,
         sequence = entry.sequence](const absl::StatusOr<kafka::Delivered>& outcome) {
          span->SetStatus(outcome.status());
          span->End();
          {
            MutexLock lock(shared->mutex);
            --round->missing;
            if (outcome.ok()) {
              round->delivered.push_back(sequence);
            } else {
              round->error = outcome.status();
            }
          }
          shared->changed.NotifyAll();
        });
    if (!taken.ok()) {
      MutexLock lock(shared_->mutex);
      --round->missing;
      round->error = taken;
      break;
    }
  }
  std::vector<std::int64_t> delivered;
  absl::Status error;
  {
    MutexLock lock(shared_->mutex);
    while (round->missing > 0 && !shared_->stopped) shared_->changed.Wait(shared_->mutex);
    delivered = round->delivered;
    error = round->error;
  }
  TOCSIN_RETURN_IF_ERROR(store_.RemoveFromOutbox(delivered));
  sent_.Increment(static_cast<double>(delivered.size()));
  return error;
}

}  // namespace tocsin::report
