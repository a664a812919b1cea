#include "schema-registry/registry_messages.h"

#include <google/protobuf/struct.pb.h>
#include <google/protobuf/util/json_util.h>

#include <array>
#include <chrono>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "lib/base/text.h"

namespace tocsin::registry {
namespace {

using google::protobuf::Struct;

// With sorted names: a map of Protobuf has no order, and equal objects are to be equal texts.
std::string TextOf(const Struct& object) {
  std::string text;
  if (!google::protobuf::util::MessageToJsonString(object, &text).ok()) return {};
  const auto parsed = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  return parsed.is_discarded()
             ? text
             : parsed.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

void FillObject(const std::string& text, Struct& out) {
  // What another registry wrote may be no object: then there is nothing that could be told.
  if (!google::protobuf::util::JsonStringToMessage(text, &out).ok()) out.Clear();
}

template <typename Request>
Draft TextAndReferences(const Request& request) {
  Draft draft;
  draft.text = request.text();
  for (const v1::Reference& reference : request.references()) {
    draft.references.push_back({reference.name(), reference.subject(),
                                reference.version() == 0 ? -1 : reference.version()});
  }
  return draft;
}

template <typename Request>
Draft WithContract(const Request& request) {
  Draft draft = TextAndReferences(request);
  if (request.has_metadata()) draft.metadata = TextOf(request.metadata());
  if (request.has_rule_set()) draft.rule_set = TextOf(request.rule_set());
  return draft;
}

void Fill(WallTime time, google::protobuf::Timestamp& out) {
  const auto since = time.time_since_epoch();
  const auto seconds = std::chrono::floor<std::chrono::seconds>(since);
  out.set_seconds(seconds.count());
  out.set_nanos(static_cast<std::int32_t>(
      std::chrono::duration_cast<std::chrono::nanoseconds>(since - seconds).count()));
}

void Fill(const schema::Place& place, v1::Place& out) {
  out.set_file(place.file);
  out.set_line(place.line);
  out.set_column(place.column);
}

constexpr std::array kLevels = {
    std::pair{schema::CompatibilityLevel::kNone, v1::COMPATIBILITY_NONE},
    std::pair{schema::CompatibilityLevel::kBackward, v1::COMPATIBILITY_BACKWARD},
    std::pair{schema::CompatibilityLevel::kBackwardTransitive,
              v1::COMPATIBILITY_BACKWARD_TRANSITIVE},
    std::pair{schema::CompatibilityLevel::kForward, v1::COMPATIBILITY_FORWARD},
    std::pair{schema::CompatibilityLevel::kForwardTransitive, v1::COMPATIBILITY_FORWARD_TRANSITIVE},
    std::pair{schema::CompatibilityLevel::kFull, v1::COMPATIBILITY_FULL},
    std::pair{schema::CompatibilityLevel::kFullTransitive, v1::COMPATIBILITY_FULL_TRANSITIVE},
    std::pair{schema::CompatibilityLevel::kStrict, v1::COMPATIBILITY_STRICT},
    std::pair{schema::CompatibilityLevel::kStrictTransitive, v1::COMPATIBILITY_STRICT_TRANSITIVE},
};

constexpr std::array kModes = {
    std::pair{Mode::kReadWrite, v1::MODE_READWRITE},
    std::pair{Mode::kReadOnly, v1::MODE_READONLY},
    std::pair{Mode::kReadOnlyOverride, v1::MODE_READONLY_OVERRIDE},
    std::pair{Mode::kImport, v1::MODE_IMPORT},
    std::pair{Mode::kForward, v1::MODE_FORWARD},
};

v1::Change::Kind KindOf(Change::Kind kind) {
  switch (kind) {
    case Change::Kind::kRegistered:
      return v1::Change::KIND_REGISTERED;
    case Change::Kind::kDeleted:
      return v1::Change::KIND_DELETED;
    case Change::Kind::kPermanentlyDeleted:
      return v1::Change::KIND_PERMANENTLY_DELETED;
    case Change::Kind::kConfig:
      return v1::Change::KIND_CONFIG;
    case Change::Kind::kMode:
      return v1::Change::KIND_MODE;
    case Change::Kind::kContext:
      return v1::Change::KIND_CONTEXT;
  }
  return v1::Change::KIND_UNSPECIFIED;
}

}  // namespace

Draft DraftOf(const v1::RegisterSchemaRequest& request) {
  Draft draft = WithContract(request);
  if (request.id() != 0) draft.id = SchemaId(request.id());
  if (request.version() != 0) draft.version = request.version();
  return draft;
}

Draft DraftOf(const v1::LookupSchemaRequest& request) { return WithContract(request); }

Draft DraftOf(const v1::CheckCompatibilityRequest& request) { return TextAndReferences(request); }

Draft DraftOf(const v1::CheckRequest& request) { return TextAndReferences(request); }

void Fill(const StoredSchema& schema, v1::Schema& out) {
  out.set_id(schema.id.value());
  out.set_text(*schema.text);
  for (const Reference& reference : schema.references) {
    v1::Reference& to = *out.add_references();
    to.set_name(reference.name);
    to.set_subject(reference.subject);
    to.set_version(reference.version);
  }
  out.set_type(schema.type);
  out.set_guid(schema::FormatGuid(schema.guid));
  if (!schema.metadata.empty()) FillObject(schema.metadata, *out.mutable_metadata());
  if (!schema.rule_set.empty()) FillObject(schema.rule_set, *out.mutable_rule_set());
}

void Fill(const SchemaVersion& version, v1::Schema& out) {
  Fill(*version.schema, out);
  out.set_subject(version.subject);
  out.set_version(version.version);
  if (version.registered != WallTime{}) Fill(version.registered, *out.mutable_register_time());
  out.set_registered_by(version.registered_by);
  out.set_deleted(version.deleted);
}

void Fill(const schema::Finding& finding, v1::Finding& out) {
  out.set_kind(std::string(schema::KindName(finding.kind)));
  out.set_path(finding.path);
  out.set_description(finding.description);
  if (finding.older) Fill(*finding.older, *out.mutable_older());
  if (finding.newer) Fill(*finding.newer, *out.mutable_newer());
  out.set_consequence(finding.consequence);
  out.set_repair(finding.repair);
}

void Fill(const SubjectConfig& config, v1::Config& out) {
  if (config.level) out.set_compatibility(LevelOf(*config.level));
  if (config.normalize) out.set_normalize(*config.normalize);
  if (config.validate_fields) out.set_validate_fields(*config.validate_fields);
  if (config.alias) out.set_alias(*config.alias);
  if (config.compatibility_group) out.set_compatibility_group(*config.compatibility_group);
  if (config.compatibility_policy) out.set_compatibility_policy(*config.compatibility_policy);
  if (config.default_metadata)
    FillObject(*config.default_metadata, *out.mutable_default_metadata());
  if (config.override_metadata) {
    FillObject(*config.override_metadata, *out.mutable_override_metadata());
  }
  if (config.default_rule_set)
    FillObject(*config.default_rule_set, *out.mutable_default_rule_set());
  if (config.override_rule_set) {
    FillObject(*config.override_rule_set, *out.mutable_override_rule_set());
  }
}

void Fill(const Change& change, v1::Change& out) {
  out.set_revision(change.revision);
  out.set_kind(KindOf(change.kind));
  out.set_subject(change.subject.value_or(""));
  out.set_version(change.version);
  out.set_id(change.id.value());
  out.set_actor(change.actor);
  if (change.time != WallTime{}) Fill(change.time, *out.mutable_time());
}

v1::Compatibility LevelOf(schema::CompatibilityLevel level) {
  for (const auto& [ours, theirs] : kLevels) {
    if (ours == level) return theirs;
  }
  return v1::COMPATIBILITY_UNSPECIFIED;
}

absl::StatusOr<schema::CompatibilityLevel> LevelOf(v1::Compatibility level) {
  for (const auto& [ours, theirs] : kLevels) {
    if (theirs == level) return ours;
  }
  return MakeError(ErrorCode::kInvalidLevel,
                   Concat("compatibility ", static_cast<int>(level),
                          " is no level; COMPATIBILITY_NONE to COMPATIBILITY_STRICT_TRANSITIVE "
                          "are, 1 to 9"));
}

v1::Mode ModeOf(Mode mode) {
  for (const auto& [ours, theirs] : kModes) {
    if (ours == mode) return theirs;
  }
  return v1::MODE_UNSPECIFIED;
}

absl::StatusOr<Mode> ModeOf(v1::Mode mode) {
  for (const auto& [ours, theirs] : kModes) {
    if (theirs == mode) return ours;
  }
  return MakeError(ErrorCode::kInvalidMode,
                   Concat("mode ", static_cast<int>(mode),
                          " is none; give MODE_READWRITE, MODE_READONLY, MODE_READONLY_OVERRIDE, "
                          "MODE_IMPORT or MODE_FORWARD"));
}

Deleted DeletedOf(v1::Deleted deleted) {
  switch (deleted) {
    case v1::DELETED_INCLUDE:
      return Deleted::kInclude;
    case v1::DELETED_ONLY:
      return Deleted::kOnly;
    default:
      return Deleted::kExclude;
  }
}

absl::StatusOr<SubjectConfig> ConfigOf(const v1::Config& config) {
  SubjectConfig to;
  if (config.compatibility() != v1::COMPATIBILITY_UNSPECIFIED) {
    auto level = LevelOf(config.compatibility());
    if (!level.ok()) return level.status();
    to.level = *level;
  }
  if (config.has_normalize()) to.normalize = config.normalize();
  if (config.has_validate_fields()) to.validate_fields = config.validate_fields();
  if (config.has_alias()) to.alias = config.alias();
  if (config.has_compatibility_group()) to.compatibility_group = config.compatibility_group();
  if (config.has_compatibility_policy()) to.compatibility_policy = config.compatibility_policy();
  if (config.has_default_metadata()) to.default_metadata = TextOf(config.default_metadata());
  if (config.has_override_metadata()) to.override_metadata = TextOf(config.override_metadata());
  if (config.has_default_rule_set()) to.default_rule_set = TextOf(config.default_rule_set());
  if (config.has_override_rule_set()) to.override_rule_set = TextOf(config.override_rule_set());
  return to;
}

}  // namespace tocsin::registry
