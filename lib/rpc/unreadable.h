// Requests whose bytes are not the message of their method.
//
// gRPC's generated handlers give such a request no status of its own: a call of one message ends
// with INTERNAL and no word (with UNIMPLEMENTED where the handler is of the callback API), and a
// stream of messages seems to be at its end. The server (server.h) gives the first the status of
// Unreadable; handlers that read streams of messages do so through ReadMessage.
#pragma once

#include <google/protobuf/message.h>
#include <google/protobuf/unknown_field_set.h>

#include "absl/status/status.h"
#include "lib/rpc/end_call.h"

namespace tocsin::rpc {

// INVALID_ARGUMENT, for the caller: what was expected, and where its contract is to be found.
absl::Status Unreadable(const google::protobuf::Descriptor& expected);

// As reader.Read(message). Where it fails because the bytes are not that message, the call ends for
// its client with Unreadable, and is cancelled for the handler. What `message` held is lost.
template <typename Reader, typename Proto>
bool ReadMessage(Reader& reader, grpc::ServerContext& context, Proto* message) {
  // gRPC says false for both. But a parser clears the message before anything else, and nobody
  // touches it at the end of the stream: a mark in it that is still there tells the two apart.
  constexpr int kMark = 536'870'911;  // the largest number of a field
  const google::protobuf::Reflection& reflection = *message->GetReflection();
  message->Clear();
  reflection.MutableUnknownFields(message)->AddVarint(kMark, 1);
  if (reader.Read(message)) return true;
  const auto& left = reflection.GetUnknownFields(*message);
  if (left.field_count() != 1 || left.field(0).number() != kMark) {
    EndCall(context, Unreadable(*message->GetDescriptor()));
  }
  message->Clear();
  return false;
}

}  // namespace tocsin::rpc
