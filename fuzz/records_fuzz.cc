// Any lines as the topic `_schemas`: "key", a tab and "value" in each (no tab: a tombstone), at
// offsets that count up. Other registries write there too. What is understood is written again to
// the same bytes' meaning, and the state that comes of it keeps its promises.
#include <google/protobuf/stubs/logging.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>

#include "schema-registry/records.h"
#include "schema-registry/registry_state.h"
#include "schema-registry/schema_compiler.h"

namespace {

using namespace tocsin::registry;  // NOLINT(google-build-using-namespace): a program of one file

void Require(bool holds) {
  if (!holds) std::abort();
}

void CheckRoundTrip(const LogRecord& record) {
  const auto key = DecodeKey(*record.key);
  if (!key.ok()) return;
  if (key->type != KeyType::kOther && key->type != KeyType::kNoop) {
    const auto again = DecodeKey(EncodeKey(*key));
    Require(again.ok() && *again == *key);
  }
  if (!record.value) return;
  const auto value = DecodeSchemaValue(*record.value);
  if (!value.ok()) return;
  const auto again = DecodeSchemaValue(EncodeSchemaValue(*value));
  Require(again.ok() && again->subject == value->subject && again->version == value->version &&
          again->id == value->id && again->type == value->type && again->text == value->text &&
          again->references == value->references && again->deleted == value->deleted);
}

void CheckState(RegistryState& state, SchemaCompiler& compiler) {
  // As the registry does in the background.
  for (const RegistryState::Unknown& each : state.TakeUnknown(100)) {
    const auto imports = state.ResolveImports(each.context, each.schema->references);
    if (!imports.ok()) continue;
    const auto key = compiler.KeyOf(each.context, *each.schema, *imports, /*normalize=*/false);
    if (!key.ok()) continue;
    state.SetContentKey(each.context, each.schema->id, *key);
    Require(state.FindContent(each.context, *key) != nullptr);
  }
  for (const std::string& subject : state.Subjects({std::nullopt, "", Deleted::kInclude})) {
    const auto name = ParseSubject(subject);
    Require(name.ok() && FormatSubject(*name) == subject);
    const std::string& context = name->context;
    for (const SchemaVersion& version : state.VersionsOf(subject)) {
      Require(version.schema != nullptr && version.schema->id < state.NextId(context));
      Require(version.version >= 1 && version.version < state.NextVersion(subject));
      // An id that another registry has given twice stands for the schema that came first.
      const auto of_id = state.FindSchema(context, version.schema->id);
      Require(of_id != nullptr && (of_id == version.schema || of_id->guid != version.schema->guid));
      bool used = false;
      for (const SchemaVersion& use :
           state.UsesOf(context, version.schema->id, Deleted::kInclude)) {
        used = used || (use.subject == subject && use.version == version.version);
      }
      Require(used);
    }
    static_cast<void>(state.ConfigInForce(subject));
    static_cast<void>(state.ModeInForce(subject));
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const bool quiet = google::protobuf::SetLogHandler(nullptr) != nullptr;
  static_cast<void>(quiet);
  tocsin::schema::CompileLimits limits;
  limits.max_text_bytes = 4096;
  SchemaCompiler compiler(limits, 16);
  RegistryState state(StateOptions{.node = 1, .max_changes = 8, .max_superseded = 8});
  std::string_view input(reinterpret_cast<const char*>(data), size);
  for (std::int64_t offset = 0; !input.empty(); ++offset) {
    const std::string_view line = input.substr(0, input.find('\n'));
    input.remove_prefix(std::min(input.size(), line.size() + 1));
    const std::size_t tab = line.find('\t');
    LogRecord record;
    record.offset = offset;
    record.key = std::string(line.substr(0, tab));
    if (tab != std::string_view::npos) record.value = std::string(line.substr(tab + 1));
    CheckRoundTrip(record);
    state.Apply(record);
    Require(state.position() == offset + 1);
  }
  CheckState(state, compiler);
  return 0;
}
