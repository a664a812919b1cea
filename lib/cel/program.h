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
#include "lib/schema/wire_projection.h"

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
  // Over the slots of a projection only (slots.cc). Push.
  kReadSlot,      // reads[operand]
  kReadSlotTime,  // a timestamp or duration: its seconds reads[operand], its nanos the one behind
  kHasSlot,       // reads[operand]
  kCompareSlot,   // comparisons[operand]
};

struct Instruction {
  OpCode code = OpCode::kConstant;
  std::uint32_t operand = 0;
  // Of the expression, for errors.
  std::uint32_t offset = 0;
};

// How a slot becomes a value.
struct SlotRead {
  Value::Kind kind = Value::Kind::kNull;
  // Presence is tracked: has() asks for it, else whether the value is its type's zero.
  bool presence = false;
};

// A single value against a constant of its type: most conditions are such.
struct SlotComparison {
  std::uint32_t read = 0;
  Operation op{};
  Value constant;
};

struct Code {
  std::vector<Instruction> instructions;
  // The same over slots; empty where that cannot be.
  std::vector<Instruction> slot_instructions;
  std::vector<schema::FieldPath> paths;
  // For each path.
  std::vector<SlotRead> reads;
  std::vector<SlotComparison> comparisons;
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

// Writes `slot_instructions` where the program reads single values alone (slots.cc).
void UseSlots(Code& code);

// The result, kError when the evaluation fails. Views in it are good as long as `scratch`.
Value Run(const Code& code, const MessageReader& reader, MessageHandle root, Scratch& scratch);
// The same by `slot_instructions`.
Value Run(const Code& code, const schema::FieldView& fields, Scratch& scratch);

// For the machine (slots.cc).
Value ReadSlot(const SlotRead& read, const schema::Slot& slot);
bool HasSlot(const SlotRead& read, const schema::Slot& slot);
Value Compare(const SlotComparison& comparison, const SlotRead& read, const schema::Slot& slot,
              Scratch& scratch, std::uint32_t offset);

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
