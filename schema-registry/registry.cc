#include "schema-registry/registry.h"

#include <algorithm>
#include <utility>

#include "lib/base/status.h"
#include "schema-registry/records.h"

namespace tocsin::registry {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kPollTimeout{250};
// How often the broker is asked for the end of the topic while nothing comes.
constexpr milliseconds kProbeInterval{1'000};
constexpr milliseconds kPauseAfterError{200};

absl::Status NoSubject(std::string_view subject) {
  return MakeError(ErrorCode::kSubjectNotFound, Concat("subject '", subject, "' does not exist"));
}

absl::Status NoVersion(std::string_view subject, std::int32_t version) {
  return MakeError(ErrorCode::kVersionNotFound,
                   Concat("subject '", subject, "' has no version ", version));
}

absl::Status NoSchema(SchemaId id) {
  return MakeError(ErrorCode::kSchemaNotFound, Concat("no schema has the id ", id.value()));
}

std::string Explain(std::string_view subject, const CompatibilityVerdict& verdict) {
  std::string text =
      Concat("the schema is not compatible (", schema::LevelName(verdict.level), ") with version ",
             verdict.against.value_or(0), " of subject '", subject, "':");
  for (const schema::Finding& finding : verdict.findings) {
    text += Concat("\n", schema::KindName(finding.kind), " at ", finding.path, ": ",
                   finding.description);
  }
  return text;
}

}  // namespace

Registry::Registry(RegistryLog& log, const Clock& clock, RegistryOptions options)
    : log_(log),
      clock_(clock),
      options_(options),
      compiler_(options.limits, options.max_compiled),
      state_(compiler_),
      status_(Unavailable("the topic of the schemas has not been read yet")) {}

Registry::~Registry() { Stop(); }

void Registry::Start(std::function<void(const absl::Status&)> on_status) {
  on_status_ = std::move(on_status);
  reader_ = std::thread([this] { Read(); });
}

void Registry::Stop() {
  {
    MutexLock lock(mutex_);
    stopped_ = true;
    changed_.NotifyAll();
  }
  if (reader_.joinable()) reader_.join();
}

absl::Status Registry::Ready() const {
  MutexLock lock(mutex_);
  return status_;
}

void Registry::SetStatus(absl::Status status) {
  bool tell = false;
  {
    MutexLock lock(mutex_);
    if (status_.code() == absl::StatusCode::kFailedPrecondition) return;
    tell = status.code() != status_.code();
    loaded_ |= status.ok();
    status_ = status;
    changed_.NotifyAll();
  }
  if (tell && on_status_) on_status_(status);
}

void Registry::Read() {
  // What must have been read before the state is complete.
  std::optional<std::int64_t> load_to;
  SteadyTime probe_at = clock_.SteadyNow();
  for (;;) {
    std::int64_t position = 0;
    {
      MutexLock lock(mutex_);
      if (stopped_) return;
      position = state_.position();
    }
    auto chunk = log_.Poll(kPollTimeout);
    absl::Status failure = chunk.status();
    if (chunk.ok()) {
      MutexLock lock(mutex_);
      for (const LogRecord& record : chunk->records) state_.Apply(record);
      if (chunk->end) state_.ReachedEnd(*chunk->end);
      if (state_.position() != position) changed_.NotifyAll();
      position = state_.position();
    }
    if (failure.ok() && clock_.SteadyNow() >= probe_at) {
      probe_at = clock_.SteadyNow() + kProbeInterval;
      const auto end = log_.EndOffset(kProbeInterval);
      failure = end.status();
      if (end.ok() && !load_to) load_to = *end;
      if (end.ok() && *end < position) {
        failure = FailedPrecondition(
            Concat("the topic of the schemas ends at offset ", *end, ", but ", position,
                   " records of it were read before: it was deleted, or its data were lost. "
                   "Restart the registry to read it anew"));
      }
    }
    if (failure.ok() && load_to) {
      SetStatus(position >= *load_to
                    ? absl::OkStatus()
                    : Unavailable(Concat("reading the topic of the schemas: at offset ", position,
                                         " of ", *load_to)));
    }
    if (!failure.ok()) {
      SetStatus(failure);
      MutexLock lock(mutex_);
      if (!stopped_) changed_.WaitFor(mutex_, kPauseAfterError);
    }
  }
}

milliseconds Registry::Left(SteadyTime deadline) const {
  return std::max(std::chrono::duration_cast<milliseconds>(deadline - clock_.SteadyNow()),
                  milliseconds(1));
}

absl::Status Registry::TooSlow(std::string_view what) const {
  return MakeError(ErrorCode::kTimeout,
                   Concat(what, " took too long: Kafka does not answer in time. Try again"));
}

absl::Status Registry::WaitFor(std::int64_t position, SteadyTime deadline) {
  MutexLock lock(mutex_);
  while (state_.position() < position) {
    if (stopped_) return MakeError(ErrorCode::kStore, "the registry is stopping");
    const auto left = deadline - clock_.SteadyNow();
    if (left <= SteadyTime::duration::zero()) return TooSlow("reading the topic of the schemas");
    changed_.WaitFor(mutex_, left);
  }
  return absl::OkStatus();
}

absl::Status Registry::CatchUp(SteadyTime deadline) {
  const auto end = log_.EndOffset(Left(deadline));
  if (!end.ok()) {
    return MakeError(ErrorCode::kStore,
                     Concat("Kafka does not answer, so the newest schemas are not known; try "
                            "again: ",
                            Message(end.status())));
  }
  {
    MutexLock lock(mutex_);
    // FAILED_PRECONDITION: what was read is not what the topic holds.
    if (status_.code() == absl::StatusCode::kFailedPrecondition) {
      return MakeError(ErrorCode::kStore, Message(status_));
    }
  }
  return WaitFor(*end, deadline);
}

template <typename Found>
absl::Status Registry::Refresh(const Found& found) {
  {
    // While the topic is known not to answer, nobody waits for it.
    MutexLock lock(mutex_);
    if (loaded_ && !status_.ok() && found(state_)) return absl::OkStatus();
  }
  const absl::Status status = CatchUp(clock_.SteadyNow() + options_.read_timeout);
  if (status.ok()) return status;
  MutexLock lock(mutex_);
  return loaded_ && found(state_) ? absl::OkStatus() : status;
}

absl::StatusOr<Registry::Snapshot> Registry::Take(const std::string& subject, const Draft& draft) {
  MutexLock lock(mutex_);
  Snapshot snapshot;
  snapshot.position = state_.position();
  snapshot.next_id = state_.next_id();
  snapshot.next_version = state_.NextVersion(subject);
  snapshot.level = state_.SubjectLevel(subject).value_or(state_.GlobalLevel());
  TOCSIN_ASSIGN_OR_RETURN(snapshot.references, state_.ResolveReferences(draft.references));
  TOCSIN_ASSIGN_OR_RETURN(snapshot.imports, state_.ResolveImports(snapshot.references));
  for (SchemaVersion& version : state_.VersionsOf(subject)) {
    if (version.deleted) continue;
    auto imports = state_.ResolveImports(version.schema->references);
    snapshot.history.push_back(
        {std::move(version), imports.ok() ? *std::move(imports) : std::vector<Import>()});
  }
  return snapshot;
}

absl::StatusOr<CompatibilityVerdict> Registry::Judge(const std::vector<Snapshot::Past>& history,
                                                     schema::CompatibilityLevel level,
                                                     const schema::CompiledSchema& candidate) {
  CompatibilityVerdict verdict{level, {}, {}};
  if (level == schema::CompatibilityLevel::kNone || history.empty()) return verdict;
  std::vector<std::shared_ptr<const schema::CompiledSchema>> compiled;
  const bool transitive = schema::IsTransitive(level);
  const std::size_t first = transitive ? 0 : history.size() - 1;
  for (std::size_t i = first; i < history.size(); ++i) {
    TOCSIN_ASSIGN_OR_RETURN(auto past,
                            compiler_.Compile(*history[i].version.schema, history[i].imports));
    compiled.push_back(std::move(past));
  }
  schema::HistoryVerdict found = schema::CheckHistory(compiled, candidate, level);
  verdict.findings = std::move(found.findings);
  if (found.against) verdict.against = history[first + *found.against].version.version;
  return verdict;
}

absl::StatusOr<bool> Registry::Append(const RecordKey& key, std::string value,
                                      SteadyTime deadline) {
  auto landed = log_.Append(EncodeKey(key), std::move(value), Left(deadline));
  if (!landed.ok()) {
    return MakeError(
        CodeOf(landed.status()) == ErrorCode::kTimeout ? ErrorCode::kTimeout : ErrorCode::kStore,
        Concat("Kafka did not confirm the write, which may still take effect; try "
               "again: ",
               Message(landed.status())));
  }
  TOCSIN_RETURN_IF_ERROR(WaitFor(*landed + 1, deadline));
  if (*landed == key.sequence->offset) return true;
  collisions_.fetch_add(1, std::memory_order_relaxed);
  return false;
}

absl::StatusOr<SchemaVersion> Registry::Register(const std::string& subject, const Draft& draft) {
  TOCSIN_RETURN_IF_ERROR(CheckSubject(subject));
  const SteadyTime deadline = clock_.SteadyNow() + options_.write_timeout;
  MutexLock turn(writing_);
  for (;;) {
    TOCSIN_RETURN_IF_ERROR(CatchUp(deadline));
    TOCSIN_ASSIGN_OR_RETURN(Snapshot snapshot, Take(subject, draft));
    TOCSIN_ASSIGN_OR_RETURN(
        CompiledDraft compiled,
        compiler_.Compile(subject, draft, snapshot.references, snapshot.imports));
    for (Snapshot::Past& past : snapshot.history) {
      if (past.version.schema->content_key == compiled.content_key) {
        return std::move(past.version);
      }
    }
    TOCSIN_ASSIGN_OR_RETURN(const CompatibilityVerdict verdict,
                            Judge(snapshot.history, snapshot.level, *compiled.schema));
    if (!verdict.compatible()) {
      return MakeError(ErrorCode::kIncompatible, Explain(subject, verdict));
    }

    SchemaValue value;
    value.subject = subject;
    value.version = snapshot.next_version;
    value.type = kProtobuf;
    {
      MutexLock lock(mutex_);
      const auto known = state_.FindContent(compiled.content_key);
      // One content, one id, and then one text too.
      value.id = known != nullptr ? known->id : snapshot.next_id;
      value.text = known != nullptr ? known->text : compiled.text;
      value.references = known != nullptr ? known->references : snapshot.references;
    }
    RecordKey key;
    key.type = KeyType::kSchema;
    key.subject = subject;
    key.version = value.version;
    key.sequence = Sequence{snapshot.position, options_.node, ++attempts_};
    TOCSIN_ASSIGN_OR_RETURN(const bool counts, Append(key, EncodeSchemaValue(value), deadline));
    if (counts) {
      MutexLock lock(mutex_);
      auto version = state_.FindVersion(subject, value.version);
      if (!version) return Internal("a schema that was just written is not in the state");
      return *std::move(version);
    }
    if (clock_.SteadyNow() >= deadline) {
      return MakeError(ErrorCode::kCollision,
                       "other registries wrote at the same time again and again; try again");
    }
  }
}

absl::Status Registry::SetLevel(const std::optional<std::string>& subject,
                                schema::CompatibilityLevel level) {
  if (subject) TOCSIN_RETURN_IF_ERROR(CheckSubject(*subject));
  const SteadyTime deadline = clock_.SteadyNow() + options_.write_timeout;
  MutexLock turn(writing_);
  for (;;) {
    TOCSIN_RETURN_IF_ERROR(CatchUp(deadline));
    RecordKey key;
    key.type = KeyType::kConfig;
    key.subject = subject;
    {
      MutexLock lock(mutex_);
      key.sequence = Sequence{state_.position(), options_.node, ++attempts_};
    }
    TOCSIN_ASSIGN_OR_RETURN(
        const bool counts,
        Append(key, EncodeConfigValue(subject, schema::LevelName(level)), deadline));
    if (counts) return absl::OkStatus();
    if (clock_.SteadyNow() >= deadline) {
      return MakeError(ErrorCode::kCollision,
                       "other registries wrote at the same time again and again; try again");
    }
  }
}

absl::StatusOr<WithImports> Registry::GetSchema(SchemaId id) {
  const auto find = [&]() -> std::shared_ptr<const StoredSchema> {
    MutexLock lock(mutex_);
    return state_.FindSchema(id);
  };
  auto schema = find();
  if (schema == nullptr) {
    TOCSIN_RETURN_IF_ERROR(CatchUp(clock_.SteadyNow() + options_.read_timeout));
    schema = find();
  }
  if (schema == nullptr) return NoSchema(id);
  TOCSIN_ASSIGN_OR_RETURN(std::vector<Import> imports, ImportsOf(*schema));
  return WithImports{std::move(schema), std::move(imports)};
}

absl::StatusOr<SchemaVersion> Registry::GetVersion(const std::string& subject,
                                                   std::optional<std::int32_t> version) {
  const auto found = [&](const RegistryState& state) { return state.Latest(subject).has_value(); };
  if (version) {
    const auto find = [&]() -> std::optional<SchemaVersion> {
      MutexLock lock(mutex_);
      auto at = state_.FindVersion(subject, *version);
      return at && !at->deleted ? at : std::nullopt;
    };
    if (auto at = find()) return *std::move(at);
    TOCSIN_RETURN_IF_ERROR(CatchUp(clock_.SteadyNow() + options_.read_timeout));
    if (auto at = find()) return *std::move(at);
  } else {
    TOCSIN_RETURN_IF_ERROR(Refresh(found));
  }
  MutexLock lock(mutex_);
  auto latest = state_.Latest(subject);
  if (!latest) return NoSubject(subject);
  if (version) return NoVersion(subject, *version);
  return *std::move(latest);
}

absl::StatusOr<std::vector<Import>> Registry::ImportsOf(const StoredSchema& schema) {
  MutexLock lock(mutex_);
  return state_.ResolveImports(schema.references);
}

absl::StatusOr<SchemaVersion> Registry::Lookup(const std::string& subject, const Draft& draft) {
  TOCSIN_RETURN_IF_ERROR(
      Refresh([&](const RegistryState& state) { return state.Latest(subject).has_value(); }));
  {
    MutexLock lock(mutex_);
    if (!state_.Latest(subject)) return NoSubject(subject);
  }
  TOCSIN_ASSIGN_OR_RETURN(Snapshot snapshot, Take(subject, draft));
  TOCSIN_ASSIGN_OR_RETURN(const CompiledDraft compiled,
                          compiler_.Compile(subject, draft, snapshot.references, snapshot.imports));
  for (auto past = snapshot.history.rbegin(); past != snapshot.history.rend(); ++past) {
    if (past->version.schema->content_key == compiled.content_key) return std::move(past->version);
  }
  return MakeError(ErrorCode::kSchemaNotFound,
                   Concat("subject '", subject, "' has no version with this schema"));
}

absl::StatusOr<std::vector<std::string>> Registry::Subjects(std::string_view prefix, bool deleted) {
  TOCSIN_RETURN_IF_ERROR(Refresh([](const RegistryState&) { return true; }));
  MutexLock lock(mutex_);
  return state_.Subjects(prefix, deleted);
}

absl::StatusOr<std::vector<std::int32_t>> Registry::Versions(const std::string& subject) {
  TOCSIN_RETURN_IF_ERROR(
      Refresh([&](const RegistryState& state) { return state.Latest(subject).has_value(); }));
  std::vector<std::int32_t> numbers;
  MutexLock lock(mutex_);
  for (const SchemaVersion& version : state_.VersionsOf(subject)) {
    if (!version.deleted) numbers.push_back(version.version);
  }
  if (numbers.empty()) return NoSubject(subject);
  return numbers;
}

absl::StatusOr<std::vector<SchemaVersion>> Registry::UsesOf(SchemaId id, bool deleted) {
  TOCSIN_RETURN_IF_ERROR(
      Refresh([&](const RegistryState& state) { return state.FindSchema(id) != nullptr; }));
  MutexLock lock(mutex_);
  if (state_.FindSchema(id) == nullptr) return NoSchema(id);
  return state_.UsesOf(id, deleted);
}

absl::StatusOr<CompatibilityVerdict> Registry::Check(const std::string& subject, const Draft& draft,
                                                     Against against) {
  TOCSIN_RETURN_IF_ERROR(CheckSubject(subject));
  TOCSIN_RETURN_IF_ERROR(CatchUp(clock_.SteadyNow() + options_.read_timeout));
  TOCSIN_ASSIGN_OR_RETURN(Snapshot snapshot, Take(subject, draft));
  TOCSIN_ASSIGN_OR_RETURN(const CompiledDraft compiled,
                          compiler_.Compile(subject, draft, snapshot.references, snapshot.imports));
  if (against == Against::kLatest && snapshot.history.size() > 1) {
    snapshot.history.erase(snapshot.history.begin(), snapshot.history.end() - 1);
  }
  return Judge(snapshot.history, snapshot.level, *compiled.schema);
}

absl::StatusOr<CompatibilityVerdict> Registry::CheckVersion(const std::string& subject,
                                                            const Draft& draft,
                                                            std::int32_t version) {
  TOCSIN_RETURN_IF_ERROR(GetVersion(subject, version).status());
  TOCSIN_RETURN_IF_ERROR(CatchUp(clock_.SteadyNow() + options_.read_timeout));
  TOCSIN_ASSIGN_OR_RETURN(Snapshot snapshot, Take(subject, draft));
  TOCSIN_ASSIGN_OR_RETURN(const CompiledDraft compiled,
                          compiler_.Compile(subject, draft, snapshot.references, snapshot.imports));
  for (Snapshot::Past& past : snapshot.history) {
    if (past.version.version != version) continue;
    return Judge({std::move(past)}, snapshot.level, *compiled.schema);
  }
  return NoVersion(subject, version);
}

absl::StatusOr<schema::CompatibilityLevel> Registry::SubjectLevel(const std::string& subject,
                                                                  bool or_global) {
  TOCSIN_RETURN_IF_ERROR(CheckSubject(subject));
  TOCSIN_RETURN_IF_ERROR(Refresh([](const RegistryState&) { return true; }));
  MutexLock lock(mutex_);
  const auto level = state_.SubjectLevel(subject);
  if (level) return *level;
  if (or_global) return state_.GlobalLevel();
  return MakeError(ErrorCode::kNoSubjectConfig,
                   Concat("subject '", subject, "' has no compatibility level of its own"));
}

absl::StatusOr<schema::CompatibilityLevel> Registry::GlobalLevel() {
  TOCSIN_RETURN_IF_ERROR(Refresh([](const RegistryState&) { return true; }));
  MutexLock lock(mutex_);
  return state_.GlobalLevel();
}

absl::StatusOr<std::string> Registry::Serialized(const StoredSchema& schema) {
  TOCSIN_ASSIGN_OR_RETURN(const std::vector<Import> imports, ImportsOf(schema));
  TOCSIN_ASSIGN_OR_RETURN(const auto compiled, compiler_.Compile(schema, imports));
  return compiled->Serialized();
}

}  // namespace tocsin::registry
