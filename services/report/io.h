// All that report needs from the world, and what it promises in return.
//
// Delivery: each record of detections, incidents.correlated and incidents.activity takes effect
// once, because its effect and its offset are committed in one database transaction, and reading
// goes on from the database's offset, not from a consumer group's. A command that was answered OK
// is in the database, and its activity reaches incidents.activity at least once, always under the
// same id.
#pragma once

#include <string>

#include "lib/base/clock.h"
#include "lib/events/registry_client.h"
#include "lib/kafka/admin.h"
#include "lib/kafka/producer.h"
#include "lib/kafka/read_loop.h"
#include "lib/sql/database.h"

namespace tocsin::report {

// Names of the topics; other ones in tests on a shared broker only.
struct Topics {
  std::string detections = "detections";
  std::string incidents = "incidents.correlated";
  std::string activity = "incidents.activity";
};

// Borrowed; must outlive what is built on it.
struct Io {
  sql::Database& database;
  // Makes one without a group, read_committed.
  kafka::ReadLoop::MakeConsumer make_consumer;
  kafka::Admin& admin;
  // With an infinite message timeout.
  kafka::Producer& producer;
  events::RegistryClient& registry;
  const Clock& clock;
};

}  // namespace tocsin::report
