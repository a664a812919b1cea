// Calls that are served behind the gateway: messages pass as they are, unread, in both directions.
#pragma once

#include <memory>

#include "gateway/call.h"

namespace grpc {
class Channel;
}  // namespace grpc

namespace tocsin::gateway {

// Forwards each call over `channel` under the same method name, with the caller's token, trace and
// remaining time; statuses and metadata come back as they are. A client that goes away cancels the
// call behind it; while it does not take messages, none are read there. A unary call without a
// deadline gets 30 s. Callbacks run on gRPC's own threads. Letting go of the last reference cancels
// what is under way and waits for its end; not to be done on a thread of gRPC's.
std::shared_ptr<CallHandler> MakeMeshHandler(std::shared_ptr<grpc::Channel> channel);

}  // namespace tocsin::gateway
