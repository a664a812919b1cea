// The gRPC edge of notification.
#pragma once

#include <grpcpp/grpcpp.h>

#include "services/notification/notification_store.h"
#include "tocsin/notification/v1/notification.grpc.pb.h"

namespace tocsin::notification {

// Thread-safe. Calls block for the time of their database transaction.
class NotificationService final : public v1::NotificationService::Service {
 public:
  // `store` must outlive the service.
  explicit NotificationService(NotificationStore& store) : store_(store) {}

  grpc::Status ListNotifications(grpc::ServerContext* context,
                                 const v1::ListNotificationsRequest* request,
                                 v1::ListNotificationsResponse* response) override;

 private:
  NotificationStore& store_;
};

}  // namespace tocsin::notification
