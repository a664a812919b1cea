// Report's database: detections, incidents and what people did to them, as their Protobuf bytes
// beside the columns that lists need; the offsets of the topics they came from; and the outbox.
// Each method is one transaction.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "lib/base/clock.h"
#include "lib/kafka/types.h"
#include "lib/sql/database.h"
#include "services/report/report_core.h"
#include "tocsin/correlation/v1/detection.pb.h"
#include "tocsin/incident/v1/incident.pb.h"
#include "tocsin/report/v1/report.pb.h"

namespace tocsin::report {

// A record of one of the topics, decoded. `time`: when it was written.
struct DetectionArrived {
  correlation::v1::Detection detection;
};
struct IncidentArrived {
  incident::v1::Incident incident;
  WallTime time{};
};
struct ActivityArrived {
  incident::v1::IncidentActivity activity;
};
using Arrival = std::variant<DetectionArrived, IncidentArrived, ActivityArrived>;

// An activity that has yet to be written to its topic.
struct OutboxEntry {
  std::int64_t sequence = 0;
  incident::v1::IncidentActivity activity;
  // Of the command; empty where there is none.
  std::string traceparent;
};

// Thread-safe. Errors as in lib/sql/database.h.
class ReportStore {
 public:
  // Brings the database to the shape that this build needs. `database` and `clock` must outlive
  // the store.
  static absl::StatusOr<std::unique_ptr<ReportStore>> Open(sql::Database& database,
                                                           const Clock& clock);

  // All of it and the offsets, or nothing. Applying the same arrivals again changes nothing.
  absl::Status Apply(const std::vector<Arrival>& arrivals, const kafka::Offsets& next);
  absl::StatusOr<kafka::Offsets> Offsets();

  absl::StatusOr<v1::ListIncidentsResponse> ListIncidents(const v1::ListIncidentsRequest& request);
  absl::StatusOr<v1::ListDetectionsResponse> ListDetections(
      const v1::ListDetectionsRequest& request);
  // NOT_FOUND.
  absl::StatusOr<v1::GetIncidentResponse> GetIncident(const std::string& id);

  // The incident as it is afterwards. The activity is in the outbox when this returns. NOT_FOUND,
  // and the errors of CheckCommand and Decide.
  absl::StatusOr<incident::v1::Incident> Execute(const Command& command,
                                                 std::string_view traceparent);

  // The oldest first.
  absl::StatusOr<std::vector<OutboxEntry>> Outbox(int limit);
  absl::Status RemoveFromOutbox(const std::vector<std::int64_t>& sequences);

 private:
  ReportStore(sql::Database& database, const Clock& clock) : database_(database), clock_(clock) {}

  sql::Database& database_;
  const Clock& clock_;
};

}  // namespace tocsin::report
