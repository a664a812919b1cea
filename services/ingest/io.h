// All that ingest needs from the world, and what it promises in return.
//
// Delivery: a receipt without an error means that the event lies on min.insync.replicas of its
// partition, at the offset named. Events that one call brings keep their order per partition key.
// A call that ends in an error may have written some of its events: the caller sends them again
// under the same (source, id), and every reader that counts drops the copies.
#pragma once

#include "lib/base/clock.h"
#include "lib/events/schema_cache.h"
#include "lib/kafka/producer.h"

namespace tocsin::ingest {

// Borrowed; must outlive what is built on it.
struct Io {
  // Idempotent, with an infinite message timeout: what it has taken stays in order and is written
  // sooner or later, over fatal errors of the client as well, so that a resend can never overtake
  // the original.
  kafka::Producer& producer;
  events::SchemaCache& schemas;
  const Clock& clock;
};

}  // namespace tocsin::ingest
