#include "lib/schema/compatibility.h"

#include <algorithm>
#include <array>
#include <utility>

#include "lib/base/status.h"
#include "lib/schema/comparison.h"
#include "lib/schema/places.h"

namespace tocsin::schema {
namespace {

struct KindFacts {
  DifferenceKind kind;
  std::string_view name;
  bool compatible;
  bool strictly_compatible;
};

// A break by Confluent's rules; harmless; a break by the rules of STRICT alone.
constexpr KindFacts Break(DifferenceKind kind, std::string_view name) {
  return {kind, name, false, false};
}
constexpr KindFacts Fine(DifferenceKind kind, std::string_view name) {
  return {kind, name, true, true};
}
constexpr KindFacts Hole(DifferenceKind kind, std::string_view name) {
  return {kind, name, true, false};
}

constexpr std::array kKinds = {
    Break(DifferenceKind::kPackageChanged, "PACKAGE_CHANGED"),
    Fine(DifferenceKind::kMessageAdded, "MESSAGE_ADDED"),
    Break(DifferenceKind::kMessageRemoved, "MESSAGE_REMOVED"),
    Fine(DifferenceKind::kMessageMoved, "MESSAGE_MOVED"),
    Fine(DifferenceKind::kEnumAdded, "ENUM_ADDED"),
    Fine(DifferenceKind::kEnumRemoved, "ENUM_REMOVED"),
    Fine(DifferenceKind::kEnumConstAdded, "ENUM_CONST_ADDED"),
    Fine(DifferenceKind::kEnumConstChanged, "ENUM_CONST_CHANGED"),
    Hole(DifferenceKind::kEnumConstRemoved, "ENUM_CONST_REMOVED"),
    Fine(DifferenceKind::kFieldAdded, "FIELD_ADDED"),
    Fine(DifferenceKind::kFieldRemoved, "FIELD_REMOVED"),
    Fine(DifferenceKind::kFieldNameChanged, "FIELD_NAME_CHANGED"),
    Break(DifferenceKind::kFieldKindChanged, "FIELD_KIND_CHANGED"),
    Break(DifferenceKind::kFieldScalarKindChanged, "FIELD_SCALAR_KIND_CHANGED"),
    Break(DifferenceKind::kFieldNamedTypeChanged, "FIELD_NAMED_TYPE_CHANGED"),
    Break(DifferenceKind::kFieldNumericLabelChanged, "FIELD_NUMERIC_LABEL_CHANGED"),
    Break(DifferenceKind::kRequiredFieldAdded, "REQUIRED_FIELD_ADDED"),
    Break(DifferenceKind::kRequiredFieldRemoved, "REQUIRED_FIELD_REMOVED"),
    Fine(DifferenceKind::kOneofAdded, "ONEOF_ADDED"),
    Fine(DifferenceKind::kOneofRemoved, "ONEOF_REMOVED"),
    Fine(DifferenceKind::kOneofFieldAdded, "ONEOF_FIELD_ADDED"),
    Break(DifferenceKind::kOneofFieldRemoved, "ONEOF_FIELD_REMOVED"),
    Break(DifferenceKind::kMultipleFieldsMovedToOneof, "MULTIPLE_FIELDS_MOVED_TO_ONEOF"),
    Break(DifferenceKind::kFieldMovedToExistingOneof, "FIELD_MOVED_TO_EXISTING_ONEOF"),
    Fine(DifferenceKind::kOneofFieldMovedToTopLevel, "ONEOF_FIELD_MOVED_TO_TOP_LEVEL"),
    Hole(DifferenceKind::kFieldLabelChanged, "FIELD_LABEL_CHANGED"),
    Hole(DifferenceKind::kFieldMadeRequired, "FIELD_MADE_REQUIRED"),
    Hole(DifferenceKind::kReservedReused, "RESERVED_REUSED"),
    Hole(DifferenceKind::kFieldJsonNameChanged, "FIELD_JSON_NAME_CHANGED"),
};

const KindFacts& FactsOf(DifferenceKind kind) { return kKinds[static_cast<std::size_t>(kind)]; }

struct LevelFacts {
  CompatibilityLevel level;
  std::string_view name;
  bool backward;
  bool forward;
  bool transitive;
  bool strict;
};

constexpr std::array kLevels = {
    LevelFacts{CompatibilityLevel::kNone, "NONE", false, false, false, false},
    LevelFacts{CompatibilityLevel::kBackward, "BACKWARD", true, false, false, false},
    LevelFacts{CompatibilityLevel::kBackwardTransitive, "BACKWARD_TRANSITIVE", true, false, true,
               false},
    LevelFacts{CompatibilityLevel::kForward, "FORWARD", false, true, false, false},
    LevelFacts{CompatibilityLevel::kForwardTransitive, "FORWARD_TRANSITIVE", false, true, true,
               false},
    LevelFacts{CompatibilityLevel::kFull, "FULL", true, true, false, false},
    LevelFacts{CompatibilityLevel::kFullTransitive, "FULL_TRANSITIVE", true, true, true, false},
    LevelFacts{CompatibilityLevel::kStrict, "STRICT", true, true, false, true},
    LevelFacts{CompatibilityLevel::kStrictTransitive, "STRICT_TRANSITIVE", true, true, true, true},
};

constexpr bool TablesAreInTheOrderOfTheirEnums() {
  for (std::size_t i = 0; i < kKinds.size(); ++i) {
    if (static_cast<std::size_t>(kKinds[i].kind) != i) return false;
  }
  for (std::size_t i = 0; i < kLevels.size(); ++i) {
    if (static_cast<std::size_t>(kLevels[i].level) != i) return false;
  }
  return true;
}
static_assert(TablesAreInTheOrderOfTheirEnums());

const LevelFacts& FactsOf(CompatibilityLevel level) {
  return kLevels[static_cast<std::size_t>(level)];
}

// What follows the order of the versions, not the direction of reading: of a reader with the older
// schema it says nothing.
bool IsOfTheOrder(DifferenceKind kind) {
  return kind == DifferenceKind::kEnumConstRemoved || kind == DifferenceKind::kReservedReused;
}

bool StandsAgainst(const Change& change, Direction direction, bool strict) {
  if (IsCompatible(change.kind, strict)) return false;
  return direction == Direction::kBackward || !IsOfTheOrder(change.kind) ||
         !IsCompatible(change.kind);
}

// One list ends after the finding with which its words are as long: names may be long.
constexpr std::size_t kMaxFindingBytes = std::size_t{1} << 20;

std::size_t BytesOf(const Finding& finding) {
  return finding.path.size() + finding.description.size() + finding.consequence.size() +
         finding.repair.size();
}

// The differences of two schemas in both directions, each worked out when it is first needed.
class PairOfSchemas {
 public:
  PairOfSchemas(const CompiledSchema& older, const CompiledSchema& newer)
      : older_(older), newer_(newer), older_places_(older), newer_places_(newer) {}

  const std::vector<Change>& Changes(Direction direction) {
    auto& changes = direction == Direction::kBackward ? backward_ : forward_;
    if (!changes) {
      const bool backward = direction == Direction::kBackward;
      const CompiledSchema& writer = backward ? older_ : newer_;
      const CompiledSchema& reader = backward ? newer_ : older_;
      changes = Comparison(writer.file(), reader.file(), direction).Run();
    }
    return *changes;
  }

  // Without `against`.
  HistoryVerdict Against(const LevelFacts& level) {
    HistoryVerdict verdict;
    std::vector<Finding>& findings = verdict.findings;
    std::size_t bytes = 0;
    for (const Direction direction : {Direction::kBackward, Direction::kForward}) {
      if (direction == Direction::kBackward ? !level.backward : !level.forward) continue;
      for (const Change& change : Changes(direction)) {
        if (!StandsAgainst(change, direction, level.strict)) continue;
        if (findings.size() < kMaxFindings && bytes < kMaxFindingBytes) {
          findings.push_back(ToFinding(change, direction));
          bytes += BytesOf(findings.back());
        } else {
          ++verdict.left_out;
        }
      }
    }
    return verdict;
  }

  Finding ToFinding(const Change& change, Direction direction) {
    return {change.kind,
            change.path,
            change.description,
            direction,
            older_places_.Find(change.older),
            newer_places_.Find(change.newer),
            change.consequence,
            change.repair};
  }

 private:
  const CompiledSchema& older_;
  const CompiledSchema& newer_;
  Places older_places_;
  Places newer_places_;
  std::optional<std::vector<Change>> backward_;
  std::optional<std::vector<Change>> forward_;
};

}  // namespace

std::string_view LevelName(CompatibilityLevel level) { return FactsOf(level).name; }

absl::StatusOr<CompatibilityLevel> ParseLevel(std::string_view name) {
  std::vector<std::string> names;
  for (const LevelFacts& facts : kLevels) {
    if (facts.name == name) return facts.level;
    names.emplace_back(facts.name);
  }
  return InvalidArgument(
      Concat("'", name, "' is not a compatibility level; the levels are ", Join(names, ", ")));
}

bool IsTransitive(CompatibilityLevel level) { return FactsOf(level).transitive; }

std::string_view KindName(DifferenceKind kind) { return FactsOf(kind).name; }

bool IsCompatible(DifferenceKind kind, bool strict) {
  return strict ? FactsOf(kind).strictly_compatible : FactsOf(kind).compatible;
}

std::vector<Finding> Differences(const CompiledSchema& older, const CompiledSchema& newer) {
  PairOfSchemas pair(older, newer);
  std::vector<Finding> findings;
  for (const Change& change : pair.Changes(Direction::kBackward)) {
    findings.push_back(pair.ToFinding(change, Direction::kBackward));
  }
  return findings;
}

std::vector<Finding> CheckCompatibility(const CompiledSchema& older, const CompiledSchema& newer,
                                        CompatibilityLevel level) {
  return PairOfSchemas(older, newer).Against(FactsOf(level)).findings;
}

HistoryVerdict CheckHistory(std::span<const std::shared_ptr<const CompiledSchema>> history,
                            const CompiledSchema& candidate, CompatibilityLevel level) {
  if (level == CompatibilityLevel::kNone) return {};
  const bool transitive = IsTransitive(level);
  for (std::size_t i = history.size(); i-- > 0;) {
    HistoryVerdict verdict = PairOfSchemas(*history[i], candidate).Against(FactsOf(level));
    if (!verdict.findings.empty()) {
      verdict.against = i;
      return verdict;
    }
    if (!transitive) break;
  }
  return {};
}

std::vector<LevelVerdict> CheckAllLevels(
    std::span<const std::shared_ptr<const CompiledSchema>> history,
    const CompiledSchema& candidate) {
  std::vector<LevelVerdict> verdicts;
  for (const LevelFacts& facts : kLevels) {
    if (facts.level != CompatibilityLevel::kNone) verdicts.push_back({facts.level, {}});
  }
  for (std::size_t i = history.size(); i-- > 0;) {
    const bool last = i + 1 == history.size();
    PairOfSchemas pair(*history[i], candidate);
    bool undecided = false;
    for (LevelVerdict& verdict : verdicts) {
      const LevelFacts& facts = FactsOf(verdict.level);
      if (verdict.verdict.against || (!facts.transitive && !last)) continue;
      HistoryVerdict found = pair.Against(facts);
      if (!found.findings.empty()) {
        found.against = i;
        verdict.verdict = std::move(found);
      }
      undecided |= facts.transitive && !verdict.verdict.against;
    }
    if (!undecided) break;
  }
  return verdicts;
}

}  // namespace tocsin::schema
