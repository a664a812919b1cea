// A .proto text and its imports, compiled by Protobuf's own parser into descriptors.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace google::protobuf {
class Descriptor;
class FileDescriptor;
}  // namespace google::protobuf

namespace tocsin::schema {

// A file as an import statement names it: "tocsin/event/v1/event.proto".
struct SourceFile {
  std::string name;
  std::string text;
};

// What is refused before anything is parsed, so that a hostile text costs little.
struct CompileLimits {
  // Of one file.
  std::size_t max_text_bytes = std::size_t{1} << 20;
  // Of the file and everything it imports, the well-known types not counted.
  std::size_t max_total_bytes = std::size_t{8} << 20;
  // Files imported, directly or not, the well-known types not counted.
  int max_imports = 256;
  // Braces within braces: messages, options and groups alike.
  int max_nesting = 32;
  // Of one message, and as many oneofs, reserved names, and ranges; of one enum, the values.
  int max_fields = 10'000;
  // Of one file: messages, enums, services and oneofs, nested ones included; and what they and the
  // file hold: fields, extensions, values, methods. A descriptor takes many times its text.
  int max_types = 5'000;
  int max_members = 20'000;
};

// Immutable once compiled, hence thread-safe. Owns its descriptors: keep the shared_ptr for as long
// as any descriptor of it is in use. Schemas share the descriptors of the well-known types (see
// IsWellKnownImport), which live as long as the process, and no others: compare by full name.
class CompiledSchema {
 public:
  // Compiles `main`; `imports` holds each file that it imports, directly or not, in any order (more
  // than needed is fine). Well-known types need not be given; where one is, it counts instead of
  // the one that is built in. `main.name` appears in messages; it must differ from the names of the
  // imports.
  //
  // INVALID_ARGUMENT lists the errors, one per line, each as "file:line:column: what is wrong"
  // (lines and columns count from 1): text that does not parse, an unknown type, an import that is
  // missing or part of a cycle, a limit exceeded. Not worth a retry. Blocks for the time of the
  // parsing alone: below a millisecond for a usual schema.
  static absl::StatusOr<std::shared_ptr<const CompiledSchema>> Compile(
      const SourceFile& main, std::span<const SourceFile> imports = {},
      const CompileLimits& limits = {});

  ~CompiledSchema();
  CompiledSchema(const CompiledSchema&) = delete;
  CompiledSchema& operator=(const CompiledSchema&) = delete;

  const google::protobuf::FileDescriptor& file() const { return *file_; }
  const std::string& text() const { return text_; }

  // The message at a path of indexes, as in the wire format: {1, 0} is the first message nested in
  // the second message of the file. INVALID_ARGUMENT when the file has no such message.
  absl::StatusOr<const google::protobuf::Descriptor*> MessageAt(
      std::span<const std::int32_t> indexes) const;

  // A message of the file itself by its full name ("tocsin.packs.publicsafety.v1.Alert"), nested
  // ones included; nullptr when there is none. A message of an import is not found: the wire format
  // could not name it.
  const google::protobuf::Descriptor* FindMessage(std::string_view full_name) const;

  // The full names of all messages of the file, in the order of the file, nested ones after their
  // parents.
  std::vector<std::string> MessageNames() const;

  // Equal for schemas that mean the same: 32 hex digits over the descriptor of the file, without
  // comments, layout and file name. The order of declarations counts. Imports count by name only:
  // the caller adds what it knows about their versions.
  const std::string& fingerprint() const { return fingerprint_; }

  // The text of the file, or of one that it imports, directly or not, by its name; nullptr:
  // neither, or a well-known type.
  const std::string* TextOf(std::string_view file) const;

  // What it takes in memory with its imports, roughly: more than it does rather than less.
  std::size_t estimated_bytes() const { return estimated_bytes_; }

  // The file's FileDescriptorProto, serialized; its imports are not in it.
  std::string Serialized() const;

 private:
  struct Pool;
  class Linker;
  friend absl::StatusOr<std::string> TextOfSerialized(std::string_view, std::span<const SourceFile>,
                                                      const CompileLimits&);
  friend std::string CanonicalText(const CompiledSchema& schema);
  friend std::string NormalizedText(const CompiledSchema& schema);
  CompiledSchema(std::unique_ptr<Pool> pool, const google::protobuf::FileDescriptor* file,
                 std::string text);

  const std::unique_ptr<Pool> pool_;
  const google::protobuf::FileDescriptor* const file_;
  const std::string text_;
  const std::string fingerprint_;
  const std::size_t estimated_bytes_;
};

// The path of indexes that leads to a message in its file; the inverse of
// CompiledSchema::MessageAt.
std::vector<std::int32_t> MessageIndexes(const google::protobuf::Descriptor& message);

// The import paths that a text names, in its order, without compiling it and without the well-known
// types. INVALID_ARGUMENT as for Compile when the text does not parse.
absl::StatusOr<std::vector<std::string>> ImportsOf(const SourceFile& file,
                                                   const CompileLimits& limits = {});

// The .proto text of a serialized FileDescriptorProto, for clients that register that form.
// `imports` as for Compile. INVALID_ARGUMENT when the bytes are none, or do not link.
absl::StatusOr<std::string> TextOfSerialized(std::string_view file_descriptor_proto,
                                             std::span<const SourceFile> imports = {},
                                             const CompileLimits& limits = {});

// The schema printed anew: comments and layout dropped; syntax, package, imports, options,
// messages, enums, extensions, services, in the order of declaration within each; type names in
// full with a leading dot. Compiles to a schema with the same fingerprint.
std::string CanonicalText(const CompiledSchema& schema);

// The canonical text of the normal form: imports sorted and unique, options sorted, fields and enum
// values by number, oneofs by their first member, ranges merged and sorted, type names in full with
// a leading dot, no syntax line for proto2; enums, extensions and services by name. The order of
// messages is kept: the wire format counts them, groups as well, so that the fields of a message
// with groups stay in their order, too. So is that of the values of a repeated option, and
// the first value of an enum, which is its default. Equal texts for schemas that differ in
// nothing but that; the normal form of a normal form is itself.
std::string NormalizedText(const CompiledSchema& schema);

// google/protobuf/* (11 files), google/type/* (17), confluent/meta.proto and
// confluent/type/{decimal,variant}.proto, which every schema may import without more.
bool IsWellKnownImport(std::string_view name);

}  // namespace tocsin::schema
