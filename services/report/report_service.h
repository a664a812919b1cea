// The gRPC edge of report.
#pragma once

#include <grpcpp/grpcpp.h>

#include <functional>

#include "services/report/report_store.h"
#include "tocsin/report/v1/report.grpc.pb.h"

namespace tocsin::report {

// Thread-safe. Calls block for the time of their database transaction.
class ReportService final : public v1::ReportService::Service {
 public:
  // `store` must outlive the service. `activity_written` is called after each command.
  ReportService(ReportStore& store, std::function<void()> activity_written)
      : store_(store), activity_written_(std::move(activity_written)) {}

  grpc::Status ListIncidents(grpc::ServerContext* context, const v1::ListIncidentsRequest* request,
                             v1::ListIncidentsResponse* response) override;
  grpc::Status GetIncident(grpc::ServerContext* context, const v1::GetIncidentRequest* request,
                           v1::GetIncidentResponse* response) override;
  grpc::Status ListDetections(grpc::ServerContext* context,
                              const v1::ListDetectionsRequest* request,
                              v1::ListDetectionsResponse* response) override;
  grpc::Status Acknowledge(grpc::ServerContext* context, const v1::AcknowledgeRequest* request,
                           v1::AcknowledgeResponse* response) override;
  grpc::Status Resolve(grpc::ServerContext* context, const v1::ResolveRequest* request,
                       v1::ResolveResponse* response) override;

 private:
  template <typename Request, typename Response>
  grpc::Status Execute(const grpc::ServerContext& context, incident::v1::ActivityKind kind,
                       const Request& request, Response& response);

  ReportStore& store_;
  const std::function<void()> activity_written_;
};

}  // namespace tocsin::report
