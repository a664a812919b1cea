#include "lib/cel/parser.h"

#include <algorithm>
#include <limits>
#include <optional>
#include <utility>

#include "lib/base/text.h"

namespace tocsin::cel {
namespace {

class Parser {
 public:
  Parser(std::string_view text, const std::vector<Token>& tokens, const Limits& limits, Ast& ast,
         Mistake& mistake)
      : text_(text), tokens_(tokens), limits_(limits), ast_(ast), mistake_(mistake) {}

  bool Run() {
    const std::optional<NodeId> root = Expression();
    if (!root) return false;
    if (Peek().kind != TokenKind::kEnd) {
      Unexpected(Peek());
      return false;
    }
    ast_.root = *root;
    return true;
  }

 private:
  using Result = std::optional<NodeId>;

  const Token& Peek() const { return tokens_[at_]; }
  // The kEnd token is never passed.
  const Token& Take() {
    const Token& token = tokens_[at_];
    if (token.kind != TokenKind::kEnd) ++at_;
    return token;
  }
  bool TakeIf(TokenKind kind) {
    if (Peek().kind != kind) return false;
    Take();
    return true;
  }

  Result Fail(std::size_t offset, std::string reason) {
    // The first mistake is the one that explains the others.
    if (mistake_.reason.empty()) mistake_ = {offset, std::move(reason)};
    return std::nullopt;
  }

  std::string_view Written(const Token& token) const {
    return text_.substr(token.offset, std::min<std::size_t>(token.length, 40));
  }

  Result Unexpected(const Token& token) {
    switch (token.kind) {
      case TokenKind::kEnd:
        return Fail(token.offset, "the expression ends too early: a value is missing");
      case TokenKind::kLeftBrace:
        return Fail(token.offset, "maps and messages cannot be written in an expression");
      case TokenKind::kIdentifier:
        if (token.text == "and") return Fail(token.offset, "'and' is written &&");
        if (token.text == "or") return Fail(token.offset, "'or' is written ||");
        if (token.text == "not") return Fail(token.offset, "'not' is written !");
        break;
      default:
        break;
    }
    return Fail(token.offset, Concat("unexpected '", Written(token), "'"));
  }

  bool Expect(TokenKind kind, std::string_view what) {
    if (TakeIf(kind)) return true;
    if (Peek().kind == TokenKind::kEnd) {
      Fail(Peek().offset, Concat("the expression ends too early: ", what, " is missing"));
    } else {
      Fail(Peek().offset, Concat(what, " expected, not '", Written(Peek()), "'"));
    }
    return false;
  }

  Result Add(Node node) {
    for (const NodeId child : node.children) {
      node.depth = std::max(node.depth, ast_.nodes[child].depth + 1);
    }
    if (node.depth > limits_.max_depth) {
      return Fail(node.offset, Concat("nested deeper than ", limits_.max_depth, " levels"));
    }
    if (ast_.nodes.size() >= limits_.max_nodes) {
      return Fail(node.offset, Concat("more than ", limits_.max_nodes,
                                      " operators and operands: split the expression"));
    }
    ast_.nodes.push_back(std::move(node));
    return static_cast<NodeId>(ast_.nodes.size() - 1);
  }

  Result Make(NodeKind kind, std::size_t offset, std::vector<NodeId> children = {},
              Operation op = Operation::kNone) {
    Node node;
    node.kind = kind;
    node.op = op;
    node.offset = offset;
    node.children = std::move(children);
    return Add(std::move(node));
  }

  // Counts one level of recursion for as long as it lives.
  class Level {
   public:
    explicit Level(Parser& parser) : parser_(parser) { ++parser_.level_; }
    ~Level() { --parser_.level_; }
    Level(const Level&) = delete;
    Level& operator=(const Level&) = delete;
    bool TooDeep() const {
      // A parenthesis takes two levels: the expression in it and its first operand.
      if (parser_.level_ <= 2 * parser_.limits_.max_depth) return false;
      parser_.Fail(parser_.Peek().offset,
                   Concat("nested deeper than ", parser_.limits_.max_depth, " levels"));
      return true;
    }

   private:
    Parser& parser_;
  };

  Result Expression() {
    const Level level(*this);
    if (level.TooDeep()) return std::nullopt;
    const Result condition = Logic(Operation::kOr);
    if (!condition || Peek().kind != TokenKind::kQuestion) return condition;
    const std::size_t offset = Take().offset;
    const Result yes = Logic(Operation::kOr);
    if (!yes || !Expect(TokenKind::kColon, "':'")) return std::nullopt;
    const Result no = Expression();
    if (!no) return std::nullopt;
    return Make(NodeKind::kConditional, offset, {*condition, *yes, *no});
  }

  // `||` over `&&` over relations.
  Result Logic(Operation op) {
    const TokenKind sign = op == Operation::kOr ? TokenKind::kOr : TokenKind::kAnd;
    const auto operand = [&] { return op == Operation::kOr ? Logic(Operation::kAnd) : Relation(); };
    const Result first = operand();
    if (!first || Peek().kind != sign) return first;
    const std::size_t offset = Peek().offset;
    std::vector<NodeId> operands = {*first};
    while (TakeIf(sign)) {
      const Result next = operand();
      if (!next) return std::nullopt;
      operands.push_back(*next);
    }
    return Make(NodeKind::kLogic, offset, std::move(operands), op);
  }

  static Operation RelationOf(TokenKind kind) {
    switch (kind) {
      case TokenKind::kEqual:
        return Operation::kEqual;
      case TokenKind::kNotEqual:
        return Operation::kNotEqual;
      case TokenKind::kLess:
        return Operation::kLess;
      case TokenKind::kLessEqual:
        return Operation::kLessEqual;
      case TokenKind::kGreater:
        return Operation::kGreater;
      case TokenKind::kGreaterEqual:
        return Operation::kGreaterEqual;
      case TokenKind::kIn:
        return Operation::kIn;
      default:
        return Operation::kNone;
    }
  }

  static Operation SumOf(TokenKind kind) {
    switch (kind) {
      case TokenKind::kPlus:
        return Operation::kAdd;
      case TokenKind::kMinus:
        return Operation::kSubtract;
      default:
        return Operation::kNone;
    }
  }

  static Operation ProductOf(TokenKind kind) {
    switch (kind) {
      case TokenKind::kStar:
        return Operation::kMultiply;
      case TokenKind::kSlash:
        return Operation::kDivide;
      case TokenKind::kPercent:
        return Operation::kModulo;
      default:
        return Operation::kNone;
    }
  }

  // operand (sign operand)*, from left to right.
  Result Chain(Operation (*operation)(TokenKind), Result (Parser::*operand)()) {
    Result left = (this->*operand)();
    while (left) {
      const Operation op = operation(Peek().kind);
      if (op == Operation::kNone) return left;
      const std::size_t offset = Take().offset;
      const Result right = (this->*operand)();
      if (!right) return std::nullopt;
      left = Make(NodeKind::kBinary, offset, {*left, *right}, op);
    }
    return std::nullopt;
  }

  Result Relation() { return Chain(&RelationOf, &Parser::Sum); }
  Result Sum() { return Chain(&SumOf, &Parser::Product); }
  Result Product() { return Chain(&ProductOf, &Parser::Unary); }

  Result Unary() {
    const Level level(*this);
    if (level.TooDeep()) return std::nullopt;
    const Token& token = Peek();
    if (token.kind == TokenKind::kNot) {
      Take();
      const Result operand = Unary();
      if (!operand) return std::nullopt;
      return Make(NodeKind::kNot, token.offset, {*operand});
    }
    if (token.kind == TokenKind::kMinus) {
      Take();
      if (Peek().kind == TokenKind::kInt || Peek().kind == TokenKind::kDouble) {
        return Member(NegativeNumber(token.offset));
      }
      const Result operand = Unary();
      if (!operand) return std::nullopt;
      return Make(NodeKind::kNegate, token.offset, {*operand});
    }
    return Member(Primary());
  }

  // A minus directly before a number is part of it: the least int has no positive counterpart.
  Result NegativeNumber(std::size_t offset) {
    const Token& token = Take();
    Node node;
    node.offset = offset;
    if (token.kind == TokenKind::kDouble) {
      node.kind = NodeKind::kDouble;
      node.real = -token.real;
      return Add(std::move(node));
    }
    constexpr std::uint64_t kMost = std::uint64_t{1} << 63;
    if (token.number > kMost) return TooLarge(token, "-");
    node.kind = NodeKind::kInt;
    node.integer = token.number == kMost ? std::numeric_limits<std::int64_t>::min()
                                         : -static_cast<std::int64_t>(token.number);
    return Add(std::move(node));
  }

  Result TooLarge(const Token& token, std::string_view sign) {
    return Fail(token.offset, Concat("the number ", sign, token.number,
                                     " is out of range of an int; write 'u' after it for a uint"));
  }

  Result Member(Result operand) {
    while (operand) {
      const Token& token = Peek();
      if (token.kind == TokenKind::kDot) {
        Take();
        if (Peek().kind != TokenKind::kIdentifier) {
          Expect(TokenKind::kIdentifier, "a name after '.'");
          return std::nullopt;
        }
        const Token& name = Take();
        Node node;
        node.offset = name.offset;
        node.text = name.text;
        node.children = {*operand};
        if (TakeIf(TokenKind::kLeftParen)) {
          node.kind = NodeKind::kCall;
          node.method = true;
          if (!Elements(TokenKind::kRightParen, "')'", node.children)) return std::nullopt;
        } else {
          node.kind = NodeKind::kSelect;
        }
        operand = Add(std::move(node));
      } else if (token.kind == TokenKind::kLeftBracket) {
        Take();
        const Result index = Expression();
        if (!index || !Expect(TokenKind::kRightBracket, "']'")) return std::nullopt;
        operand = Make(NodeKind::kIndex, token.offset, {*operand, *index});
      } else {
        return operand;
      }
    }
    return std::nullopt;
  }

  // Expressions between commas up to `close`, which is taken. One comma may stand at the end of a
  // list.
  bool Elements(TokenKind close, std::string_view what, std::vector<NodeId>& elements) {
    if (TakeIf(close)) return true;
    while (true) {
      const Result element = Expression();
      if (!element) return false;
      elements.push_back(*element);
      if (TakeIf(close)) return true;
      if (!Expect(TokenKind::kComma, Concat("',' or ", what))) return false;
      if (close == TokenKind::kRightBracket && TakeIf(close)) return true;
    }
  }

  Result Primary() {
    const Token& token = Take();
    Node node;
    node.offset = token.offset;
    switch (token.kind) {
      case TokenKind::kLeftParen: {
        const Result inner = Expression();
        if (!inner || !Expect(TokenKind::kRightParen, "')'")) return std::nullopt;
        return inner;
      }
      case TokenKind::kLeftBracket:
        node.kind = NodeKind::kList;
        if (!Elements(TokenKind::kRightBracket, "']'", node.children)) return std::nullopt;
        return Add(std::move(node));
      case TokenKind::kDot: {
        if (Peek().kind != TokenKind::kIdentifier) {
          Expect(TokenKind::kIdentifier, "a name after '.'");
          return std::nullopt;
        }
        node.kind = NodeKind::kIdentifier;
        node.text = Concat(".", Take().text);
        return Add(std::move(node));
      }
      case TokenKind::kIdentifier:
        if (TakeIf(TokenKind::kLeftParen)) return Call(token);
        node.kind = NodeKind::kIdentifier;
        node.text = token.text;
        if (token.text == "not" && Peek().kind == TokenKind::kIdentifier) return Unexpected(token);
        return Add(std::move(node));
      case TokenKind::kInt:
        if (token.number > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) {
          return TooLarge(token, "");
        }
        node.kind = NodeKind::kInt;
        node.integer = static_cast<std::int64_t>(token.number);
        return Add(std::move(node));
      case TokenKind::kUint:
        node.kind = NodeKind::kUint;
        node.natural = token.number;
        return Add(std::move(node));
      case TokenKind::kDouble:
        node.kind = NodeKind::kDouble;
        node.real = token.real;
        return Add(std::move(node));
      case TokenKind::kString:
      case TokenKind::kBytes:
        node.kind = token.kind == TokenKind::kString ? NodeKind::kString : NodeKind::kBytes;
        node.text = token.text;
        return Add(std::move(node));
      case TokenKind::kTrue:
      case TokenKind::kFalse:
        node.kind = NodeKind::kBool;
        node.boolean = token.kind == TokenKind::kTrue;
        return Add(std::move(node));
      case TokenKind::kNull:
        return Add(std::move(node));
      default:
        return Unexpected(token);
    }
  }

  // The name and the opening parenthesis are taken.
  Result Call(const Token& name) {
    Node node;
    node.offset = name.offset;
    node.text = name.text;
    if (!Elements(TokenKind::kRightParen, "')'", node.children)) return std::nullopt;
    node.kind = NodeKind::kCall;
    if (name.text == "has") {
      const bool field =
          node.children.size() == 1 && (ast_.at(node.children[0]).kind == NodeKind::kSelect ||
                                        ast_.at(node.children[0]).kind == NodeKind::kIdentifier);
      if (!field) {
        return Fail(name.offset, "has() takes one field, for example has(address.street)");
      }
      node.kind = NodeKind::kHas;
    }
    return Add(std::move(node));
  }

  std::string_view text_;
  const std::vector<Token>& tokens_;
  const Limits& limits_;
  Ast& ast_;
  Mistake& mistake_;
  std::size_t at_ = 0;
  int level_ = 0;
};

}  // namespace

const char* OperationText(Operation op) {
  switch (op) {
    case Operation::kNone:
      return "";
    case Operation::kAdd:
      return "+";
    case Operation::kSubtract:
      return "-";
    case Operation::kMultiply:
      return "*";
    case Operation::kDivide:
      return "/";
    case Operation::kModulo:
      return "%";
    case Operation::kEqual:
      return "==";
    case Operation::kNotEqual:
      return "!=";
    case Operation::kLess:
      return "<";
    case Operation::kLessEqual:
      return "<=";
    case Operation::kGreater:
      return ">";
    case Operation::kGreaterEqual:
      return ">=";
    case Operation::kIn:
      return "in";
    case Operation::kAnd:
      return "&&";
    case Operation::kOr:
      return "||";
  }
  return "";
}

bool Parse(std::string_view text, const Limits& limits, Ast& ast, Mistake& mistake) {
  if (text.size() > limits.max_length) {
    mistake = {0, Concat("the expression has ", text.size(), " bytes; at most ", limits.max_length,
                         " are taken")};
    return false;
  }
  std::vector<Token> tokens;
  if (!Tokenize(text, tokens, mistake)) return false;
  return Parser(text, tokens, limits, ast, mistake).Run();
}

}  // namespace tocsin::cel
