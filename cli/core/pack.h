// Packs as they lie on disk: a folder with a pack.yaml.
//
// Threads: pure but for reading files; any thread.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "lib/schema/compiled_schema.h"
#include "tocsin/pack/v1/pack.pb.h"

namespace tocsin::cli {

struct LoadedPack {
  pack::v1::Pack pack;
  std::filesystem::path folder;
};

// A pack by the name of its folder under `packs_dir`, or by a path to its folder or pack.yaml.
// NOT_FOUND lists the packs that there are; INVALID_ARGUMENT as config::ParseYaml, or names a
// stream, mapping or scenario that refers to what the pack does not have.
absl::StatusOr<LoadedPack> LoadPack(std::string_view name_or_path,
                                    const std::filesystem::path& packs_dir);

// The folder that holds the packs beside the running program: in the source tree for a build, in
// share/tocsin/packs for an installation.
std::filesystem::path DefaultPacksDir(const std::filesystem::path& executable);

absl::StatusOr<const pack::v1::Stream*> FindStream(const pack::v1::Pack& pack,
                                                   std::string_view topic);

struct StreamSchema {
  std::string text;
  std::shared_ptr<const schema::CompiledSchema> schema;
  const google::protobuf::Descriptor* message = nullptr;
};
// The schema of a stream as its pack gives it. INVALID_ARGUMENT: it does not compile, does not have
// the message, or lacks the stream's key or severity field.
absl::StatusOr<StreamSchema> LoadStreamSchema(const LoadedPack& pack,
                                              const pack::v1::Stream& stream);

// The same for a table.
absl::StatusOr<StreamSchema> LoadTableSchema(const LoadedPack& pack, const pack::v1::Table& table);

}  // namespace tocsin::cli
