// incidents, detections, notifications: what the system has found.
#include <grpcpp/grpcpp.h>

#include "cli/calls.h"
#include "cli/commands.h"
#include "cli/core/exit_code.h"
#include "cli/output.h"
#include "cli/watch.h"
#include "lib/base/text.h"
#include "lib/base/time.h"
#include "tocsin/notification/v1/notification.grpc.pb.h"
#include "tocsin/report/v1/report.grpc.pb.h"

namespace tocsin::cli {
namespace {

using incident::v1::Incident;
using report::v1::ReportService;

constexpr int kPageSize = 1000;

absl::StatusOr<event::v1::Severity> ParseSeverity(const std::string& text) {
  if (text.empty()) return event::v1::SEVERITY_UNSPECIFIED;
  std::string name = "SEVERITY_";
  for (const char c : text) name.push_back(static_cast<char>(std::toupper(c)));
  event::v1::Severity severity;
  if (!event::v1::Severity_Parse(name, &severity) || severity == 0) {
    return InvalidArgument(Concat("there is no severity '", text,
                                  "'; the scale is info, low, medium, high, critical"));
  }
  return severity;
}

absl::StatusOr<incident::v1::IncidentState> ParseState(const std::string& text) {
  std::string name = "INCIDENT_STATE_";
  for (const char c : text) name.push_back(static_cast<char>(std::toupper(c)));
  incident::v1::IncidentState state;
  if (!incident::v1::IncidentState_Parse(name, &state) || state == 0) {
    return InvalidArgument(
        Concat("there is no state '", text, "'; the states are open, acknowledged, resolved"));
  }
  return state;
}

absl::Status SetTime(const std::string& text, google::protobuf::Timestamp* time) {
  if (text.empty()) return absl::OkStatus();
  TOCSIN_ASSIGN_OR_RETURN(const WallTime parsed, ParseTime(text));
  const auto since = parsed.time_since_epoch();
  const auto seconds = std::chrono::floor<std::chrono::seconds>(since);
  time->set_seconds(seconds.count());
  time->set_nanos(static_cast<std::int32_t>((since - seconds).count() * 1000));
  return absl::OkStatus();
}

// Reads page after page until the end or the limit. `fetch(page_size, token)` gives a response;
// `rows(response)` its list.
template <typename Fetch, typename Rows, typename Show>
absl::StatusOr<int> AllPages(std::int64_t limit, ListPrinter& printer, const Fetch& fetch,
                             const Rows& rows, const Show& show) {
  std::string token;
  do {
    const std::int64_t left = limit - static_cast<std::int64_t>(printer.count());
    const int page = limit > 0 && left < kPageSize ? static_cast<int>(left) : kPageSize;
    TOCSIN_ASSIGN_OR_RETURN(const auto response, fetch(page, token));
    for (const auto& row : rows(response)) {
      if (limit > 0 && static_cast<std::int64_t>(printer.count()) >= limit) break;
      show(row);
    }
    token = response.next_page_token();
  } while (!token.empty() && (limit == 0 || static_cast<std::int64_t>(printer.count()) < limit));
  printer.Finish();
  return kExitOk;
}

std::string Key(const google::protobuf::RepeatedPtrField<std::string>& key) {
  return Join({key.begin(), key.end()}, " / ");
}

absl::StatusOr<int> PrintIncident(const Session& session, const Incident& incident) {
  if (session.flags().output != OutputForm::kTable) {
    Print(Concat(Json(incident, session.flags().output == OutputForm::kJson), "\n"));
  } else {
    Print(Concat(incident.id(), " is ", IncidentStateText(incident.state()), "\n"));
  }
  return kExitOk;
}

}  // namespace

Outcome ListIncidents(const Session& session, const ListFlags& flags) {
  report::v1::ListIncidentsRequest request;
  request.set_rule_id(flags.rule);
  for (const std::string& text : flags.states) {
    TOCSIN_ASSIGN_OR_RETURN(const auto state, ParseState(text));
    request.add_states(state);
  }
  TOCSIN_ASSIGN_OR_RETURN(const auto severity, ParseSeverity(flags.min_severity));
  request.set_min_severity(severity);
  if (!flags.from.empty()) TOCSIN_RETURN_IF_ERROR(SetTime(flags.from, request.mutable_from_time()));
  if (!flags.to.empty()) TOCSIN_RETURN_IF_ERROR(SetTime(flags.to, request.mutable_to_time()));
  ListPrinter printer(session.flags().output,
                      {"INCIDENT", "STATE", "SEVERITY", "RULE", "KEY", "DETECTIONS", "LAST"},
                      Print);
  return AllPages(
      flags.limit, printer,
      [&](int page, const std::string& token) {
        request.set_page_size(page);
        request.set_page_token(token);
        return Call<ReportService, report::v1::ListIncidentsResponse>(
            session, &ReportService::StubInterface::ListIncidents, request);
      },
      [](const auto& response) -> const auto& { return response.incidents(); },
      [&](const Incident& row) {
        printer.Row(row, [&]() -> std::vector<std::string> {
          return {row.id(),
                  IncidentStateText(row.state()),
                  SeverityText(row.severity()),
                  row.rule_id(),
                  Key(row.group_key()),
                  std::to_string(row.detection_count()),
                  TimeText(row.last_detection_time())};
        });
      });
}

Outcome ListDetections(const Session& session, const ListFlags& flags) {
  report::v1::ListDetectionsRequest request;
  request.set_rule_id(flags.rule);
  request.set_incident_id(flags.incident);
  if (!flags.from.empty()) TOCSIN_RETURN_IF_ERROR(SetTime(flags.from, request.mutable_from_time()));
  if (!flags.to.empty()) TOCSIN_RETURN_IF_ERROR(SetTime(flags.to, request.mutable_to_time()));
  ListPrinter printer(session.flags().output,
                      {"DETECTION", "TIME", "SEVERITY", "RULE", "KEY", "EVENTS", "INCIDENT"},
                      Print);
  return AllPages(
      flags.limit, printer,
      [&](int page, const std::string& token) {
        request.set_page_size(page);
        request.set_page_token(token);
        return Call<ReportService, report::v1::ListDetectionsResponse>(
            session, &ReportService::StubInterface::ListDetections, request);
      },
      [](const auto& response) -> const auto& { return response.detections(); },
      [&](const correlation::v1::Detection& row) {
        printer.Row(row, [&]() -> std::vector<std::string> {
          return {row.id(),         TimeText(row.time()), SeverityText(row.severity()),
                  row.rule_id(),    Key(row.group_key()), std::to_string(row.evidence_size()),
                  row.incident_id()};
        });
      });
}

Outcome ListNotifications(const Session& session, const ListFlags& flags) {
  using notification::v1::NotificationService;
  notification::v1::ListNotificationsRequest request;
  request.set_incident_id(flags.incident);
  ListPrinter printer(session.flags().output,
                      {"TIME", "OUTCOME", "ATTEMPT", "ROUTE", "TARGET", "INCIDENT", "ERROR"},
                      Print);
  return AllPages(
      flags.limit, printer,
      [&](int page, const std::string& token) {
        request.set_page_size(page);
        request.set_page_token(token);
        return Call<NotificationService, notification::v1::ListNotificationsResponse>(
            session, &NotificationService::StubInterface::ListNotifications, request);
      },
      [](const auto& response) -> const auto& { return response.notifications(); },
      [&](const notification::v1::NotificationSent& row) {
        printer.Row(row, [&]() -> std::vector<std::string> {
          return {TimeText(row.time()),
                  notification::v1::Outcome_Name(row.outcome()).substr(8),
                  std::to_string(row.attempt()),
                  row.route(),
                  row.target(),
                  row.incident_id(),
                  row.error()};
        });
      });
}

Outcome GetIncident(const Session& session, const IncidentFlags& flags) {
  report::v1::GetIncidentRequest request;
  request.set_id(flags.id);
  TOCSIN_ASSIGN_OR_RETURN(const auto response,
                          (Call<ReportService, report::v1::GetIncidentResponse>(
                              session, &ReportService::StubInterface::GetIncident, request)));
  if (session.flags().output != OutputForm::kTable) {
    Print(Concat(Json(response, session.flags().output == OutputForm::kJson), "\n"));
    return kExitOk;
  }
  const Incident& incident = response.incident();
  std::string text = Concat(
      "Incident    ", incident.id(), "\nTitle       ", incident.title(), "\nRule        ",
      incident.rule_id(), "\nKey         ", Key(incident.group_key()), "\nSeverity    ",
      SeverityText(incident.severity()), "\nState       ", IncidentStateText(incident.state()));
  if (!incident.acknowledged_by().empty()) {
    text += Concat("\nAcknowledged by ", incident.acknowledged_by(), " at ",
                   TimeText(incident.acknowledged_time()));
  }
  if (!incident.resolved_by().empty()) {
    text += Concat("\nResolved by ", incident.resolved_by(), " at ",
                   TimeText(incident.resolved_time()));
  }
  text +=
      Concat("\nOpened      ", TimeText(incident.opened_time()), "\nLast        ",
             TimeText(incident.last_detection_time()), "\netag        ", incident.etag(), "\n\n");
  std::vector<std::vector<std::string>> rows;
  for (const auto& detection : response.detections()) {
    std::vector<std::string> events;
    for (const auto& event : detection.evidence()) events.push_back(event.id());
    rows.push_back({TimeText(detection.time()), std::to_string(detection.value()), detection.id(),
                    Join(events, " ")});
  }
  text += FormatTable({"DETECTED", "VALUE", "DETECTION", "EVENTS"}, rows);
  rows.clear();
  for (const auto& activity : response.activities()) {
    rows.push_back({TimeText(activity.time()), activity.actor(),
                    incident::v1::ActivityKind_Name(activity.kind()).substr(14), activity.note()});
  }
  if (!rows.empty()) text += "\n" + FormatTable({"TIME", "WHO", "WHAT", "NOTE"}, rows);
  Print(text);
  return kExitOk;
}

Outcome AcknowledgeIncident(const Session& session, const IncidentFlags& flags) {
  report::v1::AcknowledgeRequest request;
  request.set_incident_id(flags.id);
  request.set_etag(flags.etag);
  request.set_note(flags.note);
  TOCSIN_ASSIGN_OR_RETURN(const auto response,
                          (Call<ReportService, report::v1::AcknowledgeResponse>(
                              session, &ReportService::StubInterface::Acknowledge, request)));
  return PrintIncident(session, response.incident());
}

Outcome ResolveIncident(const Session& session, const IncidentFlags& flags) {
  report::v1::ResolveRequest request;
  request.set_incident_id(flags.id);
  request.set_etag(flags.etag);
  request.set_note(flags.note);
  TOCSIN_ASSIGN_OR_RETURN(const auto response,
                          (Call<ReportService, report::v1::ResolveResponse>(
                              session, &ReportService::StubInterface::Resolve, request)));
  return PrintIncident(session, response.incident());
}

Outcome WatchIncidents(const Session& session, const WatchFlags& flags) {
  live::v1::SubscribeRequest request;
  request.add_kinds(live::v1::KIND_INCIDENT);
  request.add_kinds(live::v1::KIND_ACTIVITY);
  for (const std::string& rule : flags.rules) request.add_rule_ids(rule);
  TOCSIN_ASSIGN_OR_RETURN(const auto severity, ParseSeverity(flags.min_severity));
  request.set_min_severity(severity);
  request.set_from(flags.from == "earliest" ? live::v1::FROM_EARLIEST : live::v1::FROM_LATEST);
  request.set_cursor(flags.cursor);
  TOCSIN_ASSIGN_OR_RETURN(const std::string address, session.GatewayAddress());
  TOCSIN_ASSIGN_OR_RETURN(const std::string token, session.Token());
  std::int64_t seen = 0;
  const absl::Status status = Watch(
      address, token, request,
      [&](const live::v1::SubscribeResponse& response) {
        if (response.change_case() == live::v1::SubscribeResponse::kHeartbeat ||
            response.change_case() == live::v1::SubscribeResponse::CHANGE_NOT_SET) {
          return true;
        }
        Print(session.flags().output == OutputForm::kTable ? ChangeText(response)
                                                           : Concat(Json(response, false), "\n"));
        return flags.count == 0 || ++seen < flags.count;
      },
      [&](const absl::Status& why) {
        Say(Concat("Connection lost, trying again: ", Message(why)));
      },
      [] { return g_stop_signal != 0; });
  if (absl::IsCancelled(status)) return kExitInterrupted;
  if (!status.ok()) return session.Explain(status);
  return kExitOk;
}

}  // namespace tocsin::cli
