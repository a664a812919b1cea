#include "services/notification/notification_store.h"

#include <array>
#include <cstdint>

#include "lib/base/status.h"
#include "lib/base/text.h"
#include "lib/sql/migrate.h"
#include "lib/sql/page.h"

namespace tocsin::notification {
namespace {
using sql::Blob;
using sql::Connection;
using sql::Row;

constexpr std::array<sql::Migration, 2> kMigrations = {
    sql::Migration{.version = 1, .name = "notifications", .script = R"(
      CREATE TABLE notifications (
        sequence INTEGER PRIMARY KEY AUTOINCREMENT,
        idempotency_key TEXT NOT NULL,
        incident_id TEXT NOT NULL,
        time BIGINT NOT NULL,
        data BLOB NOT NULL);
      CREATE INDEX notifications_by_key ON notifications (idempotency_key, sequence);
      CREATE INDEX notifications_by_incident ON notifications (incident_id, sequence);
      CREATE INDEX notifications_by_time ON notifications (time);
    )"},
    // The empty name stands for the first start itself.
    sql::Migration{.version = 2, .name = "routes", .script = R"(
      CREATE TABLE routes (name TEXT PRIMARY KEY, since BIGINT NOT NULL);
    )"}};

absl::Status Parse(std::string_view bytes, v1::NotificationSent& sent) {
  if (sent.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) return absl::OkStatus();
  return DataLoss("the database holds a notification that cannot be read");
}

}  // namespace

absl::StatusOr<std::unique_ptr<NotificationStore>> NotificationStore::Open(sql::Database& database,
                                                                           const Clock& clock) {
  TOCSIN_RETURN_IF_ERROR(
      Annotate(sql::Migrate(database, kMigrations, clock), "notification's database"));
  return std::unique_ptr<NotificationStore>(new NotificationStore(database, clock));
}

absl::Status NotificationStore::Add(const v1::NotificationSent& sent) {
  const std::string data = sent.SerializeAsString();
  const std::int64_t time = sent.time().seconds() * 1'000'000 + sent.time().nanos() / 1'000;
  return database_.Write([&](Connection& connection) {
    return connection
        .Execute(
            "INSERT INTO notifications (idempotency_key, incident_id, time, data) VALUES ($1, $2, "
            "$3, $4)",
            {sent.idempotency_key(), sent.incident_id(), time, Blob(data)})
        .status();
  });
}

absl::StatusOr<std::optional<v1::NotificationSent>> NotificationStore::Last(
    std::string_view idempotency_key) {
  std::optional<v1::NotificationSent> last;
  const absl::Status read = database_.Read([&](Connection& connection) {
    last.reset();
    return connection.Query(
        "SELECT data FROM notifications WHERE idempotency_key = $1 ORDER BY sequence DESC LIMIT 1",
        {idempotency_key}, [&](const Row& row) { return Parse(row.Bytes(0), last.emplace()); });
  });
  TOCSIN_RETURN_IF_ERROR(read);
  return last;
}

absl::StatusOr<v1::ListNotificationsResponse> NotificationStore::List(
    const v1::ListNotificationsRequest& request) {
  TOCSIN_ASSIGN_OR_RETURN(const int page_size, sql::PageSize(request.page_size()));
  const std::string filter = Concat("notifications/", request.incident_id());
  TOCSIN_ASSIGN_OR_RETURN(const auto position, sql::DecodePageToken(request.page_token(), filter));
  const std::int64_t before = position.has_value() ? position->number : INT64_MAX;
  v1::ListNotificationsResponse response;
  const absl::Status read = database_.Read([&](Connection& connection) {
    response.Clear();
    std::int64_t last = 0;
    return connection.Query(
        "SELECT data, sequence FROM notifications WHERE ($1 = '' OR incident_id = $1) AND sequence "
        "< $2 ORDER BY sequence DESC LIMIT $3",
        {std::string_view(request.incident_id()), before, std::int64_t{page_size} + 1},
        [&](const Row& row) {
          if (response.notifications_size() == page_size) {
            response.set_next_page_token(sql::EncodePageToken({.number = last, .id = "-"}, filter));
            return absl::OkStatus();
          }
          last = row.Int(1);
          return Parse(row.Bytes(0), *response.add_notifications());
        });
  });
  TOCSIN_RETURN_IF_ERROR(read);
  return response;
}

absl::StatusOr<std::map<std::string, WallTime>> NotificationStore::RoutesSince(
    const std::vector<std::string>& names) {
  const std::int64_t now = clock_.Now().time_since_epoch().count();
  std::map<std::string, WallTime> since;
  const absl::Status written = database_.Write([&](Connection& connection) -> absl::Status {
    since.clear();
    bool started_before = false;
    TOCSIN_RETURN_IF_ERROR(
        connection.Query("SELECT 1 FROM routes UNION ALL SELECT 1 FROM notifications LIMIT 1", {},
                         [&](const Row& /*row*/) {
                           started_before = true;
                           return absl::OkStatus();
                         }));
    const auto keep = [&](std::string_view name) {
      return connection
          .Execute("INSERT INTO routes (name, since) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING",
                   {name, started_before ? now : std::int64_t{0}})
          .status();
    };
    TOCSIN_RETURN_IF_ERROR(keep(""));
    for (const std::string& name : names) {
      TOCSIN_RETURN_IF_ERROR(keep(name));
      TOCSIN_RETURN_IF_ERROR(connection.Query("SELECT since FROM routes WHERE name = $1",
                                              {std::string_view(name)}, [&](const Row& row) {
                                                since[name] =
                                                    WallTime(std::chrono::microseconds(row.Int(0)));
                                                return absl::OkStatus();
                                              }));
    }
    return absl::OkStatus();
  });
  TOCSIN_RETURN_IF_ERROR(written);
  return since;
}

absl::Status NotificationStore::Expire(std::chrono::microseconds keep) {
  const std::int64_t before = (clock_.Now() - keep).time_since_epoch().count();
  return database_.Write([&](Connection& connection) {
    return connection.Execute("DELETE FROM notifications WHERE time < $1", {before}).status();
  });
}

}  // namespace tocsin::notification
