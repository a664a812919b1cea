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
  // FULL, and nothing else that changes what a reader sees: cardinality, required, reserved numbers
  // and names, values of enums, names in JSON. See IsCompatible.
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
  kOneofFieldMovedToTopLevel,
  // Against STRICT only; Confluent's rules do not have them.
  // Repeated or not, where Confluent does not look: one side has no label, or it is no number.
  kFieldLabelChanged,
  // From optional to required, where Confluent does not look: string, bytes, message.
  kFieldMadeRequired,
  // A number or a name that the older text reserves.
  kReservedReused,
  kFieldJsonNameChanged,
};

// "FIELD_SCALAR_KIND_CHANGED"
std::string_view KindName(DifferenceKind kind);
// Does a reader with the new schema still read what the old one wrote? `strict`: by the rules of
// STRICT. Where Confluent's rules leave something open, these hold:
//   - A group is no message: from one to the other is FIELD_KIND_CHANGED. (Confluent does not look
//     at groups at all.) Extensions and services are not compared.
//   - A type that is imported on either side is compared once with everything that it uses; its
//     findings come last, and every field of the file itself that uses it is
//     FIELD_NAMED_TYPE_CHANGED if there is an incompatible one among them.
//   - Enums are compared value by value also where a field changes from one enum to another.
// And for STRICT:
//   - ENUM_CONST_REMOVED is a break, whether the number is reserved or not. A new value is none, a
//     new name for a value is none, and neither is an enum that goes with all its uses.
//   - A field that is renamed has another name in JSON, which is a break, unless json_name keeps
//     the old one.
//   - A field may go, reserved or not; RESERVED_REUSED is judged by what the older text reserves.
//     STRICT sees the last version alone, so that only STRICT_TRANSITIVE notices a number that was
//     reserved, set free and then taken.
//   - ENUM_CONST_REMOVED and RESERVED_REUSED follow the order of the versions: they are told of
//     Direction::kBackward alone.
bool IsCompatible(DifferenceKind kind, bool strict = false);

// Which reader does not read what the other side writes.
enum class Direction {
  // One with the new schema, data of the old one.
  kBackward,
  // One with the old schema, data of the new one.
  kForward,
};

// A place in a text; line and column count from 1, columns in characters (a tab is one).
struct Place {
  // As in the import statement; empty: the schema itself.
  std::string file;
  int line = 0;
  int column = 0;
  friend bool operator==(const Place&, const Place&) = default;
};

struct Finding {
  DifferenceKind kind;
  // Where, as Confluent says it but with names for numbers: "#/Alert/severity", for a member of a
  // oneof "#/Alert/source/sensor"; "#/" is the file. Names are those of the newer text.
  std::string path;
  // For a person: what it was, what it is, and what that means.
  std::string description;
  Direction direction = Direction::kBackward;
  // Where it stands in the older text and in the newer one; nullopt: it is not in it.
  std::optional<Place> older;
  std::optional<Place> newer;
  // What that reader will see on the wire: "a reader with the old schema sees severity = 0 (the
  // default)".
  std::string consequence;
  // The smallest change of the newer text that mends it: "write int32 severity = 4; again"; may be
  // empty where there is nothing to mend.
  std::string repair;
};

// All differences in direction kBackward, compatible ones too, in the order of the file; those in
// imported types last. Independent of the order of declarations, but for that. Pure; thread-safe.
// Places are looked up by parsing the texts anew, once, when there is a difference to tell.
std::vector<Finding> Differences(const CompiledSchema& older, const CompiledSchema& newer);

// What stands against `newer` after `older` at this level: the first 1,000, and no more than about
// 1 MiB of text; CheckHistory tells how many more there are.
std::vector<Finding> CheckCompatibility(const CompiledSchema& older, const CompiledSchema& newer,
                                        CompatibilityLevel level);

struct HistoryVerdict {
  // Empty: compatible.
  std::vector<Finding> findings;
  // Index into the history of the version that the findings are about.
  std::optional<std::size_t> against;
  // Findings beyond those, which are not told.
  std::size_t left_out = 0;
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
// once, so that this costs about as much as FULL_TRANSITIVE.
std::vector<LevelVerdict> CheckAllLevels(
    std::span<const std::shared_ptr<const CompiledSchema>> history,
    const CompiledSchema& candidate);

}  // namespace tocsin::schema
