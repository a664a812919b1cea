#include "lib/cel/lexer.h"

#include <array>
#include <charconv>
#include <cmath>
#include <optional>
#include <utility>

#include "absl/strings/numbers.h"
#include "lib/base/text.h"

namespace tocsin::cel {
namespace {

bool IsDigit(char c) { return c >= '0' && c <= '9'; }
bool IsLetter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }

int HexDigit(char c) {
  if (IsDigit(c)) return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

constexpr std::array<std::string_view, 17> kReserved = {
    "as",  "break", "const",     "continue", "else",   "for", "function", "if",   "import",
    "let", "loop",  "namespace", "package",  "return", "var", "void",     "while"};

// Appends a code point as UTF-8; false for what is none.
bool AppendCodePoint(std::uint32_t code, std::string& out) {
  if (code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff)) return false;
  const auto put = [&out](std::uint32_t byte) { out.push_back(static_cast<char>(byte)); };
  if (code < 0x80) {
    put(code);
  } else if (code < 0x800) {
    put(0xc0U | (code >> 6));
    put(0x80U | (code & 0x3fU));
  } else if (code < 0x10000) {
    put(0xe0U | (code >> 12));
    put(0x80U | ((code >> 6) & 0x3fU));
    put(0x80U | (code & 0x3fU));
  } else {
    put(0xf0U | (code >> 18));
    put(0x80U | ((code >> 12) & 0x3fU));
    put(0x80U | ((code >> 6) & 0x3fU));
    put(0x80U | (code & 0x3fU));
  }
  return true;
}

class Lexer {
 public:
  Lexer(std::string_view text, std::vector<Token>& tokens, Mistake& mistake)
      : text_(text), tokens_(tokens), mistake_(mistake) {}

  bool Run() {
    while (true) {
      SkipSpaceAndComments();
      Token token;
      token.offset = at_;
      if (at_ == text_.size()) {
        tokens_.push_back(std::move(token));
        return true;
      }
      if (!Next(token)) return false;
      token.length = at_ - token.offset;
      tokens_.push_back(std::move(token));
    }
  }

 private:
  char Peek(std::size_t ahead = 0) const {
    return at_ + ahead < text_.size() ? text_[at_ + ahead] : '\0';
  }

  bool Fail(std::size_t offset, std::string reason) {
    mistake_ = {offset, std::move(reason)};
    return false;
  }

  void SkipSpaceAndComments() {
    while (at_ < text_.size()) {
      const char c = text_[at_];
      if (c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f') {
        ++at_;
      } else if (c == '/' && Peek(1) == '/') {
        const std::size_t end = text_.find('\n', at_);
        at_ = end == std::string_view::npos ? text_.size() : end;
      } else {
        return;
      }
    }
  }

  bool Next(Token& token) {
    const char c = Peek();
    if (IsDigit(c) || (c == '.' && IsDigit(Peek(1)))) return Number(token);
    if (c == '"' || c == '\'') return Text(token, false, false);
    if (const std::optional<std::pair<bool, bool>> prefix = TextPrefix()) {
      at_ += prefix->first && prefix->second ? 2 : 1;
      return Text(token, prefix->first, prefix->second);
    }
    if (IsLetter(c)) return Word(token);
    return Operator(token);
  }

  // {raw, bytes} when a quote follows one or both of the letters r and b.
  std::optional<std::pair<bool, bool>> TextPrefix() const {
    bool raw = false;
    bool bytes = false;
    for (std::size_t i = 0; i < 3; ++i) {
      const char c = Peek(i);
      if (c == '"' || c == '\'')
        return i == 0 ? std::nullopt : std::optional(std::pair(raw, bytes));
      if ((c == 'r' || c == 'R') && !raw) {
        raw = true;
      } else if ((c == 'b' || c == 'B') && !bytes) {
        bytes = true;
      } else {
        return std::nullopt;
      }
    }
    return std::nullopt;
  }

  bool Word(Token& token) {
    const std::size_t begin = at_;
    while (IsLetter(Peek()) || IsDigit(Peek())) ++at_;
    const std::string_view word = text_.substr(begin, at_ - begin);
    if (word == "true") {
      token.kind = TokenKind::kTrue;
    } else if (word == "false") {
      token.kind = TokenKind::kFalse;
    } else if (word == "null") {
      token.kind = TokenKind::kNull;
    } else if (word == "in") {
      token.kind = TokenKind::kIn;
    } else {
      // After a dot any name may stand: `event.package`.
      const bool selected = !tokens_.empty() && tokens_.back().kind == TokenKind::kDot;
      for (const std::string_view reserved : kReserved) {
        if (word == reserved && !selected) {
          return Fail(begin, Concat("'", word, "' is a reserved word"));
        }
      }
      token.kind = TokenKind::kIdentifier;
      token.text = std::string(word);
    }
    return true;
  }

  bool Number(Token& token) {
    const std::size_t begin = at_;
    if (Peek() == '0' && (Peek(1) == 'x' || Peek(1) == 'X')) {
      at_ += 2;
      const std::size_t digits = at_;
      while (HexDigit(Peek()) >= 0) ++at_;
      return Whole(token, begin, text_.substr(digits, at_ - digits), 16);
    }
    bool real = false;
    while (IsDigit(Peek())) ++at_;
    if (Peek() == '.' && IsDigit(Peek(1))) {
      real = true;
      ++at_;
      while (IsDigit(Peek())) ++at_;
    }
    if (Peek() == 'e' || Peek() == 'E') {
      const std::size_t sign = Peek(1) == '+' || Peek(1) == '-' ? 2 : 1;
      if (IsDigit(Peek(sign))) {
        real = true;
        at_ += sign;
        while (IsDigit(Peek())) ++at_;
      }
    }
    const std::string_view digits = text_.substr(begin, at_ - begin);
    if (!real) return Whole(token, begin, digits, 10);
    token.kind = TokenKind::kDouble;
    if (!absl::SimpleAtod(ToAbsl(digits), &token.real) || !std::isfinite(token.real)) {
      return Fail(begin, Concat("the number ", digits.substr(0, 40), " is out of range"));
    }
    return EndOfNumber(begin);
  }

  bool Whole(Token& token, std::size_t begin, std::string_view digits, int base) {
    const auto [end, error] =
        std::from_chars(digits.data(), digits.data() + digits.size(), token.number, base);
    if (digits.empty()) return Fail(begin, "digits are missing after 0x");
    if (error != std::errc()) {
      return Fail(begin, Concat("the number ", digits.substr(0, 40), " is out of range"));
    }
    token.kind = TokenKind::kInt;
    if (Peek() == 'u' || Peek() == 'U') {
      token.kind = TokenKind::kUint;
      ++at_;
    }
    return EndOfNumber(begin);
  }

  bool EndOfNumber(std::size_t begin) {
    if (!IsLetter(Peek()) && !IsDigit(Peek())) return true;
    while (IsLetter(Peek()) || IsDigit(Peek())) ++at_;
    return Fail(begin, Concat("'", text_.substr(begin, std::min<std::size_t>(at_ - begin, 40)),
                              "' is neither a number nor a name"));
  }

  bool Text(Token& token, bool raw, bool bytes) {
    token.kind = bytes ? TokenKind::kBytes : TokenKind::kString;
    const std::size_t begin = token.offset;
    const char quote = Peek();
    const bool triple = Peek(1) == quote && Peek(2) == quote;
    at_ += triple ? 3 : 1;
    while (true) {
      if (at_ >= text_.size()) return Fail(begin, "this text is not closed: a quote is missing");
      const char c = Peek();
      if (c == quote && (!triple || (Peek(1) == quote && Peek(2) == quote))) {
        at_ += triple ? 3 : 1;
        return true;
      }
      if (!triple && (c == '\n' || c == '\r')) {
        return Fail(begin, "this text is not closed on its line; use \"\"\" for several lines");
      }
      if (c == '\\' && !raw) {
        if (!Escape(token.text, bytes)) return false;
        continue;
      }
      token.text.push_back(c);
      ++at_;
    }
  }

  bool Escape(std::string& out, bool bytes) {
    const std::size_t begin = at_;
    const char c = Peek(1);
    constexpr std::string_view kNames = "abfnrtv\\?\"'`";
    constexpr std::string_view kValues = "\a\b\f\n\r\t\v\\?\"'`";
    if (const std::size_t known = kNames.find(c); known != std::string_view::npos && c != '\0') {
      out.push_back(kValues[known]);
      at_ += 2;
      return true;
    }
    int digits = 0;
    std::uint32_t base = 16;
    std::size_t skip = 2;
    if (c == 'x' || c == 'X') {
      digits = 2;
    } else if (c == 'u' && !bytes) {
      digits = 4;
    } else if (c == 'U' && !bytes) {
      digits = 8;
    } else if (c >= '0' && c <= '3') {
      digits = 3;
      base = 8;
      skip = 1;
    } else {
      return Fail(begin, Concat("unknown escape '", text_.substr(begin, 2),
                                "'; write \\\\ for a backslash, or r\"…\" for text as it stands"));
    }
    at_ += skip;
    std::uint32_t code = 0;
    for (int i = 0; i < digits; ++i, ++at_) {
      const int digit = HexDigit(Peek());
      if (digit < 0 || static_cast<std::uint32_t>(digit) >= base) {
        return Fail(begin, Concat("an escape of this kind has ", digits, " digits"));
      }
      code = code * base + static_cast<std::uint32_t>(digit);
    }
    if (bytes) {
      out.push_back(static_cast<char>(code));
      return true;
    }
    if (!AppendCodePoint(code, out)) return Fail(begin, "this is not a Unicode code point");
    return true;
  }

  bool Operator(Token& token) {
    struct Sign {
      std::string_view text;
      TokenKind kind;
    };
    // Longer ones first.
    static constexpr std::array<Sign, 24> kSigns = {{
        {"&&", TokenKind::kAnd},         {"||", TokenKind::kOr},
        {"==", TokenKind::kEqual},       {"!=", TokenKind::kNotEqual},
        {"<=", TokenKind::kLessEqual},   {">=", TokenKind::kGreaterEqual},
        {"<", TokenKind::kLess},         {">", TokenKind::kGreater},
        {"!", TokenKind::kNot},          {".", TokenKind::kDot},
        {",", TokenKind::kComma},        {":", TokenKind::kColon},
        {"?", TokenKind::kQuestion},     {"(", TokenKind::kLeftParen},
        {")", TokenKind::kRightParen},   {"[", TokenKind::kLeftBracket},
        {"]", TokenKind::kRightBracket}, {"{", TokenKind::kLeftBrace},
        {"}", TokenKind::kRightBrace},   {"+", TokenKind::kPlus},
        {"-", TokenKind::kMinus},        {"*", TokenKind::kStar},
        {"/", TokenKind::kSlash},        {"%", TokenKind::kPercent},
    }};
    const std::string_view rest = text_.substr(at_);
    for (const Sign& sign : kSigns) {
      if (rest.starts_with(sign.text)) {
        token.kind = sign.kind;
        at_ += sign.text.size();
        return true;
      }
    }
    switch (rest.front()) {
      case '=':
        return Fail(at_, "a single '=' means nothing here; write == to compare");
      case '&':
        return Fail(at_, "a single '&' means nothing here; write && for 'and'");
      case '|':
        return Fail(at_, "a single '|' means nothing here; write || for 'or'");
      default:
        break;
    }
    const auto byte = static_cast<unsigned char>(rest.front());
    if (byte < 0x20 || byte == 0x7f) return Fail(at_, "a control character means nothing here");
    std::size_t length = 1;
    while (byte >= 0xc0 && length < rest.size() && length < 4 &&
           (static_cast<unsigned char>(rest[length]) & 0xc0U) == 0x80) {
      ++length;
    }
    return Fail(at_, byte >= 0x80 && length == 1
                         ? std::string("this is not valid UTF-8")
                         : Concat("'", rest.substr(0, length), "' means nothing here"));
  }

  std::string_view text_;
  std::vector<Token>& tokens_;
  Mistake& mistake_;
  std::size_t at_ = 0;
};

}  // namespace

bool Tokenize(std::string_view text, std::vector<Token>& tokens, Mistake& mistake) {
  return Lexer(text, tokens, mistake).Run();
}

}  // namespace tocsin::cel
