// Message types made of others: a message with one more field for each of several further messages,
// whatever pools they come from.
//
// Threads: pure.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace google::protobuf {
class Descriptor;
}  // namespace google::protobuf

namespace tocsin::correlation {

struct FieldToJoin {
  std::string name;
  const google::protobuf::Descriptor* message = nullptr;
};

struct JoinedMessage {
  const google::protobuf::Descriptor* descriptor = nullptr;
  // For each field to join its number: from the top of all numbers down. The tags of such numbers
  // take five bytes, and no shorter or longer form says the same.
  std::vector<std::int32_t> numbers;
  // Of the descriptor's pool.
  std::shared_ptr<const void> owner;
};

// `message` keeps its full name and the scope in which names are looked up. A joined message whose
// files contradict those of the others comes under a package of its own, `tocsin_joined_<name>`.
// INVALID_ARGUMENT: the reason alone.
absl::StatusOr<JoinedMessage> JoinMessages(const google::protobuf::Descriptor& message,
                                           const std::vector<FieldToJoin>& fields);

}  // namespace tocsin::correlation
