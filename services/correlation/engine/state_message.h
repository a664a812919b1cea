// Reads Protobuf messages out of the state.
//
// All functions are pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "services/correlation/engine/state_view.h"

namespace tocsin::correlation {

// What the state holds the engine has written itself, so nothing is checked here: the state's
// format number says whether this program can read it.
template <typename Message>
Message ParseState(std::string_view bytes) {
  Message message;
  message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()));
  return message;
}

// nullopt: the key is not there.
template <typename Message>
std::optional<Message> LoadState(const StateReader& state, std::string_view key) {
  const std::optional<std::string> bytes = state.Get(key);
  if (!bytes.has_value()) return std::nullopt;
  return ParseState<Message>(*bytes);
}

}  // namespace tocsin::correlation
