// All that notification needs from the world, and what it promises in return.
//
// Delivery: at least once, with the same Idempotency-Key on every attempt, and never before the
// incident is committed (read_committed). The group's offset moves on only when the last outcome
// for that record, on each route, lies in the database and in notification.sent; a crash before
// that sends again what had no final outcome.
#pragma once

#include <string_view>

namespace tocsin::notification {

inline constexpr std::string_view kIncidentsTopic = "incidents.correlated";
inline constexpr std::string_view kSentTopic = "notification.sent";
inline constexpr std::string_view kGroup = "notification";

}  // namespace tocsin::notification
