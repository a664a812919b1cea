// The compiled form: a flat list of instructions for a machine with a stack. Errors are values on
// that stack, which is what makes `&&` and `||` able to absorb them.
#pragma once

#include <google/protobuf/message.h>

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "lib/cel/ast.h"
#include "lib/cel/cel.h"
#include "lib/cel/checker.h"
#include "lib/cel/message_reader.h"
#include "lib/cel/value.h"

namespace re2 {
class RE2;
}  // namespace re2

namespace tocsin::cel {

enum class OpCode : std::uint8_t {
  // Push.
  kConstant,  // constants[operand]
  kReadRoot,  // fields[operand] of the message evaluated
  kHasRoot,   //
  kMakeList,  // the last `operand` values
  // Replace the top.
  kRead,     // fields[operand] of the message on top
  kHas,      //
  kFindKey,  // the entry of the map on top under constants[operand]
  kHasKey,   //
  kNot,
  kNegate,
  kCall1,           // a Function of one argument
  kMatchesPattern,  // patterns[operand]
  // Replace the two on top.
  kBinary,  // an Operation
  kCall2,   // a Function of two arguments
  kIndex,
  kAnd,
  kOr,
  // Move on to instruction `operand`.
  kJump,
  kJumpIfFalse,  // keeps the top
  kJumpIfTrue,   // keeps the top
  kJumpIfError,  // keeps the top
  // Pops a bool.
  kPopJumpIfFalse,
};

struct Instruction {
  OpCode code = OpCode::kConstant;
  std::uint32_t operand = 0;
  // Of the expression, for errors.
  std::uint32_t offset = 0;
};

struct Code {
  std::vector<Instruction> instructions;
  std::vector<Value> constants;
  std::vector<const google::protobuf::FieldDescriptor*> fields;
  std::vector<std::unique_ptr<re2::RE2>> patterns;
  // What the constants point into.
  std::deque<std::string> texts;
  std::deque<std::vector<Value>> lists;
  std::size_t stack = 0;

  Code();
  ~Code();
  Code(Code&&) noexcept;
  Code& operator=(Code&&) noexcept;
};

// Turns the checked tree into code. False: `mistake` says why (a regular expression that is none).
bool Generate(const Ast& ast, const std::vector<Meaning>& meanings, Code& code, Mistake& mistake);

// The result, kError when the evaluation fails. Views in it are good as long as `scratch`.
Value Run(const Code& code, const MessageReader& reader, MessageHandle root, Scratch& scratch);

// The operations on values, for the machine and its tests (operations.cc).
Value Apply(Operation op, const Value& left, const Value& right, const MessageReader& reader,
            Scratch& scratch, std::uint32_t offset);
Value Call(Function function, const Value& argument, const MessageReader& reader, Scratch& scratch,
           std::uint32_t offset);
Value Call(Function function, const Value& first, const Value& second, std::uint32_t offset);
Value Index(const Value& container, const Value& index, const MessageReader& reader,
            Scratch& scratch, std::uint32_t offset);
Value Negate(const Value& operand, std::uint32_t offset);
// nullptr: `reason` says why.
std::unique_ptr<re2::RE2> CompilePattern(std::string_view pattern, std::string& reason);

}  // namespace tocsin::cel
