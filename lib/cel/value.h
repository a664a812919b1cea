// The values that an evaluation works on, and the memory that it makes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace google::protobuf {
class FieldDescriptor;
}  // namespace google::protobuf

namespace tocsin::cel {

// A message as a MessageReader knows it; only the reader that gave it may look into it.
struct MessageHandle {
  const void* object = nullptr;
};

// Small and trivially copied. Text, lists and messages are views: of the message, of the program's
// constants, or of the evaluation's Scratch.
struct Value {
  enum class Kind : std::uint8_t {
    kError,
    kNull,
    kBool,
    kInt,
    kUint,
    kDouble,
    kString,
    kBytes,
    kTimestamp,
    kDuration,
    kMessage,
    // A list made by the program.
    kList,
    // A repeated field and a map field of a message.
    kFieldList,
    kFieldMap,
  };
  Kind kind = Kind::kNull;
  // kError: the byte of the expression that failed.
  std::uint32_t offset = 0;
  union {
    bool boolean;
    std::int64_t integer;
    std::uint64_t natural;
    double real;
    // kTimestamp and kDuration; with nanos below, which are never negative.
    std::int64_t seconds;
    // kString, kBytes; kError: the reason.
    const char* data;
    const std::vector<Value>* elements;
    // kMessage, and the message that holds a kFieldList or kFieldMap.
    const void* object;
  };
  union {
    std::size_t size;
    std::int64_t nanos;
    const google::protobuf::FieldDescriptor* field;
  };

  // NOLINTNEXTLINE(cppcoreguidelines-pro-type-member-init): of a union one member.
  Value() : integer(0), size(0) {}

  static Value Null() { return {}; }
  static Value Bool(bool value) {
    Value v = Of(Kind::kBool);
    v.boolean = value;
    return v;
  }
  static Value Int(std::int64_t value) {
    Value v = Of(Kind::kInt);
    v.integer = value;
    return v;
  }
  static Value Uint(std::uint64_t value) {
    Value v = Of(Kind::kUint);
    v.natural = value;
    return v;
  }
  static Value Double(double value) {
    Value v = Of(Kind::kDouble);
    v.real = value;
    return v;
  }
  static Value Text(Kind kind, std::string_view text) {
    Value v = Of(kind);
    v.data = text.data();
    v.size = text.size();
    return v;
  }
  static Value String(std::string_view text) { return Text(Kind::kString, text); }
  static Value Time(Kind kind, std::int64_t seconds, std::int64_t nanos) {
    Value v = Of(kind);
    v.seconds = seconds;
    v.nanos = nanos;
    return v;
  }
  static Value Message(MessageHandle handle) {
    Value v = Of(Kind::kMessage);
    v.object = handle.object;
    return v;
  }
  static Value Field(Kind kind, MessageHandle holder,
                     const google::protobuf::FieldDescriptor* field) {
    Value v = Of(kind);
    v.object = holder.object;
    v.field = field;
    return v;
  }
  static Value List(const std::vector<Value>* elements) {
    Value v = Of(Kind::kList);
    v.elements = elements;
    return v;
  }
  // `reason` must outlive the evaluation: a literal.
  static Value Error(const char* reason, std::uint32_t offset) {
    Value v = Of(Kind::kError);
    v.data = reason;
    v.offset = offset;
    return v;
  }

  std::string_view text() const { return {data, size}; }
  MessageHandle handle() const { return {object}; }
  bool IsError() const { return kind == Kind::kError; }
  bool IsTrue() const { return kind == Kind::kBool && boolean; }
  bool IsFalse() const { return kind == Kind::kBool && !boolean; }

 private:
  static Value Of(Kind kind) {
    Value v;
    v.kind = kind;
    return v;
  }
};
static_assert(std::is_trivially_copyable_v<Value>);
static_assert(sizeof(Value) == 24);

// What one evaluation makes; gone with it. Bounded (limits.h).
class Scratch {
 public:
  // nullptr when the bound is reached.
  const std::string* Keep(std::string text);
  const std::vector<Value>* Keep(std::vector<Value> elements);

 private:
  // Most evaluations make nothing, and then pay nothing.
  std::vector<std::unique_ptr<std::string>> texts_;
  std::vector<std::unique_ptr<std::vector<Value>>> lists_;
  std::size_t bytes_ = 0;
  std::size_t elements_ = 0;
};

}  // namespace tocsin::cel
