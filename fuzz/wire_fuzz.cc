// Bytes from a producer: the prefix of the wire format, and the scanner, which must not accept what
// Protobuf's own parser refuses.
#include <google/protobuf/descriptor.h>
#include <google/protobuf/dynamic_message.h>
#include <google/protobuf/stubs/logging.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>

#include "lib/schema/compiled_schema.h"
#include "lib/schema/wire_format.h"
#include "lib/schema/wire_validator.h"

namespace {

constexpr char kSchema[] = R"(
syntax = "proto2";
message M {
  optional string text = 1;
  repeated int32 packed = 2 [packed = true];
  repeated sint64 unpacked = 3;
  optional M nested = 4;
  repeated M many = 5;
  map<string, M> by_name = 6;
  optional group Part = 7 { required bool on = 1; }
  oneof either { fixed64 left = 8; float right = 9; }
  optional bytes raw = 10;
  enum E { A = 0; B = 5; }
  optional E kind = 11;
  repeated double numbers = 12;
  extensions 100 to 110;
}
extend M { optional M extended = 100; }
)";

void Require(bool holds) {
  if (!holds) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const auto* const schema = [] {
    google::protobuf::SetLogHandler(nullptr);
    return new auto(*tocsin::schema::CompiledSchema::Compile({"m.proto", kSchema}));
  }();
  static auto* const factory = new google::protobuf::DynamicMessageFactory();
  static const auto* const type = (*schema)->FindMessage("M");

  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const auto framed = tocsin::schema::DecodeFrame(bytes);
  if (framed.ok()) {
    const std::string again =
        tocsin::schema::EncodeFrame(framed->id, framed->message_indexes, framed->payload);
    const auto twice = tocsin::schema::DecodeFrame(again);
    Require(twice.ok() && twice->id == framed->id &&
            twice->message_indexes == framed->message_indexes && twice->payload == framed->payload);
  }
  if (const auto header = tocsin::schema::DecodeGuidHeader(bytes); header.ok()) {
    const auto twice = tocsin::schema::DecodeGuidHeader(
        tocsin::schema::EncodeGuidHeader(header->guid, header->message_indexes));
    Require(twice.ok() && twice->guid == header->guid &&
            twice->message_indexes == header->message_indexes);
  }
  if (const auto guid = tocsin::schema::ParseGuid(bytes); guid.ok()) {
    Require(tocsin::schema::FormatGuid(*guid).size() == bytes.size());
  }

  for (int i = 0; i < type->field_count(); ++i) {
    static_cast<void>(tocsin::schema::ReadFieldAsText(*type->field(i), bytes));
  }
  if (tocsin::schema::Validate(*type, bytes).ok()) {
    const std::unique_ptr<google::protobuf::Message> message(factory->GetPrototype(type)->New());
    Require(message->ParseFromArray(data, static_cast<int>(size)));
  }
  return 0;
}
