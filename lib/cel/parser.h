// From tokens to the tree, as the CEL specification's grammar says.
#pragma once

#include <string_view>

#include "lib/cel/ast.h"
#include "lib/cel/cel.h"
#include "lib/cel/lexer.h"

namespace tocsin::cel {

// False: `mistake` says why. Recursion is bounded by limits.max_depth.
bool Parse(std::string_view text, const Limits& limits, Ast& ast, Mistake& mistake);

}  // namespace tocsin::cel
