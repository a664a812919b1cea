// Programs over the slots of a projection: what reads single values alone needs no message.
#include <google/protobuf/descriptor.h>

#include <algorithm>
#include <utility>

#include "lib/cel/program.h"

namespace tocsin::cel {
namespace {

using google::protobuf::FieldDescriptor;
using Kind = Value::Kind;

Kind KindOf(const FieldDescriptor& field) {
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_BOOL:
      return Kind::kBool;
    case FieldDescriptor::CPPTYPE_INT32:
    case FieldDescriptor::CPPTYPE_INT64:
    case FieldDescriptor::CPPTYPE_ENUM:
      return Kind::kInt;
    case FieldDescriptor::CPPTYPE_UINT32:
    case FieldDescriptor::CPPTYPE_UINT64:
      return Kind::kUint;
    case FieldDescriptor::CPPTYPE_FLOAT:
    case FieldDescriptor::CPPTYPE_DOUBLE:
      return Kind::kDouble;
    case FieldDescriptor::CPPTYPE_STRING:
      return field.type() == FieldDescriptor::TYPE_BYTES ? Kind::kBytes : Kind::kString;
    case FieldDescriptor::CPPTYPE_MESSAGE:
      break;
  }
  return Kind::kMessage;
}

bool IsTime(const FieldDescriptor& field, Kind& kind) {
  if (field.message_type() == nullptr) return false;
  const std::string& name = field.message_type()->full_name();
  kind = name == "google.protobuf.Timestamp" ? Kind::kTimestamp : Kind::kDuration;
  return kind == Kind::kTimestamp || name == "google.protobuf.Duration";
}

bool IsComparison(Operation op) {
  return op == Operation::kEqual || op == Operation::kNotEqual || op == Operation::kLess ||
         op == Operation::kLessEqual || op == Operation::kGreater || op == Operation::kGreaterEqual;
}

bool IsJump(OpCode code) {
  return code == OpCode::kJump || code == OpCode::kJumpIfFalse || code == OpCode::kJumpIfTrue ||
         code == OpCode::kJumpIfError || code == OpCode::kPopJumpIfFalse;
}

class Rewriter {
 public:
  explicit Rewriter(Code& code) : code_(code) {}

  bool Run() {
    const std::vector<Instruction>& from = code_.instructions;
    targets_.resize(from.size() + 1);
    for (const Instruction& step : from) {
      if (IsJump(step.code)) targets_[step.operand] = true;
    }
    // Where each instruction has come to.
    std::vector<std::uint32_t> moved(from.size() + 1);
    for (std::size_t i = 0; i < from.size();) {
      const std::size_t begin = i;
      const auto place = static_cast<std::uint32_t>(to_.size());
      if (!Rewrite(i)) return false;
      for (std::size_t k = begin; k < i; ++k) moved[k] = place;
    }
    moved[from.size()] = static_cast<std::uint32_t>(to_.size());
    for (Instruction& step : to_) {
      if (IsJump(step.code)) step.operand = moved[step.operand];
    }
    code_.slot_instructions = std::move(to_);
    return true;
  }

 private:
  bool Rewrite(std::size_t& i) {
    const Instruction& step = code_.instructions[i];
    switch (step.code) {
      case OpCode::kReadRoot:
      case OpCode::kHasRoot:
        return RewriteChain(i);
      case OpCode::kRead:
      case OpCode::kHas:
      case OpCode::kFindKey:
      case OpCode::kHasKey:
        return false;
      default:
        to_.push_back(step);
        ++i;
        return true;
    }
  }

  // a.b.c, or has(a.b.c).
  bool RewriteChain(std::size_t& i) {
    const std::vector<Instruction>& from = code_.instructions;
    schema::FieldPath path;
    bool has = false;
    std::uint32_t offset = 0;
    do {
      const Instruction& step = from[i++];
      const FieldDescriptor* field = code_.fields[step.operand];
      has = step.code == OpCode::kHasRoot || step.code == OpCode::kHas;
      if (field->is_repeated()) return false;
      path.push_back(field);
      offset = step.offset;
    } while (!has && i < from.size() && !targets_[i] &&
             (from[i].code == OpCode::kRead || from[i].code == OpCode::kHas));
    const FieldDescriptor& last = *path.back();
    Kind kind = KindOf(last);
    if (has) {
      to_.push_back({OpCode::kHasSlot, Read(path, kind), offset});
      return true;
    }
    if (IsTime(last, kind)) {
      const auto first = static_cast<std::uint32_t>(code_.paths.size());
      for (const int number : {1, 2}) {
        schema::FieldPath part = path;
        part.push_back(last.message_type()->FindFieldByNumber(number));
        if (part.back() == nullptr) return false;
        code_.paths.push_back(std::move(part));
        code_.reads.push_back({kind, false});
      }
      to_.push_back({OpCode::kReadSlotTime, first, offset});
      return true;
    }
    if (kind == Kind::kMessage) return false;
    const std::uint32_t read = Read(path, kind);
    if (i + 1 < from.size() && from[i].code == OpCode::kConstant &&
        from[i + 1].code == OpCode::kBinary && !targets_[i] && !targets_[i + 1]) {
      const Value& constant = code_.constants[from[i].operand];
      const auto op = static_cast<Operation>(from[i + 1].operand);
      if (constant.kind == kind && IsComparison(op)) {
        code_.comparisons.push_back({read, op, constant});
        to_.push_back({OpCode::kCompareSlot,
                       static_cast<std::uint32_t>(code_.comparisons.size() - 1),
                       from[i + 1].offset});
        i += 2;
        return true;
      }
    }
    to_.push_back({OpCode::kReadSlot, read, offset});
    return true;
  }

  std::uint32_t Read(const schema::FieldPath& path, Kind kind) {
    for (std::size_t known = 0; known < code_.paths.size(); ++known) {
      if (code_.paths[known] == path && code_.reads[known].kind == kind) {
        return static_cast<std::uint32_t>(known);
      }
    }
    code_.paths.push_back(path);
    code_.reads.push_back({kind, path.back()->has_presence()});
    return static_cast<std::uint32_t>(code_.paths.size() - 1);
  }

  Code& code_;
  // Instructions that a jump leads to: `(a ? b : c).d` selects from what two ways have left.
  std::vector<bool> targets_;
  std::vector<Instruction> to_;
};

template <typename Number>
bool Holds(Operation op, const Number& left, const Number& right) {
  switch (op) {
    case Operation::kEqual:
      return left == right;
    case Operation::kNotEqual:
      return left != right;
    case Operation::kLess:
      return left < right;
    case Operation::kLessEqual:
      return left <= right;
    case Operation::kGreater:
      return left > right;
    default:
      return left >= right;
  }
}

}  // namespace

void UseSlots(Code& code) {
  if (Rewriter(code).Run()) return;
  code.paths.clear();
  code.reads.clear();
  code.comparisons.clear();
}

Value ReadSlot(const SlotRead& read, const schema::Slot& slot) {
  switch (read.kind) {
    case Kind::kBool:
      return Value::Bool(slot.boolean);
    case Kind::kInt:
      return Value::Int(slot.integer);
    case Kind::kUint:
      return Value::Uint(slot.natural);
    case Kind::kDouble:
      return Value::Double(slot.real);
    default:
      return Value::Text(read.kind, slot.text());
  }
}

bool HasSlot(const SlotRead& read, const schema::Slot& slot) {
  if (read.presence) return slot.present;
  switch (read.kind) {
    case Kind::kBool:
      return slot.boolean;
    case Kind::kString:
    case Kind::kBytes:
      return slot.size > 0;
    default:
      // Of a double all bits, as Protobuf does: -0.0 is set.
      return slot.natural != 0;
  }
}

Value Compare(const SlotComparison& comparison, const SlotRead& read, const schema::Slot& slot,
              Scratch& scratch, std::uint32_t offset) {
  switch (read.kind) {
    case Kind::kInt:
      return Value::Bool(Holds(comparison.op, slot.integer, comparison.constant.integer));
    case Kind::kUint:
      return Value::Bool(Holds(comparison.op, slot.natural, comparison.constant.natural));
    case Kind::kString:
    case Kind::kBytes:
      return Value::Bool(Holds(comparison.op, slot.text(), comparison.constant.text()));
    default:
      return Apply(comparison.op, ReadSlot(read, slot), comparison.constant, ReflectionReader(),
                   scratch, offset);
  }
}

}  // namespace tocsin::cel
