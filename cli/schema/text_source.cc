#include "cli/schema/text_source.h"

#include <algorithm>
#include <fstream>
#include <set>
#include <sstream>
#include <system_error>
#include <utility>

#include "cli/core/exit_code.h"
#include "cli/schema/git.h"
#include "lib/base/status.h"
#include "lib/base/text.h"
#include "lib/schema/compiled_schema.h"

namespace tocsin::cli {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMostFiles = 10'000;
constexpr std::uintmax_t kMostBytes = std::uintmax_t{8} << 20;

bool IsUnder(std::string_view name, std::string_view under) {
  if (under.empty() || name == under) return true;
  return name.starts_with(under) && name.substr(under.size()).starts_with("/");
}

absl::Status TooMany(std::string_view where) {
  return ResourceExhausted(
      Concat(where, " has more than ", kMostFiles, " .proto files; name a folder within it"));
}

class Folder final : public TextSource {
 public:
  explicit Folder(fs::path root) : root_(std::move(root)) {}

  std::string name() const override { return root_.string(); }

  absl::StatusOr<std::vector<std::string>> List(std::string_view under) override {
    std::vector<std::string> names;
    std::error_code error;
    const fs::path begin = under.empty() ? root_ : root_ / under;
    if (fs::is_regular_file(begin, error)) return std::vector<std::string>{std::string(under)};
    for (fs::recursive_directory_iterator at(begin, error), end; !error && at != end;
         at.increment(error)) {
      // .git and its like; links are not followed.
      if (at->path().filename().string().starts_with(".")) {
        at.disable_recursion_pending();
        continue;
      }
      if (at->path().extension() != ".proto" || !at->is_regular_file(error)) continue;
      names.push_back(at->path().lexically_relative(root_).generic_string());
      if (names.size() > kMostFiles) return TooMany(root_.string());
    }
    if (error && error != std::errc::no_such_file_or_directory) {
      return FailedPrecondition(Concat("cannot read ", begin.string(), ": ", error.message()));
    }
    std::sort(names.begin(), names.end());
    return names;
  }

  absl::StatusOr<std::optional<std::string>> Read(const std::string& file) override {
    const fs::path path = root_ / file;
    std::error_code error;
    if (!fs::is_regular_file(path, error)) return std::nullopt;
    // What is larger is no schema; the compiler's limit is below.
    if (fs::file_size(path, error) > kMostBytes || error) {
      return InvalidArgument(Concat(path.string(), " is larger than 8 MiB or cannot be read"));
    }
    std::ifstream in(path, std::ios::binary);
    std::ostringstream text;
    text << in.rdbuf();
    if (!in) {
      return FailedPrecondition(Concat("cannot read ", path.string(), "; may you read it?"));
    }
    return text.str();
  }

 private:
  const fs::path root_;
};

class Revision final : public TextSource {
 public:
  Revision(fs::path root, std::string name, std::string tree, std::vector<std::string> files)
      : root_(std::move(root)),
        name_(std::move(name)),
        tree_(std::move(tree)),
        files_(std::move(files)) {}

  std::string name() const override { return name_; }

  absl::StatusOr<std::vector<std::string>> List(std::string_view under) override {
    std::vector<std::string> names;
    for (const std::string& file : files_) {
      if (IsUnder(file, under)) names.push_back(file);
    }
    if (names.size() > kMostFiles) return TooMany(name_);
    return names;
  }

  absl::StatusOr<std::optional<std::string>> Read(const std::string& file) override {
    if (!std::binary_search(files_.begin(), files_.end(), file)) return std::nullopt;
    TOCSIN_ASSIGN_OR_RETURN(std::string text,
                            RunGit(root_, {"cat-file", "blob", Concat(tree_, ":./", file)}));
    return std::optional<std::string>(std::move(text));
  }

 private:
  const fs::path root_;
  const std::string name_;
  const std::string tree_;
  // Sorted.
  const std::vector<std::string> files_;
};

class Layered final : public TextSource {
 public:
  Layered(std::unique_ptr<TextSource> first, std::unique_ptr<TextSource> second)
      : first_(std::move(first)), second_(std::move(second)) {}

  std::string name() const override { return first_->name(); }
  absl::StatusOr<std::vector<std::string>> List(std::string_view under) override {
    return first_->List(under);
  }
  absl::StatusOr<std::optional<std::string>> Read(const std::string& file) override {
    TOCSIN_ASSIGN_OR_RETURN(auto text, first_->Read(file));
    if (text) return text;
    return second_->Read(file);
  }

 private:
  const std::unique_ptr<TextSource> first_;
  const std::unique_ptr<TextSource> second_;
};

}  // namespace

std::unique_ptr<TextSource> WithFallback(std::unique_ptr<TextSource> first,
                                         std::unique_ptr<TextSource> second) {
  return std::make_unique<Layered>(std::move(first), std::move(second));
}

std::unique_ptr<TextSource> FolderSource(fs::path root) {
  return std::make_unique<Folder>(std::move(root));
}

absl::StatusOr<std::unique_ptr<TextSource>> GitSource(const fs::path& root,
                                                      std::string_view revision) {
  if (revision.empty() || revision.starts_with("-")) {
    return UsageError(Concat("'", revision,
                             "' is no revision; write git:HEAD~1, git:main or a "
                             "commit"));
  }
  if (const auto repository = RunGit(root, {"rev-parse", "--git-dir"}); !repository.ok()) {
    if (!absl::IsFailedPrecondition(repository.status())) return repository.status();
    return UsageError(Concat("git:", revision, " needs a git repository, and ", root.string(),
                             " is in none that git can read (", Message(repository.status()),
                             "); check against a file or folder (--against PATH), or against the "
                             "registry (--against registry)"));
  }
  // The commit, so that nothing moves under us, and so that no word of ours can be an option.
  auto commit = RunGit(root, {"rev-parse", "--verify", "--quiet", "--end-of-options",
                              Concat(revision, "^{commit}")});
  if (!commit.ok()) {
    return UsageError(Concat("git knows no revision '", revision, "' in ", root.string(),
                             "; a shallow clone has the last commit only (git fetch "
                             "--unshallow)"));
  }
  while (!commit->empty() && commit->back() == '\n') commit->pop_back();
  TOCSIN_ASSIGN_OR_RETURN(const std::string listed,
                          RunGit(root, {"ls-tree", "-r", "-z", "--name-only", *commit}));
  std::vector<std::string> files;
  for (std::string& file : Split(listed, '\0')) {
    if (file.ends_with(".proto")) files.push_back(std::move(file));
  }
  std::sort(files.begin(), files.end());
  return std::make_unique<Revision>(root, Concat("git:", revision), *std::move(commit),
                                    std::move(files));
}

absl::StatusOr<std::map<std::string, std::string>> ReadWithImports(
    TextSource& source, const std::vector<std::string>& names) {
  std::map<std::string, std::string> texts;
  std::set<std::string> seen(names.begin(), names.end());
  std::vector<std::string> waiting(names.rbegin(), names.rend());
  while (!waiting.empty()) {
    const std::string name = std::move(waiting.back());
    waiting.pop_back();
    TOCSIN_ASSIGN_OR_RETURN(auto text, source.Read(name));
    // The compiler says who misses it.
    if (!text) continue;
    // Likewise what does not parse.
    if (const auto imports = schema::ImportsOf({name, *text}); imports.ok()) {
      for (const std::string& import : *imports) {
        if (seen.insert(import).second) waiting.push_back(import);
      }
    }
    texts.emplace(name, *std::move(text));
    if (texts.size() > kMostFiles) return TooMany(source.name());
  }
  return texts;
}

absl::StatusOr<ProtoPath> ResolveProtoPath(const std::string& path, const std::string& root) {
  std::error_code error;
  const fs::path at = fs::weakly_canonical(path, error);
  const bool is_file = fs::is_regular_file(at, error);
  if (!is_file && !fs::is_directory(at, error)) {
    return UsageError(Concat(path, " is neither a .proto file nor a folder"));
  }
  ProtoPath resolved;
  resolved.is_file = is_file;
  if (root.empty()) {
    resolved.root = is_file ? at.parent_path() : at;
    resolved.under = is_file ? at.filename().string() : "";
    return resolved;
  }
  resolved.root = fs::weakly_canonical(root, error);
  if (!fs::is_directory(resolved.root, error)) {
    return UsageError(Concat("--root: ", root, " is no folder"));
  }
  resolved.under = at.lexically_relative(resolved.root).generic_string();
  if (resolved.under == ".") resolved.under.clear();
  if (resolved.under.starts_with("..")) {
    return UsageError(Concat(path, " is not below --root ", root));
  }
  return resolved;
}

}  // namespace tocsin::cli
