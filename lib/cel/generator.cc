#include <re2/re2.h>

#include <algorithm>
#include <utility>

#include "lib/base/text.h"
#include "lib/cel/program.h"

namespace tocsin::cel {
namespace {

class Generator {
 public:
  Generator(const Ast& ast, const std::vector<Meaning>& meanings, Code& code, Mistake& mistake)
      : ast_(ast), meanings_(meanings), code_(code), mistake_(mistake) {}

  bool Run() {
    Visit(ast_.root);
    return mistake_.reason.empty();
  }

 private:
  static std::uint32_t Narrow(std::size_t value) { return static_cast<std::uint32_t>(value); }

  // `change`: what the instruction does to the height of the stack.
  std::size_t Emit(OpCode code, std::size_t operand, NodeId node, int change) {
    code_.instructions.push_back({code, Narrow(operand), Narrow(ast_.at(node).offset)});
    height_ += change;
    code_.stack = std::max(code_.stack, static_cast<std::size_t>(height_));
    return code_.instructions.size() - 1;
  }

  void LandHere(std::size_t jump) {
    code_.instructions[jump].operand = Narrow(code_.instructions.size());
  }

  std::size_t Field(const google::protobuf::FieldDescriptor* field) {
    const auto known = std::find(code_.fields.begin(), code_.fields.end(), field);
    if (known != code_.fields.end()) {
      return static_cast<std::size_t>(known - code_.fields.begin());
    }
    code_.fields.push_back(field);
    return code_.fields.size() - 1;
  }

  std::size_t Constant(const Value& value) {
    code_.constants.push_back(value);
    return code_.constants.size() - 1;
  }

  Value KeepText(Value::Kind kind, const std::string& text) {
    return Value::Text(kind, code_.texts.emplace_back(text));
  }

  // The value of a literal, of an enum constant or of a list of such; false for all else.
  bool Literal(NodeId id, Value& value) {
    const Node& node = ast_.at(id);
    if (meanings_[id].constant.has_value()) {
      value = Value::Int(*meanings_[id].constant);
      return true;
    }
    switch (node.kind) {
      case NodeKind::kNull:
        value = Value::Null();
        return true;
      case NodeKind::kBool:
        value = Value::Bool(node.boolean);
        return true;
      case NodeKind::kInt:
        value = Value::Int(node.integer);
        return true;
      case NodeKind::kUint:
        value = Value::Uint(node.natural);
        return true;
      case NodeKind::kDouble:
        value = Value::Double(node.real);
        return true;
      case NodeKind::kString:
        value = KeepText(Value::Kind::kString, node.text);
        return true;
      case NodeKind::kBytes:
        value = KeepText(Value::Kind::kBytes, node.text);
        return true;
      case NodeKind::kList: {
        std::vector<Value> elements(node.children.size());
        for (std::size_t i = 0; i < elements.size(); ++i) {
          if (!Literal(node.children[i], elements[i])) return false;
        }
        value = Value::List(&code_.lists.emplace_back(std::move(elements)));
        return true;
      }
      default:
        return false;
    }
  }

  // Recursion is bounded by the depth of the tree, which the parser bounds.
  void Visit(NodeId id) {
    Value value;
    if (Literal(id, value)) {
      Emit(OpCode::kConstant, Constant(value), id, 1);
      return;
    }
    const Node& node = ast_.at(id);
    switch (node.kind) {
      case NodeKind::kList:
        for (const NodeId child : node.children) Visit(child);
        Emit(OpCode::kMakeList, node.children.size(), id,
             1 - static_cast<int>(node.children.size()));
        return;
      case NodeKind::kIdentifier:
        Emit(OpCode::kReadRoot, Field(meanings_[id].field), id, 1);
        return;
      case NodeKind::kSelect:
        Visit(node.children[0]);
        Select(id, OpCode::kRead, OpCode::kFindKey);
        return;
      case NodeKind::kHas: {
        const NodeId operand = node.children[0];
        if (ast_.at(operand).kind == NodeKind::kIdentifier) {
          Emit(OpCode::kHasRoot, Field(meanings_[operand].field), operand, 1);
          return;
        }
        Visit(ast_.at(operand).children[0]);
        Select(operand, OpCode::kHas, OpCode::kHasKey);
        return;
      }
      case NodeKind::kIndex:
        Visit(node.children[0]);
        Visit(node.children[1]);
        Emit(OpCode::kIndex, 0, id, -1);
        return;
      case NodeKind::kCall:
        VisitCall(id);
        return;
      case NodeKind::kNot:
        Visit(node.children[0]);
        Emit(OpCode::kNot, 0, id, 0);
        return;
      case NodeKind::kNegate:
        Visit(node.children[0]);
        Emit(OpCode::kNegate, 0, id, 0);
        return;
      case NodeKind::kBinary:
        Visit(node.children[0]);
        Visit(node.children[1]);
        Emit(OpCode::kBinary, static_cast<std::size_t>(node.op), id, -1);
        return;
      case NodeKind::kLogic:
        VisitLogic(id);
        return;
      case NodeKind::kConditional:
        VisitConditional(id);
        return;
      default:
        // The literals, handled above.
        return;
    }
  }

  void Select(NodeId id, OpCode field, OpCode key) {
    if (meanings_[id].field != nullptr) {
      Emit(field, Field(meanings_[id].field), id, 0);
    } else {
      Emit(key, Constant(KeepText(Value::Kind::kString, ast_.at(id).text)), id, 0);
    }
  }

  void VisitCall(NodeId id) {
    const Node& node = ast_.at(id);
    const Function function = meanings_[id].function;
    Visit(node.children[0]);
    if (node.children.size() == 1) {
      Emit(OpCode::kCall1, static_cast<std::size_t>(function), id, 0);
      return;
    }
    const Node& second = ast_.at(node.children[1]);
    if (function == Function::kMatches && second.kind == NodeKind::kString) {
      std::string reason;
      std::unique_ptr<re2::RE2> pattern = CompilePattern(second.text, reason);
      if (pattern == nullptr) {
        if (mistake_.reason.empty()) mistake_ = {second.offset, std::move(reason)};
        return;
      }
      code_.patterns.push_back(std::move(pattern));
      Emit(OpCode::kMatchesPattern, code_.patterns.size() - 1, id, 0);
      return;
    }
    Visit(node.children[1]);
    Emit(OpCode::kCall2, static_cast<std::size_t>(function), id, -1);
  }

  // a && b && c: each operand is joined to what stands so far unless that decides alone. An error
  // does not decide: `error && false` is false.
  void VisitLogic(NodeId id) {
    const Node& node = ast_.at(id);
    const bool all = node.op == Operation::kAnd;
    std::vector<std::size_t> decided;
    for (std::size_t i = 0; i < node.children.size(); ++i) {
      if (i > 0) {
        decided.push_back(Emit(all ? OpCode::kJumpIfFalse : OpCode::kJumpIfTrue, 0, id, 0));
      }
      Visit(node.children[i]);
      if (i > 0) Emit(all ? OpCode::kAnd : OpCode::kOr, 0, id, -1);
    }
    for (const std::size_t jump : decided) LandHere(jump);
  }

  void VisitConditional(NodeId id) {
    const Node& node = ast_.at(id);
    Visit(node.children[0]);
    // A condition that fails is the result itself.
    const std::size_t failed = Emit(OpCode::kJumpIfError, 0, id, 0);
    const std::size_t otherwise = Emit(OpCode::kPopJumpIfFalse, 0, id, -1);
    Visit(node.children[1]);
    const std::size_t done = Emit(OpCode::kJump, 0, id, -1);
    LandHere(otherwise);
    Visit(node.children[2]);
    LandHere(failed);
    LandHere(done);
  }

  const Ast& ast_;
  const std::vector<Meaning>& meanings_;
  Code& code_;
  Mistake& mistake_;
  int height_ = 0;
};

}  // namespace

Code::Code() = default;
Code::~Code() = default;
Code::Code(Code&&) noexcept = default;
Code& Code::operator=(Code&&) noexcept = default;

bool Generate(const Ast& ast, const std::vector<Meaning>& meanings, Code& code, Mistake& mistake) {
  return Generator(ast, meanings, code, mistake).Run();
}

}  // namespace tocsin::cel
