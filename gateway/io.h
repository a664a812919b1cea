// What the gateway needs of the world, and what it promises with it.
//
// It keeps nothing: any replica may be replaced by any other at any time. Calls that pass through
// it have the guarantees of the process behind; none is repeated here, but for what the channel
// repeats of idempotent methods before an answer has begun. A live subscription tells every record
// of its topics that its filter wants, in the order of each partition, once, from its cursor on;
// where records are gone it says which.
#pragma once

#include <memory>

#include "gateway/live/kafka_log.h"
#include "lib/kafka/admin.h"

namespace grpc {
class Channel;
}  // namespace grpc

namespace tocsin::gateway {

struct Io {
  // The processes behind, by mutual TLS.
  std::shared_ptr<grpc::Channel> ingest;
  std::shared_ptr<grpc::Channel> registry;
  std::shared_ptr<grpc::Channel> correlation;
  std::shared_ptr<grpc::Channel> report;
  std::shared_ptr<grpc::Channel> notification;

  // The log: which topics there are, and readers of committed records that belong to no group.
  std::unique_ptr<kafka::Admin> admin;
  ConsumerFactory make_consumer;
};

}  // namespace tocsin::gateway
