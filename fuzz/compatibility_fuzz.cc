// Two .proto texts, a line of dashes between them: any two that compile can be compared, at every
// level, and what is said of them is whole.
#include <google/protobuf/stubs/logging.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "lib/schema/compatibility.h"
#include "lib/schema/compiled_schema.h"

namespace {

using tocsin::schema::CompiledSchema;

void Require(bool holds) {
  if (!holds) std::abort();
}

std::shared_ptr<const CompiledSchema> Compile(std::string_view text, std::string_view type) {
  tocsin::schema::CompileLimits limits;
  limits.max_text_bytes = std::size_t{16} << 10;
  const std::vector<tocsin::schema::SourceFile> imports = {
      {"import.proto", "syntax = 'proto3'; package imported; message Inner { " + std::string(type) +
                           " name = 1; Inner inner = 2; }"}};
  const auto schema = CompiledSchema::Compile({"main.proto", std::string(text)}, imports, limits);
  return schema.ok() ? *schema : nullptr;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const bool quiet = google::protobuf::SetLogHandler(nullptr) != nullptr;
  static_cast<void>(quiet);
  constexpr std::string_view kBetween = "\n----\n";
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const std::size_t at = bytes.find(kBetween);
  if (at == std::string_view::npos) return 0;
  const auto older = Compile(bytes.substr(0, at), "string");
  const auto newer = Compile(bytes.substr(at + kBetween.size()), "bytes");
  if (older == nullptr || newer == nullptr) return 0;
  const std::vector<std::shared_ptr<const CompiledSchema>> history = {newer, older};
  for (const auto& verdict : tocsin::schema::CheckAllLevels(history, *newer)) {
    Require(verdict.verdict.against.has_value() == !verdict.verdict.findings.empty());
    for (const auto& finding : verdict.verdict.findings) {
      Require(finding.path.starts_with("#/"));
      Require(!finding.description.empty() && !finding.consequence.empty());
      Require(finding.older || finding.newer);
      for (const auto& place : {finding.older, finding.newer}) {
        if (place) Require(place->line >= 1 && place->column >= 1);
      }
    }
  }
  return 0;
}
