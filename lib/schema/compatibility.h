// May this schema follow that one? The rules and the names of the differences are those of
// Confluent's registry (Protobuf), so that a verdict here is the verdict there.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "lib/schema/compiled_schema.h"

namespace tocsin::schema {

enum class CompatibilityLevel {
  // Everything goes.
  kNone,
  // A reader with the new schema reads data written with the previous one.
  kBackward,
  // … with every earlier one.
  kBackwardTransitive,
  // A reader with the previous schema reads data written with the new one.
  kForward,
  kForwardTransitive,
  // Both.
  kFull,
  kFullTransitive,
};

// "BACKWARD_TRANSITIVE"
std::string_view LevelName(CompatibilityLevel level);
// INVALID_ARGUMENT lists the levels.
absl::StatusOr<CompatibilityLevel> ParseLevel(std::string_view name);

// Does it look at every earlier version, not at the last one alone?
bool IsTransitive(CompatibilityLevel level);

enum class DifferenceKind {
  kPackageChanged,
  kMessageAdded,
  kMessageRemoved,
  kMessageMoved,
  kEnumAdded,
  kEnumRemoved,
  kEnumConstAdded,
  kEnumConstChanged,
  kEnumConstRemoved,
  kFieldAdded,
  kFieldRemoved,
  kFieldNameChanged,
  kFieldKindChanged,
  kFieldScalarKindChanged,
  kFieldNamedTypeChanged,
  kFieldNumericLabelChanged,
  kRequiredFieldAdded,
  kRequiredFieldRemoved,
  kOneofAdded,
  kOneofRemoved,
  kOneofFieldAdded,
  kOneofFieldRemoved,
  kMultipleFieldsMovedToOneof,
  kFieldMovedToExistingOneof,
};

// "FIELD_SCALAR_KIND_CHANGED"
std::string_view KindName(DifferenceKind kind);
// Does a reader with the new schema still read what the old one wrote?
bool IsCompatible(DifferenceKind kind);

struct Finding {
  DifferenceKind kind;
  // Where, by local names: "#/Alert/severity"; "#/" is the file.
  std::string path;
  // For a person: what it was, what it is, and what that means.
  std::string description;
};

// All differences, compatible ones too, in the order of the file; those in imported types last.
// Pure; thread-safe.
std::vector<Finding> Differences(const CompiledSchema& older, const CompiledSchema& newer);

// What stands against `newer` directly following `older` at this level; empty when nothing does.
std::vector<Finding> CheckCompatibility(const CompiledSchema& older, const CompiledSchema& newer,
                                        CompatibilityLevel level);

struct HistoryVerdict {
  // Empty: compatible.
  std::vector<Finding> findings;
  // Index into the history of the version that the findings are about.
  std::optional<std::size_t> against;
};

// May `candidate` follow this history (oldest first)? The levels that are not transitive look at
// the last one only; the others go back from the newest and stop at the first that is not
// compatible.
HistoryVerdict CheckHistory(std::span<const std::shared_ptr<const CompiledSchema>> history,
                            const CompiledSchema& candidate, CompatibilityLevel level);

}  // namespace tocsin::schema
