// A record's value and its schema header, as any producer may have written them. The first byte
// says how to read the rest: 'h', then the length of the header, the header, the value; 'v', then
// the value. What is read must come back the same after it was written again.
#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>
#include <google/protobuf/stubs/logging.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "lib/base/status.h"
#include "lib/events/deserializer.h"
#include "lib/schema/compiled_schema.h"
#include "lib/schema/wire_format.h"

namespace {
using tocsin::events::DynamicMessage;
using SchemaPtr = std::shared_ptr<const tocsin::schema::CompiledSchema>;

constexpr char kSchema[] = R"(
syntax = "proto2";
package f;
message First { optional string text = 1; repeated int32 packed = 2 [packed = true]; }
message Second {
  required int32 needed = 1;
  message Inner {
    optional Inner inner = 1;
    map<string, Inner> by_name = 2;
    oneof either { fixed64 left = 3; bytes right = 4; }
    enum E { A = 0; B = 5; }
    repeated E kinds = 5;
    optional group Part = 6 { optional bool on = 1; }
  }
  optional Inner inner = 2;
}
)";
constexpr tocsin::schema::SchemaGuid kGuid = {'0', '1', '2', '3', '4', '5', '6', '7',
                                              '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'};

// Knows the id 1 and the GUID above.
class OneSchema final : public tocsin::events::SchemaCache {
 public:
  absl::StatusOr<SchemaPtr> ById(tocsin::schema::SchemaId id) override {
    if (id.value() == 1) return schema_;
    return tocsin::NotFound("no such id");
  }
  absl::StatusOr<SchemaPtr> ByGuid(const tocsin::schema::SchemaGuid& guid) override {
    if (guid == kGuid) return schema_;
    return tocsin::NotFound("no such GUID");
  }
  absl::StatusOr<tocsin::events::SubjectSchema> Latest(std::string_view /*subject*/) override {
    return tocsin::NotFound("no such subject");
  }
  bool registry_answers() const override { return true; }

 private:
  const SchemaPtr schema_ = *tocsin::schema::CompiledSchema::Compile({"f.proto", kSchema});
};

void Require(bool holds) {
  if (!holds) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static auto* const deserializer = [] {
    google::protobuf::SetLogHandler(nullptr);
    return new tocsin::events::Deserializer(*new OneSchema, tocsin::Clock::Real(),
                                            {.max_bytes = 1 << 16});
  }();
  std::string_view input(reinterpret_cast<const char*>(data), size);
  if (input.empty()) return 0;
  tocsin::kafka::Headers headers;
  const bool has_header = input[0] == 'h' && input.size() > 1;
  input.remove_prefix(1);
  if (has_header) {
    const auto length = static_cast<std::uint8_t>(input[0]);
    input.remove_prefix(1);
    headers.Set(tocsin::schema::kValueSchemaIdHeader, input.substr(0, length));
    input.remove_prefix(std::min<std::size_t>(length, input.size()));
  }
  const auto read = deserializer->Read(input, headers);
  if (!read.ok()) return 0;

  const auto indexes = tocsin::schema::MessageIndexes(*read->message->GetDescriptor());
  const std::string bytes = read->message->SerializeAsString();
  const auto by_id =
      deserializer->Read(tocsin::schema::EncodeFrame(tocsin::schema::SchemaId(1), indexes, bytes));
  Require(by_id.ok());
  Require(by_id->message->GetDescriptor() == read->message->GetDescriptor());
  // Not `bytes`: of a repeated enum, Protobuf keeps 64 bits of a packed value that it does not
  // know, and 32 of one that stands alone, as which it is written.
  const std::string again = by_id->message->SerializeAsString();
  tocsin::kafka::Headers guid;
  guid.Set(tocsin::schema::kValueSchemaIdHeader, tocsin::schema::EncodeGuidHeader(kGuid, indexes));
  const auto by_guid = deserializer->Read(again, guid);
  Require(by_guid.ok() && by_guid->message->ByteSizeLong() == again.size());
  return 0;
}
