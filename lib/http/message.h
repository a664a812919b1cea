// What travels over HTTP: shared bytes, header fields, the heads of requests and responses.
#pragma once

#include <cstddef>
#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"

namespace tocsin::http {

// A part of immutable bytes with shared ownership: copying it copies no bytes, so one frame can be
// on its way to any number of clients. Thread-safe as a shared_ptr is.
class Slice {
 public:
  Slice() = default;
  // Takes the text over.
  explicit Slice(std::string bytes);
  // `bytes` must be valid for as long as `owner` is held. No owner: for ever (literals).
  Slice(std::shared_ptr<const void> owner, std::string_view bytes)
      : owner_(std::move(owner)), bytes_(bytes) {}

  std::string_view view() const { return bytes_; }
  std::size_t size() const { return bytes_.size(); }
  bool empty() const { return bytes_.empty(); }

  // The part from `offset` (at most size()) of at most `length` bytes, with the same owner.
  Slice Sub(std::size_t offset, std::size_t length = std::string_view::npos) const {
    return Slice(owner_, bytes_.substr(offset, length));
  }
  void RemovePrefix(std::size_t length) { bytes_.remove_prefix(length); }

 private:
  std::shared_ptr<const void> owner_;
  std::string_view bytes_;
};

std::size_t TotalSize(const std::vector<Slice>& slices);
std::string Flatten(const std::vector<Slice>& slices);

// Header fields in the order sent, names in lower case, repeated names kept. Not thread-safe.
class Headers {
 public:
  struct Field {
    std::string name;
    std::string value;
  };

  Headers() = default;
  Headers(std::initializer_list<std::pair<std::string_view, std::string_view>> fields);

  // Lowers the name. The caller answers for value: CR, LF and NUL in it are dropped when sent.
  void Add(std::string_view name, std::string_view value);
  // Add, after removing what has the name.
  void Set(std::string_view name, std::string_view value);
  void Remove(std::string_view name);
  // The first value. `name` in lower case.
  std::optional<std::string_view> Get(std::string_view name) const;
  // All values of a name, joined by ", "; empty when there is none.
  std::string Joined(std::string_view name) const;

  bool empty() const { return fields_.empty(); }
  std::size_t size() const { return fields_.size(); }
  auto begin() const { return fields_.begin(); }
  auto end() const { return fields_.end(); }

 private:
  std::vector<Field> fields_;
};

enum class Version { kHttp10, kHttp11, kHttp2 };

struct RequestHead {
  Version version = Version::kHttp11;
  std::string method;
  // As sent: path and query, not decoded.
  std::string target;
  // Host of HTTP/1.1, :authority of HTTP/2.
  std::string authority;
  Headers headers;
  // Address of the client: "127.0.0.1:54321".
  std::string peer;

  // The target up to '?'.
  std::string_view path() const;
  // What follows '?'; empty when there is none.
  std::string_view query() const;
};

struct ResponseHead {
  int status = 200;
  Headers headers;
};

// "%2F" and, in queries, "+" decoded. INVALID_ARGUMENT: a '%' without two hexadecimal digits after
// it; the message quotes it and says where it is.
absl::StatusOr<std::string> PercentDecode(std::string_view text, bool plus_is_space = false);

// The path split at '/', each segment decoded: {"subjects", "a/b", "versions"}. What is empty
// between two slashes is a segment too; a slash at the end begins none. INVALID_ARGUMENT as above.
absl::StatusOr<std::vector<std::string>> ParsePath(std::string_view path);

// The query as decoded (name, value) pairs in the order sent. INVALID_ARGUMENT as above.
absl::StatusOr<std::vector<std::pair<std::string, std::string>>> ParseQuery(std::string_view query);

// "Not Found"; empty for unknown codes.
std::string_view ReasonPhrase(int status);

}  // namespace tocsin::http
