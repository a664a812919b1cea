#include "lib/rpc/status.h"

#include <string>

#include "lib/base/status.h"

namespace tocsin::rpc {
namespace {

constexpr std::size_t kMaxMessage = 4096;

// Cuts before a byte that continues a UTF-8 sequence, never within one.
std::string Bounded(std::string_view message) {
  if (message.size() <= kMaxMessage) return std::string(message);
  std::size_t end = kMaxMessage - 4;
  while (end > 0 && (static_cast<unsigned char>(message[end]) & 0xC0) == 0x80) --end;
  return Concat(message.substr(0, end), " …");
}

}  // namespace

grpc::Status ToGrpc(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  return {static_cast<grpc::StatusCode>(status.code()), Bounded(Message(status))};
}

absl::Status FromGrpc(const grpc::Status& status) {
  if (status.ok()) return absl::OkStatus();
  return {static_cast<absl::StatusCode>(status.error_code()), status.error_message()};
}

}  // namespace tocsin::rpc
