// A .proto text from anybody: compiles or is refused, and what compiles is stable under the ways in
// which the registry handles it.
#include <google/protobuf/stubs/logging.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include "lib/schema/compatibility.h"
#include "lib/schema/compiled_schema.h"

namespace {

void Require(bool holds) {
  if (!holds) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using tocsin::schema::CompiledSchema;
  static const bool quiet = google::protobuf::SetLogHandler(nullptr) != nullptr;
  static_cast<void>(quiet);
  const std::vector<tocsin::schema::SourceFile> imports = {
      {"import.proto", "syntax = 'proto3'; package imported; message Inner { string name = 1; }"}};
  tocsin::schema::CompileLimits limits;
  limits.max_text_bytes = 64 * 1024;
  const std::string text(reinterpret_cast<const char*>(data), size);
  // The same bytes as a serialized descriptor.
  static_cast<void>(tocsin::schema::TextOfSerialized(text, imports, limits));
  const auto schema = CompiledSchema::Compile({"main.proto", text}, imports, limits);
  if (!schema.ok()) {
    Require(schema.status().code() == absl::StatusCode::kInvalidArgument);
    Require(!schema.status().message().empty());
    return 0;
  }
  for (const auto& difference : tocsin::schema::Differences(**schema, **schema)) {
    Require(tocsin::schema::IsCompatible(difference.kind));
  }
  for (const std::string& name : (*schema)->MessageNames()) {
    const auto* message = (*schema)->FindMessage(name);
    Require(message != nullptr);
    const auto at = (*schema)->MessageAt(tocsin::schema::MessageIndexes(*message));
    Require(at.ok() && *at == message);
  }
  static_cast<void>((*schema)->Serialized());
  return 0;
}
