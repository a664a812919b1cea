#include "schema-registry/rest/schema_answers.h"

#include <functional>
#include <utility>

namespace tocsin::registry {
namespace {

// What an entry costs beside its bytes.
constexpr std::size_t kOverhead = 256;

}  // namespace

TextFormat ParseTextFormat(std::string_view name) {
  if (name == "serialized") return TextFormat::kSerialized;
  if (name == "ignore_extensions") return TextFormat::kIgnoreExtensions;
  return TextFormat::kText;
}

SchemaAnswers::SchemaAnswers(std::size_t max_bytes) : max_shard_bytes_(max_bytes / kShards) {}

std::size_t SchemaAnswers::Hash::operator()(const SchemaAnswerKey& key) const {
  const std::size_t id =
      static_cast<std::size_t>(key.id.value()) * 4 + static_cast<std::size_t>(key.format);
  // Multiplied so that neighbours fall into different shards.
  return (std::hash<std::string>()(key.context) ^ id) * 0x9e3779b97f4a7c15U >> 32U;
}

std::size_t SchemaAnswers::SizeOf(const Kept& kept) { return kept.answer->size() + kOverhead; }

void SchemaAnswers::Drop(Shard& shard, std::list<Kept>::iterator entry) {
  shard.bytes -= SizeOf(*entry);
  shard.by_key.erase(entry->key);
  shard.kept.erase(entry);
}

std::shared_ptr<const std::string> SchemaAnswers::Find(const SchemaAnswerKey& key,
                                                       const StoredSchema& schema) {
  Shard& shard = ShardOf(key);
  MutexLock lock(shard.mutex);
  const auto found = shard.by_key.find(key);
  if (found == shard.by_key.end()) return nullptr;
  if (found->second->schema.get() != &schema) {
    Drop(shard, found->second);
    return nullptr;
  }
  shard.kept.splice(shard.kept.begin(), shard.kept, found->second);
  return found->second->answer;
}

void SchemaAnswers::Keep(const SchemaAnswerKey& key, std::shared_ptr<const StoredSchema> schema,
                         std::shared_ptr<const std::string> answer) {
  if (answer->size() + kOverhead > max_shard_bytes_ / 8) return;
  Shard& shard = ShardOf(key);
  MutexLock lock(shard.mutex);
  if (const auto found = shard.by_key.find(key); found != shard.by_key.end()) {
    Drop(shard, found->second);
  }
  shard.kept.push_front({key, std::move(schema), std::move(answer)});
  shard.by_key.emplace(key, shard.kept.begin());
  shard.bytes += SizeOf(shard.kept.front());
  while (shard.bytes > max_shard_bytes_) Drop(shard, std::prev(shard.kept.end()));
}

std::size_t SchemaAnswers::bytes() const {
  std::size_t bytes = 0;
  for (const Shard& shard : shards_) {
    MutexLock lock(shard.mutex);
    bytes += shard.bytes;
  }
  return bytes;
}

}  // namespace tocsin::registry
