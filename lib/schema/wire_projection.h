// Reads a few fields out of Protobuf bytes without building a message: which fields is compiled
// once per message type, then one pass over the bytes fills one slot for each and checks the whole
// message on the way.
//
// What is read is what Protobuf's parser would have read: the last occurrence counts, occurrences
// of a message merge, another member of a oneof clears the one before, a number that a closed enum
// does not know is not set. What Protobuf's parser accepts is accepted, and nothing else.
//
// Threads: a WireProjection never changes and may be shared; a ProjectedMessage belongs to one
// thread at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace google::protobuf {
class Descriptor;
class FieldDescriptor;
class Message;
}  // namespace google::protobuf

namespace tocsin::schema {

// A field reached from the root through singular messages. The last step may be a message, which
// is read for its presence alone; none may be repeated.
using FieldPath = std::vector<const google::protobuf::FieldDescriptor*>;

// The value of one field of one message. Which member counts follows from the field's type:
// integer for int*, sint*, sfixed* and enums, natural for uint* and fixed*, real for float and
// double, boolean, text for string and bytes. Not present: the field's default.
struct Slot {
  union {
    std::int64_t integer;
    std::uint64_t natural;
    double real;
    bool boolean;
    const char* data;
  };
  std::uint32_t size = 0;
  // It was in the bytes, be it with its default value.
  bool present = false;

  // NOLINTNEXTLINE(cppcoreguidelines-pro-type-member-init): of a union one member.
  Slot() : integer(0) {}
  std::string_view text() const { return {data, size}; }
};

class WireProjection {
 public:
  // The descriptor's pool must outlive it. Equal paths share a slot.
  static std::shared_ptr<const WireProjection> Compile(
      const google::protobuf::Descriptor* descriptor, std::span<const FieldPath> paths);
  ~WireProjection();
  WireProjection(const WireProjection&) = delete;
  WireProjection& operator=(const WireProjection&) = delete;

  const google::protobuf::Descriptor* descriptor() const { return descriptor_; }
  std::size_t size() const { return paths_.size(); }
  const FieldPath& path(std::size_t slot) const { return paths_[slot]; }
  // The slot of one of the paths that it was compiled with.
  std::size_t SlotOf(const FieldPath& path) const;

  // Fills `slots` (size() of them) with views of `bytes`. False: not a message of this type, or one
  // that only Protobuf's parser can judge (required fields, extensions, tags and lengths written
  // longer than need be): ProjectedMessage asks it then.
  bool Read(std::string_view bytes, Slot* slots) const;
  // The same from a message; texts that reflection has to copy go to `copies`.
  void ReadMessage(const google::protobuf::Message& message, std::deque<std::string>& copies,
                   Slot* slots) const;

 private:
  struct Field;
  struct Table;
  class Compiler;
  class Scanner;

  WireProjection();

  const google::protobuf::Descriptor* descriptor_ = nullptr;
  std::vector<FieldPath> paths_;
  std::vector<Slot> defaults_;
  // Slots that a field's oneof clears, one list after the other.
  std::vector<std::uint32_t> cleared_;
  std::vector<std::unique_ptr<Table>> tables_;
  const Table* root_ = nullptr;
  // The type has what only Protobuf's parser judges.
  bool needs_parser_ = false;
};

// One message after the other, by a projection; falls back to Protobuf's parser where need be.
class ProjectedMessage {
 public:
  // `prototype` (of the projection's descriptor) must outlive it.
  ProjectedMessage(std::shared_ptr<const WireProjection> projection,
                   const google::protobuf::Message& prototype);
  ~ProjectedMessage();
  ProjectedMessage(ProjectedMessage&&) noexcept;

  // False: `bytes`, which must live until the next Read, are no message of this type.
  bool Read(std::string_view bytes);

  const WireProjection& projection() const { return *projection_; }
  const Slot* slots() const { return slots_.data(); }
  // The whole message, parsed when it is first asked for.
  const google::protobuf::Message& message();

 private:
  std::shared_ptr<const WireProjection> projection_;
  std::vector<Slot> slots_;
  std::string_view bytes_;
  std::unique_ptr<google::protobuf::Message> message_;
  bool parsed_ = false;
  std::deque<std::string> copies_;
};

// The fields that one reader (a rule, an expression) asks for, in its own order.
class FieldView {
 public:
  // `slots`: for each field of the reader its slot of `message`. Both must outlive it.
  FieldView(ProjectedMessage& message, const std::uint32_t* slots)
      : message_(&message), values_(message.slots()), slots_(slots) {}

  const Slot& operator[](std::size_t field) const { return values_[slots_[field]]; }
  // For readers that need more than single values.
  const google::protobuf::Message& message() const { return message_->message(); }

 private:
  ProjectedMessage* message_;
  const Slot* values_;
  const std::uint32_t* slots_;
};

}  // namespace tocsin::schema
