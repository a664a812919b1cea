// Bytes from a producer through the projection that rules read: it must accept exactly what
// Protobuf's own parser accepts, and read the same values.
#include <google/protobuf/descriptor.h>
#include <google/protobuf/dynamic_message.h>
#include <google/protobuf/stubs/logging.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "lib/schema/compiled_schema.h"
#include "lib/schema/wire_projection.h"

namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using tocsin::schema::FieldPath;
using tocsin::schema::ProjectedMessage;
using tocsin::schema::Slot;
using tocsin::schema::WireProjection;

constexpr char kProto2[] = R"(
syntax = "proto2";
message M {
  optional string text = 1 [default = "none"];
  repeated int32 packed = 2 [packed = true];
  repeated sint64 unpacked = 3;
  optional M nested = 4;
  repeated M many = 5;
  map<string, M> by_name = 6;
  optional group Part = 7 { optional bool on = 1; }
  oneof either { fixed64 left = 8; float right = 9; M inner = 13; E choice = 14; }
  optional bytes raw = 10;
  enum E { A = 0; B = 5; }
  optional E kind = 11 [default = B];
  repeated double numbers = 12;
  optional sint32 small = 70;
}
)";
constexpr char kProto3[] = R"(
syntax = "proto3";
message M {
  string text = 1;
  repeated int32 packed = 2;
  repeated sint64 unpacked = 3 [packed = false];
  M nested = 4;
  repeated M many = 5;
  map<string, M> by_name = 6;
  optional uint32 maybe = 7;
  oneof either { fixed64 left = 8; float right = 9; M inner = 13; E choice = 14; }
  bytes raw = 10;
  enum E { A = 0; B = 5; }
  E kind = 11;
  repeated double numbers = 12;
  sfixed32 small = 70;
  int64 big = 16;
  bool flag = 17;
}
)";

void Require(bool holds) {
  if (!holds) std::abort();
}

struct Subject {
  std::shared_ptr<const tocsin::schema::CompiledSchema> schema;
  const Descriptor* type = nullptr;
  std::unique_ptr<google::protobuf::DynamicMessageFactory> factory;
  std::shared_ptr<const WireProjection> projection;
};

void AddPaths(const Descriptor& type, const FieldPath& prefix, std::vector<FieldPath>& paths) {
  for (int i = 0; i < type.field_count(); ++i) {
    const FieldDescriptor* field = type.field(i);
    if (field->is_repeated()) continue;
    FieldPath path = prefix;
    path.push_back(field);
    paths.push_back(path);
    if (field->message_type() != nullptr && path.size() < 3) {
      AddPaths(*field->message_type(), path, paths);
    }
  }
}

Subject* Make(const char* text) {
  auto* subject = new Subject();
  subject->schema = *tocsin::schema::CompiledSchema::Compile({"m.proto", text});
  subject->type = subject->schema->FindMessage("M");
  subject->factory = std::make_unique<google::protobuf::DynamicMessageFactory>();
  std::vector<FieldPath> paths;
  AddPaths(*subject->type, {}, paths);
  subject->projection = WireProjection::Compile(subject->type, paths);
  return subject;
}

bool Same(const FieldDescriptor& field, const Slot& one, const Slot& other) {
  // Where presence is not tracked, a default in the bytes is as good as none.
  if (field.has_presence() && one.present != other.present) return false;
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_BOOL:
      return one.boolean == other.boolean;
    case FieldDescriptor::CPPTYPE_STRING:
      return one.text() == other.text();
    case FieldDescriptor::CPPTYPE_MESSAGE:
      return true;
    case FieldDescriptor::CPPTYPE_FLOAT:
    case FieldDescriptor::CPPTYPE_DOUBLE:
      return one.natural == other.natural || (one.real != one.real && other.real != other.real);
    default:
      return one.natural == other.natural;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static Subject* const subjects[] = {Make(kProto2), Make(kProto3)};
  static const bool quiet = google::protobuf::SetLogHandler(nullptr) != nullptr;
  static_cast<void>(quiet);
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  for (const Subject* subject : subjects) {
    const WireProjection& projection = *subject->projection;
    const google::protobuf::Message* prototype = subject->factory->GetPrototype(subject->type);
    const std::unique_ptr<google::protobuf::Message> message(prototype->New());
    const bool parsed = message->ParseFromArray(data, static_cast<int>(size));
    std::vector<Slot> quick(projection.size());
    const bool read = projection.Read(bytes, quick.data());
    // What it leaves to the parser it may refuse; what it accepts must be right.
    Require(!read || parsed);
    ProjectedMessage projected(subject->projection, *prototype);
    Require(projected.Read(bytes) == parsed);
    if (!parsed) continue;
    std::deque<std::string> copies;
    std::vector<Slot> expected(projection.size());
    projection.ReadMessage(*message, copies, expected.data());
    for (std::size_t i = 0; i < projection.size(); ++i) {
      const FieldDescriptor& field = *projection.path(i).back();
      Require(Same(field, projected.slots()[i], expected[i]));
      if (read) Require(Same(field, quick[i], expected[i]));
    }
    Require(projected.message().SerializeAsString() == message->SerializeAsString());
  }
  return 0;
}
