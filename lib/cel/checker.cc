#include "lib/cel/checker.h"

#include <google/protobuf/descriptor.h>

#include <algorithm>
#include <array>
#include <string>
#include <utility>

#include "lib/base/text.h"

namespace tocsin::cel {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::EnumDescriptor;
using google::protobuf::EnumValueDescriptor;
using google::protobuf::FieldDescriptor;

std::vector<std::string> FieldNames(const Descriptor& message) {
  std::vector<std::string> names;
  for (int i = 0; i < message.field_count(); ++i) names.push_back(message.field(i)->name());
  return names;
}

// "; did you mean 'x'?" or what there is.
std::string Suggestion(std::string_view word, const std::vector<std::string>& names,
                       std::string_view what) {
  constexpr std::size_t kListed = 20;
  if (const std::string nearest = NearestName(word, names); !nearest.empty()) {
    return Concat("; did you mean '", nearest, "'?");
  }
  if (names.empty()) return {};
  const bool all = names.size() <= kListed;
  return Concat("; ", what, ": ",
                Join({names.begin(),
                      names.begin() + static_cast<std::ptrdiff_t>(std::min(names.size(), kListed))},
                     ", "),
                all ? "" : ", …");
}

class Checker {
 public:
  Checker(const Ast& ast, const Descriptor& root, Types& types, std::vector<Meaning>& meanings,
          Mistake& mistake)
      : ast_(ast), root_(root), types_(types), meanings_(meanings), mistake_(mistake) {}

  bool Run() {
    meanings_.assign(ast_.nodes.size(), {});
    return Visit(ast_.root) != nullptr;
  }

 private:
  const Type* Fail(std::size_t offset, std::string reason) {
    if (mistake_.reason.empty()) mistake_ = {offset, std::move(reason)};
    return nullptr;
  }

  const Type* Is(NodeId id, TypeKind kind) { return meanings_[id].type = types_.Basic(kind); }

  // Recursion is bounded by the depth of the tree, which the parser bounds.
  const Type* Visit(NodeId id) {
    const Node& node = ast_.at(id);
    switch (node.kind) {
      case NodeKind::kNull:
        return Is(id, TypeKind::kNull);
      case NodeKind::kBool:
        return Is(id, TypeKind::kBool);
      case NodeKind::kInt:
        return Is(id, TypeKind::kInt);
      case NodeKind::kUint:
        return Is(id, TypeKind::kUint);
      case NodeKind::kDouble:
        return Is(id, TypeKind::kDouble);
      case NodeKind::kString:
        return Is(id, TypeKind::kString);
      case NodeKind::kBytes:
        return Is(id, TypeKind::kBytes);
      case NodeKind::kList:
        return VisitList(id);
      case NodeKind::kIdentifier:
      case NodeKind::kSelect:
        return VisitName(id);
      case NodeKind::kHas:
        return VisitHas(id);
      case NodeKind::kIndex:
        return VisitIndex(id);
      case NodeKind::kCall:
        return VisitCall(id);
      case NodeKind::kNot:
        return VisitNot(id);
      case NodeKind::kNegate:
        return VisitNegate(id);
      case NodeKind::kBinary:
        return VisitBinary(id);
      case NodeKind::kLogic:
        return VisitLogic(id);
      case NodeKind::kConditional:
        return VisitConditional(id);
    }
    return Fail(node.offset, "an expression of an unknown kind");
  }

  const Type* VisitList(NodeId id) {
    const Type* element = types_.Basic(TypeKind::kAny);
    for (const NodeId child : ast_.at(id).children) {
      const Type* type = Visit(child);
      if (type == nullptr) return nullptr;
      if (!Same(*element, *type)) {
        return Fail(ast_.at(child).offset,
                    Concat("the elements of a list must be of one type: this one is ",
                           TypeText(*type), ", the first is ", TypeText(*element)));
      }
      element = types_.Merge(element, type);
    }
    return meanings_[id].type = types_.List(element);
  }

  // "a.b.c" when the node is nothing but names and dots; empty otherwise.
  std::string DottedName(NodeId id) const {
    std::vector<std::string> parts;
    while (ast_.at(id).kind == NodeKind::kSelect) {
      parts.push_back(ast_.at(id).text);
      id = ast_.at(id).children[0];
    }
    if (ast_.at(id).kind != NodeKind::kIdentifier) return {};
    parts.push_back(ast_.at(id).text);
    std::reverse(parts.begin(), parts.end());
    return Join(parts, ".");
  }

  NodeId FirstName(NodeId id) const {
    while (ast_.at(id).kind == NodeKind::kSelect) id = ast_.at(id).children[0];
    return id;
  }

  // The enum that `name` means seen from the compiled message: its own scope first, then each
  // enclosing package.
  const EnumDescriptor* FindEnum(std::string_view name) const {
    const auto& pool = *root_.file()->pool();
    if (name.starts_with('.')) return pool.FindEnumTypeByName(std::string(name.substr(1)));
    std::string scope = root_.full_name();
    while (true) {
      const std::string full = scope.empty() ? std::string(name) : Concat(scope, ".", name);
      if (const EnumDescriptor* found = pool.FindEnumTypeByName(full)) return found;
      if (scope.empty()) return nullptr;
      const std::size_t dot = scope.rfind('.');
      scope.resize(dot == std::string::npos ? 0 : dot);
    }
  }

  const Type* VisitName(NodeId id) {
    const Node& node = ast_.at(id);
    const Node& first = ast_.at(FirstName(id));
    const bool field_first =
        first.kind != NodeKind::kIdentifier || root_.FindFieldByName(first.text) != nullptr;
    if (!field_first) return VisitConstant(id);
    if (node.kind == NodeKind::kIdentifier) return FieldOf(id, root_);
    const Type* operand = Visit(node.children[0]);
    if (operand == nullptr) return nullptr;
    if (operand->kind == TypeKind::kMessage) return FieldOf(id, *operand->message);
    if (operand->kind == TypeKind::kMap && operand->key->kind == TypeKind::kString) {
      return meanings_[id].type = operand->element;
    }
    return Fail(node.offset, Concat("'", node.text, "' cannot be selected from a value of type ",
                                    TypeText(*operand), ": it has no fields"));
  }

  const Type* FieldOf(NodeId id, const Descriptor& message) {
    const Node& node = ast_.at(id);
    const FieldDescriptor* field = message.FindFieldByName(node.text);
    if (field == nullptr) {
      return Fail(node.offset, Concat("unknown field '", node.text, "' in ", message.full_name(),
                                      Suggestion(node.text, FieldNames(message), "its fields")));
    }
    std::string reason;
    const Type* type = types_.OfField(*field, reason);
    if (type == nullptr) return Fail(node.offset, std::move(reason));
    meanings_[id].field = field;
    return meanings_[id].type = type;
  }

  // A name that begins with no field: an enum constant, or a mistake.
  const Type* VisitConstant(NodeId id) {
    const Node& node = ast_.at(id);
    const std::string name = DottedName(id);
    if (const std::size_t dot = name.rfind('.'); dot != std::string::npos && dot > 0) {
      const std::string_view value_name = std::string_view(name).substr(dot + 1);
      if (const EnumDescriptor* type = FindEnum(std::string_view(name).substr(0, dot))) {
        const EnumValueDescriptor* value = type->FindValueByName(std::string(value_name));
        if (value == nullptr) {
          std::vector<std::string> names;
          for (int i = 0; i < type->value_count(); ++i) names.push_back(type->value(i)->name());
          return Fail(node.offset,
                      Concat("the enum ", type->full_name(), " has no value '", value_name, "'",
                             Suggestion(value_name, names, "its values")));
        }
        meanings_[id].constant = value->number();
        return Is(id, TypeKind::kInt);
      }
    }
    const Node& first = ast_.at(FirstName(id));
    if (FindEnum(name) != nullptr) {
      return Fail(first.offset,
                  Concat("'", name, "' is an enum; write one of its values after it, such as ",
                         name, ".", FindEnum(name)->value(0)->name()));
    }
    return Fail(first.offset, Concat("unknown field '", first.text, "' in ", root_.full_name(),
                                     Suggestion(first.text, FieldNames(root_), "its fields")));
  }

  const Type* VisitHas(NodeId id) {
    const NodeId operand = ast_.at(id).children[0];
    if (Visit(operand) == nullptr) return nullptr;
    if (meanings_[operand].constant.has_value()) {
      return Fail(ast_.at(operand).offset, "has() takes a field, not an enum constant");
    }
    return Is(id, TypeKind::kBool);
  }

  const Type* VisitIndex(NodeId id) {
    const Node& node = ast_.at(id);
    const Type* operand = Visit(node.children[0]);
    const Type* index = operand == nullptr ? nullptr : Visit(node.children[1]);
    if (index == nullptr) return nullptr;
    if (operand->kind == TypeKind::kList) {
      if (index->kind != TypeKind::kInt) {
        return Fail(ast_.at(node.children[1]).offset,
                    Concat("a list is indexed by an int, not by ", TypeText(*index)));
      }
      return meanings_[id].type = operand->element;
    }
    if (operand->kind == TypeKind::kMap) {
      if (!Same(*operand->key, *index)) {
        return Fail(ast_.at(node.children[1]).offset,
                    Concat("the keys of this map are of type ", TypeText(*operand->key), ", not ",
                           TypeText(*index)));
      }
      return meanings_[id].type = operand->element;
    }
    return Fail(node.offset,
                Concat("only lists and maps have an index; this is of type ", TypeText(*operand)));
  }

  struct Overload {
    std::string_view name;
    Function function;
    // Receiver first, if it has one.
    bool method;
    bool global;
    std::vector<TypeKind> arguments;
    TypeKind result;
  };

  static const std::vector<Overload>& Overloads() {
    using K = TypeKind;
    using F = Function;
    static const std::vector<Overload> overloads = {
        {"size", F::kSize, true, true, {K::kString}, K::kInt},
        {"size", F::kSize, true, true, {K::kBytes}, K::kInt},
        {"size", F::kSize, true, true, {K::kList}, K::kInt},
        {"size", F::kSize, true, true, {K::kMap}, K::kInt},
        {"contains", F::kContains, true, false, {K::kString, K::kString}, K::kBool},
        {"startsWith", F::kStartsWith, true, false, {K::kString, K::kString}, K::kBool},
        {"endsWith", F::kEndsWith, true, false, {K::kString, K::kString}, K::kBool},
        {"matches", F::kMatches, true, true, {K::kString, K::kString}, K::kBool},
        {"lowerAscii", F::kLowerAscii, true, false, {K::kString}, K::kString},
        {"upperAscii", F::kUpperAscii, true, false, {K::kString}, K::kString},
        {"int", F::kToInt, false, true, {K::kInt}, K::kInt},
        {"int", F::kToInt, false, true, {K::kUint}, K::kInt},
        {"int", F::kToInt, false, true, {K::kDouble}, K::kInt},
        {"int", F::kToInt, false, true, {K::kString}, K::kInt},
        {"int", F::kToInt, false, true, {K::kTimestamp}, K::kInt},
        {"uint", F::kToUint, false, true, {K::kInt}, K::kUint},
        {"uint", F::kToUint, false, true, {K::kUint}, K::kUint},
        {"uint", F::kToUint, false, true, {K::kDouble}, K::kUint},
        {"uint", F::kToUint, false, true, {K::kString}, K::kUint},
        {"double", F::kToDouble, false, true, {K::kInt}, K::kDouble},
        {"double", F::kToDouble, false, true, {K::kUint}, K::kDouble},
        {"double", F::kToDouble, false, true, {K::kDouble}, K::kDouble},
        {"double", F::kToDouble, false, true, {K::kString}, K::kDouble},
        {"string", F::kToString, false, true, {K::kInt}, K::kString},
        {"string", F::kToString, false, true, {K::kUint}, K::kString},
        {"string", F::kToString, false, true, {K::kDouble}, K::kString},
        {"string", F::kToString, false, true, {K::kString}, K::kString},
        {"string", F::kToString, false, true, {K::kBool}, K::kString},
        {"timestamp", F::kToTimestamp, false, true, {K::kString}, K::kTimestamp},
        {"timestamp", F::kToTimestamp, false, true, {K::kTimestamp}, K::kTimestamp},
        {"duration", F::kToDuration, false, true, {K::kString}, K::kDuration},
        {"duration", F::kToDuration, false, true, {K::kDuration}, K::kDuration},
    };
    return overloads;
  }

  const Type* VisitCall(NodeId id) {
    const Node& node = ast_.at(id);
    bool known = false;
    std::vector<std::string> names;
    for (const Overload& overload : Overloads()) {
      if (overload.name == node.text) known = true;
      names.emplace_back(overload.name);
    }
    if (!known) {
      names.erase(std::unique(names.begin(), names.end()), names.end());
      return Fail(node.offset, Concat("unknown function '", node.text, "'",
                                      Suggestion(node.text, names, "there are")));
    }
    std::vector<const Type*> arguments;
    for (const NodeId child : node.children) {
      const Type* type = Visit(child);
      if (type == nullptr) return nullptr;
      arguments.push_back(type);
    }
    for (const Overload& overload : Overloads()) {
      if (overload.name != node.text || (node.method ? !overload.method : !overload.global) ||
          overload.arguments.size() != arguments.size()) {
        continue;
      }
      bool fits = true;
      for (std::size_t i = 0; i < arguments.size(); ++i) {
        fits = fits && (arguments[i]->kind == overload.arguments[i] ||
                        arguments[i]->kind == TypeKind::kAny);
      }
      if (!fits) continue;
      meanings_[id].function = overload.function;
      return Is(id, overload.result);
    }
    return Fail(node.offset, WrongCall(node, arguments));
  }

  static std::string WrongCall(const Node& node, const std::vector<const Type*>& arguments) {
    std::vector<std::string> given;
    for (const Type* type : arguments) given.push_back(TypeText(*type));
    std::vector<std::string> forms;
    for (const Overload& overload : Overloads()) {
      if (overload.name != node.text) continue;
      std::vector<std::string> kinds;
      for (const TypeKind kind : overload.arguments) {
        Type type;
        type.kind = kind;
        kinds.push_back(kind == TypeKind::kList  ? "list"
                        : kind == TypeKind::kMap ? "map"
                                                 : TypeText(type));
      }
      if (overload.method) {
        const std::string receiver = kinds.front();
        kinds.erase(kinds.begin());
        forms.push_back(Concat(receiver, ".", node.text, "(", Join(kinds, ", "), ")"));
      } else {
        forms.push_back(Concat(node.text, "(", Join(kinds, ", "), ")"));
      }
    }
    std::string call;
    if (node.method) {
      const std::string receiver = given.front();
      given.erase(given.begin());
      call = Concat(receiver, ".", node.text, "(", Join(given, ", "), ")");
    } else {
      call = Concat(node.text, "(", Join(given, ", "), ")");
    }
    return Concat("there is no ", call, "; there is ", Join(forms, ", "));
  }

  const Type* VisitNot(NodeId id) {
    const Node& node = ast_.at(id);
    const Type* operand = Visit(node.children[0]);
    if (operand == nullptr) return nullptr;
    if (operand->kind != TypeKind::kBool) {
      return Fail(node.offset, Concat("'!' takes a bool, not ", TypeText(*operand)));
    }
    return Is(id, TypeKind::kBool);
  }

  const Type* VisitNegate(NodeId id) {
    const Node& node = ast_.at(id);
    const Type* operand = Visit(node.children[0]);
    if (operand == nullptr) return nullptr;
    if (operand->kind != TypeKind::kInt && operand->kind != TypeKind::kDouble) {
      return Fail(node.offset, Concat("'-' takes an int or a double, not ", TypeText(*operand)));
    }
    return Is(id, operand->kind);
  }

  const Type* VisitLogic(NodeId id) {
    const Node& node = ast_.at(id);
    for (const NodeId child : node.children) {
      const Type* type = Visit(child);
      if (type == nullptr) return nullptr;
      if (type->kind != TypeKind::kBool) {
        return Fail(ast_.at(child).offset,
                    Concat("'", OperationText(node.op), "' joins bools, and this is of type ",
                           TypeText(*type)));
      }
    }
    return Is(id, TypeKind::kBool);
  }

  const Type* VisitConditional(NodeId id) {
    const Node& node = ast_.at(id);
    const Type* condition = Visit(node.children[0]);
    const Type* yes = condition == nullptr ? nullptr : Visit(node.children[1]);
    const Type* no = yes == nullptr ? nullptr : Visit(node.children[2]);
    if (no == nullptr) return nullptr;
    if (condition->kind != TypeKind::kBool) {
      return Fail(ast_.at(node.children[0]).offset,
                  Concat("what stands before '?' must be a bool, not ", TypeText(*condition)));
    }
    if (!Same(*yes, *no)) {
      return Fail(node.offset, Concat("both sides of ':' must be of one type, not ", TypeText(*yes),
                                      " and ", TypeText(*no)));
    }
    return meanings_[id].type = types_.Merge(yes, no);
  }

  const Type* VisitBinary(NodeId id) {
    const Node& node = ast_.at(id);
    const Type* left = Visit(node.children[0]);
    const Type* right = left == nullptr ? nullptr : Visit(node.children[1]);
    if (right == nullptr) return nullptr;
    switch (node.op) {
      case Operation::kEqual:
      case Operation::kNotEqual:
        return Equality(id, *left, *right);
      case Operation::kLess:
      case Operation::kLessEqual:
      case Operation::kGreater:
      case Operation::kGreaterEqual:
        return Ordering(id, *left, *right);
      case Operation::kIn:
        return Membership(id, *left, *right);
      default:
        return Arithmetic(id, *left, *right);
    }
  }

  const Type* Mismatch(NodeId id, std::string_view verb, const Type& left, const Type& right) {
    const Node& node = ast_.at(id);
    return Fail(node.offset, Concat("'", OperationText(node.op), "' cannot ", verb, " ",
                                    TypeText(left), " and ", TypeText(right), Hint(left, right)));
  }

  // What was probably meant when two types do not go together.
  static std::string Hint(const Type& left, const Type& right) {
    const auto either = [&](TypeKind a, TypeKind b) {
      return (left.kind == a && right.kind == b) || (left.kind == b && right.kind == a);
    };
    const EnumDescriptor* enumeration =
        left.enumeration != nullptr ? left.enumeration : right.enumeration;
    if (enumeration != nullptr && either(TypeKind::kInt, TypeKind::kString)) {
      const int last = enumeration->value_count() - 1;
      return Concat("; write a value of the enum, such as ", enumeration->full_name(), ".",
                    enumeration->value(last)->name());
    }
    if (either(TypeKind::kInt, TypeKind::kUint)) return "; a uint is written with a u: 1u";
    if (either(TypeKind::kInt, TypeKind::kDouble) || either(TypeKind::kUint, TypeKind::kDouble)) {
      return "; a double is written with a point: 1.0";
    }
    if (either(TypeKind::kInt, TypeKind::kString) || either(TypeKind::kUint, TypeKind::kString)) {
      return "; text is written in quotes";
    }
    if (either(TypeKind::kTimestamp, TypeKind::kString)) {
      return "; write timestamp(\"2016-01-15T13:24:00Z\")";
    }
    if (either(TypeKind::kDuration, TypeKind::kString)) return "; write duration(\"90s\")";
    return {};
  }

  static bool IsComparable(const Type& type) {
    switch (type.kind) {
      case TypeKind::kMessage:
      case TypeKind::kMap:
        return false;
      case TypeKind::kList:
        return IsComparable(*type.element);
      default:
        return true;
    }
  }

  const Type* Equality(NodeId id, const Type& left, const Type& right) {
    const bool null = left.kind == TypeKind::kNull || right.kind == TypeKind::kNull;
    const Type& other = left.kind == TypeKind::kNull ? right : left;
    if (null && other.kind == TypeKind::kMessage) {
      return Fail(ast_.at(id).offset,
                  "a message field is never null: ask with has() whether it is set");
    }
    if (!Same(left, right)) return Mismatch(id, "compare", left, right);
    if (!IsComparable(left) || !IsComparable(right)) {
      return Fail(ast_.at(id).offset,
                  Concat("values of type ", TypeText(left),
                         " cannot be compared as a whole: compare their parts"));
    }
    return Is(id, TypeKind::kBool);
  }

  const Type* Ordering(NodeId id, const Type& left, const Type& right) {
    if (!Same(left, right)) return Mismatch(id, "compare", left, right);
    switch (left.kind) {
      case TypeKind::kMessage:
      case TypeKind::kMap:
      case TypeKind::kList:
      case TypeKind::kNull:
        return Fail(ast_.at(id).offset,
                    Concat("values of type ", TypeText(left), " have no order"));
      default:
        return Is(id, TypeKind::kBool);
    }
  }

  const Type* Membership(NodeId id, const Type& left, const Type& right) {
    const Node& node = ast_.at(id);
    if (right.kind != TypeKind::kList && right.kind != TypeKind::kMap) {
      return Fail(node.offset,
                  Concat("what stands after 'in' must be a list or a map, not ", TypeText(right),
                         right.kind == TypeKind::kString ? "; for text use contains()" : ""));
    }
    const Type& element = right.kind == TypeKind::kList ? *right.element : *right.key;
    if (!Same(left, element)) {
      return Fail(node.offset, Concat("a value of type ", TypeText(left), " is never in a ",
                                      TypeText(right), Hint(left, element)));
    }
    if (!IsComparable(left)) {
      return Fail(node.offset, Concat("values of type ", TypeText(left),
                                      " cannot be compared as a whole: compare their parts"));
    }
    return Is(id, TypeKind::kBool);
  }

  const Type* Arithmetic(NodeId id, const Type& left, const Type& right) {
    using K = TypeKind;
    const Operation op = ast_.at(id).op;
    if (left.kind == right.kind) {
      switch (left.kind) {
        case K::kInt:
        case K::kUint:
          return Is(id, left.kind);
        case K::kDouble:
          if (op != Operation::kModulo) return Is(id, K::kDouble);
          break;
        case K::kString:
        case K::kBytes:
          if (op == Operation::kAdd) return Is(id, left.kind);
          break;
        case K::kDuration:
          if (op == Operation::kAdd || op == Operation::kSubtract) return Is(id, K::kDuration);
          break;
        case K::kTimestamp:
          if (op == Operation::kSubtract) return Is(id, K::kDuration);
          break;
        case K::kList:
          if (op == Operation::kAdd && Same(left, right)) {
            return meanings_[id].type = types_.Merge(&left, &right);
          }
          break;
        default:
          break;
      }
    }
    if (op == Operation::kAdd && ((left.kind == K::kTimestamp && right.kind == K::kDuration) ||
                                  (left.kind == K::kDuration && right.kind == K::kTimestamp))) {
      return Is(id, K::kTimestamp);
    }
    if (op == Operation::kSubtract && left.kind == K::kTimestamp && right.kind == K::kDuration) {
      return Is(id, K::kTimestamp);
    }
    return Mismatch(id, "take", left, right);
  }

  const Ast& ast_;
  const Descriptor& root_;
  Types& types_;
  std::vector<Meaning>& meanings_;
  Mistake& mistake_;
};

}  // namespace

bool Check(const Ast& ast, const Descriptor& root, Types& types, std::vector<Meaning>& meanings,
           Mistake& mistake) {
  return Checker(ast, root, types, meanings, mistake).Run();
}

}  // namespace tocsin::cel
