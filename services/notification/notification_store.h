// What was sent, in SQLite: for ListNotifications, and so that a restart sends nothing again that
// has its final outcome. Each method is one transaction.
#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "lib/base/clock.h"
#include "lib/sql/database.h"
#include "tocsin/notification/v1/notification.pb.h"

namespace tocsin::notification {

// Thread-safe. Errors as in lib/sql/database.h.
class NotificationStore {
 public:
  // `database` and `clock` must outlive the store.
  static absl::StatusOr<std::unique_ptr<NotificationStore>> Open(sql::Database& database,
                                                                 const Clock& clock);

  absl::Status Add(const v1::NotificationSent& sent);
  // The newest attempt under this key; nullopt where there is none.
  absl::StatusOr<std::optional<v1::NotificationSent>> Last(std::string_view idempotency_key);
  absl::StatusOr<v1::ListNotificationsResponse> List(const v1::ListNotificationsRequest& request);
  // Since when each of these routes tells: the moment in which it was first named here; the
  // beginning of time for those of the very first start, which have everything to tell. Keeps what
  // it answers.
  absl::StatusOr<std::map<std::string, WallTime>> RoutesSince(
      const std::vector<std::string>& names);
  // Forgets what is older.
  absl::Status Expire(std::chrono::microseconds keep);

 private:
  NotificationStore(sql::Database& database, const Clock& clock)
      : database_(database), clock_(clock) {}

  sql::Database& database_;
  const Clock& clock_;
};

}  // namespace tocsin::notification
