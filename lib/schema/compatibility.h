// May this schema follow that one? The rules and the names of the differences are those of
// Confluent's registry (Protobuf, as of 2026-06), so that a verdict here is the verdict there. The
// levels STRICT and STRICT_TRANSITIVE are ours: FULL, and the holes of those rules closed.
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
  // FULL, and nothing else that changes what a reader sees: cardinality, required, reserved
  // numbers,
  // values of enums, names in JSON.
  kStrict,
  kStrictTransitive,
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
  // Seen in STRICT only; Confluent's rules do not have them.
  kFieldLabelChanged,
  kFieldMadeRequired,
  kReservedReused,
  kFieldJsonNameChanged,
};

// "FIELD_SCALAR_KIND_CHANGED"
std::string_view KindName(DifferenceKind kind);
// Does a reader with the new schema still read what the old one wrote? `strict`: by the rules of
// STRICT.
bool IsCompatible(DifferenceKind kind, bool strict = false);

// Which reader does not read what the other side writes.
enum class Direction {
  // One with the new schema, data of the old one.
  kBackward,
  // One with the old schema, data of the new one.
  kForward,
};

// A place in a text; line and column count from 1.
struct Place {
  // As in the import statement; empty: the schema itself.
  std::string file;
  int line = 0;
  int column = 0;
  friend bool operator==(const Place&, const Place&) = default;
};

struct Finding {
  DifferenceKind kind;
  // Where, by local names, as Confluent says it: "#/Alert/severity"; "#/" is the file.
  std::string path;
  // For a person: what it was, what it is, and what that means.
  std::string description;
  Direction direction = Direction::kBackward;
  // Where it stands in the older text and in the newer one; nullopt: it is not in it.
  std::optional<Place> older;
  std::optional<Place> newer;
  // What that reader will see on the wire: "a reader with the old schema sees severity = 0".
  std::string consequence;
  // The smallest change of the newer text that mends it: "reserve 4 and \"place\"".
  std::string repair;
};

// All differences, compatible ones too, in the order of the file; those in imported types last.
// Independent of the order of declarations, but for that. Pure; thread-safe.
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

struct LevelVerdict {
  CompatibilityLevel level{};
  HistoryVerdict verdict;
};

// Both directions and all levels but NONE, in the order of the enum; each difference is worked out
// once.
std::vector<LevelVerdict> CheckAllLevels(
    std::span<const std::shared_ptr<const CompiledSchema>> history,
    const CompiledSchema& candidate);

}  // namespace tocsin::schema
