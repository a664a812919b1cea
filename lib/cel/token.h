#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace tocsin::cel {

enum class TokenKind {
  kEnd,
  kIdentifier,
  kInt,
  kUint,
  kDouble,
  kString,
  kBytes,
  kTrue,
  kFalse,
  kNull,
  kIn,
  kDot,
  kComma,
  kColon,
  kQuestion,
  kLeftParen,
  kRightParen,
  kLeftBracket,
  kRightBracket,
  kLeftBrace,
  kRightBrace,
  kPlus,
  kMinus,
  kStar,
  kSlash,
  kPercent,
  kNot,
  kAnd,
  kOr,
  kEqual,
  kNotEqual,
  kLess,
  kLessEqual,
  kGreater,
  kGreaterEqual,
};

struct Token {
  TokenKind kind = TokenKind::kEnd;
  std::size_t offset = 0;
  // Bytes of the expression that it takes.
  std::size_t length = 0;
  // Identifiers: the name. Strings and bytes: the value, escapes resolved.
  std::string text;
  // kInt and kUint: the magnitude; a minus before it is a token of its own.
  std::uint64_t number = 0;
  double real = 0;
};

}  // namespace tocsin::cel
