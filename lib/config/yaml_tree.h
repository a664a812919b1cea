// YAML text as a plain tree with positions: the only part that knows yaml-cpp.
//
// It is built from the parser's events, not from YAML::Node, so that bounds hold while the text is
// read and the place of every key is known.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "lib/config/config.h"

namespace tocsin::config {

struct YamlNode {
  enum class Kind { kNull, kScalar, kList, kMap };
  Kind kind = Kind::kNull;
  Position position;
  std::size_t source_offset = 0;
  // Scalars: the text after unfolding, and whether it stood in quotes or a block.
  std::string text;
  bool quoted = false;
  // Lists: the elements. Maps: key, value, key, value.
  std::vector<YamlNode> children;
};

inline constexpr std::size_t kMaxYamlBytes = std::size_t{1024} * 1024;
inline constexpr std::size_t kMaxYamlNodes = 100'000;
inline constexpr int kMaxYamlDepth = 32;

// An empty text is a null node. Errors as told in config.h.
absl::StatusOr<YamlNode> ParseYamlTree(std::string_view text, std::string_view file_name);

// "file:line:column: reason"
std::string At(std::string_view file_name, Position position, std::string_view reason);

}  // namespace tocsin::config
