// A folder of .proto files as schemas: for checks without a registry.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "lib/schema/compiled_schema.h"

namespace tocsin::schema {

// Each file compiled, its imports taken from the tree; well-known types are those that are built
// in. `texts`: the path from the tree's root, as import statements name it -> text.
// INVALID_ARGUMENT as CompiledSchema::Compile, with the errors of all files that do not compile,
// each once. Pure; thread-safe.
absl::StatusOr<std::map<std::string, std::shared_ptr<const CompiledSchema>>> CompileTree(
    const std::map<std::string, std::string>& texts, const CompileLimits& limits = {});

}  // namespace tocsin::schema
