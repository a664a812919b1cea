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
constexpr std::chrono::seconds kLastOutcomes{2};

absl::StatusOr<incident::v1::Incident> Decode(const kafka::Record& record) {
  TOCSIN_ASSIGN_OR_RETURN(const events::Event event, events::FromRecord(record));
  incident::v1::Incident incident;
  TOCSIN_RETURN_IF_ERROR(events::ParseOwn(event, incident));
  if (incident.id().empty()) return InvalidArgument("an incident without an id");
  return incident;
}

telemetry::Span ProcessSpan(const kafka::Record& record) {
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
  span.SetAttribute(telemetry::kMessagingGroup, kGroup);
  if (record.key.has_value()) {
    span.SetAttribute(telemetry::kMessagingConversationId, *record.key);
  }
  return span;
}

}  // namespace

Dispatcher::Dispatcher(std::vector<RouteSpec> routes, Deliverer& deliverer,
                       MakeConsumer make_consumer, Deliverer::Pause pause, Told told,
                       DispatcherOptions options)
    : routes_(std::move(routes)),
      deliverer_(deliverer),
      make_consumer_(std::move(make_consumer)),
      pause_(std::move(pause)),
      told_(std::move(told)),
      options_(options) {}

Dispatcher::~Dispatcher() { Join(); }

void Dispatcher::Start() {
  const std::size_t count =
      routes_.size() * static_cast<std::size_t>(std::max(options_.workers_per_route, 1));
  for (std::size_t i = 0; i < count; ++i) workers_.push_back(std::make_unique<Worker>());
  for (std::size_t i = 0; i < count; ++i) {
    workers_[i]->thread = std::thread([this, i] { RunWorker(i); });
  }
  thread_ = std::thread([this] { Run(); });
}

void Dispatcher::Join() {
  {
    MutexLock lock(mutex_);
    ending_ = true;
  }
  changed_.NotifyAll();
  // The workers first, so that what they finish is still committed.
  for (const auto& worker : workers_) {
    if (worker->thread.joinable()) worker->thread.join();
  }
  {
    MutexLock lock(mutex_);
    workers_ended_ = true;
  }
  changed_.NotifyAll();
  if (thread_.joinable()) thread_.join();
}

void Dispatcher::Run() {
  bool failing = false;
  while (!pause_(std::chrono::nanoseconds(0))) {
    const absl::Status done = Round();
    told_(done);
    if (!done.ok() && !failing) telemetry::LogWarning("reading has stopped", {{"error", done}});
    failing = !done.ok();
    if (failing && pause_(options_.retry)) break;
  }
  {
    MutexLock lock(mutex_);
    while (!workers_ended_) changed_.Wait(mutex_);
    const auto end = std::chrono::steady_clock::now() + kLastOutcomes;
    while (started_ > 0) {
      const auto left = end - std::chrono::steady_clock::now();
      if (left <= std::chrono::nanoseconds(0)) break;
      changed_.WaitFor(mutex_, left);
    }
  }
  if (consumer_ != nullptr) {
    const absl::Status committed = Commit();
    if (!committed.ok()) {
      telemetry::LogWarning(
          "the last offsets were not committed; their incidents are looked at "
          "again at the next start",
          {{"error", committed}});
    }
    consumer_->Close();
    consumer_.reset();
  }
}

absl::Status Dispatcher::Round() {
  bool reread = false;
  std::size_t outstanding = 0;
  {
    MutexLock lock(mutex_);
    reread = std::exchange(reread_, false);
    outstanding = outstanding_;
  }
  if (reread && consumer_ != nullptr) {
    // From the committed offsets on, as after a restart.
    consumer_->Close();
    consumer_.reset();
  }
  if (consumer_ == nullptr) {
    Forget();
    TOCSIN_ASSIGN_OR_RETURN(consumer_, make_consumer_());
    TOCSIN_RETURN_IF_ERROR(consumer_->Subscribe({std::string(kIncidentsTopic)}, this));
    paused_ = false;
  }
  if (!paused_ && outstanding >= options_.max_outstanding) {
    TOCSIN_RETURN_IF_ERROR(consumer_->Pause(consumer_->Assignment()));
    paused_ = true;
  } else if (paused_ && outstanding < options_.max_outstanding / 2) {
    TOCSIN_RETURN_IF_ERROR(consumer_->Resume(consumer_->Assignment()));
    paused_ = false;
  }
  const kafka::Batch batch = consumer_->Poll(options_.poll);
  for (const kafka::Record& record : batch.records) Handle(record);
  absl::Status result;
  for (const kafka::PollError& error : batch.errors) {
    if (error.fatal) {
      consumer_.reset();
      return error.status;
    }
    if (error.status.code() == absl::StatusCode::kOutOfRange && error.where.has_value()) {
      TOCSIN_ASSIGN_OR_RETURN(
          const std::int64_t beginning,
          consumer_->QueryBeginningOffset(*error.where, std::chrono::seconds(5)));
      telemetry::LogError(
          "the log does not hold the committed position any more; incidents in between were not "
          "told",
          {{"partition", kafka::Describe(*error.where)}, {"beginning", beginning}});
      TOCSIN_RETURN_IF_ERROR(consumer_->Seek(*error.where, beginning));
      continue;
    }
    result = error.status;
  }
  const auto now = std::chrono::steady_clock::now();
  if (now - committed_at_ >= options_.commit_interval) {
    committed_at_ = now;
    const absl::Status committed = Commit();
    // A rebalance: whoever owns the partition reads it again.
    if (!committed.ok() && committed.code() != absl::StatusCode::kAborted) return committed;
  }
  return result;
}

void Dispatcher::Handle(const kafka::Record& record) {
  std::vector<Job> jobs;
  if (record.value.has_value()) {
    auto incident = Decode(record);
    if (incident.ok()) {
      auto shared = std::make_shared<const incident::v1::Incident>(*std::move(incident));
      const auto span = std::make_shared<const telemetry::Span>(ProcessSpan(record));
      for (const RouteSpec& route : routes_) {
        if (!Wants(route, *shared)) continue;
        jobs.push_back(Job{.route = &route,
                           .incident = shared,
                           .span = span,
                           .where = record.where(),
                           .offset = record.offset});
      }
    } else {
      telemetry::LogError("a record cannot be read and is left out",
                          {{"partition", kafka::Describe(record.where())},
                           {"offset", record.offset},
                           {"error", incident.status()}});
    }
  }
  {
    MutexLock lock(mutex_);
    trackers_[record.where()].Begin(record.offset, jobs.size());
    for (Job& job : jobs) {
      job.generation = generation_;
      const auto per_route = static_cast<std::size_t>(std::max(options_.workers_per_route, 1));
      const auto route = static_cast<std::size_t>(job.route - routes_.data());
      const std::size_t worker = route * per_route + Murmur2(job.incident->id()) % per_route;
      workers_[worker]->jobs.push_back(std::move(job));
      ++outstanding_;
    }
  }
  if (!jobs.empty()) changed_.NotifyAll();
}

void Dispatcher::RunWorker(std::size_t index) {
  Worker& worker = *workers_[index];
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
        continue;
      }
      ++started_;
    }
    deliverer_.Deliver(*job.route, *job.incident, job.span->context(),
                       [this, job](const absl::Status& status) { Finish(job, status); });
  }
}

void Dispatcher::Finish(const Job& job, const absl::Status& status) {
  MutexLock lock(mutex_);
  --outstanding_;
  if (--started_ == 0) changed_.NotifyAll();
  if (job.generation != generation_) return;
  if (status.ok()) {
    trackers_[job.where].End(job.offset);
  } else if (status.code() != absl::StatusCode::kCancelled) {
    telemetry::LogError("the outcome of a notification could not be written; it is read again",
                        {{"incident", job.incident->id()}, {"error", status}});
    reread_ = true;
  }
}

absl::Status Dispatcher::Commit() {
  // The listener is also called while a consumer is being destroyed.
  if (consumer_ == nullptr) return absl::OkStatus();
  kafka::Offsets next;
  {
    MutexLock lock(mutex_);
    for (const auto& [where, tracker] : trackers_) {
      if (const auto offset = tracker.Next(); offset.has_value()) next[where] = *offset;
    }
  }
  if (next.empty()) return absl::OkStatus();
  TOCSIN_RETURN_IF_ERROR(consumer_->Commit(next));
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
  telemetry::LogInfo("partitions assigned", {{"count", partitions.size()}});
}

void Dispatcher::OnRevoked(const std::vector<kafka::TopicPartition>& /*partitions*/) {
  const absl::Status committed = Commit();
  if (!committed.ok()) {
    telemetry::LogWarning(
        "offsets were not committed before the rebalance; their incidents are "
        "looked at again",
        {{"error", committed}});
  }
  Forget();
}

void Dispatcher::OnLost(const std::vector<kafka::TopicPartition>& /*partitions*/) { Forget(); }

}  // namespace tocsin::notification
