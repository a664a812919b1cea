// Brings the .proto file behind a C++ message into the registry: the file under a subject, and what
// it imports before it, each under a subject of its own.
#pragma once

#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "lib/events/registry_client.h"
#include "lib/events/subject_names.h"
#include "lib/schema/compiled_schema.h"

namespace google::protobuf {
class FileDescriptor;
}  // namespace google::protobuf

namespace tocsin::events {

// The file and everything that it imports, directly or not, as .proto texts; each after what it
// imports, hence the file itself last. Well-known types are left out: every registry knows them.
// Generated messages and dynamic ones alike; for those of this repository it is the text as it was
// written, for all others their descriptor printed. INVALID_ARGUMENT: a descriptor that cannot be
// written as text within the limits of schema::CompileLimits. Pure; takes a few milliseconds.
absl::StatusOr<std::vector<schema::SourceFile>> SourceFilesOf(
    const google::protobuf::FileDescriptor& file);

struct FileRegistrationOptions {
  // What is missing is registered; kLookup changes nothing.
  enum class Action { kRegister, kLookup };
  Action action = Action::kRegister;
  ReferenceNaming reference_naming = ReferenceNaming::kDefault;
  bool normalize = false;
};

// Registers (or looks up) the imports in the order of their dependencies, then the file, with each
// direct import as a reference to the version just found. Idempotent. Blocks for one call to the
// registry per file, one after the other; ends with the first that fails, whose status says which
// subject it was about. Errors as RegistryClient::Register and Lookup, and those of SourceFilesOf.
absl::StatusOr<RegisteredVersion> RegisterFile(RegistryClient& registry, std::string_view subject,
                                               const google::protobuf::FileDescriptor& file,
                                               const FileRegistrationOptions& options = {});

}  // namespace tocsin::events
