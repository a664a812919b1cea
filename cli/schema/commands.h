// `tocsin schema …`: what each command does, apart from how its flags are written
// (command_line.cc). Each returns an exit code, or an error from which the exit code and the text
// for people are made.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "cli/session.h"

namespace tocsin::cli {

struct SchemaListFlags {
  std::string prefix;
  bool deleted = false;
  bool all_contexts = false;
  // The contexts instead of the subjects.
  bool contexts = false;
};
absl::StatusOr<int> ListSchemas(const Session& session, const SchemaListFlags& flags);

struct SchemaShowFlags {
  // "orders-value", "orders-value/3", or an id.
  std::string what;
  // 0: as `what` says, else the latest.
  int version = 0;
  // Of an id.
  std::string context;
  bool deleted = false;
};
absl::StatusOr<int> ShowSchema(const Session& session, const SchemaShowFlags& flags);

struct SchemaPushFlags {
  std::string path;
  std::string root;
  std::string subject;
  std::string pack;
  // "common/types.proto=common-types"
  std::vector<std::string> as;
  bool normalize = false;
  bool dry_run = false;
};
absl::StatusOr<int> PushSchemas(const Session& session, const SchemaPushFlags& flags);

struct SchemaCheckFlags {
  std::string path;
  std::string root;
  // "git:REV", "registry", or a file or folder.
  std::string against;
  std::string subject;
  std::string level;
};
// 1: something breaks.
absl::StatusOr<int> CheckSchemas(const Session& session, const SchemaCheckFlags& flags);

struct SchemaDiffFlags {
  std::string subject;
  // 0: the last but one, and the last.
  int from = 0;
  int to = 0;
};
absl::StatusOr<int> DiffSchemas(const Session& session, const SchemaDiffFlags& flags);

struct SchemaWatchFlags {
  std::string prefix;
  std::int64_t after = 0;
  // Ends after so many; 0: never.
  std::int64_t count = 0;
};
absl::StatusOr<int> WatchSchemas(const Session& session, const SchemaWatchFlags& flags);

struct SchemaExportFlags {
  // Empty: to standard output.
  std::string kafka;
  std::string topic;
};
absl::StatusOr<int> ExportSchemas(const Session& session, const SchemaExportFlags& flags);

}  // namespace tocsin::cli
