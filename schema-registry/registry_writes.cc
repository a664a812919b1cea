// What changes the registry, and when it says no.
#include <algorithm>
#include <limits>
#include <utility>

#include "absl/strings/escaping.h"
#include "lib/base/status.h"
#include "lib/base/text.h"
#include "lib/schema/wire_validator.h"
#include "lib/telemetry/metrics.h"
#include "schema-registry/registry.h"
#include "schema-registry/registry_errors.h"
#include "schema-registry/schema_metadata.h"

namespace tocsin::registry {
namespace {

constexpr std::int32_t kLastNumber = std::numeric_limits<std::int32_t>::max() - 1;
constexpr std::string_view kSettingsContext = ".__GLOBAL";
constexpr std::size_t kMaxReferences = 1'000;
// An error is for a person, and gRPC sends it in a header.
constexpr std::size_t kMostToldInAnError = 20;

std::string Explain(std::string_view subject, const CompatibilityVerdict& verdict) {
  std::string text =
      Concat("the schema is not compatible (", schema::LevelName(verdict.level), ") with version ",
             verdict.against.value_or(0), " of subject '", subject, "':");
  std::size_t told = 0;
  for (const schema::Finding& finding : verdict.findings) {
    if (++told > kMostToldInAnError) {
      return Concat(text, "\nand ", verdict.findings.size() - kMostToldInAnError + verdict.left_out,
                    " more; a compatibility check tells ",
                    verdict.left_out > 0 ? "the first 1,000" : "them");
    }
    text += Concat("\n", schema::KindName(finding.kind), " at ", finding.path, ": ",
                   finding.description);
    if (!finding.consequence.empty()) text += Concat("; ", finding.consequence);
    if (!finding.repair.empty()) text += Concat("; to mend it, ", finding.repair);
  }
  return text;
}

absl::Status CheckWritable(std::string_view subject, Mode mode) {
  if (mode == Mode::kReadWrite || mode == Mode::kImport) return absl::OkStatus();
  return MakeError(ErrorCode::kNotPermitted, Concat("subject '", subject, "' is in mode ",
                                                    ModeName(mode), ", which allows no writes"));
}

absl::Status CheckRegisterMode(std::string_view subject, Mode mode, const Draft& draft) {
  TOCSIN_RETURN_IF_ERROR(CheckWritable(subject, mode));
  if (draft.id && mode != Mode::kImport) {
    return MakeError(ErrorCode::kNotPermitted,
                     Concat("subject '", subject, "' is in mode ", ModeName(mode),
                            ", where the registry gives the ids: leave \"id\" out, or set the mode "
                            "IMPORT"));
  }
  if (!draft.id && mode == Mode::kImport) {
    return MakeError(ErrorCode::kNotPermitted,
                     Concat("subject '", subject,
                            "' is in mode IMPORT, where each schema brings its \"id\" and "
                            "\"version\""));
  }
  return absl::OkStatus();
}

absl::Status CheckDraft(const Draft& draft) {
  if (draft.references.size() > kMaxReferences) {
    return MakeError(ErrorCode::kTooLarge, Concat("the schema has ", draft.references.size(),
                                                  " references, more than ", kMaxReferences));
  }
  if (draft.id && (draft.id->value() < 1 || draft.id->value() > kLastNumber)) {
    return MakeError(ErrorCode::kInvalidSchema,
                     Concat("the id must be from 1 to ", kLastNumber, ", not ", draft.id->value()));
  }
  if (draft.version && (*draft.version < 1 || *draft.version > kLastNumber)) {
    return MakeError(ErrorCode::kInvalidVersion, Concat("the version must be from 1 to ",
                                                        kLastNumber, ", not ", *draft.version));
  }
  TOCSIN_RETURN_IF_ERROR(CheckMetadata(draft.metadata));
  return CheckRuleSet(draft.rule_set);
}

std::string PlaceOf(std::string_view subject, std::int32_t version) {
  return Concat(subject, "/", version);
}

// What was refused need not name anything that there is, and an entry that is not UTF-8, or longer
// than Kafka takes, could be read by nobody.
std::string Readable(std::string text) {
  constexpr std::size_t kMost = 1'000;
  if (schema::IsValidUtf8(text)) return Shorten(text, kMost);
  return Shorten(absl::CHexEscape(ToAbsl(Shorten(text, kMost))), kMost);
}

absl::Status Readable(const absl::Status& status) {
  if (status.ok() || schema::IsValidUtf8(Message(status))) return status;
  return {status.code(), ToAbsl(Readable(std::string(Message(status))))};
}

}  // namespace

void Registry::Tell(const Actor& actor, std::string_view action, std::string target,
                    const absl::Status& outcome, std::string detail) {
  audit_.Record({clock_.Now(), actor, Concat("tocsin.schema.v1.SchemaRegistryService/", action),
                 Readable(std::move(target)), Readable(outcome), std::move(detail)});
}

void Registry::TellDenied(const Actor& actor, std::string_view action, std::string target,
                          const absl::Status& refusal) {
  static const telemetry::Counter not_audited = telemetry::GetCounter(
      "tocsin_schema_registry_denials_not_audited_total",
      "Refusals for lack of rights that the audit log was not told of, because too many came.");
  const auto left_out = denials_.Take();
  if (!left_out) return not_audited.Increment();
  if (*left_out == 0) return Tell(actor, action, std::move(target), refusal);
  Tell(actor, action, std::move(target),
       MakeError(ErrorCode::kForbidden,
                 Concat(Message(refusal), " (and ", *left_out,
                        " refusals before this one are not in the audit log: too many came)")));
}

absl::Status Registry::Write(const std::function<absl::StatusOr<Decision>()>& decide) {
  const SteadyTime deadline = clock_.SteadyNow() + options_.write_timeout;
  bool caught_up = false;
  const auto catch_up = [&] {
    caught_up = true;
    return CatchUp(deadline);
  };
  // Most writes need no question to the broker: where the state is old, the record does not count.
  if (!Ready().ok()) TOCSIN_RETURN_IF_ERROR(catch_up());
  for (;;) {
    auto decision = decide();
    if (!decision.ok() || !decision->plan) {
      if (caught_up) return decision.status();
      TOCSIN_RETURN_IF_ERROR(catch_up());
      continue;
    }
    const absl::Status status = Commit(std::move(decision->plan), decision->alone, deadline);
    if (status.code() != absl::StatusCode::kAborted) return status;
    if (clock_.SteadyNow() >= deadline) {
      return MakeError(ErrorCode::kCollision,
                       "other registries wrote at the same time again and again; try again");
    }
  }
}

absl::Status Registry::WriteAlone(
    const std::function<absl::StatusOr<Records>(const RegistryState&)>& decide) {
  return Write([&]() -> absl::StatusOr<Decision> {
    {
      MutexLock lock(mutex_);
      TOCSIN_ASSIGN_OR_RETURN(const Records records, decide(state_));
      if (records.empty()) return Decision{};
    }
    // Once more on the state that the records will find.
    return Decision{[&decide](const RegistryState& state, Batch& batch) {
                      auto records = decide(state);
                      if (!records.ok() || records->empty()) return Planned::kStale;
                      batch.records = *std::move(records);
                      return Planned::kAdded;
                    },
                    /*alone=*/true};
  });
}

// --- register
// -------------------------------------------------------------------------------------

absl::StatusOr<SchemaVersion> Registry::Register(const Actor& actor, std::string_view subject,
                                                 const Draft& draft, RegisterOptions options) {
  bool changed = false;
  auto version = DoRegister(actor, subject, draft, options, changed);
  if (!version.ok()) {
    Tell(actor, "RegisterSchema", std::string(subject), version.status());
  } else if (changed) {
    Tell(actor, "RegisterSchema", PlaceOf(version->subject, version->version), absl::OkStatus(),
         Concat("id ", version->schema->id.value()));
  }
  return version;
}

absl::StatusOr<SchemaVersion> Registry::DoRegister(const Actor& actor, std::string_view subject,
                                                   const Draft& draft, RegisterOptions options,
                                                   bool& changed) {
  TOCSIN_RETURN_IF_ERROR(CheckDraft(draft));
  // The version that is there, or the number that the new one got.
  std::optional<SchemaVersion> existing;
  NewVersion fresh;
  fresh.actor = actor.name;
  std::int32_t number = 0;
  // Compiling is kept from attempt to attempt, as long as it is of the same.
  std::optional<std::pair<std::vector<Reference>, CompiledDraft>> compiled;
  bool compiled_normal = false;
  const absl::Status status = Write([&]() -> absl::StatusOr<Decision> {
    existing.reset();
    TOCSIN_ASSIGN_OR_RETURN(fresh.snapshot, Take(subject, draft));
    const Snapshot& snapshot = fresh.snapshot;
    const std::string& name = snapshot.target.name;
    if (snapshot.target.parsed.context == kSettingsContext) {
      return MakeError(ErrorCode::kInvalidSubject,
                       Concat("the context ", kSettingsContext, " holds settings, no subjects"));
    }
    TOCSIN_RETURN_IF_ERROR(CheckRegisterMode(name, snapshot.mode, draft));
    // Until it is decided; the log is waited for without it.
    TOCSIN_ASSIGN_OR_RETURN(const CompileTurns::Turn turn, TakeTurn(snapshot, draft));
    const bool normalize = options.normalize || snapshot.config.normalize.value_or(false);
    if (!compiled || compiled->first != snapshot.references || compiled_normal != normalize) {
      TOCSIN_ASSIGN_OR_RETURN(auto result, Compile(snapshot, draft, normalize));
      compiled.emplace(snapshot.references, std::move(result));
      compiled_normal = normalize;
    }
    fresh.compiled = compiled->second;
    // First as it was given, then with what it inherits.
    for (const bool complete : {false, true}) {
      fresh.draft = complete ? Complete(snapshot, draft) : draft;
      fresh.content_key =
          ContentKey(draft.type, fresh.compiled.schema->fingerprint(), fresh.compiled.references,
                     fresh.draft.metadata, fresh.draft.rule_set);
      const Past* same = FindContent(snapshot, snapshot.history, fresh.content_key, normalize);
      if (same == nullptr) continue;
      if (draft.id && *draft.id != same->version.schema->id) {
        return MakeError(
            ErrorCode::kIdMismatch,
            Concat("subject '", name, "' has this schema as version ", same->version.version,
                   " with the id ", same->version.schema->id.value(), ", not ", draft.id->value()));
      }
      if (!draft.version || *draft.version == same->version.version) {
        existing = same->version;
        return Decision{};
      }
    }
    if (!options.force && snapshot.mode != Mode::kImport) {
      TOCSIN_ASSIGN_OR_RETURN(const CompatibilityVerdict verdict,
                              Judge(snapshot, Comparable(snapshot, fresh.draft),
                                    *snapshot.config.level, *fresh.compiled.schema));
      if (!verdict.compatible()) {
        return MakeError(ErrorCode::kIncompatible, Explain(name, verdict));
      }
    }
    {
      MutexLock lock(mutex_);
      const std::string& context = snapshot.target.parsed.context;
      const auto known = state_.FindContent(context, fresh.content_key);
      if (draft.id) {
        if (known != nullptr && known->id != *draft.id) {
          return MakeError(ErrorCode::kIdMismatch,
                           Concat("this schema has the id ", known->id.value(), " in the context ",
                                  context, ", not ", draft.id->value()));
        }
        const auto taken = state_.FindSchema(context, *draft.id);
        if (taken != nullptr && taken != known) {
          return MakeError(ErrorCode::kNotPermitted, Concat("the id ", draft.id->value(),
                                                            " belongs to another schema in the "
                                                            "context ",
                                                            context, " and is never given twice"));
        }
        const auto deleted = state_.DeletedContent(context, *draft.id);
        if (taken == nullptr && deleted && *deleted != fresh.content_key) {
          return MakeError(
              ErrorCode::kIdMismatch,
              Concat("the id ", draft.id->value(), " belonged to ",
                     deleted->empty() ? "a schema" : "another schema", " in the context ", context,
                     " that was deleted for good, and what was written with it may still be "
                     "there: an id is never given to another schema. Import this one under an id "
                     "that was never used"));
        }
      } else if (known == nullptr && state_.NextId(context).value() > kLastNumber) {
        return MakeError(ErrorCode::kNotPermitted,
                         Concat("the context ", context, " has no ids left; use another one"));
      }
      const std::int32_t next = state_.NextVersion(name);
      if (next > kLastNumber) {
        return MakeError(ErrorCode::kNotPermitted,
                         Concat("subject '", name, "' has no version numbers left"));
      }
      if (draft.version && snapshot.mode == Mode::kImport &&
          state_.FindVersion(name, *draft.version)) {
        return MakeError(ErrorCode::kNotPermitted, Concat("subject '", name, "' has a version ",
                                                          *draft.version, " with another schema"));
      }
      if (draft.version && snapshot.mode != Mode::kImport && *draft.version != next) {
        return MakeError(ErrorCode::kInvalidSchema,
                         Concat("the next version of subject '", name, "' is ", next, ", not ",
                                *draft.version, ": leave \"version\" out"));
      }
    }
    return Decision{[&](const RegistryState& state, Batch& batch) {
      return PlanVersion(fresh, state, batch, number);
    }};
  });
  TOCSIN_RETURN_IF_ERROR(status);
  if (existing) return *std::move(existing);
  changed = true;
  MutexLock lock(mutex_);
  auto version = state_.FindVersion(fresh.snapshot.target.name, number);
  if (!version) {
    return MakeError(ErrorCode::kStore,
                     "the schema was registered and deleted for good at once; try again");
  }
  return *std::move(version);
}

Registry::Planned Registry::PlanVersion(const NewVersion& version, const RegistryState& state,
                                        Batch& batch, std::int32_t& number) {
  const Snapshot& snapshot = version.snapshot;
  const std::string& name = snapshot.target.name;
  const std::string& context = snapshot.target.parsed.context;
  if (state.ChangesOf(name) != snapshot.subject_changes ||
      state.config_changes() != snapshot.config_changes ||
      (!snapshot.references.empty() && state.deletions() != snapshot.deletions)) {
    return Planned::kStale;
  }
  const std::pair<std::string, std::string> content(context, version.content_key);
  if (batch.subjects.contains(name) || batch.contents.contains(content)) return Planned::kLater;

  SchemaValue value;
  value.subject = name;
  value.type = version.draft.type;
  const auto known = state.FindContent(context, version.content_key);
  if (known != nullptr) {
    // One content, one id, and then one text too.
    if (version.draft.id && *version.draft.id != known->id) return Planned::kStale;
    value.id = known->id;
    value.text = *known->text;
    value.references = known->references;
    value.metadata = known->metadata;
    value.rule_set = known->rule_set;
  } else {
    std::int32_t& next =
        batch.next_ids.emplace(context, state.NextId(context).value()).first->second;
    if (version.draft.id) {
      if (state.FindSchema(context, *version.draft.id) != nullptr) return Planned::kStale;
      const auto deleted = state.DeletedContent(context, *version.draft.id);
      if (deleted && *deleted != version.content_key) return Planned::kStale;
      // Ids that are chosen and ids that are given do not meet in one batch.
      if (next != state.NextId(context).value()) return Planned::kLater;
      value.id = *version.draft.id;
      next = std::max(next, value.id.value() + 1);
    } else {
      if (next > kLastNumber) return Planned::kLater;
      value.id = SchemaId(next++);
    }
    value.text = version.compiled.text;
    value.references = version.compiled.references;
    value.metadata = version.draft.metadata;
    value.rule_set = version.draft.rule_set;
  }
  number = version.draft.version.value_or(state.NextVersion(name));
  value.version = number;
  value.guid = GuidOf(value.text, value.references, value.metadata, value.rule_set);

  PlannedRecord record;
  record.key.type = KeyType::kSchema;
  record.key.subject = name;
  record.key.version = number;
  record.notes.actor = version.actor;
  record.notes.content_key = version.content_key;
  batch.bytes += value.text.size() + value.metadata.size() + value.rule_set.size();
  record.schema = std::move(value);
  batch.records.push_back(std::move(record));
  batch.subjects.insert(name);
  batch.contents.insert(content);
  return Planned::kAdded;
}

}  // namespace tocsin::registry
