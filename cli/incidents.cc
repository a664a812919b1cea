// incidents, detections, notifications: what the system has found.
#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <functional>
#include <utility>

#include "cli/calls.h"
#include "cli/commands.h"
#include "cli/console.h"
#include "cli/core/exit_code.h"
#include "cli/output.h"
#include "cli/watch.h"
#include "lib/base/text.h"
#include "lib/base/time.h"
#include "tocsin/correlation/v1/rules.grpc.pb.h"
#include "tocsin/notification/v1/notification.grpc.pb.h"
#include "tocsin/report/v1/report.grpc.pb.h"

namespace tocsin::cli {
namespace {

using incident::v1::Incident;
using report::v1::ReportService;

constexpr int kPageSize = 1000;

// "high" → SEVERITY_HIGH. `known`: the words that there are.
template <typename Enum>
absl::StatusOr<Enum> ParseWord(const std::string& text, std::string_view prefix,
                               bool (*parse)(google::protobuf::ConstStringParam, Enum*),
                               std::string_view what, std::string_view known) {
  std::string name(prefix);
  for (const char c : text) name.push_back(static_cast<char>(std::toupper(c)));
  Enum value;
  if (!parse(name, &value) || value == 0) {
    return UsageError(Concat("there is no ", what, " '", text, "'. There are ", known, "."));
  }
  return value;
}

absl::StatusOr<event::v1::Severity> ParseSeverity(const std::string& text) {
  if (text.empty()) return event::v1::SEVERITY_UNSPECIFIED;
  return ParseWord<event::v1::Severity>(text, "SEVERITY_", event::v1::Severity_Parse, "severity",
                                        "info, low, medium, high and critical");
}

absl::Status SetTime(std::string_view flag, const std::string& text,
                     google::protobuf::Timestamp* time) {
  const auto parsed = ParseTime(text);
  if (!parsed.ok()) return UsageError(parsed.status(), flag);
  const auto since = parsed->time_since_epoch();
  const auto seconds = std::chrono::floor<std::chrono::seconds>(since);
  time->set_seconds(seconds.count());
  time->set_nanos(static_cast<std::int32_t>((since - seconds).count() * 1000));
  return absl::OkStatus();
}

// The time and the rule that a list is limited to.
template <typename Request>
absl::Status SetFilter(const ListFlags& flags, Request& request) {
  request.set_rule_id(flags.rule);
  if (!flags.from.empty()) {
    TOCSIN_RETURN_IF_ERROR(SetTime("--from", flags.from, request.mutable_from_time()));
  }
  if (!flags.to.empty()) {
    TOCSIN_RETURN_IF_ERROR(SetTime("--to", flags.to, request.mutable_to_time()));
  }
  return absl::OkStatus();
}

// An empty list looks the same for a rule that found nothing and for a name that no rule has. The
// list is right in either case: this is said beside it, where it can be found out.
void HintAtRules(const Session& session, const std::string& rule) {
  using correlation::v1::RuleService;
  if (rule.empty()) return;
  const auto response = Call<RuleService, correlation::v1::ListRulesResponse>(
      session, &RuleService::StubInterface::ListRules, correlation::v1::ListRulesRequest());
  if (!response.ok()) return;
  std::vector<std::string> names;
  for (const auto& known : response->rules()) {
    if (known.rule().id() == rule) return;
    names.push_back(known.rule().id());
  }
  Say(Concat("No rule '", rule, "' is running", DidYouMean(rule, names),
             names.empty() ? " No rule is." : Concat(" Those that are: ", Join(names, ", "), ".")));
}

// Prints a list, which `method` gives page by page and `items` takes from an answer, until its end
// or the limit.
template <typename Service, typename Request, typename Response, typename Item>
Outcome PrintPages(const Session& session, const ListFlags& flags, Request request,
                   grpc::Status (Service::StubInterface::*method)(grpc::ClientContext*,
                                                                  const Request&, Response*),
                   const google::protobuf::RepeatedPtrField<Item>& (Response::*items)() const,
                   std::vector<std::string> columns,
                   const std::function<std::vector<std::string>(const Item&)>& cells) {
  ListPrinter printer(session.flags().output, std::move(columns), Print);
  const auto left = [&] {
    return flags.limit == 0 ? std::int64_t{kPageSize}
                            : flags.limit - static_cast<std::int64_t>(printer.count());
  };
  do {
    request.set_page_size(static_cast<int>(std::min<std::int64_t>(left(), kPageSize)));
    TOCSIN_ASSIGN_OR_RETURN(const Response response,
                            (Call<Service, Response>(session, method, request)));
    for (const Item& item : (response.*items)()) {
      if (left() <= 0) break;
      printer.Row(item, [&] { return cells(item); });
      if (ProcessStop().made()) return absl::CancelledError("stopped");
    }
    request.set_page_token(response.next_page_token());
  } while (!request.page_token().empty() && left() > 0);
  printer.Finish();
  if (printer.count() == 0) HintAtRules(session, flags.rule);
  return kExitOk;
}

std::string Key(const google::protobuf::RepeatedPtrField<std::string>& key) {
  return Join({key.begin(), key.end()}, " / ");
}

std::string StateText(const Incident& incident) {
  return Concat(IncidentStateText(incident.state()), IsWithdrawn(incident) ? ", withdrawn" : "");
}

// Acknowledges or resolves one.
template <typename Request, typename Response>
Outcome ChangeState(const Session& session, const IncidentFlags& flags,
                    grpc::Status (ReportService::StubInterface::*method)(grpc::ClientContext*,
                                                                         const Request&,
                                                                         Response*)) {
  Request request;
  request.set_incident_id(flags.id);
  request.set_etag(flags.etag);
  request.set_note(flags.note);
  TOCSIN_ASSIGN_OR_RETURN(const Response response,
                          (Call<ReportService, Response>(session, method, request)));
  const Incident& incident = response.incident();
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
  TOCSIN_RETURN_IF_ERROR(SetFilter(flags, request));
  for (const std::string& text : flags.states) {
    TOCSIN_ASSIGN_OR_RETURN(const auto state,
                            ParseWord<incident::v1::IncidentState>(
                                text, "INCIDENT_STATE_", incident::v1::IncidentState_Parse, "state",
                                "open, acknowledged and resolved"));
    request.add_states(state);
  }
  TOCSIN_ASSIGN_OR_RETURN(const auto severity, ParseSeverity(flags.min_severity));
  request.set_min_severity(severity);
  return PrintPages<ReportService, report::v1::ListIncidentsRequest,
                    report::v1::ListIncidentsResponse, Incident>(
      session, flags, request, &ReportService::StubInterface::ListIncidents,
      &report::v1::ListIncidentsResponse::incidents,
      {"INCIDENT", "STATE", "SEVERITY", "RULE", "KEY", "DETECTIONS", "LAST"},
      [](const Incident& row) -> std::vector<std::string> {
        return {row.id(),
                StateText(row),
                SeverityText(row.severity()),
                row.rule_id(),
                Key(row.group_key()),
                std::to_string(row.detection_count()),
                TimeText(row.last_detection_time())};
      });
}

Outcome ListDetections(const Session& session, const ListFlags& flags) {
  using correlation::v1::Detection;
  report::v1::ListDetectionsRequest request;
  TOCSIN_RETURN_IF_ERROR(SetFilter(flags, request));
  request.set_incident_id(flags.incident);
  return PrintPages<ReportService, report::v1::ListDetectionsRequest,
                    report::v1::ListDetectionsResponse, Detection>(
      session, flags, request, &ReportService::StubInterface::ListDetections,
      &report::v1::ListDetectionsResponse::detections,
      {"DETECTION", "TIME", "SEVERITY", "RULE", "KEY", "EVENTS", "INCIDENT"},
      [](const Detection& row) -> std::vector<std::string> {
        return {row.id(),         TimeText(row.time()), SeverityText(row.severity()),
                row.rule_id(),    Key(row.group_key()), std::to_string(row.evidence_size()),
                row.incident_id()};
      });
}

Outcome ListNotifications(const Session& session, const ListFlags& flags) {
  using notification::v1::NotificationSent;
  using notification::v1::NotificationService;
  notification::v1::ListNotificationsRequest request;
  request.set_incident_id(flags.incident);
  return PrintPages<NotificationService, notification::v1::ListNotificationsRequest,
                    notification::v1::ListNotificationsResponse, NotificationSent>(
      session, flags, request, &NotificationService::StubInterface::ListNotifications,
      &notification::v1::ListNotificationsResponse::notifications,
      {"TIME", "OUTCOME", "ATTEMPT", "ROUTE", "TARGET", "INCIDENT", "WHAT", "ERROR"},
      [](const NotificationSent& row) -> std::vector<std::string> {
        return {TimeText(row.time()),
                notification::v1::Outcome_Name(row.outcome()).substr(8),
                std::to_string(row.attempt()),
                row.route(),
                row.target(),
                row.incident_id(),
                row.withdrawn() ? "withdrawn" : "told",
                row.error()};
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
  std::string text =
      Concat("Incident    ", incident.id(), "\nTitle       ", incident.title(), "\nRule        ",
             incident.rule_id(), "\nKey         ", Key(incident.group_key()), "\nSeverity    ",
             SeverityText(incident.severity()), "\nState       ", StateText(incident));
  if (IsWithdrawn(incident)) {
    text +=
        "\n            Events that came late have shown that there was no such incident: it has no "
        "detections.";
  } else if (incident.corrected()) {
    text += "\n            Its detections were corrected after events that came late.";
  }
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
  return ChangeState(session, flags, &ReportService::StubInterface::Acknowledge);
}

Outcome ResolveIncident(const Session& session, const IncidentFlags& flags) {
  return ChangeState(session, flags, &ReportService::StubInterface::Resolve);
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
  std::string cursor = flags.cursor;
  const absl::Status status = Watch(
      address, token, request,
      [&](const live::v1::SubscribeResponse& response) {
        if (!response.cursor().empty()) cursor = response.cursor();
        if (response.change_case() == live::v1::SubscribeResponse::kHeartbeat ||
            response.change_case() == live::v1::SubscribeResponse::CHANGE_NOT_SET) {
          return true;
        }
        Print(session.flags().output == OutputForm::kTable ? ChangeText(response)
                                                           : Concat(Json(response, false), "\n"));
        ++seen;
        return flags.count == 0 || seen < flags.count;
      },
      [&](const absl::Status& why) {
        Say(Concat("Connection lost, trying again: ", Message(why)));
      },
      ProcessStop());
  if (absl::IsCancelled(status)) {
    if (!PrintedSoFar().ok()) return status;
    Say(Concat(
        "Stopped after ", seen, seen == 1 ? " change." : " changes.",
        cursor.empty() ? "" : " Go on behind the last one:\n  tocsin incidents watch --cursor ",
        cursor));
    return kExitInterrupted;
  }
  if (!status.ok()) return session.Explain(status, /*server_said=*/true);
  return kExitOk;
}

}  // namespace tocsin::cli
