#include "lib/rpc/unreadable.h"

#include <google/protobuf/descriptor.h>

#include "lib/base/status.h"
#include "lib/base/text.h"

namespace tocsin::rpc {

absl::Status Unreadable(const google::protobuf::Descriptor& expected) {
  return InvalidArgument(Concat(
      "the request is not a ", expected.full_name(),
      " in Protobuf's binary form, or a string in it is not UTF-8. Encode it by its contract: ",
      "reflection shows it (grpcurl … describe ", expected.full_name(), ")"));
}

}  // namespace tocsin::rpc
