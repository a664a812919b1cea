// CEL, the Common Expression Language, over Protobuf messages: `agency == "FIRE" && zone in [1,
// 4]`.
//
// An expression is compiled once against a message type: its fields are the variables. Names and
// types are checked then, so that a mistake is found when the rule is written and not when an event
// comes. What can still go wrong for one message (overflow, division by zero, an index outside its
// list, a missing map key) is an error of that evaluation; `&&`, `||` and `?:` absorb an error that
// the rest of the expression makes irrelevant, as CEL demands.
//
// In this slice: literals, lists, field selection, has(), comparison, logic, ?:, `in`, arithmetic,
// index, size(), contains, startsWith, endsWith, matches (RE2), lowerAscii, upperAscii, int(),
// uint(), double(), string(), timestamp(), duration(), enum constants by qualified name.
// docs/rules.md lists them.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "lib/schema/wire_projection.h"

namespace google::protobuf {
class Descriptor;
class Message;
}  // namespace google::protobuf

namespace tocsin::cel {

// What makes hostile text harmless: each is checked before the work that it bounds is done.
struct Limits {
  // Bytes of the expression.
  std::size_t max_length = std::size_t{16} * 1024;
  // Nesting of parentheses, operators, selections, calls and lists.
  int max_depth = 128;
  // Operators, operands and calls together.
  std::size_t max_nodes = 4096;
};

// Why an expression was refused, and where. `offset` is in bytes; line and column count from 1.
struct CompileError {
  std::string reason;
  std::size_t offset = 0;
  int line = 1;
  int column = 1;
};

// Thread-safe: evaluation changes nothing and may run on many threads at once.
class Program {
 public:
  virtual ~Program() = default;

  // INVALID_ARGUMENT when the message is of another type than the one compiled for (the descriptors
  // must be the same object), when the evaluation fails for this message, or for an expression that
  // was not compiled to give a bool. Trying the same message again does not help. Time is bounded
  // by the expression's size times the message's.
  virtual absl::StatusOr<bool> EvaluateBool(const google::protobuf::Message& message) const = 0;

  // The fields that it reads, for a projection that gives them in this order: then a message need
  // not be built. Expressions that look into lists or maps read the whole message and have none.
  virtual const std::vector<schema::FieldPath>& paths() const = 0;
  // The same over a view of paths(), of a message of the type compiled for.
  virtual absl::StatusOr<bool> EvaluateBool(const schema::FieldView& fields) const = 0;

  // The expression as it was given.
  virtual const std::string& text() const = 0;
};

// Compiles an expression whose result must be a bool. The descriptor's pool must outlive the
// program. INVALID_ARGUMENT has the reason, line and column, the line itself and a caret below the
// place; `error`, where given, is filled with the parts, for callers that point into a text of
// their own.
absl::StatusOr<std::unique_ptr<Program>> Compile(std::string_view expression,
                                                 const google::protobuf::Descriptor* descriptor,
                                                 CompileError* error = nullptr,
                                                 const Limits& limits = {});

}  // namespace tocsin::cel
