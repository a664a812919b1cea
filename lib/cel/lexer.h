// From text to tokens, as the CEL specification's lexis says.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "lib/cel/token.h"

namespace tocsin::cel {

// Where and why text was refused, within this library.
struct Mistake {
  std::size_t offset = 0;
  std::string reason;
};

// All tokens, kEnd last. False: `mistake` says why.
bool Tokenize(std::string_view text, std::vector<Token>& tokens, Mistake& mistake);

}  // namespace tocsin::cel
