// absl::Status ↔ grpc::Status: the numbers are the same and the texts are kept. A text of more than
// 4 KiB is cut on the way out, because trailers have a limit.
#pragma once

#include <grpcpp/support/status.h>

#include "absl/status/status.h"

namespace tocsin::rpc {

grpc::Status ToGrpc(const absl::Status& status);
absl::Status FromGrpc(const grpc::Status& status);

}  // namespace tocsin::rpc
