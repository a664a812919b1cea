#include "services/report/report_service.h"

#include <utility>

#include "lib/base/status.h"
#include "lib/rpc/caller.h"
#include "lib/rpc/status.h"
#include "lib/telemetry/log.h"

namespace tocsin::report {
namespace {

template <typename Response>
grpc::Status Answer(absl::StatusOr<Response> result, Response& response) {
  if (result.ok()) {
    response = *std::move(result);
    return grpc::Status::OK;
  }
  if (result.status().code() == absl::StatusCode::kInternal) {
    // Statements are nothing to tell a caller.
    telemetry::LogError("a call failed in the database", {{"error", result.status()}});
    return rpc::ToGrpc(Internal("the database refused the call; report's log says why"));
  }
  return rpc::ToGrpc(result.status());
}

}  // namespace

grpc::Status ReportService::ListIncidents(grpc::ServerContext* /*context*/,
                                          const v1::ListIncidentsRequest* request,
                                          v1::ListIncidentsResponse* response) {
  return Answer(store_.ListIncidents(*request), *response);
}

grpc::Status ReportService::GetIncident(grpc::ServerContext* /*context*/,
                                        const v1::GetIncidentRequest* request,
                                        v1::GetIncidentResponse* response) {
  if (request->id().empty()) return rpc::ToGrpc(InvalidArgument("id: is missing"));
  return Answer(store_.GetIncident(request->id()), *response);
}

grpc::Status ReportService::ListDetections(grpc::ServerContext* /*context*/,
                                           const v1::ListDetectionsRequest* request,
                                           v1::ListDetectionsResponse* response) {
  return Answer(store_.ListDetections(*request), *response);
}

template <typename Request, typename Response>
grpc::Status ReportService::Execute(const grpc::ServerContext& context,
                                    incident::v1::ActivityKind kind, const Request& request,
                                    Response& response) {
  const rpc::Caller caller(context);
  Command command;
  command.kind = kind;
  command.incident_id = request.incident_id();
  command.etag = request.etag();
  command.note = request.note();
  command.actor = caller.principal().name;
  auto incident = store_.Execute(command, caller.trace().ToTraceparent());
  if (incident.ok()) {
    activity_written_();
    telemetry::LogInfo("incident changed by a person", {{"incident", command.incident_id},
                                                        {"actor", command.actor},
                                                        {"state", StateName(incident->state())}});
  }
  return Answer(std::move(incident), *response.mutable_incident());
}

grpc::Status ReportService::Acknowledge(grpc::ServerContext* context,
                                        const v1::AcknowledgeRequest* request,
                                        v1::AcknowledgeResponse* response) {
  return Execute(*context, incident::v1::ACTIVITY_KIND_ACKNOWLEDGED, *request, *response);
}

grpc::Status ReportService::Resolve(grpc::ServerContext* context, const v1::ResolveRequest* request,
                                    v1::ResolveResponse* response) {
  return Execute(*context, incident::v1::ACTIVITY_KIND_RESOLVED, *request, *response);
}

}  // namespace tocsin::report
