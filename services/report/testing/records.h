// For the tests of report: what correlation writes.
#pragma once

#include <string>

#include "lib/events/own_topic.h"
#include "lib/kafka/types.h"
#include "services/report/io.h"
#include "tocsin/correlation/v1/detection.pb.h"
#include "tocsin/incident/v1/incident.pb.h"

namespace tocsin::report {

inline constexpr std::int64_t kStart = 1'452'859'260;  // 2016-01-15T12:01:00Z
inline constexpr const char* kTrace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

inline kafka::OutgoingRecord DetectionRecord(const std::string& id, std::int64_t seconds,
                                             const Topics& topics = {},
                                             const std::string& incident = "i1") {
  correlation::v1::Detection detection;
  detection.set_id(id);
  detection.set_rule_id("r");
  detection.set_incident_id(incident);
  detection.mutable_time()->set_seconds(kStart + seconds);
  const events::OwnTopic topic(topics.detections, detection.GetDescriptor(), "/tocsin/correlation",
                               {.id = schema::SchemaId(3), .message_indexes = {0}});
  events::OwnEnvelope envelope;
  envelope.id = id;
  envelope.key = incident;
  envelope.time = WallTime(std::chrono::seconds(kStart + seconds));
  envelope.traceparent = kTrace;
  return topic.Encode(detection, envelope);
}

inline kafka::OutgoingRecord IncidentRecord(const std::string& id, std::int64_t revision,
                                            std::int64_t seconds, const Topics& topics = {}) {
  incident::v1::Incident incident;
  incident.set_id(id);
  incident.set_revision(revision);
  incident.set_rule_id("r");
  incident.set_severity(event::v1::SEVERITY_HIGH);
  incident.mutable_last_detection_time()->set_seconds(kStart + seconds);
  const events::OwnTopic topic(topics.incidents, incident.GetDescriptor(), "/tocsin/correlation",
                               {.id = schema::SchemaId(4), .message_indexes = {0}});
  events::OwnEnvelope envelope;
  envelope.id = id + "/" + std::to_string(revision);
  envelope.key = id;
  envelope.time = WallTime(std::chrono::seconds(kStart + seconds));
  envelope.traceparent = kTrace;
  return topic.Encode(incident, envelope);
}

}  // namespace tocsin::report
