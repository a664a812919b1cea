#include "services/notification/dispatcher.h"

#include <algorithm>
#include <string>
#include <utility>

#include "lib/base/hash.h"
#include "lib/base/status.h"
#include "lib/base/text.h"
#include "lib/events/event.h"
#include "lib/events/own_topic.h"
#include "lib/telemetry/log.h"
#include "lib/telemetry/metrics.h"
#include "lib/telemetry/names.h"
#include "services/notification/io.h"

namespace tocsin::notification {
namespace {

// How long a stop waits for outcomes that are on their way to Kafka.
constexpr std::chrono::seconds kLastOutcomes{1};

absl::StatusOr<incident::v1::Incident> Decode(const kafka::Record& record) {
  TOCSIN_ASSIGN_OR_RETURN(const events::Event event, events::FromRecord(record));
  incident::v1::Incident incident;
  TOCSIN_RETURN_IF_ERROR(events::ParseOwn(event, incident));
  if (incident.id().empty()) return InvalidArgument("an incident without an id");
  return incident;
}

telemetry::Span ProcessSpan(const kafka::Record& record, const RouteSpec& route) {
  const auto header = [&](std::string_view name) {
    return record.headers.Find(name).value_or(std::string_view());
  };
  telemetry::Span span(
      Concat("process ", record.topic),
      {.kind = telemetry::SpanKind::kConsumer,
       .parent = telemetry::TraceContext::FromTraceparent(header(events::kHeaderTraceparent),
                                                          header(events::kHeaderTracestate))});
  span.SetAttribute(telemetry::kMessagingSystem, "kafka");
  span.SetAttribute(telemetry::kMessagingOperationName, "process");
  span.SetAttribute(telemetry::kMessagingOperationType, "process");
  span.SetAttribute(telemetry::kMessagingDestination, record.topic);
  span.SetAttribute(telemetry::kMessagingPartition, std::to_string(record.partition));
  span.SetAttribute(telemetry::kMessagingOffset, record.offset);
  span.SetAttribute(telemetry::kMessagingGroup, GroupOf(route.name));
  if (record.key.has_value()) {
    span.SetAttribute(telemetry::kMessagingConversationId, *record.key);
  }
  return span;
}

}  // namespace

Dispatcher::Dispatcher(RouteSpec route, Deliverer& deliverer,
                       kafka::ReadLoop::MakeConsumer make_consumer, Deliverer::Pause pause,
                       Told told, DispatcherOptions options)
    : route_(std::move(route)),
      deliverer_(deliverer),
      pause_(std::move(pause)),
      told_(std::move(told)),
      options_(options),
      waiting_(telemetry::GetGauge("tocsin_notification_waiting",
                                   "Notifications that have been read from the log and have no "
                                   "final outcome yet, by route.",
                                   {{"route", route_.name}})),
      loop_(*this, std::move(make_consumer),
            {.name = Concat(kIncidentsTopic, " for ", route_.name),
             .poll = options_.poll,
             .retry = options_.retry}) {}

Dispatcher::~Dispatcher() { Join(); }

void Dispatcher::Start() {
  for (int i = 0; i < std::max(options_.workers, 1); ++i) {
    workers_.push_back(std::make_unique<Worker>());
  }
  for (const auto& worker : workers_) {
    worker->thread = std::thread([this, &own = *worker] { RunWorker(own); });
  }
  thread_ = std::thread([this] { Run(); });
}

void Dispatcher::Join() {
  if (thread_.joinable()) thread_.join();
}

void Dispatcher::Run() {
  loop_.Run(pause_);
  {
    MutexLock lock(mutex_);
    ending_ = true;
  }
  changed_.NotifyAll();
  // The workers first, so that what they finish is still committed.
  for (const auto& worker : workers_) worker->thread.join();
  {
    MutexLock lock(mutex_);
    const auto end = std::chrono::steady_clock::now() + kLastOutcomes;
    while (started_ > 0) {
      const auto left = end - std::chrono::steady_clock::now();
      if (left <= std::chrono::nanoseconds(0)) break;
      changed_.WaitFor(mutex_, left);
    }
  }
  // While Kafka does not answer, the time is better spent on an end in good order.
  const absl::Status committed = disturbance_.ok() ? Commit() : disturbance_;
  if (!committed.ok()) {
    telemetry::LogWarning(
        "the last offsets were not committed; their incidents are looked at again at the next "
        "start",
        {{"route", route_.name}, {"error", committed}});
  }
  // One attempt was enough: the end of the consumer must not make another.
  Forget();
  loop_.Close();
}

void Dispatcher::OnState(const absl::Status& state) {
  disturbance_ = state.ok() ? commit_error_ : state;
  told_(disturbance_);
}

absl::StatusOr<std::chrono::nanoseconds> Dispatcher::Attach(kafka::Consumer& consumer,
                                                            kafka::RebalanceListener& listener,
                                                            bool /*fresh*/) {
  Forget();
  paused_ = false;
  TOCSIN_RETURN_IF_ERROR(consumer.Subscribe({std::string(kIncidentsTopic)}, &listener));
  return kOnce;
}

void Dispatcher::BeforePoll(kafka::Consumer& consumer) {
  bool full = false;
  bool roomy = false;
  {
    MutexLock lock(mutex_);
    full = outstanding_ >= options_.max_outstanding ||
           outstanding_bytes_ >= options_.max_outstanding_bytes;
    roomy = outstanding_ <= options_.max_outstanding / 2 &&
            outstanding_bytes_ <= options_.max_outstanding_bytes / 2;
    waiting_.Set(static_cast<double>(outstanding_));
  }
  // These fail for a partition only that has been taken away; then they are not needed.
  if (!paused_ && full) {
    consumer.Pause(consumer.Assignment()).IgnoreError();
    paused_ = true;
  } else if (paused_ && roomy) {
    consumer.Resume(consumer.Assignment()).IgnoreError();
    paused_ = false;
  }
}

absl::Status Dispatcher::Take(kafka::Consumer& /*consumer*/, const kafka::Batch& batch) {
  for (const kafka::Record& record : batch.records) {
    std::optional<Job> job = JobOf(record);
    MutexLock lock(mutex_);
    trackers_[record.where()].Begin(record.offset, job.has_value() ? 1 : 0);
    if (!job.has_value()) continue;
    job->generation = generation_;
    ++outstanding_;
    outstanding_bytes_ += job->bytes;
    const std::size_t worker = Murmur2(job->incident->id()) % workers_.size();
    workers_[worker]->jobs.push_back(*std::move(job));
  }
  if (!batch.records.empty()) changed_.NotifyAll();
  const auto now = std::chrono::steady_clock::now();
  const bool away = !disturbance_.ok() && commit_error_.ok();
  if (away || now - committed_at_ < options_.commit_interval) return absl::OkStatus();
  committed_at_ = now;
  commit_error_ = Commit();
  // A rebalance: whoever owns the partition then reads it again.
  if (absl::IsAborted(commit_error_)) commit_error_ = absl::OkStatus();
  return absl::OkStatus();
}

void Dispatcher::OnMoved(const kafka::TopicPartition& where, std::optional<std::int64_t> position,
                         std::int64_t beginning) {
  telemetry::LogError(
      "the log does not hold the committed position any more; incidents in between were not told",
      {{"route", route_.name},
       {"partition", kafka::Describe(where)},
       {"position", position.value_or(-1)},
       {"beginning", beginning}});
}

std::optional<Dispatcher::Job> Dispatcher::JobOf(const kafka::Record& record) const {
  if (!record.value.has_value() || record.timestamp < options_.since) return std::nullopt;
  auto incident = Decode(record);
  if (!incident.ok()) {
    telemetry::LogError("a record cannot be read and is left out",
                        {{"partition", kafka::Describe(record.where())},
                         {"offset", record.offset},
                         {"error", incident.status()}});
    return std::nullopt;
  }
  if (!Wants(route_, *incident)) return std::nullopt;
  Job job;
  job.incident = std::make_shared<const incident::v1::Incident>(*std::move(incident));
  job.span = std::make_shared<const telemetry::Span>(ProcessSpan(record, route_));
  job.where = record.where();
  job.offset = record.offset;
  job.bytes = record.value->size();
  return job;
}

void Dispatcher::RunWorker(Worker& worker) {
  for (;;) {
    Job job;
    {
      MutexLock lock(mutex_);
      while (worker.jobs.empty() && !ending_) changed_.Wait(mutex_);
      if (ending_) return;
      job = std::move(worker.jobs.front());
      worker.jobs.pop_front();
      // Another member's now, or to be read again.
      if (job.generation != generation_) {
        --outstanding_;
        outstanding_bytes_ -= job.bytes;
        continue;
      }
      ++started_;
    }
    deliverer_.Deliver(route_, *job.incident, job.span->context(),
                       [this, job](const absl::Status& status) { Finish(job, status); });
  }
}

void Dispatcher::Finish(const Job& job, const absl::Status& status) {
  MutexLock lock(mutex_);
  --outstanding_;
  outstanding_bytes_ -= job.bytes;
  if (--started_ == 0) changed_.NotifyAll();
  if (job.generation != generation_) return;
  if (status.ok()) {
    trackers_[job.where].End(job.offset);
  } else if (status.code() != absl::StatusCode::kCancelled) {
    telemetry::LogError("the outcome of a notification could not be written; it is read again",
                        {{"incident", job.incident->id()}, {"error", status}});
    // From the committed offsets on, as after a restart.
    loop_.Renew();
  }
}

absl::Status Dispatcher::Commit() {
  // The listener is also called while a consumer is being destroyed.
  kafka::Consumer* const consumer = loop_.consumer();
  if (consumer == nullptr) return absl::OkStatus();
  kafka::Offsets next;
  {
    MutexLock lock(mutex_);
    for (const auto& [where, tracker] : trackers_) {
      if (const auto offset = tracker.Next(); offset.has_value()) next[where] = *offset;
    }
  }
  if (next.empty()) return absl::OkStatus();
  TOCSIN_RETURN_IF_ERROR(consumer->Commit(next));
  MutexLock lock(mutex_);
  for (const auto& [where, offset] : next) trackers_[where].Committed(offset);
  return absl::OkStatus();
}

void Dispatcher::Forget() {
  MutexLock lock(mutex_);
  ++generation_;
  trackers_.clear();
}

void Dispatcher::OnAssigned(const std::vector<kafka::AssignedPartition>& partitions) {
  Forget();
  paused_ = false;
  telemetry::LogInfo("partitions assigned", {{"route", route_.name}, {"count", partitions.size()}});
}

void Dispatcher::OnRevoked(const std::vector<kafka::TopicPartition>& /*partitions*/) {
  const absl::Status committed = Commit();
  if (!committed.ok()) {
    telemetry::LogWarning(
        "offsets were not committed before the rebalance; their incidents are looked at again",
        {{"route", route_.name}, {"error", committed}});
  }
  Forget();
}

void Dispatcher::OnLost(const std::vector<kafka::TopicPartition>& /*partitions*/) { Forget(); }

}  // namespace tocsin::notification
