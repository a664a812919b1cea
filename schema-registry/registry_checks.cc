// What a draft is measured against: the state as one caller saw it, and the verdicts on it.
#include <algorithm>
#include <utility>

#include "lib/base/status.h"
#include "schema-registry/registry.h"
#include "schema-registry/registry_errors.h"
#include "schema-registry/schema_metadata.h"

namespace tocsin::registry {

absl::StatusOr<Registry::Target> Registry::Resolve(const RegistryState& state,
                                                   std::string_view subject) {
  TOCSIN_ASSIGN_OR_RETURN(SubjectName parsed, ParseSubject(subject));
  if (parsed.subject.empty()) {
    return MakeError(ErrorCode::kInvalidSubject, "the subject's name is empty");
  }
  std::string name = FormatSubject(parsed);
  const auto config = state.OwnConfig(name);
  if (config && config->alias && !config->alias->empty()) {
    // One step only, so that no circle of aliases is walked.
    TOCSIN_ASSIGN_OR_RETURN(SubjectName real, ParseSubject(*config->alias));
    if (config->alias->substr(0, 2) != ":.") real.context = parsed.context;
    if (!real.subject.empty()) {
      parsed = std::move(real);
      name = FormatSubject(parsed);
    }
  }
  return Target{std::move(parsed), std::move(name)};
}

absl::StatusOr<Registry::Snapshot> Registry::Take(std::string_view subject, const Draft& draft) {
  MutexLock lock(mutex_);
  Snapshot snapshot;
  TOCSIN_ASSIGN_OR_RETURN(snapshot.target, Resolve(state_, subject));
  const std::string& name = snapshot.target.name;
  const std::string& context = snapshot.target.parsed.context;
  snapshot.config = state_.ConfigInForce(name);
  snapshot.mode = state_.ModeInForce(name);
  snapshot.subject_changes = state_.ChangesOf(name);
  snapshot.config_changes = state_.config_changes();
  snapshot.deletions = state_.deletions();
  TOCSIN_ASSIGN_OR_RETURN(snapshot.references, state_.ResolveReferences(context, draft.references));
  TOCSIN_ASSIGN_OR_RETURN(snapshot.imports, state_.ResolveImports(context, snapshot.references));
  for (SchemaVersion& version : state_.VersionsOf(name)) {
    auto imports = state_.ResolveImports(context, version.schema->references);
    auto& list = version.deleted ? snapshot.deleted : snapshot.history;
    list.push_back(
        {std::move(version), imports.ok() ? *std::move(imports) : std::vector<Import>()});
  }
  return snapshot;
}

absl::StatusOr<CompiledDraft> Registry::Compile(const Snapshot& snapshot, const Draft& draft,
                                                bool normalize) const {
  return compiler_.Compile(snapshot.target.name, draft, snapshot.references, snapshot.imports,
                           normalize || snapshot.config.normalize.value_or(false));
}

absl::StatusOr<CompileTurns::Turn> Registry::TakeTurn(const Snapshot& snapshot,
                                                      const Draft& draft) {
  std::size_t bytes = draft.text.size();
  for (const Import& import : snapshot.imports) bytes += import.schema->text->size();
  // The largest of them says how large the comparison is, where many are compared.
  for (const Past& past : snapshot.history) {
    bytes = std::max(bytes, past.version.schema->text->size());
  }
  return turns_.Take(bytes);
}

const Registry::Past* Registry::FindContent(const Snapshot& snapshot,
                                            const std::vector<Past>& versions,
                                            const std::string& content_key, bool normalize) {
  const std::string& context = snapshot.target.parsed.context;
  for (const bool normal : {false, true}) {
    if (normal && !normalize && !snapshot.config.normalize.value_or(false)) break;
    for (auto past = versions.rbegin(); past != versions.rend(); ++past) {
      const auto key = compiler_.KeyOf(context, *past->version.schema, past->imports, normal);
      if (key.ok() && *key == content_key) return &*past;
    }
  }
  return nullptr;
}

std::vector<Registry::Past> Registry::Comparable(const Snapshot& snapshot, const Draft& draft) {
  const std::optional<std::string>& group = snapshot.config.compatibility_group;
  if (!group || group->empty()) return snapshot.history;
  const auto value = [&](std::string_view metadata) {
    const auto properties = PropertiesOf(metadata);
    const auto found = properties.find(*group);
    return found == properties.end() ? std::string() : found->second;
  };
  const std::string wanted = value(draft.metadata);
  std::vector<Past> same;
  for (const Past& past : snapshot.history) {
    if (value(past.version.schema->metadata) == wanted) same.push_back(past);
  }
  return same;
}

Draft Registry::Complete(const Snapshot& snapshot, const Draft& draft) {
  const SubjectConfig& config = snapshot.config;
  const StoredSchema* before =
      snapshot.history.empty() ? nullptr : snapshot.history.back().version.schema.get();
  const auto merged = [](auto merge, const std::optional<std::string>& by_default,
                         std::string_view own, const std::optional<std::string>& overriding) {
    return merge(merge(by_default.value_or(""), own), overriding.value_or(""));
  };
  Draft complete = draft;
  if (complete.metadata.empty() && before != nullptr) complete.metadata = before->metadata;
  if (complete.rule_set.empty() && before != nullptr) complete.rule_set = before->rule_set;
  complete.metadata =
      merged(MergeMetadata, config.default_metadata, complete.metadata, config.override_metadata);
  complete.rule_set =
      merged(MergeRuleSets, config.default_rule_set, complete.rule_set, config.override_rule_set);
  return complete;
}

absl::StatusOr<CompatibilityVerdict> Registry::Judge(const Snapshot& snapshot,
                                                     const std::vector<Past>& history,
                                                     schema::CompatibilityLevel level,
                                                     const schema::CompiledSchema& candidate) {
  CompatibilityVerdict verdict{level, {}, {}, 0};
  if (level == schema::CompatibilityLevel::kNone || history.empty()) return verdict;
  std::vector<std::shared_ptr<const schema::CompiledSchema>> compiled;
  const std::size_t first = schema::IsTransitive(level) ? 0 : history.size() - 1;
  for (std::size_t i = first; i < history.size(); ++i) {
    TOCSIN_ASSIGN_OR_RETURN(
        auto past, compiler_.Compile(snapshot.target.parsed.context, *history[i].version.schema,
                                     history[i].imports));
    compiled.push_back(std::move(past));
  }
  schema::HistoryVerdict found = schema::CheckHistory(compiled, candidate, level);
  verdict.findings = std::move(found.findings);
  verdict.left_out = found.left_out;
  if (found.against) verdict.against = history[first + *found.against].version.version;
  return verdict;
}

absl::StatusOr<CompatibilityVerdict> Registry::Check(std::string_view subject, const Draft& draft,
                                                     Against against, bool normalize) {
  TOCSIN_RETURN_IF_ERROR(CatchUp(clock_.SteadyNow() + options_.read_timeout));
  TOCSIN_ASSIGN_OR_RETURN(const Snapshot snapshot, Take(subject, draft));
  TOCSIN_ASSIGN_OR_RETURN(const CompileTurns::Turn turn, TakeTurn(snapshot, draft));
  TOCSIN_ASSIGN_OR_RETURN(const CompiledDraft compiled, Compile(snapshot, draft, normalize));
  std::vector<Past> history = Comparable(snapshot, Complete(snapshot, draft));
  if (against == Against::kLatest && history.size() > 1) {
    history.erase(history.begin(), history.end() - 1);
  }
  return Judge(snapshot, history, *snapshot.config.level, *compiled.schema);
}

absl::StatusOr<CompatibilityVerdict> Registry::CheckVersion(std::string_view subject,
                                                            const Draft& draft,
                                                            std::int32_t version, bool normalize) {
  TOCSIN_RETURN_IF_ERROR(CatchUp(clock_.SteadyNow() + options_.read_timeout));
  // First whether it is there, then whether the draft is any good.
  TOCSIN_ASSIGN_OR_RETURN(const Snapshot versions, Take(subject, Draft{}));
  const auto past = std::find_if(versions.history.begin(), versions.history.end(),
                                 [&](const Past& each) { return each.version.version == version; });
  if (past == versions.history.end()) return NoVersion(versions.target.name, version);
  TOCSIN_ASSIGN_OR_RETURN(const Snapshot snapshot, Take(subject, draft));
  TOCSIN_ASSIGN_OR_RETURN(const CompileTurns::Turn turn, TakeTurn(snapshot, draft));
  TOCSIN_ASSIGN_OR_RETURN(const CompiledDraft compiled, Compile(snapshot, draft, normalize));
  return Judge(snapshot, {*past}, *snapshot.config.level, *compiled.schema);
}

absl::StatusOr<FullVerdict> Registry::CheckAll(std::string_view subject, const Draft& draft,
                                               bool normalize) {
  TOCSIN_RETURN_IF_ERROR(CatchUp(clock_.SteadyNow() + options_.read_timeout));
  TOCSIN_ASSIGN_OR_RETURN(const Snapshot snapshot, Take(subject, draft));
  TOCSIN_ASSIGN_OR_RETURN(const CompileTurns::Turn turn, TakeTurn(snapshot, draft));
  TOCSIN_ASSIGN_OR_RETURN(const CompiledDraft compiled, Compile(snapshot, draft, normalize));
  FullVerdict full;
  full.level = *snapshot.config.level;
  const std::string key = ContentKey(draft.type, compiled.schema->fingerprint(),
                                     compiled.references, draft.metadata, draft.rule_set);
  if (const Past* same = FindContent(snapshot, snapshot.history, key, normalize)) {
    full.registered_as = same->version.version;
  }
  const std::vector<Past> history = Comparable(snapshot, Complete(snapshot, draft));
  std::vector<std::shared_ptr<const schema::CompiledSchema>> texts;
  for (const Past& past : history) {
    TOCSIN_ASSIGN_OR_RETURN(auto text, compiler_.Compile(snapshot.target.parsed.context,
                                                         *past.version.schema, past.imports));
    texts.push_back(std::move(text));
  }
  for (schema::LevelVerdict& each : schema::CheckAllLevels(texts, *compiled.schema)) {
    CompatibilityVerdict verdict{
        each.level, std::move(each.verdict.findings), {}, each.verdict.left_out};
    if (each.verdict.against) verdict.against = history[*each.verdict.against].version.version;
    full.levels.push_back(std::move(verdict));
  }
  return full;
}

absl::StatusOr<SchemaVersion> Registry::Lookup(std::string_view subject, const Draft& draft,
                                               LookupOptions options) {
  TOCSIN_RETURN_IF_ERROR(Refresh([&](const RegistryState& state) {
    const auto name = ParseSubject(subject);
    return name.ok() && state.Exists(FormatSubject(*name), options.deleted);
  }));
  {
    TOCSIN_ASSIGN_OR_RETURN(const Snapshot versions, Take(subject, Draft{}));
    if (versions.history.empty() && (!options.deleted || versions.deleted.empty())) {
      return NoSubject(versions.target.name);
    }
  }
  TOCSIN_ASSIGN_OR_RETURN(const Snapshot snapshot, Take(subject, draft));
  TOCSIN_ASSIGN_OR_RETURN(const CompileTurns::Turn turn, TakeTurn(snapshot, draft));
  TOCSIN_ASSIGN_OR_RETURN(const CompiledDraft compiled,
                          Compile(snapshot, draft, options.normalize));
  // As it was given, or as registering it would have completed it.
  for (const Draft& each : {draft, Complete(snapshot, draft)}) {
    const std::string key = ContentKey(draft.type, compiled.schema->fingerprint(),
                                       compiled.references, each.metadata, each.rule_set);
    const Past* past = FindContent(snapshot, snapshot.history, key, options.normalize);
    if (past == nullptr && options.deleted) {
      past = FindContent(snapshot, snapshot.deleted, key, options.normalize);
    }
    if (past != nullptr) return past->version;
  }
  return MakeError(ErrorCode::kSchemaNotFound,
                   Concat("subject '", snapshot.target.name, "' has no version with this schema"));
}

}  // namespace tocsin::registry
