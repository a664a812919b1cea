// Configuration: YAML text and environment variables into a typed Protobuf message, and back into
// text that is safe to show. The message's descriptor is the whole schema: keys are its field
// names, and whatever it does not know is an error that says where, what and what was probably
// meant.
//
//   key names     field names; `-` and `_` are the same (`group-by`)
//   enums         lower-case words without the enum's prefix (`event_time` for ORDER_EVENT_TIME)
//   durations     google.protobuf.Duration as 250ms, 10s, 90m, 24h, 7d
//   times         google.protobuf.Timestamp as RFC 3339
//   sizes         integer fields whose name ends in `_bytes` also take KiB, MiB, GiB, KB, MB, GB
//   lists         a single scalar counts as a list of one
//   null          leaves the field as it is
//
// Refused: unknown and repeated keys, a wrong type, a number out of range, two members of a oneof,
// a second document, anchors and aliases (so no text grows while it is read), more than 1 MiB, more
// than 32 levels.
//
// Threads: all functions are pure but LoadFile and CurrentEnvironment, and may be called from any
// thread; a Positions may be read by many threads once it is filled. Nothing here throws.
// Errors: INVALID_ARGUMENT with one line `file:line:column: reason` for each mistake (at most ten).
// They are the text's own: trying again with the same text does not help.
#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace google::protobuf {
class Descriptor;
class Message;
}  // namespace google::protobuf

namespace tocsin::config {

// Counted from 1, in bytes.
struct Position {
  int line = 1;
  int column = 1;
};

// Where in the text each field was written, so that a later check can point at it. Paths are field
// names joined by dots, list elements with their index, map entries with their key:
// `correlation.group_by[0]`, `fields[place]`.
class Positions {
 public:
  // Was the field written at all?
  bool Has(std::string_view path) const;
  // The key and the value of a field. What was not written has the position of the nearest
  // enclosing field that was.
  Position Key(std::string_view path) const;
  Position Value(std::string_view path) const;
  // The place of byte `offset` of a scalar's text as YAML unfolded it: inside quotes, or some lines
  // further down in a block scalar. Where the two cannot be matched: the value's start.
  Position Inside(std::string_view path, std::size_t offset) const;

  // "file:line:column: reason" as INVALID_ARGUMENT; without "file:" when the text had no name.
  absl::Status Error(Position position, std::string_view reason) const;

  const std::string& file_name() const { return file_name_; }

 private:
  friend class PositionsWriter;
  struct Entry {
    Position key;
    Position value;
    // A scalar's unfolded text and the byte of the source at which it was written.
    std::string text;
    std::size_t source_offset = 0;
    bool scalar = false;
  };
  const Entry* Nearest(std::string_view path) const;

  std::string file_name_;
  std::string source_;
  std::map<std::string, Entry, std::less<>> entries_;
};

// Reads `text` over `into`: fields that the text names are replaced (lists and maps whole, nested
// messages field by field), others stay. `file_name` is for error messages only and may be empty.
// On error `into` is unspecified.
absl::Status ParseYaml(std::string_view text, std::string_view file_name,
                       google::protobuf::Message& into, Positions* positions = nullptr);

// The same from a file. NOT_FOUND or PERMISSION_DENIED when it cannot be opened. Blocks on the disk
// only; refuses what is not a regular file.
absl::Status LoadFileInto(const std::string& path, google::protobuf::Message& into);

template <typename Config>
absl::StatusOr<Config> LoadFile(const std::string& path) {
  Config config;
  if (absl::Status status = LoadFileInto(path, config); !status.ok()) return status;
  return config;
}

using Environment = std::map<std::string, std::string>;

// The process's own variables, copied.
Environment CurrentEnvironment();

// Overrides fields by variables named TOCSIN_ and the path in capitals, joined by underscores:
// TOCSIN_KAFKA_BOOTSTRAP_SERVERS is kafka.bootstrap_servers. Values are written as in YAML; a list
// of scalars is also taken as words between commas. Variables that name no field are left alone
// (orchestrators put their own beside ours); those that were used are appended to `applied`.
// INVALID_ARGUMENT names the variable; its value is not quoted when it is a secret.
absl::Status ApplyEnvironment(google::protobuf::Message& message, const Environment& environment,
                              std::vector<std::string>* applied = nullptr);

// The message as YAML that ParseYaml reads again, set fields only, in the order of their
// declaration. Secrets are replaced by "[redacted]": strings whose field's or map key's name holds
// secret, password, token, credential or the like (the name of a *file* is no secret), and the
// user part of a URL.
std::string Dump(const google::protobuf::Message& message);

// JSON Schema (draft 2020-12) of what ParseYaml accepts for the message, for editors and
// --print-config-schema.
std::string Schema(const google::protobuf::Descriptor& descriptor);

}  // namespace tocsin::config
