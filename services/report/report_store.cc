#include "services/report/report_store.h"

#include <algorithm>
#include <array>
#include <limits>
#include <memory>
#include <optional>
#include <string>

#include "lib/base/status.h"
#include "lib/base/text.h"
#include "lib/sql/migrate.h"
#include "lib/sql/page.h"

namespace tocsin::report {
namespace {
using incident::v1::Incident;
using incident::v1::IncidentActivity;
using sql::Blob;
using sql::Connection;
using sql::PagePosition;
using sql::Row;

// Times are microseconds since 1970 UTC.
constexpr std::array<sql::Migration, 1> kMigrations = {sql::Migration{
    .version = 1, .name = "detections, incidents, activities, offsets, outbox", .script = R"(
      CREATE TABLE detections (
        id TEXT PRIMARY KEY,
        rule_id TEXT NOT NULL,
        incident_id TEXT NOT NULL,
        time BIGINT NOT NULL,
        data BLOB NOT NULL);
      CREATE INDEX detections_by_time ON detections (time, id);
      CREATE INDEX detections_by_rule ON detections (rule_id, time, id);
      CREATE INDEX detections_by_incident ON detections (incident_id, time, id);

      CREATE TABLE incidents (
        id TEXT PRIMARY KEY,
        revision BIGINT NOT NULL,
        rule_id TEXT NOT NULL,
        severity INTEGER NOT NULL,
        time BIGINT NOT NULL,
        data BLOB NOT NULL,
        state INTEGER NOT NULL,
        acknowledged_by TEXT NOT NULL,
        acknowledged_time BIGINT NOT NULL,
        resolved_by TEXT NOT NULL,
        resolved_time BIGINT NOT NULL,
        update_time BIGINT NOT NULL);
      CREATE INDEX incidents_by_time ON incidents (time, id);
      CREATE INDEX incidents_by_rule ON incidents (rule_id, time, id);

      CREATE TABLE activities (
        sequence INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        incident_id TEXT NOT NULL,
        data BLOB NOT NULL);
      CREATE INDEX activities_by_incident ON activities (incident_id, sequence);

      CREATE TABLE outbox (
        sequence INTEGER PRIMARY KEY AUTOINCREMENT,
        data BLOB NOT NULL,
        traceparent TEXT NOT NULL);

      CREATE TABLE offsets (
        topic TEXT NOT NULL,
        partition INTEGER NOT NULL,
        next BIGINT NOT NULL,
        PRIMARY KEY (topic, partition));
    )"}};

// A response stays well below gRPC's default limit of 4 MiB for one message; a page that would be
// larger is cut short and goes on behind its token.
constexpr std::size_t kMaxPageBytes = std::size_t{3} << 20;
constexpr int kMaxDetectionsOfIncident = 1'000;

std::int64_t Micros(WallTime time) { return time.time_since_epoch().count(); }
WallTime FromMicros(std::int64_t micros) { return WallTime(std::chrono::microseconds(micros)); }

std::int64_t SeverityRank(event::v1::Severity severity) {
  return std::max<std::int64_t>(severity, event::v1::SEVERITY_INFO);
}

template <typename Message>
absl::Status ParseStored(std::string_view bytes, Message& message) {
  if (message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) return absl::OkStatus();
  return DataLoss(Concat("the database holds a ", message.GetTypeName(),
                         " that cannot be read. Move the file away: it is built again from Kafka"));
}

constexpr std::string_view kIncidentColumns =
    "data, state, acknowledged_by, acknowledged_time, resolved_by, resolved_time, update_time";

struct StoredIncident {
  Incident incident;
  Lifecycle lifecycle;
  WallTime update_time{};
};

absl::Status ReadIncident(const Row& row, StoredIncident& stored) {
  TOCSIN_RETURN_IF_ERROR(ParseStored(row.Bytes(0), stored.incident));
  stored.lifecycle.state = static_cast<incident::v1::IncidentState>(row.Int(1));
  stored.lifecycle.acknowledged_by = row.String(2);
  stored.lifecycle.acknowledged_time = FromMicros(row.Int(3));
  stored.lifecycle.resolved_by = row.String(4);
  stored.lifecycle.resolved_time = FromMicros(row.Int(5));
  stored.update_time = FromMicros(row.Int(6));
  return absl::OkStatus();
}

absl::StatusOr<std::optional<StoredIncident>> FindIncident(Connection& connection,
                                                           std::string_view id) {
  std::optional<StoredIncident> found;
  TOCSIN_RETURN_IF_ERROR(
      connection.Query(Concat("SELECT ", kIncidentColumns, " FROM incidents WHERE id = $1"), {id},
                       [&](const Row& row) { return ReadIncident(row, found.emplace()); }));
  return found;
}

absl::Status StoreLifecycle(Connection& connection, std::string_view id, const Lifecycle& lifecycle,
                            WallTime update_time) {
  return connection
      .Execute(
          "UPDATE incidents SET state = $1, acknowledged_by = $2, acknowledged_time = $3, "
          "resolved_by = $4, resolved_time = $5, update_time = $6 WHERE id = $7",
          {lifecycle.state, lifecycle.acknowledged_by, Micros(lifecycle.acknowledged_time),
           lifecycle.resolved_by, Micros(lifecycle.resolved_time), Micros(update_time), id})
      .status();
}

// The records of one key come in their order: the last says what stands.
absl::Status ApplyDetection(Connection& connection, const correlation::v1::Detection& detection) {
  const std::string& gone = detection.retracted() ? detection.id() : detection.corrects();
  if (!gone.empty()) {
    TOCSIN_RETURN_IF_ERROR(
        connection.Execute("DELETE FROM detections WHERE id = $1", {gone}).status());
    if (detection.retracted()) return absl::OkStatus();
  }
  return connection
      .Execute(
          "INSERT INTO detections (id, rule_id, incident_id, time, data) VALUES ($1, $2, $3, $4, "
          "$5) ON CONFLICT (id) DO NOTHING",
          {detection.id(), detection.rule_id(), detection.incident_id(),
           Micros(ToWallTime(detection.time())), Blob(detection.SerializeAsString())})
      .status();
}

absl::Status ApplyIncident(Connection& connection, const IncidentArrived& arrived) {
  const Incident& incident = arrived.incident;
  TOCSIN_ASSIGN_OR_RETURN(const auto known, FindIncident(connection, incident.id()));
  if (known.has_value() && known->incident.revision() >= incident.revision()) {
    return absl::OkStatus();
  }
  const std::string data = incident.SerializeAsString();
  const std::int64_t time = Micros(ToWallTime(incident.last_detection_time()));
  if (known.has_value()) {
    return connection
        .Execute(
            "UPDATE incidents SET revision = $1, severity = $2, time = $3, data = $4, update_time "
            "= $5 WHERE id = $6",
            {incident.revision(), SeverityRank(incident.severity()), time, Blob(data),
             Micros(std::max(arrived.time, known->update_time)), incident.id()})
        .status();
  }
  // When the database is built again, what people did may be read before the incident itself.
  Lifecycle lifecycle;
  WallTime update_time = arrived.time;
  const absl::Status replayed =
      connection.Query("SELECT data FROM activities WHERE incident_id = $1 ORDER BY sequence",
                       {incident.id()}, [&](const Row& row) -> absl::Status {
                         IncidentActivity activity;
                         TOCSIN_RETURN_IF_ERROR(ParseStored(row.Bytes(0), activity));
                         report::Apply(activity, lifecycle);
                         update_time = std::max(update_time, ToWallTime(activity.time()));
                         return absl::OkStatus();
                       });
  TOCSIN_RETURN_IF_ERROR(replayed);
  return connection
      .Execute(
          "INSERT INTO incidents (id, revision, rule_id, severity, time, data, state, "
          "acknowledged_by, acknowledged_time, resolved_by, resolved_time, update_time) VALUES "
          "($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
          {incident.id(), incident.revision(), incident.rule_id(),
           SeverityRank(incident.severity()), time, Blob(data), lifecycle.state,
           lifecycle.acknowledged_by, Micros(lifecycle.acknowledged_time), lifecycle.resolved_by,
           Micros(lifecycle.resolved_time), Micros(update_time)})
      .status();
}

absl::StatusOr<bool> InsertActivity(Connection& connection, const IncidentActivity& activity) {
  TOCSIN_ASSIGN_OR_RETURN(
      const std::int64_t inserted,
      connection.Execute(
          "INSERT INTO activities (id, incident_id, data) VALUES ($1, $2, $3) ON "
          "CONFLICT (id) DO NOTHING",
          {activity.id(), activity.incident_id(), Blob(activity.SerializeAsString())}));
  return inserted > 0;
}

absl::Status ApplyActivity(Connection& connection, const IncidentActivity& activity) {
  // Our own come back from the topic: they were applied when the command was.
  TOCSIN_ASSIGN_OR_RETURN(const bool is_new, InsertActivity(connection, activity));
  if (!is_new) return absl::OkStatus();
  TOCSIN_ASSIGN_OR_RETURN(auto known, FindIncident(connection, activity.incident_id()));
  if (!known.has_value()) return absl::OkStatus();
  report::Apply(activity, known->lifecycle);
  return StoreLifecycle(connection, activity.incident_id(), known->lifecycle,
                        std::max(known->update_time, ToWallTime(activity.time())));
}

// A WHERE clause under construction; values go in as parameters only.
class Where {
 public:
  void Add(std::string_view before, sql::Value value) {
    Join();
    text_ += Concat(before, Parameter(std::move(value)));
  }
  void AddBehind(const PagePosition& position) {
    Join();
    const std::string time = Parameter(position.number);
    text_ += Concat("(time < ", time, " OR (time = ", time, " AND id < ",
                    Parameter(std::string_view(position.id)), "))");
  }
  void AddAnyOf(std::string_view column, const std::vector<std::int64_t>& values) {
    Join();
    std::vector<std::string> parameters;
    for (const std::int64_t value : values) parameters.push_back(Parameter(value));
    text_ += Concat(column, " IN (", tocsin::Join(parameters, ", "), ")");
  }
  std::string Parameter(sql::Value value) {
    values_.push_back(std::move(value));
    return Concat("$", values_.size());
  }
  const std::string& text() const { return text_; }
  const std::vector<sql::Value>& values() const { return values_; }

 private:
  void Join() { text_ += text_.empty() ? " WHERE " : " AND "; }

  std::string text_;
  std::vector<sql::Value> values_;
};

// The request without its page, as text: equal for equal filters.
template <typename Request>
std::string FilterOf(Request request) {
  request.clear_page_size();
  request.clear_page_token();
  return Concat(request.GetTypeName(), "/", request.SerializeAsString());
}

// Collects the rows of one page and the token of the next.
template <typename Message>
class Page {
 public:
  Page(google::protobuf::RepeatedPtrField<Message>* into, int size) : into_(into), size_(size) {}

  // False: the page is full, and this one belongs to the next.
  bool HasRoom(std::size_t bytes) {
    if (!more_ && into_->size() < size_ && (into_->empty() || bytes_ + bytes <= kMaxPageBytes)) {
      bytes_ += bytes;
      return true;
    }
    more_ = true;
    return false;
  }
  Message* Add(PagePosition position) {
    last_ = std::move(position);
    return into_->Add();
  }
  std::string NextToken(std::string_view filter) const {
    return more_ ? sql::EncodePageToken(last_, filter) : std::string();
  }

 private:
  google::protobuf::RepeatedPtrField<Message>* const into_;
  const int size_;
  std::size_t bytes_ = 0;
  bool more_ = false;
  PagePosition last_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<ReportStore>> ReportStore::Open(sql::Database& database,
                                                               const Clock& clock) {
  TOCSIN_RETURN_IF_ERROR(Annotate(sql::Migrate(database, kMigrations, clock), "report's database"));
  return std::unique_ptr<ReportStore>(new ReportStore(database, clock));
}

absl::Status ReportStore::Apply(const std::vector<Arrival>& arrivals, const kafka::Offsets& next) {
  return database_.Write([&](Connection& connection) -> absl::Status {
    for (const Arrival& arrival : arrivals) {
      absl::Status applied;
      if (const auto* detection = std::get_if<DetectionArrived>(&arrival)) {
        applied = ApplyDetection(connection, detection->detection);
      } else if (const auto* incident = std::get_if<IncidentArrived>(&arrival)) {
        applied = ApplyIncident(connection, *incident);
      } else {
        applied = ApplyActivity(connection, std::get<ActivityArrived>(arrival).activity);
      }
      TOCSIN_RETURN_IF_ERROR(applied);
    }
    for (const auto& [where, offset] : next) {
      TOCSIN_RETURN_IF_ERROR(
          connection
              .Execute("INSERT INTO offsets (topic, partition, next) VALUES ($1, $2, $3) ON "
                       "CONFLICT (topic, partition) DO UPDATE SET next = excluded.next",
                       {where.topic, where.partition, offset})
              .status());
    }
    return absl::OkStatus();
  });
}

absl::StatusOr<kafka::Offsets> ReportStore::Offsets() {
  kafka::Offsets offsets;
  TOCSIN_RETURN_IF_ERROR(database_.Read([&](Connection& connection) {
    offsets.clear();
    return connection.Query("SELECT topic, partition, next FROM offsets", {}, [&](const Row& row) {
      offsets[{row.String(0), static_cast<std::int32_t>(row.Int(1))}] = row.Int(2);
      return absl::OkStatus();
    });
  }));
  return offsets;
}

absl::StatusOr<v1::ListIncidentsResponse> ReportStore::ListIncidents(
    const v1::ListIncidentsRequest& request) {
  TOCSIN_ASSIGN_OR_RETURN(const int page_size, sql::PageSize(request.page_size()));
  const std::string filter = FilterOf(request);
  TOCSIN_ASSIGN_OR_RETURN(const auto position, sql::DecodePageToken(request.page_token(), filter));
  Where where;
  if (!request.rule_id().empty()) where.Add("rule_id = ", std::string_view(request.rule_id()));
  if (request.states_size() > 0) {
    where.AddAnyOf("state", {request.states().begin(), request.states().end()});
  }
  if (request.min_severity() != event::v1::SEVERITY_UNSPECIFIED) {
    where.Add("severity >= ", std::int64_t{request.min_severity()});
  }
  if (request.has_from_time()) where.Add("time >= ", Micros(ToWallTime(request.from_time())));
  if (request.has_to_time()) where.Add("time < ", Micros(ToWallTime(request.to_time())));
  if (position.has_value()) where.AddBehind(*position);
  const std::string limit = where.Parameter(std::int64_t{page_size} + 1);

  v1::ListIncidentsResponse response;
  TOCSIN_RETURN_IF_ERROR(database_.Read([&](Connection& connection) -> absl::Status {
    response.Clear();
    Page<Incident> page(response.mutable_incidents(), page_size);
    const absl::Status read = connection.Query(
        Concat("SELECT ", kIncidentColumns, ", time, id FROM incidents", where.text(),
               " ORDER BY time DESC, id DESC LIMIT ", limit),
        where.values(), [&](const Row& row) -> absl::Status {
          if (!page.HasRoom(row.Bytes(0).size())) return absl::OkStatus();
          StoredIncident stored;
          const absl::Status parsed = ReadIncident(row, stored);
          if (!parsed.ok()) return parsed;
          Complete(stored.incident, stored.lifecycle, stored.update_time);
          *page.Add({.number = row.Int(7), .id = row.String(8)}) = std::move(stored.incident);
          return absl::OkStatus();
        });
    response.set_next_page_token(page.NextToken(filter));
    return read;
  }));
  return response;
}

absl::StatusOr<v1::ListDetectionsResponse> ReportStore::ListDetections(
    const v1::ListDetectionsRequest& request) {
  TOCSIN_ASSIGN_OR_RETURN(const int page_size, sql::PageSize(request.page_size()));
  const std::string filter = FilterOf(request);
  TOCSIN_ASSIGN_OR_RETURN(const auto position, sql::DecodePageToken(request.page_token(), filter));
  Where where;
  if (!request.rule_id().empty()) where.Add("rule_id = ", std::string_view(request.rule_id()));
  if (!request.incident_id().empty()) {
    where.Add("incident_id = ", std::string_view(request.incident_id()));
  }
  if (request.has_from_time()) where.Add("time >= ", Micros(ToWallTime(request.from_time())));
  if (request.has_to_time()) where.Add("time < ", Micros(ToWallTime(request.to_time())));
  if (position.has_value()) where.AddBehind(*position);
  const std::string limit = where.Parameter(std::int64_t{page_size} + 1);

  v1::ListDetectionsResponse response;
  TOCSIN_RETURN_IF_ERROR(database_.Read([&](Connection& connection) -> absl::Status {
    response.Clear();
    Page<correlation::v1::Detection> page(response.mutable_detections(), page_size);
    const absl::Status read = connection.Query(
        Concat("SELECT data, time, id FROM detections", where.text(),
               " ORDER BY time DESC, id DESC LIMIT ", limit),
        where.values(), [&](const Row& row) -> absl::Status {
          if (!page.HasRoom(row.Bytes(0).size())) return absl::OkStatus();
          return ParseStored(row.Bytes(0), *page.Add({.number = row.Int(1), .id = row.String(2)}));
        });
    response.set_next_page_token(page.NextToken(filter));
    return read;
  }));
  return response;
}

absl::StatusOr<v1::GetIncidentResponse> ReportStore::GetIncident(const std::string& id) {
  v1::GetIncidentResponse response;
  const absl::Status read = database_.Read([&](Connection& connection) -> absl::Status {
    response.Clear();
    TOCSIN_ASSIGN_OR_RETURN(auto found, FindIncident(connection, id));
    if (!found.has_value()) return NotFound(Concat("there is no incident ", id));
    Complete(found->incident, found->lifecycle, found->update_time);
    *response.mutable_incident() = std::move(found->incident);
    std::size_t bytes = 0;
    const absl::Status detections = connection.Query(
        "SELECT data FROM detections WHERE incident_id = $1 ORDER BY time DESC, id DESC LIMIT $2",
        {std::string_view(id), kMaxDetectionsOfIncident}, [&](const Row& row) {
          bytes += row.Bytes(0).size();
          if (bytes > kMaxPageBytes && response.detections_size() > 0) return absl::OkStatus();
          return ParseStored(row.Bytes(0), *response.add_detections());
        });
    if (!detections.ok()) return detections;
    return connection.Query("SELECT data FROM activities WHERE incident_id = $1 ORDER BY sequence",
                            {std::string_view(id)}, [&](const Row& row) {
                              return ParseStored(row.Bytes(0), *response.add_activities());
                            });
  });
  TOCSIN_RETURN_IF_ERROR(read);
  return response;
}

absl::StatusOr<Incident> ReportStore::Execute(const Command& command,
                                              std::string_view traceparent) {
  TOCSIN_RETURN_IF_ERROR(CheckCommand(command));
  Incident result;
  const absl::Status written = database_.Write([&](Connection& connection) -> absl::Status {
    TOCSIN_ASSIGN_OR_RETURN(auto found, FindIncident(connection, command.incident_id));
    if (!found.has_value()) {
      return NotFound(Concat("there is no incident ", command.incident_id));
    }
    const WallTime now = clock_.Now();
    TOCSIN_ASSIGN_OR_RETURN(
        const auto activity,
        Decide(command, found->lifecycle, Etag(found->incident, found->lifecycle), now));
    if (activity.has_value()) {
      report::Apply(*activity, found->lifecycle);
      found->update_time = std::max(found->update_time, now);
      TOCSIN_RETURN_IF_ERROR(
          StoreLifecycle(connection, command.incident_id, found->lifecycle, found->update_time));
      TOCSIN_RETURN_IF_ERROR(InsertActivity(connection, *activity).status());
      TOCSIN_RETURN_IF_ERROR(connection
                                 .Execute("INSERT INTO outbox (data, traceparent) VALUES ($1, $2)",
                                          {Blob(activity->SerializeAsString()), traceparent})
                                 .status());
    }
    Complete(found->incident, found->lifecycle, found->update_time);
    result = std::move(found->incident);
    return absl::OkStatus();
  });
  TOCSIN_RETURN_IF_ERROR(written);
  return result;
}

absl::StatusOr<std::vector<OutboxEntry>> ReportStore::Outbox(int limit) {
  std::vector<OutboxEntry> entries;
  const absl::Status read = database_.Read([&](Connection& connection) {
    entries.clear();
    return connection.Query(
        "SELECT sequence, data, traceparent FROM outbox ORDER BY sequence "
        "LIMIT $1",
        {limit}, [&](const Row& row) {
          OutboxEntry& entry = entries.emplace_back();
          entry.sequence = row.Int(0);
          entry.traceparent = row.String(2);
          return ParseStored(row.Bytes(1), entry.activity);
        });
  });
  TOCSIN_RETURN_IF_ERROR(read);
  return entries;
}

absl::Status ReportStore::RemoveFromOutbox(const std::vector<std::int64_t>& sequences) {
  return database_.Write([&](Connection& connection) -> absl::Status {
    for (const std::int64_t sequence : sequences) {
      TOCSIN_RETURN_IF_ERROR(
          connection.Execute("DELETE FROM outbox WHERE sequence = $1", {sequence}).status());
    }
    return absl::OkStatus();
  });
}

}  // namespace tocsin::report
