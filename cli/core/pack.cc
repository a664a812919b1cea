#include "cli/core/pack.h"

#include <google/protobuf/descriptor.h>

#include <algorithm>

#include "lib/auth/keys.h"
#include "lib/base/status.h"
#include "lib/base/text.h"
#include "lib/config/config.h"

namespace tocsin::cli {
namespace {

namespace fs = std::filesystem;

absl::Status CheckReferences(const pack::v1::Pack& pack, const std::string& file) {
  const auto wrong = [&](std::string_view what) {
    return InvalidArgument(Concat(file, ": ", what));
  };
  if (pack.name().empty()) return wrong("the pack has no name");
  for (const auto& stream : pack.streams()) {
    if (stream.topic().empty() || stream.schema_file().empty() || stream.message_type().empty()) {
      return wrong("a stream needs topic, schema-file and message-type");
    }
    if (stream.partitions() < 1) return wrong(Concat(stream.topic(), " has no partitions"));
  }
  for (const auto& table : pack.tables()) {
    if (table.topic().empty() || table.schema_file().empty() || table.message_type().empty()) {
      return wrong("a table needs topic, schema-file and message-type");
    }
    if (table.partitions() < 1) return wrong(Concat(table.topic(), " has no partitions"));
    if (FindStream(pack, table.topic()).ok()) {
      return wrong(Concat(table.topic(), " is a stream and a table; a topic is one of them"));
    }
  }
  for (const auto& mapping : pack.csv_mappings()) {
    if (const auto stream = FindStream(pack, mapping.stream()); !stream.ok()) {
      return wrong(Concat("csv-mapping ", mapping.name(), ": ", Message(stream.status())));
    }
  }
  for (const auto& scenario : pack.scenarios()) {
    const bool known =
        std::any_of(pack.csv_mappings().begin(), pack.csv_mappings().end(),
                    [&](const auto& mapping) { return mapping.name() == scenario.csv_mapping(); });
    if (!known) {
      return wrong(Concat("scenario ", scenario.name(), ": there is no csv-mapping '",
                          scenario.csv_mapping(), "'"));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<LoadedPack> LoadPack(std::string_view name_or_path, const fs::path& packs_dir) {
  LoadedPack loaded;
  std::error_code ignored;
  for (const fs::path& candidate : {packs_dir / name_or_path, fs::path(name_or_path)}) {
    if (fs::is_regular_file(candidate / "pack.yaml", ignored)) loaded.folder = candidate;
    if (candidate.filename() == "pack.yaml" && fs::is_regular_file(candidate, ignored)) {
      loaded.folder = candidate.parent_path();
    }
    if (!loaded.folder.empty()) break;
  }
  if (loaded.folder.empty()) {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(packs_dir, ignored)) {
      if (fs::is_regular_file(entry.path() / "pack.yaml", ignored)) {
        names.push_back(entry.path().filename().string());
      }
    }
    std::sort(names.begin(), names.end());
    return NotFound(
        Concat("there is no pack '", name_or_path, "'", DidYouMean(name_or_path, names), " In ",
               packs_dir.string(),
               names.empty() ? " there is none." : Concat(" there is ", Join(names, ", "), "."),
               " A path to a folder with a pack.yaml is taken too."));
  }
  loaded.folder = fs::absolute(loaded.folder).lexically_normal();
  const std::string file = (loaded.folder / "pack.yaml").string();
  TOCSIN_RETURN_IF_ERROR(config::LoadFileInto(file, loaded.pack));
  TOCSIN_RETURN_IF_ERROR(CheckReferences(loaded.pack, file));
  return loaded;
}

fs::path DefaultPacksDir(const fs::path& executable) {
  const fs::path bin = executable.parent_path();
  std::error_code ignored;
  for (const fs::path& candidate : {bin / "../../../packs", bin / "../share/tocsin/packs"}) {
    if (fs::is_directory(candidate, ignored)) return candidate.lexically_normal();
  }
  return "packs";
}

absl::StatusOr<const pack::v1::Stream*> FindStream(const pack::v1::Pack& pack,
                                                   std::string_view topic) {
  std::vector<std::string> topics;
  for (const auto& stream : pack.streams()) {
    if (stream.topic() == topic) return &stream;
    topics.push_back(stream.topic());
  }
  return NotFound(Concat("the pack ", pack.name(), " has no stream '", topic, "'; it has ",
                         topics.empty() ? "none" : Join(topics, ", ")));
}

absl::StatusOr<StreamSchema> LoadStreamSchema(const LoadedPack& pack,
                                              const pack::v1::Stream& stream) {
  StreamSchema result;
  const std::string file = (pack.folder / stream.schema_file()).string();
  TOCSIN_ASSIGN_OR_RETURN(result.text, auth::ReadFile(file));
  TOCSIN_ASSIGN_OR_RETURN(result.schema, schema::CompiledSchema::Compile({file, result.text}));
  result.message = result.schema->FindMessage(stream.message_type());
  if (result.message == nullptr) {
    return InvalidArgument(Concat(file, " has no message ", stream.message_type(), "; it has ",
                                  Join(result.schema->MessageNames(), ", ")));
  }
  for (const std::string& field : {stream.partition_key(), stream.severity_field()}) {
    if (!field.empty() && result.message->FindFieldByName(field) == nullptr) {
      return InvalidArgument(Concat("stream ", stream.topic(), ": ", stream.message_type(),
                                    " has no field '", field, "'"));
    }
  }
  return result;
}

absl::StatusOr<StreamSchema> LoadTableSchema(const LoadedPack& pack, const pack::v1::Table& table) {
  pack::v1::Stream stream;
  stream.set_topic(table.topic());
  stream.set_schema_file(table.schema_file());
  stream.set_message_type(table.message_type());
  return LoadStreamSchema(pack, stream);
}

}  // namespace tocsin::cli
