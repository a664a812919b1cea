// All that notification needs from the world, and what it promises in return.
//
// Delivery: at least once, with the same Idempotency-Key on every attempt, and never before the
// incident is committed (read_committed). Each route reads in a consumer group of its own, whose
// offset moves on only when the last outcome for that record lies in the database and in
// notification.sent; a crash before that sends again what had no final outcome. A receiver that
// hangs holds up its own route only.
#pragma once

#include <string>
#include <string_view>

#include "lib/base/text.h"

namespace tocsin::notification {

inline constexpr std::string_view kIncidentsTopic = "incidents.correlated";
inline constexpr std::string_view kSentTopic = "notification.sent";

// The consumer group of a route; its lag is what the route has yet to tell.
inline std::string GroupOf(std::string_view route) { return Concat("notification.", route); }

}  // namespace tocsin::notification
