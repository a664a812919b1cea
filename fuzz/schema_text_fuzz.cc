// The canonical and the normal form of whatever compiles: they compile again, to the same schema,
// and their own forms are themselves.
#include <google/protobuf/stubs/logging.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "lib/schema/compatibility.h"
#include "lib/schema/compiled_schema.h"

namespace {

using tocsin::schema::CompiledSchema;

void Require(bool holds) {
  if (!holds) std::abort();
}

std::shared_ptr<const CompiledSchema> Compile(const std::string& text,
                                              const tocsin::schema::CompileLimits& limits) {
  static const auto* const imports = new std::vector<tocsin::schema::SourceFile>{
      {"import.proto", "syntax = 'proto3'; package imported; message Inner { string name = 1; }"}};
  const auto schema = CompiledSchema::Compile({"main.proto", text}, *imports, limits);
  return schema.ok() ? *schema : nullptr;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const bool quiet = google::protobuf::SetLogHandler(nullptr) != nullptr;
  static_cast<void>(quiet);
  tocsin::schema::CompileLimits limits;
  limits.max_text_bytes = std::size_t{16} << 10;
  const auto schema = Compile(std::string(reinterpret_cast<const char*>(data), size), limits);
  if (schema == nullptr) return 0;
  // Names are written in full, options of options as one value.
  limits.max_text_bytes = std::size_t{8} << 20;
  limits.max_nesting = 200;
  const std::string canonical = CanonicalText(*schema);
  const auto again = Compile(canonical, limits);
  Require(again != nullptr);
  Require(CanonicalText(*again) == canonical);
  const std::string normal = NormalizedText(*schema);
  Require(NormalizedText(*again) == normal);
  const auto normalized = Compile(normal, limits);
  Require(normalized != nullptr);
  Require(NormalizedText(*normalized) == normal);
  Require(normalized->MessageNames() == schema->MessageNames());
  for (const auto* other : {again.get(), normalized.get()}) {
    using tocsin::schema::CompatibilityLevel;
    Require(CheckCompatibility(*schema, *other, CompatibilityLevel::kStrict).empty());
  }
  return 0;
}
