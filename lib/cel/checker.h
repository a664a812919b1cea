// Gives every node of the tree its type and its meaning, or says where and why it has none.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "lib/cel/ast.h"
#include "lib/cel/lexer.h"
#include "lib/cel/types.h"

namespace tocsin::cel {

// What functions and conversions exist; which one a call means depends on the types.
enum class Function {
  kNone,
  kSize,
  kContains,
  kStartsWith,
  kEndsWith,
  kMatches,
  kLowerAscii,
  kUpperAscii,
  kToInt,
  kToUint,
  kToDouble,
  kToString,
  kToTimestamp,
  kToDuration,
};

struct Meaning {
  const Type* type = nullptr;
  // Of a message: for an identifier the compiled message's own, for a selection its operand's.
  const google::protobuf::FieldDescriptor* field = nullptr;
  // The node, with all below it, is an enum constant.
  std::optional<std::int64_t> constant;
  Function function = Function::kNone;
};

// Indexed by NodeId. False: `mistake` says why.
bool Check(const Ast& ast, const google::protobuf::Descriptor& root, Types& types,
           std::vector<Meaning>& meanings, Mistake& mistake);

}  // namespace tocsin::cel
