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

// Of one question; a stop waits for it.
constexpr milliseconds kQuestion{2'000};

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

Intake::Intake(kafka::ReadLoop::MakeConsumer make_consumer, kafka::Admin& admin, ReportStore& store,
               Told told, IntakeOptions options)
    : admin_(admin),
      store_(store),
      told_(std::move(told)),
      options_(std::move(options)),
      topics_{options_.topics.detections, options_.topics.incidents, options_.topics.activity},
      seconds_(telemetry::GetHistogram("tocsin_report_apply_seconds",
                                       "Storing one batch of records and its offsets.")),
      loop_(*this, std::move(make_consumer),
            {.name = "report's topics",
             .poll = options_.poll,
             .retry = options_.retry,
             .question = kQuestion}) {
  for (const std::string& topic : topics_) {
    applied_.emplace(topic, Records(topic, "applied"));
    invalid_.emplace(topic, Records(topic, "invalid"));
  }
}

Intake::~Intake() { Stop(); }

void Intake::Start() {
  thread_ = std::thread([this] {
    loop_.Run([this](std::chrono::nanoseconds pause) { return stop_.WaitFor(pause); });
    loop_.Close();
  });
}

void Intake::Stop() {
  stop_.Stop();
  if (thread_.joinable()) thread_.join();
}

absl::StatusOr<std::chrono::nanoseconds> Intake::Attach(kafka::Consumer& consumer,
                                                        kafka::RebalanceListener& /*listener*/,
                                                        bool fresh) {
  std::vector<kafka::TopicPartition> partitions;
  for (const std::string& topic : topics_) {
    const auto count = admin_.PartitionCount(topic, kQuestion);
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
  if (!fresh && partitions.size() == assigned_) return options_.refresh;
  TOCSIN_ASSIGN_OR_RETURN(const kafka::Offsets stored, store_.Offsets());
  kafka::Offsets from;
  for (const kafka::TopicPartition& partition : partitions) {
    const auto known = stored.find(partition);
    if (known != stored.end()) {
      from[partition] = known->second;
      continue;
    }
    TOCSIN_ASSIGN_OR_RETURN(from[partition], consumer.QueryBeginningOffset(partition, kQuestion));
  }
  TOCSIN_RETURN_IF_ERROR(consumer.Assign(from));
  telemetry::LogInfo("reading from the database's offsets",
                     {{"partitions", partitions.size()}, {"known", stored.size()}});
  assigned_ = partitions.size();
  return options_.refresh;
}

void Intake::OnMoved(const kafka::TopicPartition& where, std::optional<std::int64_t> position,
                     std::int64_t beginning) {
  // What is read again is applied by its id, so nothing counts twice.
  telemetry::LogError(
      "the log does not hold the position of the database any more; what lay between is missing in "
      "the reports",
      {{"partition", kafka::Describe(where)},
       {"position", position.value_or(-1)},
       {"beginning", beginning}});
}

absl::Status Intake::Take(kafka::Consumer& /*consumer*/, const kafka::Batch& batch) {
  if (batch.records.empty()) return absl::OkStatus();
  const auto start = std::chrono::steady_clock::now();
  std::vector<Arrival> arrivals;
  std::vector<telemetry::Span> spans;
  std::map<std::string, int> applied;
  std::map<std::string, int> invalid;
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
      ++invalid[record.topic];
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
  for (const auto& [topic, count] : invalid) invalid_.at(topic).Increment(count);
  seconds_.Observe(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  return absl::OkStatus();
}

}  // namespace tocsin::report
