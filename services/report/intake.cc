#include "services/report/intake.h"

#include <utility>

#include "lib/base/status.h"
#include "lib/base/text.h"
#include "lib/events/event.h"
#include "lib/events/own_topic.h"
#include "lib/telemetry/log.h"
#include "lib/telemetry/names.h"
#include "lib/telemetry/trace.h"

namespace tocsin::report {
namespace {
using std::chrono::milliseconds;

constexpr milliseconds kAdminTimeout{5'000};

telemetry::Counter Records(std::string_view topic, std::string_view outcome) {
  return telemetry::GetCounter("tocsin_report_records_total", "Records read, by topic and outcome.",
                               {{"topic", std::string(topic)}, {"outcome", std::string(outcome)}});
}

telemetry::Span ProcessSpan(const kafka::Record& record, const Topics& topics) {
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
  span.SetAttribute(telemetry::kCloudEventsId, header(events::kHeaderId));
  if (record.topic == topics.incidents && record.key.has_value()) {
    span.SetAttribute(telemetry::kMessagingConversationId, *record.key);
  }
  return span;
}

}  // namespace

absl::StatusOr<Arrival> Decode(const kafka::Record& record, const Topics& topics) {
  TOCSIN_ASSIGN_OR_RETURN(const events::Event event, events::FromRecord(record));
  if (record.topic == topics.detections) {
    DetectionArrived arrived;
    TOCSIN_RETURN_IF_ERROR(events::ParseOwn(event, arrived.detection));
    if (arrived.detection.id().empty()) return InvalidArgument("a detection without an id");
    return arrived;
  }
  if (record.topic == topics.incidents) {
    IncidentArrived arrived;
    TOCSIN_RETURN_IF_ERROR(events::ParseOwn(event, arrived.incident));
    if (arrived.incident.id().empty()) return InvalidArgument("an incident without an id");
    arrived.time = record.timestamp;
    return arrived;
  }
  if (record.topic == topics.activity) {
    ActivityArrived arrived;
    TOCSIN_RETURN_IF_ERROR(events::ParseOwn(event, arrived.activity));
    if (arrived.activity.id().empty() || arrived.activity.incident_id().empty()) {
      return InvalidArgument("an activity without an id");
    }
    return arrived;
  }
  return InvalidArgument(Concat("report does not read ", record.topic));
}

Intake::Intake(kafka::Consumer& consumer, kafka::Admin& admin, ReportStore& store, Told told,
               IntakeOptions options)
    : consumer_(consumer),
      admin_(admin),
      store_(store),
      told_(std::move(told)),
      options_(std::move(options)),
      topics_{options_.topics.detections, options_.topics.incidents, options_.topics.activity},
      seconds_(telemetry::GetHistogram("tocsin_report_apply_seconds",
                                       "Storing one batch of records and its offsets.")) {
  for (const std::string& topic : topics_) {
    applied_.emplace(topic, Records(topic, "applied"));
    invalid_.emplace(topic, Records(topic, "invalid"));
  }
}

Intake::~Intake() { Stop(); }

void Intake::Start() {
  thread_ = std::thread([this] { Run(); });
}

void Intake::Stop() {
  stop_.Stop();
  if (thread_.joinable()) thread_.join();
}

void Intake::Run() {
  bool failing = false;
  while (!stop_.stopped()) {
    const absl::Status done = RunOnce();
    told_(done);
    if (!done.ok() && !failing) telemetry::LogWarning("reading has stopped", {{"error", done}});
    if (done.ok() && failing) telemetry::LogInfo("reading goes on");
    failing = !done.ok();
    if (failing) stop_.WaitFor(options_.retry);
  }
}

absl::Status Intake::RunOnce() {
  const auto now = std::chrono::steady_clock::now();
  if (assigned_ == 0 || now - assigned_at_ > options_.refresh) {
    TOCSIN_RETURN_IF_ERROR(AssignPartitions());
    assigned_at_ = now;
  }
  if (in_hand_.empty()) in_hand_ = consumer_.Poll(options_.poll);
  // First what was read: an error may move the position.
  TOCSIN_RETURN_IF_ERROR(StoreBatch(in_hand_));
  const kafka::Batch batch = std::exchange(in_hand_, {});
  // Each comes once: none may be left aside because of another.
  absl::Status first;
  for (const kafka::PollError& error : batch.errors) first.Update(Handle(error));
  return first;
}

absl::Status Intake::AssignPartitions() {
  std::vector<kafka::TopicPartition> partitions;
  for (const std::string& topic : topics_) {
    const auto count = admin_.PartitionCount(topic, kAdminTimeout);
    if (count.status().code() == absl::StatusCode::kNotFound) {
      return Unavailable(
          Concat("the topic ", topic, " does not exist in Kafka. Create it: tocsin topics apply"));
    }
    TOCSIN_RETURN_IF_ERROR(count.status());
    for (std::int32_t partition = 0; partition < *count; ++partition) {
      partitions.push_back({topic, partition});
    }
  }
  // Partitions are never fewer; when there are as many as before, what is being read is right.
  if (partitions.size() == assigned_) return absl::OkStatus();
  TOCSIN_ASSIGN_OR_RETURN(const kafka::Offsets stored, store_.Offsets());
  kafka::Offsets from;
  for (const kafka::TopicPartition& partition : partitions) {
    const auto known = stored.find(partition);
    if (known != stored.end()) {
      from[partition] = known->second;
      continue;
    }
    TOCSIN_ASSIGN_OR_RETURN(from[partition],
                            consumer_.QueryBeginningOffset(partition, kAdminTimeout));
  }
  TOCSIN_RETURN_IF_ERROR(consumer_.Assign(from));
  telemetry::LogInfo("reading from the database's offsets",
                     {{"partitions", partitions.size()}, {"known", stored.size()}});
  assigned_ = partitions.size();
  return absl::OkStatus();
}

absl::Status Intake::Handle(const kafka::PollError& error) {
  if (error.fatal) {
    assigned_ = 0;
    return error.status;
  }
  if (error.status.code() == absl::StatusCode::kOutOfRange && error.where.has_value()) {
    // What lay between is gone from the log (retention), or the topic was made anew. Say so, and
    // read what there is: everything is applied by its id, so nothing counts twice.
    TOCSIN_ASSIGN_OR_RETURN(const std::int64_t beginning,
                            consumer_.QueryBeginningOffset(*error.where, kAdminTimeout));
    telemetry::LogError(
        "the log does not hold the position of the database any more; what lay between is missing "
        "in the reports",
        {{"partition", kafka::Describe(*error.where)},
         {"position", consumer_.Position(*error.where).value_or(-1)},
         {"beginning", beginning}});
    return consumer_.Seek(*error.where, beginning);
  }
  return error.where.has_value() ? Annotate(error.status, kafka::Describe(*error.where))
                                 : error.status;
}

absl::Status Intake::StoreBatch(const kafka::Batch& batch) {
  if (batch.records.empty()) return absl::OkStatus();
  const auto start = std::chrono::steady_clock::now();
  std::vector<Arrival> arrivals;
  std::vector<telemetry::Span> spans;
  std::map<std::string, int> applied;
  kafka::Offsets next;
  for (const kafka::Record& record : batch.records) {
    next[record.where()] = record.offset + 1;
    // A tombstone: compaction may drop the incident from the log, it stays in the memory.
    if (!record.value.has_value()) continue;
    telemetry::Span span = ProcessSpan(record, options_.topics);
    absl::StatusOr<Arrival> arrival = Decode(record, options_.topics);
    if (arrival.ok()) {
      arrivals.push_back(*std::move(arrival));
      ++applied[record.topic];
    } else {
      span.SetStatus(arrival.status());
      invalid_.at(record.topic).Increment();
      telemetry::LogError("a record cannot be read and is left out",
                          {{"partition", kafka::Describe(record.where())},
                           {"offset", record.offset},
                           {"error", arrival.status()}});
    }
    spans.push_back(std::move(span));
  }
  for (const auto& [where, end] : batch.ends) {
    if (next.contains(where)) next[where] = std::max(next[where], end);
  }
  const absl::Status stored = store_.Apply(arrivals, next);
  if (!stored.ok()) {
    for (telemetry::Span& span : spans) span.SetStatus(stored);
    return Annotate(stored, "a batch of records cannot be stored");
  }
  for (const auto& [topic, count] : applied) applied_.at(topic).Increment(count);
  seconds_.Observe(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  return absl::OkStatus();
}

}  // namespace tocsin::report
