// How records change the state; what it answers is in registry_state_reads.cc.
#include "schema-registry/registry_state.h"

#include <limits>
#include <utility>

#include "lib/base/status.h"
#include "schema-registry/schema_compiler.h"

namespace tocsin::registry {
namespace {

std::string NameOf(const std::optional<std::string>& subject) {
  return subject ? FormatSubject(NameInRecord(*subject)) : "";
}

std::optional<std::string> SubjectOrAll(const std::string& name) {
  return name.empty() ? std::nullopt : std::optional<std::string>(name);
}

}  // namespace

SubjectName NameInRecord(std::string_view subject) {
  auto parsed = ParseSubject(subject);
  if (parsed.ok()) return *std::move(parsed);
  return {std::string(kDefaultContext), std::string(subject)};
}

Applied RegistryState::Apply(const LogRecord& record) {
  if (record.offset > position_) history_.MissedBefore(record.offset);
  const bool neighbour_seen = last_.offset == record.offset - 1;
  const auto last = std::exchange(last_, {record.offset, std::nullopt, false});
  position_ = std::max(position_, record.offset + 1);
  if (!record.key) return Applied::kMalformed;
  const auto key = DecodeKey(*record.key);
  if (!key.ok()) return Applied::kMalformed;
  last_.sequence = key->sequence;
  if (key->sequence) {
    const Sequence& sequence = *key->sequence;
    if (!record.value) {
      superseded_.Remove(*key);
      return ApplyTombstone(*key);
    }
    if (sequence.offset != record.offset) {
      superseded_.Add(*key);
      return Applied::kLostRace;
    }
    if (sequence.follows && neighbour_seen) {
      const bool neighbour = last.counted && last.sequence &&
                             last.sequence->node == sequence.node &&
                             last.sequence->attempt == sequence.attempt - 1;
      if (!neighbour) {
        superseded_.Add(*key, /*urgent=*/true);
        return Applied::kLostRace;
      }
    }
  }
  last_.counted = true;
  switch (key->type) {
    case KeyType::kSchema:
      return ApplySchema(*key, record);
    case KeyType::kConfig:
      return ApplyConfig(*key, record);
    case KeyType::kMode:
      return ApplyMode(*key, record);
    case KeyType::kDeleteSubject:
      return ApplyDeleteSubject(*key, record);
    case KeyType::kClearSubject:
      return ApplyClearSubject(*key, record);
    case KeyType::kContext:
      return ApplyContext(*key, record);
    case KeyType::kNoop:
    case KeyType::kOther:
      return Applied::kCounted;
  }
  return Applied::kMalformed;
}

void RegistryState::ReachedEnd(std::int64_t end) {
  if (end <= position_) return;
  history_.MissedBefore(end);
  position_ = end;
}

// The record with this key is void, now and after compaction. No tombstone is written for one that
// holds a place, so there is nothing to do; should one be, then nobody may still see what the next
// start would not find.
Applied RegistryState::ApplyTombstone(const RecordKey& key) {
  const std::string name = NameOf(key.subject);
  if (key.type == KeyType::kSchema) {
    const auto subject = subjects_.find(name);
    if (subject == subjects_.end()) return Applied::kTombstone;
    const auto version = subject->second.versions.find(key.version);
    if (version == subject->second.versions.end()) return Applied::kTombstone;
    if (version->second.holder.sequence == key.sequence) {
      Remove(name, key.version, version->second);
    }
  } else if (key.type == KeyType::kConfig) {
    const auto config = configs_.find(name);
    if (config != configs_.end() && config->second.holder.sequence == key.sequence) {
      configs_.erase(config);
      ++config_changes_;
    }
  } else if (key.type == KeyType::kMode) {
    const auto mode = modes_.find(name);
    if (mode != modes_.end() && mode->second.holder.sequence == key.sequence) {
      modes_.erase(mode);
      ++config_changes_;
    }
  }
  return Applied::kTombstone;
}

void RegistryState::Hold(const RecordKey& key, std::int64_t offset, Holder& holder) {
  if (holder.sequence) {
    RecordKey before = key;
    before.sequence = holder.sequence;
    superseded_.Add(before);
  }
  holder = {offset, key.sequence};
}

void RegistryState::Tell(Change::Kind kind, const LogRecord& record,
                         std::optional<std::string> subject, std::int32_t version, SchemaId id) {
  history_.Add({record.offset + 1, kind, std::move(subject), version, id, record.notes.actor,
                record.timestamp});
}

// --- schemas
// --------------------------------------------------------------------------------------

Applied RegistryState::ApplySchema(const RecordKey& key, const LogRecord& record) {
  const SubjectName parsed = NameInRecord(*key.subject);
  const std::string name = FormatSubject(parsed);
  if (!record.value) {
    // Another registry deleted it for good.
    const auto subject = subjects_.find(name);
    if (subject == subjects_.end()) return Applied::kCounted;
    const auto version = subject->second.versions.find(key.version);
    if (version == subject->second.versions.end() || version->second.gone) {
      return Applied::kCounted;
    }
    const SchemaId id = version->second.id;
    Hold(key, record.offset, version->second.holder);
    Remove(name, key.version, version->second);
    forgettable_.insert({name, key.version});
    Tell(Change::Kind::kPermanentlyDeleted, record, name, key.version, id);
    return Applied::kCounted;
  }
  auto value = DecodeSchemaValue(*record.value);
  if (!value.ok() || value->version != key.version ||
      FormatSubject(NameInRecord(value->subject)) != name) {
    return Applied::kMalformed;
  }
  // Nothing could follow the largest number.
  constexpr std::int32_t kLast = std::numeric_limits<std::int32_t>::max();
  if (value->id.value() == kLast || key.version == kLast) return Applied::kMalformed;

  Context& context = contexts_[parsed.context];
  context.max_id = std::max(context.max_id, value->id.value());
  Subject& subject = subjects_[name];
  subject.last_version = std::max(subject.last_version, key.version);
  ++subject.changes;
  Version& version = subject.versions[key.version];
  const bool was_there = version.schema != nullptr;
  const bool was_live = was_there && !version.deleted;
  const SchemaId id = value->id;
  Hold(key, record.offset, version.holder);

  if (key.sequence && value->gone()) {
    Remove(name, key.version, version);
    RememberDeleted(context, id, record.notes.content_key);
    version.id = id;
    forgettable_.erase({name, key.version});
    if (was_there) Tell(Change::Kind::kPermanentlyDeleted, record, name, key.version, id);
    return Applied::kCounted;
  }
  if (!was_there || record.notes.registered) {
    version.registered = record.notes.registered.value_or(record.timestamp);
    version.registered_by =
        record.notes.registered ? record.notes.registered_by : record.notes.actor;
  }
  const bool deleted = value->deleted;
  auto schema = Store(parsed.context, *std::move(value), record.notes);
  if (version.schema != nullptr && version.schema != schema) {
    Unuse(parsed.context, name, key.version, *version.schema);
  }
  forgettable_.erase({name, key.version});
  version.schema = std::move(schema);
  version.id = id;
  version.deleted = deleted;
  version.gone = false;
  Use(parsed.context, name, key.version, version.schema);
  if (deleted) ++deletions_;
  if (deleted ? was_live : !was_live) {
    Tell(deleted ? Change::Kind::kDeleted : Change::Kind::kRegistered, record, name, key.version,
         id);
  }
  return Applied::kCounted;
}

std::shared_ptr<const std::string> RegistryState::Intern(std::string text) {
  const std::size_t hash = std::hash<std::string>()(text);
  for (auto [at, end] = texts_.equal_range(hash); at != end; ++at) {
    auto known = at->second.lock();
    if (known != nullptr && *known == text) return known;
  }
  if (texts_.size() >= sweep_texts_at_) {
    std::erase_if(texts_, [](const auto& entry) { return entry.second.expired(); });
    sweep_texts_at_ = std::max<std::size_t>(1024, 2 * texts_.size());
  }
  text.shrink_to_fit();
  text_bytes_->fetch_add(text.size(), std::memory_order_relaxed);
  const std::shared_ptr<const std::string> fresh(
      new std::string(std::move(text)), [total = text_bytes_](const std::string* gone) {
        total->fetch_sub(gone->size(), std::memory_order_relaxed);
        delete gone;
      });
  texts_.emplace(hash, fresh);
  return fresh;
}

std::shared_ptr<const StoredSchema> RegistryState::Store(const std::string& context,
                                                         SchemaValue value,
                                                         const RecordNotes& notes) {
  const schema::SchemaGuid guid =
      GuidOf(value.text, value.references, value.metadata, value.rule_set);
  Context& ids = contexts_[context];
  if (const auto known = ids.by_id.find(value.id); known != ids.by_id.end()) {
    const StoredSchema& schema = *known->second.schema;
    if (schema.guid == guid && schema.type == value.type) return known->second.schema;
  }
  auto fresh = std::make_shared<StoredSchema>();
  fresh->id = value.id;
  fresh->guid = guid;
  fresh->type = std::move(value.type);
  fresh->text = Intern(std::move(value.text));
  fresh->references = std::move(value.references);
  fresh->metadata = std::move(value.metadata);
  fresh->rule_set = std::move(value.rule_set);
  if (IsCurrentContentKey(notes.content_key)) {
    fresh->content_key = notes.content_key;
  } else if (fresh->type != kProtobuf) {
    fresh->content_key =
        ContentKey(fresh->type, *fresh->text, fresh->references, fresh->metadata, fresh->rule_set);
  }
  return fresh;
}

void RegistryState::Use(const std::string& context, const std::string& subject, std::int32_t number,
                        const std::shared_ptr<const StoredSchema>& schema) {
  Context& ids = contexts_[context];
  Entry& entry = ids.by_id[schema->id];
  // The schema that came first under an id is the one that the id stands for; should another
  // registry have given it twice, the version still has its own.
  if (entry.schema == nullptr) {
    entry.schema = schema;
    by_guid_[schema->guid].insert({context, schema->id});
    if (schema->content_key.empty()) {
      unknown_.emplace_back(context, schema->id);
    } else {
      ids.by_content.emplace(schema->content_key, schema->id);
    }
    for (const Reference& reference : schema->references) {
      referrers_[{Qualified(context, reference.subject), reference.version}].insert(
          {context, schema->id});
    }
  }
  entry.uses.insert({subject, number});
}

void RegistryState::Unuse(const std::string& context, const std::string& subject,
                          std::int32_t number, const StoredSchema& schema) {
  Context& ids = contexts_[context];
  const auto entry = ids.by_id.find(schema.id);
  if (entry == ids.by_id.end()) return;
  entry->second.uses.erase({subject, number});
  if (!entry->second.uses.empty()) return;
  const std::shared_ptr<const StoredSchema> last = entry->second.schema;
  ids.by_id.erase(entry);
  RememberDeleted(ids, last->id, last->content_key);
  if (const auto content = ids.by_content.find(last->content_key);
      content != ids.by_content.end() && content->second == last->id) {
    ids.by_content.erase(content);
  }
  if (const auto same = by_guid_.find(last->guid); same != by_guid_.end()) {
    same->second.erase({context, last->id});
    if (same->second.empty()) by_guid_.erase(same);
  }
  for (const Reference& reference : last->references) {
    const auto of = referrers_.find({Qualified(context, reference.subject), reference.version});
    if (of == referrers_.end()) continue;
    of->second.erase({context, last->id});
    if (of->second.empty()) referrers_.erase(of);
  }
}

void RegistryState::RememberDeleted(Context& context, SchemaId id, std::string_view content_key) {
  std::string& known = context.deleted[id];
  if (known.empty() && IsCurrentContentKey(content_key)) known = content_key;
}

void RegistryState::Remove(const std::string& subject, std::int32_t number, Version& version) {
  if (version.schema != nullptr) {
    Unuse(NameInRecord(subject).context, subject, number, *version.schema);
  }
  version.schema = nullptr;
  version.deleted = true;
  version.gone = true;
  ++deletions_;
  ++subjects_.find(subject)->second.changes;
}

Applied RegistryState::ApplyDeleteSubject(const RecordKey& key, const LogRecord& record) {
  if (!key.subject) return Applied::kMalformed;
  const std::string name = NameOf(key.subject);
  if (!record.value) return Applied::kCounted;
  const auto last = DecodeDeleteSubjectValue(*record.value);
  if (!last.ok()) return Applied::kMalformed;
  Subject& subject = subjects_[name];
  // Version numbers only grow, so the later record says all that the earlier one said.
  Hold(key, record.offset, subject.deletion);
  bool changed = false;
  for (auto& [number, version] : subject.versions) {
    if (number > *last || version.deleted) continue;
    version.deleted = true;
    changed = true;
  }
  if (!changed) return Applied::kCounted;
  ++subject.changes;
  ++deletions_;
  Tell(Change::Kind::kDeleted, record, name);
  return Applied::kCounted;
}

Applied RegistryState::ApplyClearSubject(const RecordKey& key, const LogRecord& record) {
  if (!record.value) return Applied::kCounted;
  // Without a subject's name: all of the context.
  const SubjectName wanted = NameInRecord(key.subject.value_or(""));
  bool changed = false;
  for (auto& [name, subject] : subjects_) {
    if (wanted.subject.empty() ? NameInRecord(name).context != wanted.context
                               : name != FormatSubject(wanted)) {
      continue;
    }
    for (auto& [number, version] : subject.versions) {
      if (!version.deleted || version.gone) continue;
      Remove(name, number, version);
      forgettable_.insert({name, number});
      changed = true;
    }
  }
  if (changed) {
    Tell(Change::Kind::kPermanentlyDeleted, record, SubjectOrAll(FormatSubject(wanted)));
  }
  return Applied::kCounted;
}

// --- settings
// -------------------------------------------------------------------------------------

Applied RegistryState::ApplyConfig(const RecordKey& key, const LogRecord& record) {
  const std::string name = NameOf(key.subject);
  SubjectConfig config;
  if (record.value) {
    auto decoded = DecodeConfigValue(*record.value);
    if (!decoded.ok()) return Applied::kMalformed;
    config = *std::move(decoded);
  }
  auto& setting = configs_[name];
  Hold(key, record.offset, setting.holder);
  setting.value = std::move(config);
  ++config_changes_;
  Tell(Change::Kind::kConfig, record, SubjectOrAll(name));
  return Applied::kCounted;
}

Applied RegistryState::ApplyMode(const RecordKey& key, const LogRecord& record) {
  const std::string name = NameOf(key.subject);
  std::optional<Mode> mode;
  if (record.value) {
    const auto decoded = DecodeModeValue(*record.value);
    if (!decoded.ok()) return Applied::kMalformed;
    mode = *decoded;
  }
  auto& setting = modes_[name];
  Hold(key, record.offset, setting.holder);
  setting.value = mode;
  ++config_changes_;
  Tell(Change::Kind::kMode, record, SubjectOrAll(name));
  return Applied::kCounted;
}

Applied RegistryState::ApplyContext(const RecordKey& key, const LogRecord& record) {
  bool exists = false;
  if (record.value) {
    const auto context = DecodeContextValue(*record.value);
    if (!context.ok()) return Applied::kMalformed;
    exists = !context->empty();
  }
  auto& setting = named_contexts_[key.context];
  Hold(key, record.offset, setting.holder);
  setting.value = exists;
  ++config_changes_;
  Tell(Change::Kind::kContext, record, FormatSubject({key.context, ""}));
  return Applied::kCounted;
}

}  // namespace tocsin::registry
