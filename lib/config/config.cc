#include "lib/config/config.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <system_error>

#include "lib/base/status.h"
#include "lib/base/text.h"
#include "lib/config/reader.h"
#include "lib/config/yaml_tree.h"

namespace tocsin::config {
namespace {

bool IsSpace(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

Position PositionOfByte(std::string_view source, std::size_t byte) {
  Position position;
  for (std::size_t i = 0; i < byte && i < source.size(); ++i) {
    if (source[i] == '\n') {
      ++position.line;
      position.column = 1;
    } else {
      ++position.column;
    }
  }
  return position;
}

constexpr std::size_t kNoMatch = std::string_view::npos;

// Walks a scalar as it was written beside its unfolded text up to `offset` and gives the byte of
// the source reached. White space is what folding changes, so it is matched loosely; all other
// characters must agree.
std::size_t SourceByte(std::string_view source, std::size_t start, std::string_view text,
                       std::size_t offset) {
  std::size_t at = start;
  if (at >= source.size()) return kNoMatch;
  char quote = 0;
  if (source[at] == '"' || source[at] == '\'') {
    quote = source[at++];
  } else if (source[at] == '|' || source[at] == '>') {
    at = source.find('\n', at);
    if (at == std::string_view::npos) return kNoMatch;
    ++at;
  }
  const auto skip_space = [&] {
    while (at < source.size() && IsSpace(source[at])) ++at;
  };
  for (std::size_t i = 0; i < offset; ++i) {
    if (IsSpace(text[i])) {
      if (at < source.size() && source[at] == text[i]) {
        ++at;
      } else if (quote == '"' && at + 1 < source.size() && source[at] == '\\' &&
                 (source[at + 1] == 'n' || source[at + 1] == 't' || source[at + 1] == ' ')) {
        at += 2;
      }
      continue;
    }
    skip_space();
    if (at + 1 < source.size() &&
        ((quote == '"' && source[at] == '\\') || (quote == '\'' && source.substr(at, 2) == "''"))) {
      ++at;
    }
    if (at >= source.size() || source[at] != text[i]) return kNoMatch;
    ++at;
  }
  if (offset < text.size() && !IsSpace(text[offset])) skip_space();
  return at;
}

}  // namespace

bool Positions::Has(std::string_view path) const {
  return !path.empty() && entries_.find(path) != entries_.end();
}

const Positions::Entry* Positions::Nearest(std::string_view path) const {
  while (true) {
    const auto entry = entries_.find(path);
    if (entry != entries_.end()) return &entry->second;
    if (path.empty()) return nullptr;
    const std::size_t cut = path.find_last_of(".[");
    path = cut == std::string_view::npos ? std::string_view() : path.substr(0, cut);
  }
}

Position Positions::Key(std::string_view path) const {
  const Entry* entry = Nearest(path);
  return entry == nullptr ? Position() : entry->key;
}

Position Positions::Value(std::string_view path) const {
  const Entry* entry = Nearest(path);
  return entry == nullptr ? Position() : entry->value;
}

Position Positions::Inside(std::string_view path, std::size_t offset) const {
  const auto found = entries_.find(path);
  if (found == entries_.end() || !found->second.scalar || offset > found->second.text.size()) {
    return Value(path);
  }
  const Entry& entry = found->second;
  const std::size_t byte = SourceByte(source_, entry.source_offset, entry.text, offset);
  return byte == kNoMatch ? entry.value : PositionOfByte(source_, byte);
}

absl::Status Positions::Error(Position position, std::string_view reason) const {
  return InvalidArgument(At(file_name_, position, reason));
}

absl::Status ParseYaml(std::string_view text, std::string_view file_name,
                       google::protobuf::Message& into, Positions* positions) {
  PositionsWriter writer(positions, file_name, text);
  TOCSIN_ASSIGN_OR_RETURN(const YamlNode root, ParseYamlTree(text, file_name));
  Reader reader(file_name, writer);
  reader.ReadMessage(root, "", into);
  return reader.Result();
}

absl::Status LoadFileInto(const std::string& path, google::protobuf::Message& into) {
  // Closed by hand on each way out: the three errors below differ in their text.
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (file < 0) {
    const int error = errno;
    const std::string text =
        Concat("cannot open ", path, ": ", std::generic_category().message(error));
    return error == EACCES ? PermissionDenied(text) : NotFound(text);
  }
  struct stat info {};
  if (::fstat(file, &info) != 0 || !S_ISREG(info.st_mode)) {
    ::close(file);
    return InvalidArgument(Concat(path, " is not a regular file"));
  }
  std::string text;
  std::array<char, std::size_t{16} * 1024> buffer{};
  while (text.size() <= kMaxYamlBytes) {
    const ssize_t count = ::read(file, buffer.data(), buffer.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) {
      const int error = errno;
      ::close(file);
      return Unavailable(
          Concat("cannot read ", path, ": ", std::generic_category().message(error)));
    }
    if (count == 0) break;
    text.append(buffer.data(), static_cast<std::size_t>(count));
  }
  ::close(file);
  return ParseYaml(text, path, into);
}

}  // namespace tocsin::config
