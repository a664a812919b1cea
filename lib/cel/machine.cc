#include <re2/re2.h>

#include <array>
#include <utility>

#include "lib/cel/program.h"

namespace tocsin::cel {
namespace {

re2::StringPiece Piece(std::string_view text) { return {text.data(), text.size()}; }

// `decides` is false for &&, true for ||: the value that makes the other side irrelevant.
Value Join(const Value& left, const Value& right, bool decides) {
  if (left.kind == Value::Kind::kBool && left.boolean == decides) return left;
  if (right.kind == Value::Kind::kBool && right.boolean == decides) return right;
  return left.IsError() ? left : right;
}

Value At(Value value, std::uint32_t offset) {
  // Errors of a reader do not know the place.
  if (value.IsError() && value.offset == 0) value.offset = offset;
  return value;
}

// `fields` where the instructions read slots.
Value Execute(const Code& code, const std::vector<Instruction>& instructions,
              const MessageReader& reader, MessageHandle root, const schema::FieldView* fields,
              Scratch& scratch) {
  // Most expressions need a handful of places; only large ones pay for an allocation.
  constexpr std::size_t kInline = 8;
  std::array<Value, kInline> small;
  std::vector<Value> large;
  if (code.stack > kInline) large.resize(code.stack);
  Value* const stack = code.stack > kInline ? large.data() : small.data();
  std::size_t height = 0;
  std::size_t next = 0;
  // Every jump goes forward, so this ends.
  while (next < instructions.size()) {
    const Instruction& step = instructions[next++];
    Value* const top = height > 0 ? stack + height - 1 : stack;
    switch (step.code) {
      case OpCode::kConstant:
        stack[height++] = code.constants[step.operand];
        break;
      case OpCode::kReadRoot:
        stack[height++] = At(reader.Read(root, *code.fields[step.operand], scratch), step.offset);
        break;
      case OpCode::kHasRoot:
        stack[height++] = Value::Bool(reader.Has(root, *code.fields[step.operand]));
        break;
      case OpCode::kMakeList: {
        const Value* const first = stack + height - step.operand;
        Value made;
        for (std::size_t i = 0; i < step.operand && !made.IsError(); ++i) {
          if (first[i].IsError()) made = first[i];
        }
        if (!made.IsError()) {
          const auto* list = scratch.Keep(std::vector<Value>(first, first + step.operand));
          made = list == nullptr ? Value::Error("the lists grow too large", step.offset)
                                 : Value::List(list);
        }
        height -= step.operand;
        stack[height++] = made;
        break;
      }
      case OpCode::kRead:
        if (!top->IsError()) {
          *top = At(reader.Read(top->handle(), *code.fields[step.operand], scratch), step.offset);
        }
        break;
      case OpCode::kHas:
        if (!top->IsError()) {
          *top = Value::Bool(reader.Has(top->handle(), *code.fields[step.operand]));
        }
        break;
      case OpCode::kFindKey:
        if (!top->IsError()) {
          *top = Index(*top, code.constants[step.operand], reader, scratch, step.offset);
        }
        break;
      case OpCode::kHasKey:
        if (!top->IsError()) {
          *top = Value::Bool(reader.Find(*top, code.constants[step.operand], scratch).has_value());
        }
        break;
      case OpCode::kNot:
        if (!top->IsError()) *top = Value::Bool(!top->boolean);
        break;
      case OpCode::kNegate:
        if (!top->IsError()) *top = Negate(*top, step.offset);
        break;
      case OpCode::kCall1:
        if (!top->IsError()) {
          *top = Call(static_cast<Function>(step.operand), *top, reader, scratch, step.offset);
        }
        break;
      case OpCode::kMatchesPattern:
        if (!top->IsError()) {
          *top =
              Value::Bool(re2::RE2::PartialMatch(Piece(top->text()), *code.patterns[step.operand]));
        }
        break;
      case OpCode::kBinary:
      case OpCode::kCall2:
      case OpCode::kIndex: {
        --height;
        const Value& left = stack[height - 1];
        const Value& right = stack[height];
        Value result;
        if (left.IsError() || right.IsError()) {
          result = left.IsError() ? left : right;
        } else if (step.code == OpCode::kBinary) {
          result = Apply(static_cast<Operation>(step.operand), left, right, reader, scratch,
                         step.offset);
        } else if (step.code == OpCode::kCall2) {
          result = Call(static_cast<Function>(step.operand), left, right, step.offset);
        } else {
          result = Index(left, right, reader, scratch, step.offset);
        }
        stack[height - 1] = result;
        break;
      }
      case OpCode::kAnd:
      case OpCode::kOr:
        --height;
        stack[height - 1] = Join(stack[height - 1], stack[height], step.code == OpCode::kOr);
        break;
      case OpCode::kJump:
        next = step.operand;
        break;
      case OpCode::kJumpIfFalse:
        if (top->IsFalse()) next = step.operand;
        break;
      case OpCode::kJumpIfTrue:
        if (top->IsTrue()) next = step.operand;
        break;
      case OpCode::kJumpIfError:
        if (top->IsError()) next = step.operand;
        break;
      case OpCode::kPopJumpIfFalse:
        --height;
        if (top->IsFalse()) next = step.operand;
        break;
      case OpCode::kReadSlot:
        stack[height++] = ReadSlot(code.reads[step.operand], (*fields)[step.operand]);
        break;
      case OpCode::kReadSlotTime: {
        const bool timestamp = code.reads[step.operand].kind == Value::Kind::kTimestamp;
        stack[height++] = At(TimeValue(timestamp, (*fields)[step.operand].integer,
                                       (*fields)[step.operand + 1].integer),
                             step.offset);
        break;
      }
      case OpCode::kHasSlot:
        stack[height++] = Value::Bool(HasSlot(code.reads[step.operand], (*fields)[step.operand]));
        break;
      case OpCode::kCompareSlot: {
        const SlotComparison& comparison = code.comparisons[step.operand];
        stack[height++] = Compare(comparison, code.reads[comparison.read],
                                  (*fields)[comparison.read], scratch, step.offset);
        break;
      }
    }
  }
  return height == 0 ? Value::Error("the program is empty", 0) : stack[0];
}

}  // namespace

Value Run(const Code& code, const MessageReader& reader, MessageHandle root, Scratch& scratch) {
  return Execute(code, code.instructions, reader, root, nullptr, scratch);
}

Value Run(const Code& code, const schema::FieldView& fields, Scratch& scratch) {
  // No instruction over slots makes a value that a reader would have to look into.
  return Execute(code, code.slot_instructions, ReflectionReader(), {}, &fields, scratch);
}

}  // namespace tocsin::cel
