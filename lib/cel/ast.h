// The parsed expression: nodes in one vector, children before their parents, so that building,
// walking and destroying it needs no recursion of its own.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace tocsin::cel {

using NodeId = std::uint32_t;

enum class NodeKind {
  // Literals.
  kNull,
  kBool,
  kInt,
  kUint,
  kDouble,
  kString,
  kBytes,
  // children: the elements.
  kList,
  // text: the name, with a dot before it when it was written from the root.
  kIdentifier,
  // children[0].text
  kSelect,
  // has(children[0]), whose operand is a kSelect or kIdentifier.
  kHas,
  // children[0][children[1]]
  kIndex,
  // text(children…), or children[0].text(children[1]…) when `method`.
  kCall,
  kNot,
  kNegate,
  // Two children, operation in `op`.
  kBinary,
  // Two children or more, `op` is kAnd or kOr: chains are one node, so that they may be long.
  kLogic,
  // children[0] ? children[1] : children[2]
  kConditional,
};

enum class Operation {
  kNone,
  kAdd,
  kSubtract,
  kMultiply,
  kDivide,
  kModulo,
  kEqual,
  kNotEqual,
  kLess,
  kLessEqual,
  kGreater,
  kGreaterEqual,
  kIn,
  kAnd,
  kOr,
};

struct Node {
  NodeKind kind = NodeKind::kNull;
  Operation op = Operation::kNone;
  bool method = false;
  bool boolean = false;
  // The byte to point at when something is wrong with this node.
  std::size_t offset = 0;
  std::int64_t integer = 0;
  std::uint64_t natural = 0;
  double real = 0;
  std::string text;
  std::vector<NodeId> children;
  int depth = 1;
};

struct Ast {
  std::vector<Node> nodes;
  NodeId root = 0;

  const Node& at(NodeId id) const { return nodes[id]; }
};

// "==", "in": as written in an expression.
const char* OperationText(Operation op);

}  // namespace tocsin::cel
