// The bytes that answer GET /schemas/ids/{id}, kept so that the most frequent request of all needs
// neither a descriptor nor JSON. Internal to rest/.
#pragma once

#include <array>
#include <cstddef>
#include <list>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>

#include "lib/base/mutex.h"
#include "schema-registry/model.h"

namespace tocsin::registry {

// The text of a schema: as it is kept, as a descriptor in base64, or without custom options.
enum class TextFormat { kText, kSerialized, kIgnoreExtensions };
// The query parameter `format`; what is not known is the text.
TextFormat ParseTextFormat(std::string_view name);

struct SchemaAnswerKey {
  std::string context;
  SchemaId id;
  TextFormat format = TextFormat::kText;
  friend bool operator==(const SchemaAnswerKey&, const SchemaAnswerKey&) = default;
};

// Thread-safe; no call blocks for longer than a look into a table.
class SchemaAnswers {
 public:
  // Of all that is kept; the least recently used goes first. What is larger than an eighth of a
  // shard is not kept.
  explicit SchemaAnswers(std::size_t max_bytes);

  // nullptr: not kept, or kept for another schema than `schema`, which is what the id stands for
  // now.
  std::shared_ptr<const std::string> Find(const SchemaAnswerKey& key, const StoredSchema& schema);
  void Keep(const SchemaAnswerKey& key, std::shared_ptr<const StoredSchema> schema,
            std::shared_ptr<const std::string> answer);

  std::size_t bytes() const;

 private:
  struct Kept {
    SchemaAnswerKey key;
    std::shared_ptr<const StoredSchema> schema;
    std::shared_ptr<const std::string> answer;
  };
  struct Hash {
    std::size_t operator()(const SchemaAnswerKey& key) const;
  };
  struct Shard {
    mutable Mutex mutex;
    std::list<Kept> kept ABSL_GUARDED_BY(mutex);
    std::unordered_map<SchemaAnswerKey, std::list<Kept>::iterator, Hash> by_key
        ABSL_GUARDED_BY(mutex);
    std::size_t bytes ABSL_GUARDED_BY(mutex) = 0;
  };
  static constexpr std::size_t kShards = 8;

  static std::size_t SizeOf(const Kept& kept);
  static void Drop(Shard& shard, std::list<Kept>::iterator entry)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(shard.mutex);
  Shard& ShardOf(const SchemaAnswerKey& key) { return shards_[Hash()(key) % kShards]; }

  const std::size_t max_shard_bytes_;
  std::array<Shard, kShards> shards_;
};

}  // namespace tocsin::registry
