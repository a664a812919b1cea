#include "lib/schema/compatibility.h"

#include <google/protobuf/descriptor.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <map>
#include <set>
#include <utility>

#include "lib/base/status.h"

namespace tocsin::schema {
namespace {

using ::google::protobuf::Descriptor;
using ::google::protobuf::EnumDescriptor;
using ::google::protobuf::EnumValueDescriptor;
using ::google::protobuf::FieldDescriptor;
using ::google::protobuf::FileDescriptor;
using ::google::protobuf::OneofDescriptor;

struct KindFacts {
  DifferenceKind kind;
  std::string_view name;
  bool compatible;
};

constexpr std::array kKinds = {
    KindFacts{DifferenceKind::kPackageChanged, "PACKAGE_CHANGED", false},
    KindFacts{DifferenceKind::kMessageAdded, "MESSAGE_ADDED", true},
    KindFacts{DifferenceKind::kMessageRemoved, "MESSAGE_REMOVED", false},
    KindFacts{DifferenceKind::kMessageMoved, "MESSAGE_MOVED", true},
    KindFacts{DifferenceKind::kEnumAdded, "ENUM_ADDED", true},
    KindFacts{DifferenceKind::kEnumRemoved, "ENUM_REMOVED", true},
    KindFacts{DifferenceKind::kEnumConstAdded, "ENUM_CONST_ADDED", true},
    KindFacts{DifferenceKind::kEnumConstChanged, "ENUM_CONST_CHANGED", true},
    KindFacts{DifferenceKind::kEnumConstRemoved, "ENUM_CONST_REMOVED", true},
    KindFacts{DifferenceKind::kFieldAdded, "FIELD_ADDED", true},
    KindFacts{DifferenceKind::kFieldRemoved, "FIELD_REMOVED", true},
    KindFacts{DifferenceKind::kFieldNameChanged, "FIELD_NAME_CHANGED", true},
    KindFacts{DifferenceKind::kFieldKindChanged, "FIELD_KIND_CHANGED", false},
    KindFacts{DifferenceKind::kFieldScalarKindChanged, "FIELD_SCALAR_KIND_CHANGED", false},
    KindFacts{DifferenceKind::kFieldNamedTypeChanged, "FIELD_NAMED_TYPE_CHANGED", false},
    KindFacts{DifferenceKind::kFieldNumericLabelChanged, "FIELD_NUMERIC_LABEL_CHANGED", false},
    KindFacts{DifferenceKind::kRequiredFieldAdded, "REQUIRED_FIELD_ADDED", false},
    KindFacts{DifferenceKind::kRequiredFieldRemoved, "REQUIRED_FIELD_REMOVED", false},
    KindFacts{DifferenceKind::kOneofAdded, "ONEOF_ADDED", true},
    KindFacts{DifferenceKind::kOneofRemoved, "ONEOF_REMOVED", true},
    KindFacts{DifferenceKind::kOneofFieldAdded, "ONEOF_FIELD_ADDED", true},
    KindFacts{DifferenceKind::kOneofFieldRemoved, "ONEOF_FIELD_REMOVED", false},
    KindFacts{DifferenceKind::kMultipleFieldsMovedToOneof, "MULTIPLE_FIELDS_MOVED_TO_ONEOF", false},
    KindFacts{DifferenceKind::kFieldMovedToExistingOneof, "FIELD_MOVED_TO_EXISTING_ONEOF", false},
};

const KindFacts& FactsOf(DifferenceKind kind) { return kKinds[static_cast<std::size_t>(kind)]; }

constexpr bool TableIsInTheOrderOfTheEnum() {
  for (std::size_t i = 0; i < kKinds.size(); ++i) {
    if (static_cast<std::size_t>(kKinds[i].kind) != i) return false;
  }
  return true;
}
static_assert(TableIsInTheOrderOfTheEnum());

struct LevelFacts {
  CompatibilityLevel level;
  std::string_view name;
  bool backward;
  bool forward;
  bool transitive;
};

constexpr std::array kLevels = {
    LevelFacts{CompatibilityLevel::kNone, "NONE", false, false, false},
    LevelFacts{CompatibilityLevel::kBackward, "BACKWARD", true, false, false},
    LevelFacts{CompatibilityLevel::kBackwardTransitive, "BACKWARD_TRANSITIVE", true, false, true},
    LevelFacts{CompatibilityLevel::kForward, "FORWARD", false, true, false},
    LevelFacts{CompatibilityLevel::kForwardTransitive, "FORWARD_TRANSITIVE", false, true, true},
    LevelFacts{CompatibilityLevel::kFull, "FULL", true, true, false},
    LevelFacts{CompatibilityLevel::kFullTransitive, "FULL_TRANSITIVE", true, true, true},
};

const LevelFacts& FactsOf(CompatibilityLevel level) {
  return kLevels[static_cast<std::size_t>(level)];
}

// The name without the package: what survives a change of the package.
template <typename Element>
std::string LocalName(const Element& element) {
  const std::string& package = element.file()->package();
  const std::string& full = element.full_name();
  return package.empty() ? full : full.substr(package.size() + 1);
}

// How a value stands on the wire: values of one group can be read as one another.
enum class ValueGroup {
  kVarint,
  kZigZag,
  kText,
  kFixed32,
  kFixed64,
  kFloat,
  kDouble,
  kMessage,
  kGroup,
  kMap,
};

ValueGroup GroupOf(const FieldDescriptor& field) {
  if (field.is_map()) return ValueGroup::kMap;
  switch (field.type()) {
    case FieldDescriptor::TYPE_SINT32:
    case FieldDescriptor::TYPE_SINT64:
      return ValueGroup::kZigZag;
    case FieldDescriptor::TYPE_STRING:
    case FieldDescriptor::TYPE_BYTES:
      return ValueGroup::kText;
    case FieldDescriptor::TYPE_FIXED32:
    case FieldDescriptor::TYPE_SFIXED32:
      return ValueGroup::kFixed32;
    case FieldDescriptor::TYPE_FIXED64:
    case FieldDescriptor::TYPE_SFIXED64:
      return ValueGroup::kFixed64;
    case FieldDescriptor::TYPE_FLOAT:
      return ValueGroup::kFloat;
    case FieldDescriptor::TYPE_DOUBLE:
      return ValueGroup::kDouble;
    case FieldDescriptor::TYPE_MESSAGE:
      return ValueGroup::kMessage;
    case FieldDescriptor::TYPE_GROUP:
      return ValueGroup::kGroup;
    default:
      return ValueGroup::kVarint;
  }
}

bool IsScalar(ValueGroup group) {
  return group != ValueGroup::kMessage && group != ValueGroup::kGroup && group != ValueGroup::kMap;
}

std::string TypeText(const FieldDescriptor& field) {
  if (field.is_map()) {
    const Descriptor& entry = *field.message_type();
    return Concat("map<", TypeText(*entry.FindFieldByNumber(1)), ", ",
                  TypeText(*entry.FindFieldByNumber(2)), ">");
  }
  if (field.type() == FieldDescriptor::TYPE_ENUM) {
    return Concat("enum ", field.enum_type()->full_name());
  }
  if (field.cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
    return Concat(field.type() == FieldDescriptor::TYPE_GROUP ? "group " : "message ",
                  field.message_type()->full_name());
  }
  return field.type_name();
}

// Confluent compares labels only where both files write one: `optional`, `required`, `repeated`.
bool LabelIsWritten(const FieldDescriptor& field) {
  return field.is_repeated() || field.has_optional_keyword() || field.is_required();
}

std::string_view LabelText(const FieldDescriptor& field) {
  if (field.is_repeated()) return "repeated";
  return field.is_required() ? "required" : "optional";
}

bool IsMapEntry(const Descriptor& message) { return message.map_key() != nullptr; }

std::string FieldText(const FieldDescriptor& field) {
  return Concat(field.name(), " (number ", field.number(), ")");
}

// Compares two files; what goes on inside a message that is imported is compared where a field uses
// it.
class Comparison {
 public:
  std::vector<Finding> Run(const FileDescriptor& older, const FileDescriptor& newer) {
    old_file_ = &older;
    new_file_ = &newer;
    if (older.package() != newer.package()) {
      Add(DifferenceKind::kPackageChanged,
          Concat("the package was '", older.package(), "' and is '", newer.package(),
                 "': every message has another full name; register it under another subject "
                 "instead"));
    }
    Messages(older, newer, older.message_type_count(), newer.message_type_count());
    Enums(older, newer);
    ImportedTypes();
    return std::move(findings_);
  }

 private:
  using Pair = std::pair<const Descriptor*, const Descriptor*>;
  struct Imported {
    std::vector<Pair> uses;
    // The first that is not compatible, its own or of a message that it uses.
    std::optional<Finding> finding;
  };
  // A field of the file itself whose type is imported.
  struct Use {
    std::vector<std::string> path;
    std::string field;
    Pair pair;
  };

  void Add(DifferenceKind kind, std::string description) {
    findings_.push_back({kind, "#/" + Join(path_, "/"), std::move(description)});
  }

  // Scope: FileDescriptor with message_type(i), or Descriptor with nested_type(i).
  static const Descriptor& MessageOf(const FileDescriptor& scope, int i) {
    return *scope.message_type(i);
  }
  static const Descriptor& MessageOf(const Descriptor& scope, int i) {
    return *scope.nested_type(i);
  }

  template <typename Scope>
  void Messages(const Scope& older, const Scope& newer, int older_count, int newer_count) {
    std::map<std::string, const Descriptor*> new_by_name;
    for (int i = 0; i < newer_count; ++i) {
      const Descriptor& message = MessageOf(newer, i);
      if (!IsMapEntry(message)) new_by_name.emplace(message.name(), &message);
    }
    std::set<std::string> old_names;
    for (int i = 0; i < older_count; ++i) {
      const Descriptor& message = MessageOf(older, i);
      if (IsMapEntry(message)) continue;
      old_names.insert(message.name());
      path_.push_back(message.name());
      const auto found = new_by_name.find(message.name());
      if (found == new_by_name.end()) {
        Add(DifferenceKind::kMessageRemoved,
            Concat("message ", message.full_name(),
                   " is no longer in the file: data of that type cannot be read; keep it"));
      } else {
        if (found->second->index() != message.index()) {
          Add(DifferenceKind::kMessageMoved,
              Concat("message ", message.full_name(), " was at index ", message.index(),
                     " and is at ", found->second->index()));
        }
        Message(message, *found->second);
      }
      path_.pop_back();
    }
    for (int i = 0; i < newer_count; ++i) {
      const Descriptor& message = MessageOf(newer, i);
      if (IsMapEntry(message) || old_names.contains(message.name())) continue;
      path_.push_back(message.name());
      Add(DifferenceKind::kMessageAdded, Concat("message ", message.full_name(), " is new"));
      path_.pop_back();
    }
  }

  template <typename Scope>
  void Enums(const Scope& older, const Scope& newer) {
    for (int i = 0; i < older.enum_type_count(); ++i) {
      const EnumDescriptor& type = *older.enum_type(i);
      path_.push_back(type.name());
      if (const EnumDescriptor* same = newer.FindEnumTypeByName(type.name()); same != nullptr) {
        EnumValues(type, *same);
      } else {
        Add(DifferenceKind::kEnumRemoved,
            Concat("enum ", type.full_name(), " is no longer in the file"));
      }
      path_.pop_back();
    }
    for (int i = 0; i < newer.enum_type_count(); ++i) {
      const EnumDescriptor& type = *newer.enum_type(i);
      if (older.FindEnumTypeByName(type.name()) != nullptr) continue;
      path_.push_back(type.name());
      Add(DifferenceKind::kEnumAdded, Concat("enum ", type.full_name(), " is new"));
      path_.pop_back();
    }
  }

  void EnumValues(const EnumDescriptor& older, const EnumDescriptor& newer) {
    for (int i = 0; i < older.value_count(); ++i) {
      const EnumValueDescriptor& value = *older.value(i);
      const EnumValueDescriptor* same = newer.FindValueByNumber(value.number());
      path_.push_back(value.name());
      if (same == nullptr) {
        Add(DifferenceKind::kEnumConstRemoved,
            Concat(value.name(), " = ", value.number(), " is no longer in the enum"));
      } else if (newer.FindValueByName(value.name()) == nullptr) {
        Add(DifferenceKind::kEnumConstChanged,
            Concat("value ", value.number(), " was ", value.name(), " and is ", same->name()));
      }
      path_.pop_back();
    }
    for (int i = 0; i < newer.value_count(); ++i) {
      const EnumValueDescriptor& value = *newer.value(i);
      if (older.FindValueByNumber(value.number()) != nullptr) continue;
      path_.push_back(value.name());
      Add(DifferenceKind::kEnumConstAdded, Concat(value.name(), " = ", value.number(), " is new"));
      path_.pop_back();
    }
  }

  void Message(const Descriptor& older, const Descriptor& newer) {
    Messages(older, newer, older.nested_type_count(), newer.nested_type_count());
    Enums(older, newer);
    for (int i = 0; i < older.field_count(); ++i) {
      const FieldDescriptor& field = *older.field(i);
      path_.push_back(field.name());
      if (const FieldDescriptor* same = newer.FindFieldByNumber(field.number()); same != nullptr) {
        Field(field, *same);
      } else if (field.is_required()) {
        Add(DifferenceKind::kRequiredFieldRemoved,
            Concat(FieldText(field),
                   " was required and is gone: readers with the old schema refuse the data; keep "
                   "it"));
      } else {
        Add(DifferenceKind::kFieldRemoved,
            Concat(FieldText(field), " is gone; reserve its number so that nobody takes it again"));
      }
      path_.pop_back();
    }
    for (int i = 0; i < newer.field_count(); ++i) {
      const FieldDescriptor& field = *newer.field(i);
      if (older.FindFieldByNumber(field.number()) != nullptr) continue;
      path_.push_back(field.name());
      if (field.is_required()) {
        Add(DifferenceKind::kRequiredFieldAdded,
            Concat(FieldText(field),
                   " is new and required: data written without it is refused; make it optional"));
      } else {
        Add(DifferenceKind::kFieldAdded, Concat(FieldText(field), " is new"));
      }
      path_.pop_back();
    }
    Oneofs(older, newer);
  }

  void Field(const FieldDescriptor& older, const FieldDescriptor& newer) {
    if (older.name() != newer.name()) {
      Add(DifferenceKind::kFieldNameChanged,
          Concat("number ", older.number(), " was ", older.name(), " and is ", newer.name()));
    }
    const ValueGroup old_group = GroupOf(older);
    const ValueGroup new_group = GroupOf(newer);
    if (IsScalar(old_group) && IsScalar(new_group)) {
      Scalar(older, newer);
      if (old_group != ValueGroup::kText && new_group != ValueGroup::kText &&
          LabelIsWritten(older) && LabelIsWritten(newer) && LabelText(older) != LabelText(newer)) {
        Add(DifferenceKind::kFieldNumericLabelChanged,
            Concat(FieldText(older), " was ", LabelText(older), " and is ", LabelText(newer),
                   ": keep the label, or add a new field with a new number"));
      }
    } else if (old_group != new_group) {
      Add(DifferenceKind::kFieldKindChanged,
          Concat(FieldText(older), " was ", TypeText(older), " and is ", TypeText(newer),
                 ": the old data cannot be read as the new type; add a new field with a new "
                 "number"));
    } else if (old_group == ValueGroup::kMap) {
      const Descriptor& old_entry = *older.message_type();
      const Descriptor& new_entry = *newer.message_type();
      for (const int part : {1, 2}) {
        path_.emplace_back(part == 1 ? "key" : "value");
        Field(*old_entry.FindFieldByNumber(part), *new_entry.FindFieldByNumber(part));
        path_.pop_back();
      }
    } else {
      NamedType(older, newer);
    }
  }

  void Scalar(const FieldDescriptor& older, const FieldDescriptor& newer) {
    if (GroupOf(older) == GroupOf(newer)) return;
    Add(DifferenceKind::kFieldScalarKindChanged,
        Concat(FieldText(older), " was ", TypeText(older), " and is ", TypeText(newer),
               ": the two are written differently, so the old data would be misread; keep the "
               "type, or add a new field with a new number"));
  }

  void NamedType(const FieldDescriptor& older, const FieldDescriptor& newer) {
    const Descriptor& old_type = *older.message_type();
    const Descriptor& new_type = *newer.message_type();
    if (LocalName(old_type) != LocalName(new_type)) {
      Add(DifferenceKind::kFieldNamedTypeChanged,
          Concat(FieldText(older), " was ", TypeText(older), " and is ", TypeText(newer),
                 ": keep the type, or add a new field with a new number"));
      return;
    }
    // Types of the file itself are compared in their place.
    if (old_type.file() == old_file_ && new_type.file() == new_file_) return;
    const Pair pair{&old_type, &new_type};
    if (imported_.try_emplace(pair).second) waiting_.push_back(pair);
    if (within_ != nullptr) {
      within_->uses.push_back(pair);
    } else {
      uses_.push_back({path_, FieldText(older), pair});
    }
  }

  // Compares every pair of imported messages that was reached, in a loop and not by recursion: a
  // chain of messages may be as long as the text allows. Then what is wrong with one is carried to
  // all that use it, directly or not.
  void ImportedTypes() {
    std::vector<Finding> of_the_file = std::exchange(findings_, {});
    std::map<Pair, std::vector<Pair>> users;
    std::vector<Pair> bad;
    while (!waiting_.empty()) {
      const Pair pair = waiting_.back();
      waiting_.pop_back();
      Imported& imported = imported_[pair];
      within_ = &imported;
      path_ = {pair.second->name()};
      findings_.clear();
      Message(*pair.first, *pair.second);
      for (Finding& finding : findings_) {
        if (IsCompatible(finding.kind) || imported.finding) continue;
        finding.description =
            Concat(pair.second->full_name(), " of ", pair.second->file()->name(), ": ",
                   KindName(finding.kind), " at ", finding.path, ": ", finding.description);
        imported.finding = std::move(finding);
        bad.push_back(pair);
      }
      for (const Pair& used : imported.uses) users[used].push_back(pair);
    }
    while (!bad.empty()) {
      const Pair pair = bad.back();
      bad.pop_back();
      const std::optional<Finding>& finding = imported_[pair].finding;
      for (const Pair& user : users[pair]) {
        Imported& imported = imported_[user];
        if (imported.finding) continue;
        imported.finding = finding;
        bad.push_back(user);
      }
    }
    findings_ = std::move(of_the_file);
    for (const Use& use : uses_) {
      const std::optional<Finding>& finding = imported_[use.pair].finding;
      if (!finding) continue;
      path_ = use.path;
      Add(DifferenceKind::kFieldNamedTypeChanged,
          Concat(use.field, " has an imported type that is not compatible with the one before: ",
                 finding->description));
    }
    path_.clear();
  }

  // Data is lost where fields that could be set together can no longer be: at most one member of a
  // oneof survives a read. So for each new oneof the fields in it are traced back to where they
  // were: members of one old oneof excluded each other already, every other field stood alone.
  void Oneofs(const Descriptor& older, const Descriptor& newer) {
    for (int i = 0; i < newer.real_oneof_decl_count(); ++i) {
      const OneofDescriptor& oneof = *newer.oneof_decl(i);
      path_.push_back(oneof.name());
      OneofMembers(older, oneof);
      path_.pop_back();
    }
    for (int i = 0; i < older.real_oneof_decl_count(); ++i) {
      const OneofDescriptor& oneof = *older.oneof_decl(i);
      int survivors = 0;
      bool still_in_a_oneof = false;
      for (int member = 0; member < oneof.field_count(); ++member) {
        const FieldDescriptor* now = newer.FindFieldByNumber(oneof.field(member)->number());
        if (now == nullptr) continue;
        ++survivors;
        still_in_a_oneof |= now->real_containing_oneof() != nullptr;
      }
      path_.push_back(oneof.name());
      if (!still_in_a_oneof) {
        Add(DifferenceKind::kOneofRemoved, Concat("oneof ", oneof.name(), " is gone"));
      }
      for (int member = 0; survivors > 0 && member < oneof.field_count(); ++member) {
        const FieldDescriptor& field = *oneof.field(member);
        if (newer.FindFieldByNumber(field.number()) != nullptr) continue;
        Add(DifferenceKind::kOneofFieldRemoved,
            Concat(FieldText(field), " is gone from oneof ", oneof.name(),
                   ": a reader of data that sets it sees nothing set; keep it"));
      }
      path_.pop_back();
    }
  }

  void OneofMembers(const Descriptor& older, const OneofDescriptor& oneof) {
    // The fields of the new oneof that were there before, by where they were: an old oneof, or each
    // for itself.
    std::set<const OneofDescriptor*> old_oneofs;
    std::vector<std::string> alone;
    std::vector<std::string> all;
    std::vector<const FieldDescriptor*> fresh;
    for (int member = 0; member < oneof.field_count(); ++member) {
      const FieldDescriptor& field = *oneof.field(member);
      const FieldDescriptor* before = older.FindFieldByNumber(field.number());
      if (before == nullptr) {
        fresh.push_back(&field);
        continue;
      }
      all.push_back(before->name());
      if (before->real_containing_oneof() != nullptr) {
        old_oneofs.insert(before->real_containing_oneof());
      } else {
        alone.push_back(before->name());
      }
    }
    if (old_oneofs.empty()) {
      Add(DifferenceKind::kOneofAdded, Concat("oneof ", oneof.name(), " is new"));
    } else {
      for (const FieldDescriptor* field : fresh) {
        Add(DifferenceKind::kOneofFieldAdded,
            Concat(FieldText(*field), " is new in oneof ", oneof.name()));
      }
    }
    if (old_oneofs.size() + alone.size() < 2) return;
    const std::string consequence =
        ": data may hold more than one of them, and only the last would be read; keep them apart";
    if (old_oneofs.size() == 1) {
      Add(DifferenceKind::kFieldMovedToExistingOneof,
          Concat(Join(alone, ", "), " moved into the existing oneof ", oneof.name(), consequence));
    } else {
      Add(DifferenceKind::kMultipleFieldsMovedToOneof,
          Concat(Join(all, ", "), " moved together into oneof ", oneof.name(), consequence));
    }
  }

  const FileDescriptor* old_file_ = nullptr;
  const FileDescriptor* new_file_ = nullptr;
  std::vector<std::string> path_;
  std::vector<Finding> findings_;
  std::map<Pair, Imported> imported_;
  std::vector<Pair> waiting_;
  std::vector<Use> uses_;
  // The imported pair that is being compared; nullptr while the file itself is.
  Imported* within_ = nullptr;
};

void AppendIncompatible(std::vector<Finding> differences, std::string_view direction,
                        std::vector<Finding>& into) {
  for (Finding& finding : differences) {
    if (IsCompatible(finding.kind)) continue;
    finding.description = Concat(direction, finding.description);
    into.push_back(std::move(finding));
  }
}

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
bool IsCompatible(DifferenceKind kind) { return FactsOf(kind).compatible; }

std::vector<Finding> Differences(const CompiledSchema& older, const CompiledSchema& newer) {
  return Comparison().Run(older.file(), newer.file());
}

std::vector<Finding> CheckCompatibility(const CompiledSchema& older, const CompiledSchema& newer,
                                        CompatibilityLevel level) {
  std::vector<Finding> findings;
  const LevelFacts& facts = FactsOf(level);
  if (facts.backward) AppendIncompatible(Differences(older, newer), "", findings);
  if (facts.forward) {
    // The roles are exchanged: what the previous schema reads is what the new one wrote.
    AppendIncompatible(Differences(newer, older), "seen from the previous schema: ", findings);
  }
  return findings;
}

HistoryVerdict CheckHistory(std::span<const std::shared_ptr<const CompiledSchema>> history,
                            const CompiledSchema& candidate, CompatibilityLevel level) {
  const bool transitive = IsTransitive(level);
  for (std::size_t i = history.size(); i-- > 0;) {
    std::vector<Finding> findings = CheckCompatibility(*history[i], candidate, level);
    if (!findings.empty()) return {std::move(findings), i};
    if (!transitive) break;
  }
  return {};
}

}  // namespace tocsin::schema
