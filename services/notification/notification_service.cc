#include "services/notification/notification_service.h"

#include <utility>

#include "lib/base/status.h"
#include "lib/rpc/status.h"
#include "lib/telemetry/log.h"

namespace tocsin::notification {

grpc::Status NotificationService::ListNotifications(grpc::ServerContext* /*context*/,
                                                    const v1::ListNotificationsRequest* request,
                                                    v1::ListNotificationsResponse* response) {
  auto page = store_.List(*request);
  if (page.ok()) {
    *response = *std::move(page);
    return grpc::Status::OK;
  }
  if (page.status().code() == absl::StatusCode::kInternal) {
    // Statements are nothing to tell a caller.
    telemetry::LogError("a call failed in the database", {{"error", page.status()}});
    return rpc::ToGrpc(Internal("the database refused the call; notification's log says why"));
  }
  return rpc::ToGrpc(page.status());
}

}  // namespace tocsin::notification
