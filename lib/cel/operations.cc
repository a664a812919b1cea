#include <google/protobuf/descriptor.h>
#include <re2/re2.h>

#include <array>
#include <charconv>
#include <cmath>
#include <compare>
#include <limits>
#include <optional>
#include <utility>

#include "absl/strings/numbers.h"
#include "lib/base/text.h"
#include "lib/base/time.h"
#include "lib/cel/limits.h"
#include "lib/cel/program.h"

namespace tocsin::cel {
namespace {

using Kind = Value::Kind;

constexpr std::int64_t kNanosPerSecond = 1'000'000'000;
// Years 1 to 9999, and durations of as much.
constexpr std::int64_t kFirstSecond = -62'135'596'800;
constexpr std::int64_t kLastSecond = 253'402'300'799;
constexpr std::int64_t kLongestSeconds = 315'576'000'000;

// The checker lets no program meet these; they keep a value of a wrong kind from being misread.
constexpr char kWrongType[] = "an operand is of a wrong type";

// Error values point at their reason, so reasons live as long as the process.
constexpr char kIntOverflow[] = "the result is out of range of an int";
constexpr char kUintOverflow[] = "the result is out of range of a uint";
constexpr char kNoInt[] = "the number is out of range of an int";
constexpr char kNoUint[] = "the number is out of range of a uint";

Value MadeText(Kind kind, std::string text, Scratch& scratch, std::uint32_t offset) {
  const std::string* kept = scratch.Keep(std::move(text));
  return kept == nullptr ? Value::Error("the text grows too large", offset)
                         : Value::Text(kind, *kept);
}

Value MadeTime(Kind kind, std::int64_t seconds, std::int64_t nanos, std::uint32_t offset) {
  if (nanos >= kNanosPerSecond) {
    nanos -= kNanosPerSecond;
    ++seconds;
  } else if (nanos < 0) {
    nanos += kNanosPerSecond;
    --seconds;
  }
  const bool inside = kind == Kind::kTimestamp
                          ? seconds >= kFirstSecond && seconds <= kLastSecond
                          : seconds >= -kLongestSeconds && seconds <= kLongestSeconds;
  return inside ? Value::Time(kind, seconds, nanos)
                : Value::Error(kind == Kind::kTimestamp ? "the timestamp is out of range"
                                                        : "the duration is out of range",
                               offset);
}

bool IsList(const Value& value) {
  return value.kind == Kind::kList || value.kind == Kind::kFieldList;
}

std::size_t ListSize(const Value& list, const MessageReader& reader) {
  return list.kind == Kind::kList ? list.elements->size() : reader.Size(list);
}

Value ListElement(const Value& list, std::size_t index, const MessageReader& reader,
                  Scratch& scratch) {
  return list.kind == Kind::kList ? (*list.elements)[index] : reader.Element(list, index, scratch);
}

// Recursion is bounded by the nesting of list types, which the expression's depth bounds.
bool Equal(const Value& left, const Value& right, const MessageReader& reader, Scratch& scratch) {
  if (IsList(left) && IsList(right)) {
    const std::size_t size = ListSize(left, reader);
    if (size != ListSize(right, reader)) return false;
    for (std::size_t i = 0; i < size; ++i) {
      if (!Equal(ListElement(left, i, reader, scratch), ListElement(right, i, reader, scratch),
                 reader, scratch)) {
        return false;
      }
    }
    return true;
  }
  if (left.kind != right.kind) return false;
  switch (left.kind) {
    case Kind::kNull:
      return true;
    case Kind::kBool:
      return left.boolean == right.boolean;
    case Kind::kInt:
      return left.integer == right.integer;
    case Kind::kUint:
      return left.natural == right.natural;
    case Kind::kDouble:
      return left.real == right.real;
    case Kind::kString:
    case Kind::kBytes:
      return left.text() == right.text();
    case Kind::kTimestamp:
    case Kind::kDuration:
      return left.seconds == right.seconds && left.nanos == right.nanos;
    default:
      return false;
  }
}

std::optional<std::partial_ordering> Order(const Value& left, const Value& right) {
  if (left.kind != right.kind) return std::nullopt;
  switch (left.kind) {
    case Kind::kBool:
      return static_cast<int>(left.boolean) <=> static_cast<int>(right.boolean);
    case Kind::kInt:
      return left.integer <=> right.integer;
    case Kind::kUint:
      return left.natural <=> right.natural;
    case Kind::kDouble:
      return left.real <=> right.real;
    case Kind::kString:
    case Kind::kBytes:
      // Bytes of UTF-8 have the order of their code points.
      return left.text().compare(right.text()) <=> 0;
    case Kind::kTimestamp:
    case Kind::kDuration:
      if (left.seconds != right.seconds) return left.seconds <=> right.seconds;
      return left.nanos <=> right.nanos;
    default:
      return std::nullopt;
  }
}

Value Compare(Operation op, const Value& left, const Value& right, std::uint32_t offset) {
  const std::optional<std::partial_ordering> order = Order(left, right);
  if (!order) return Value::Error(kWrongType, offset);
  switch (op) {
    case Operation::kLess:
      return Value::Bool(*order < 0);
    case Operation::kLessEqual:
      return Value::Bool(*order <= 0);
    case Operation::kGreater:
      return Value::Bool(*order > 0);
    default:
      return Value::Bool(*order >= 0);
  }
}

Value Contains(const Value& element, const Value& container, const MessageReader& reader,
               Scratch& scratch, std::uint32_t offset) {
  if (container.kind == Kind::kFieldMap) {
    return Value::Bool(reader.Find(container, element, scratch).has_value());
  }
  if (!IsList(container)) return Value::Error(kWrongType, offset);
  const std::size_t size = ListSize(container, reader);
  for (std::size_t i = 0; i < size; ++i) {
    if (Equal(element, ListElement(container, i, reader, scratch), reader, scratch)) {
      return Value::Bool(true);
    }
  }
  return Value::Bool(false);
}

Value IntArithmetic(Operation op, std::int64_t left, std::int64_t right, std::uint32_t offset) {
  std::int64_t result = 0;
  switch (op) {
    case Operation::kAdd:
      if (__builtin_add_overflow(left, right, &result)) return Value::Error(kIntOverflow, offset);
      return Value::Int(result);
    case Operation::kSubtract:
      if (__builtin_sub_overflow(left, right, &result)) return Value::Error(kIntOverflow, offset);
      return Value::Int(result);
    case Operation::kMultiply:
      if (__builtin_mul_overflow(left, right, &result)) return Value::Error(kIntOverflow, offset);
      return Value::Int(result);
    default:
      break;
  }
  if (right == 0) return Value::Error("division by zero", offset);
  if (left == std::numeric_limits<std::int64_t>::min() && right == -1) {
    return Value::Error(kIntOverflow, offset);
  }
  return Value::Int(op == Operation::kDivide ? left / right : left % right);
}

Value UintArithmetic(Operation op, std::uint64_t left, std::uint64_t right, std::uint32_t offset) {
  std::uint64_t result = 0;
  switch (op) {
    case Operation::kAdd:
      if (__builtin_add_overflow(left, right, &result)) return Value::Error(kUintOverflow, offset);
      return Value::Uint(result);
    case Operation::kSubtract:
      if (__builtin_sub_overflow(left, right, &result)) return Value::Error(kUintOverflow, offset);
      return Value::Uint(result);
    case Operation::kMultiply:
      if (__builtin_mul_overflow(left, right, &result)) return Value::Error(kUintOverflow, offset);
      return Value::Uint(result);
    default:
      break;
  }
  if (right == 0) return Value::Error("division by zero", offset);
  return Value::Uint(op == Operation::kDivide ? left / right : left % right);
}

Value DoubleArithmetic(Operation op, double left, double right, std::uint32_t offset) {
  switch (op) {
    case Operation::kAdd:
      return Value::Double(left + right);
    case Operation::kSubtract:
      return Value::Double(left - right);
    case Operation::kMultiply:
      return Value::Double(left * right);
    case Operation::kDivide:
      // IEEE 754: by zero gives an infinity or NaN.
      if (right == 0) {
        if (left == 0 || std::isnan(left)) {
          return Value::Double(std::numeric_limits<double>::quiet_NaN());
        }
        const bool negative = std::signbit(left) != std::signbit(right);
        return Value::Double(negative ? -std::numeric_limits<double>::infinity()
                                      : std::numeric_limits<double>::infinity());
      }
      return Value::Double(left / right);
    default:
      return Value::Error(kWrongType, offset);
  }
}

Value TimeArithmetic(Operation op, const Value& left, const Value& right, std::uint32_t offset) {
  const bool times = left.kind == Kind::kTimestamp && right.kind == Kind::kTimestamp;
  const bool both_lengths = left.kind == Kind::kDuration && right.kind == Kind::kDuration;
  const Kind kind = times || both_lengths ? Kind::kDuration : Kind::kTimestamp;
  if (op == Operation::kAdd && !times) {
    return MadeTime(kind, left.seconds + right.seconds, left.nanos + right.nanos, offset);
  }
  if (op == Operation::kSubtract && !(left.kind == Kind::kDuration && kind == Kind::kTimestamp)) {
    return MadeTime(kind, left.seconds - right.seconds, left.nanos - right.nanos, offset);
  }
  return Value::Error(kWrongType, offset);
}

Value Concatenate(const Value& left, const Value& right, const MessageReader& reader,
                  Scratch& scratch, std::uint32_t offset) {
  if (left.kind == Kind::kString || left.kind == Kind::kBytes) {
    if (left.size + right.size > kMaxMadeBytes) {
      return Value::Error("the text grows too large", offset);
    }
    return MadeText(left.kind, Concat(left.text(), right.text()), scratch, offset);
  }
  std::vector<Value> elements;
  for (const Value* list : {&left, &right}) {
    const std::size_t size = ListSize(*list, reader);
    if (elements.size() + size > kMaxMadeElements) {
      return Value::Error("the lists grow too large", offset);
    }
    for (std::size_t i = 0; i < size; ++i) {
      elements.push_back(ListElement(*list, i, reader, scratch));
      if (elements.back().IsError()) return elements.back();
    }
  }
  const std::vector<Value>* kept = scratch.Keep(std::move(elements));
  return kept == nullptr ? Value::Error("the lists grow too large", offset) : Value::List(kept);
}

Value Size(const Value& value, const MessageReader& reader, std::uint32_t offset) {
  switch (value.kind) {
    case Kind::kString: {
      // Code points: all bytes but those that continue one.
      std::int64_t count = 0;
      for (const char c : value.text()) {
        if ((static_cast<unsigned char>(c) & 0xc0U) != 0x80) ++count;
      }
      return Value::Int(count);
    }
    case Kind::kBytes:
      return Value::Int(static_cast<std::int64_t>(value.size));
    case Kind::kList:
      return Value::Int(static_cast<std::int64_t>(value.elements->size()));
    case Kind::kFieldList:
    case Kind::kFieldMap:
      return Value::Int(static_cast<std::int64_t>(reader.Size(value)));
    default:
      return Value::Error(kWrongType, offset);
  }
}

Value ChangeCase(const Value& value, char from, char to, Scratch& scratch, std::uint32_t offset) {
  if (value.kind != Kind::kString) return Value::Error(kWrongType, offset);
  std::string text(value.text());
  for (char& c : text) {
    if (c >= from && c <= from + 25) c = static_cast<char>(c - from + to);
  }
  return MadeText(Kind::kString, std::move(text), scratch, offset);
}

template <typename Integer>
std::optional<Integer> WholeNumber(std::string_view text) {
  Integer number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

Value ToInt(const Value& value, std::uint32_t offset) {
  switch (value.kind) {
    case Kind::kInt:
      return value;
    case Kind::kUint:
      if (value.natural > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) {
        return Value::Error(kNoInt, offset);
      }
      return Value::Int(static_cast<std::int64_t>(value.natural));
    case Kind::kDouble:
      // Both ends are excluded: -2⁶³ and 2⁶³ are what doubles out of range round to.
      if (!(value.real > -9223372036854775808.0 && value.real < 9223372036854775808.0)) {
        return Value::Error(kNoInt, offset);
      }
      return Value::Int(static_cast<std::int64_t>(value.real));
    case Kind::kString: {
      const auto number = WholeNumber<std::int64_t>(value.text());
      return number ? Value::Int(*number) : Value::Error("the text is not an int", offset);
    }
    case Kind::kTimestamp:
      return Value::Int(value.seconds);
    default:
      return Value::Error(kWrongType, offset);
  }
}

Value ToUint(const Value& value, std::uint32_t offset) {
  switch (value.kind) {
    case Kind::kInt:
      return value.integer < 0 ? Value::Error(kNoUint, offset)
                               : Value::Uint(static_cast<std::uint64_t>(value.integer));
    case Kind::kUint:
      return value;
    case Kind::kDouble:
      if (!(value.real > -1.0 && value.real < 18446744073709551616.0)) {
        return Value::Error(kNoUint, offset);
      }
      return Value::Uint(static_cast<std::uint64_t>(value.real));
    case Kind::kString: {
      const auto number = WholeNumber<std::uint64_t>(value.text());
      return number ? Value::Uint(*number) : Value::Error("the text is not a uint", offset);
    }
    default:
      return Value::Error(kWrongType, offset);
  }
}

Value ToDouble(const Value& value, std::uint32_t offset) {
  switch (value.kind) {
    case Kind::kInt:
      return Value::Double(static_cast<double>(value.integer));
    case Kind::kUint:
      return Value::Double(static_cast<double>(value.natural));
    case Kind::kDouble:
      return value;
    case Kind::kString: {
      double number = 0;
      const std::string_view text = value.text();
      if (text.empty() || text != Trim(text) || !absl::SimpleAtod(ToAbsl(text), &number)) {
        return Value::Error("the text is not a double", offset);
      }
      return Value::Double(number);
    }
    default:
      return Value::Error(kWrongType, offset);
  }
}

Value ToString(const Value& value, Scratch& scratch, std::uint32_t offset) {
  switch (value.kind) {
    case Kind::kString:
      return value;
    case Kind::kBool:
      return Value::String(value.boolean ? "true" : "false");
    case Kind::kInt:
      return MadeText(Kind::kString, std::to_string(value.integer), scratch, offset);
    case Kind::kUint:
      return MadeText(Kind::kString, std::to_string(value.natural), scratch, offset);
    case Kind::kDouble: {
      std::array<char, 64> buffer{};
      const auto [end, error] =
          std::to_chars(buffer.data(), buffer.data() + buffer.size(), value.real);
      return MadeText(Kind::kString, std::string(buffer.data(), end), scratch, offset);
    }
    default:
      return Value::Error(kWrongType, offset);
  }
}

// "1h30m", "-1.5s", "250ms": numbers with a unit each, as CEL writes durations.
std::optional<std::int64_t> ParseNanos(std::string_view text) {
  const bool negative = text.starts_with('-');
  if (negative || text.starts_with('+')) text.remove_prefix(1);
  if (text == "0") return 0;
  struct Unit {
    std::string_view name;
    double nanos;
  };
  constexpr std::array<Unit, 6> kUnits = {
      {{"ns", 1}, {"us", 1e3}, {"ms", 1e6}, {"s", 1e9}, {"m", 60e9}, {"h", 3600e9}}};
  double total = 0;
  if (text.empty()) return std::nullopt;
  while (!text.empty()) {
    const std::size_t digits = std::min(text.find_first_not_of("0123456789."), text.size());
    double number = 0;
    if (digits == 0 || !absl::SimpleAtod(ToAbsl(text.substr(0, digits)), &number)) {
      return std::nullopt;
    }
    text.remove_prefix(digits);
    const std::size_t letters = std::min(text.find_first_of("0123456789."), text.size());
    const std::string_view name = text.substr(0, letters);
    bool known = false;
    for (const Unit& unit : kUnits) {
      if (unit.name != name) continue;
      known = true;
      total += number * unit.nanos;
    }
    if (!known) return std::nullopt;
    text.remove_prefix(letters);
  }
  if (!(total < 9.2e18)) return std::nullopt;
  const auto nanos = static_cast<std::int64_t>(std::llround(total));
  return negative ? -nanos : nanos;
}

Value ToTime(Kind kind, const Value& value, std::uint32_t offset) {
  if (value.kind == kind) return value;
  if (value.kind != Kind::kString) return Value::Error(kWrongType, offset);
  if (kind == Kind::kTimestamp) {
    const auto time = ParseTime(value.text());
    if (!time.ok()) return Value::Error("the text is not a timestamp", offset);
    const std::int64_t micros = time->time_since_epoch().count();
    const std::int64_t seconds = micros / 1'000'000 - (micros % 1'000'000 < 0 ? 1 : 0);
    return MadeTime(kind, seconds, (micros - seconds * 1'000'000) * 1000, offset);
  }
  const std::optional<std::int64_t> nanos = ParseNanos(value.text());
  if (!nanos) return Value::Error("the text is not a duration", offset);
  return MadeTime(kind, *nanos / kNanosPerSecond, *nanos % kNanosPerSecond, offset);
}

}  // namespace

Value Apply(Operation op, const Value& left, const Value& right, const MessageReader& reader,
            Scratch& scratch, std::uint32_t offset) {
  switch (op) {
    case Operation::kEqual:
      return Value::Bool(Equal(left, right, reader, scratch));
    case Operation::kNotEqual:
      return Value::Bool(!Equal(left, right, reader, scratch));
    case Operation::kLess:
    case Operation::kLessEqual:
    case Operation::kGreater:
    case Operation::kGreaterEqual:
      return Compare(op, left, right, offset);
    case Operation::kIn:
      return Contains(left, right, reader, scratch, offset);
    default:
      break;
  }
  const bool time = left.kind == Kind::kTimestamp || left.kind == Kind::kDuration;
  if (time && (right.kind == Kind::kTimestamp || right.kind == Kind::kDuration)) {
    return TimeArithmetic(op, left, right, offset);
  }
  if (op == Operation::kAdd && IsList(left) && IsList(right)) {
    return Concatenate(left, right, reader, scratch, offset);
  }
  if (left.kind != right.kind) return Value::Error(kWrongType, offset);
  switch (left.kind) {
    case Kind::kInt:
      return IntArithmetic(op, left.integer, right.integer, offset);
    case Kind::kUint:
      return UintArithmetic(op, left.natural, right.natural, offset);
    case Kind::kDouble:
      return DoubleArithmetic(op, left.real, right.real, offset);
    case Kind::kString:
    case Kind::kBytes:
      if (op == Operation::kAdd) return Concatenate(left, right, reader, scratch, offset);
      return Value::Error(kWrongType, offset);
    default:
      return Value::Error(kWrongType, offset);
  }
}

Value Call(Function function, const Value& argument, const MessageReader& reader, Scratch& scratch,
           std::uint32_t offset) {
  switch (function) {
    case Function::kSize:
      return Size(argument, reader, offset);
    case Function::kLowerAscii:
      return ChangeCase(argument, 'A', 'a', scratch, offset);
    case Function::kUpperAscii:
      return ChangeCase(argument, 'a', 'A', scratch, offset);
    case Function::kToInt:
      return ToInt(argument, offset);
    case Function::kToUint:
      return ToUint(argument, offset);
    case Function::kToDouble:
      return ToDouble(argument, offset);
    case Function::kToString:
      return ToString(argument, scratch, offset);
    case Function::kToTimestamp:
      return ToTime(Kind::kTimestamp, argument, offset);
    case Function::kToDuration:
      return ToTime(Kind::kDuration, argument, offset);
    default:
      return Value::Error(kWrongType, offset);
  }
}

Value Call(Function function, const Value& first, const Value& second, std::uint32_t offset) {
  if (first.kind != Kind::kString || second.kind != Kind::kString) {
    return Value::Error(kWrongType, offset);
  }
  const std::string_view text = first.text();
  const std::string_view part = second.text();
  switch (function) {
    case Function::kContains:
      return Value::Bool(text.find(part) != std::string_view::npos);
    case Function::kStartsWith:
      return Value::Bool(text.starts_with(part));
    case Function::kEndsWith:
      return Value::Bool(text.ends_with(part));
    case Function::kMatches: {
      std::string reason;
      const std::unique_ptr<re2::RE2> pattern = CompilePattern(part, reason);
      if (pattern == nullptr)
        return Value::Error("the pattern is not a regular expression", offset);
      return Value::Bool(
          re2::RE2::PartialMatch(re2::StringPiece(text.data(), text.size()), *pattern));
    }
    default:
      return Value::Error(kWrongType, offset);
  }
}

Value Index(const Value& container, const Value& index, const MessageReader& reader,
            Scratch& scratch, std::uint32_t offset) {
  if (container.kind == Kind::kFieldMap) {
    std::optional<Value> found = reader.Find(container, index, scratch);
    return found ? *found : Value::Error("the map has no such key", offset);
  }
  if (!IsList(container) || index.kind != Kind::kInt) return Value::Error(kWrongType, offset);
  if (index.integer < 0 ||
      static_cast<std::uint64_t>(index.integer) >= ListSize(container, reader)) {
    return Value::Error("the index is outside the list", offset);
  }
  return ListElement(container, static_cast<std::size_t>(index.integer), reader, scratch);
}

Value Negate(const Value& operand, std::uint32_t offset) {
  if (operand.kind == Kind::kDouble) return Value::Double(-operand.real);
  if (operand.kind != Kind::kInt) return Value::Error(kWrongType, offset);
  if (operand.integer == std::numeric_limits<std::int64_t>::min()) {
    return Value::Error("the result is out of range of an int", offset);
  }
  return Value::Int(-operand.integer);
}

std::unique_ptr<re2::RE2> CompilePattern(std::string_view pattern, std::string& reason) {
  if (pattern.size() > kMaxRegexLength) {
    reason = Concat("the regular expression has ", pattern.size(), " bytes; at most ",
                    kMaxRegexLength, " are taken");
    return nullptr;
  }
  re2::RE2::Options options;
  options.set_log_errors(false);
  options.set_max_mem(kMaxRegexMemory);
  auto compiled =
      std::make_unique<re2::RE2>(re2::StringPiece(pattern.data(), pattern.size()), options);
  if (compiled->ok()) return compiled;
  reason = Concat("not a regular expression (RE2 syntax): ", compiled->error());
  return nullptr;
}

}  // namespace tocsin::cel
