// Where .proto texts come from: a folder, or a git revision of it. Names are paths from the root,
// as import statements write them.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace tocsin::cli {

// Not thread-safe.
class TextSource {
 public:
  virtual ~TextSource() = default;
  // For messages: "proto", "git:HEAD".
  virtual std::string name() const = 0;
  // The .proto files under a path from the root, which may be such a file itself; empty: all.
  // Sorted; none where there is no such path. RESOURCE_EXHAUSTED: more than 10,000.
  virtual absl::StatusOr<std::vector<std::string>> List(std::string_view under) = 0;
  // nullopt: there is no such file.
  virtual absl::StatusOr<std::optional<std::string>> Read(const std::string& name) = 0;
};

std::unique_ptr<TextSource> FolderSource(std::filesystem::path root);
// What the first does not have is read from the second; the list is the first one's.
std::unique_ptr<TextSource> WithFallback(std::unique_ptr<TextSource> first,
                                         std::unique_ptr<TextSource> second);
// The same folder at a revision. A usage error: no such revision, or no repository.
absl::StatusOr<std::unique_ptr<TextSource>> GitSource(const std::filesystem::path& root,
                                                      std::string_view revision);

// These files and everything that they import, directly or not, as far as the source has it; the
// well-known types are left out. INVALID_ARGUMENT: one does not parse.
absl::StatusOr<std::map<std::string, std::string>> ReadWithImports(
    TextSource& source, const std::vector<std::string>& names);

// What a command line names: a file or folder, below a root.
struct ProtoPath {
  std::filesystem::path root;
  // From the root; empty: the root itself.
  std::string under;
  bool is_file = false;
};
// `root` empty: the folder itself, or the file's. A usage error says what is wrong with them.
absl::StatusOr<ProtoPath> ResolveProtoPath(const std::string& path, const std::string& root);

}  // namespace tocsin::cli
