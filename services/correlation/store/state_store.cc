#include "services/correlation/store/state_store.h"

#include <rocksdb/cache.h>
#include <rocksdb/db.h>
#include <rocksdb/filter_policy.h>
#include <rocksdb/slice_transform.h>
#include <rocksdb/table.h>
#include <rocksdb/write_batch.h>

#include <filesystem>
#include <system_error>

#include "lib/base/status.h"
#include "lib/base/text.h"
#include "services/correlation/engine/keys.h"

namespace tocsin::correlation {
namespace {

// The store's own keys lie behind every key of the state and are not in the changelog.
constexpr std::string_view kOwnKeys = "\xff";
constexpr std::string_view kPositionKey = "\xffposition";
constexpr std::string_view kTimeKey = "\xfftime";

rocksdb::Slice ToSlice(std::string_view text) { return {text.data(), text.size()}; }
std::string_view FromSlice(const rocksdb::Slice& slice) { return {slice.data(), slice.size()}; }

absl::Status FromRocks(const rocksdb::Status& status, std::string_view doing) {
  if (status.ok()) return absl::OkStatus();
  const std::string text = Concat(doing, ": ", status.ToString());
  if (status.IsCorruption()) return DataLoss(text);
  if (status.IsBusy() || status.IsTryAgain()) return Unavailable(text);
  if (status.IsNoSpace()) return ResourceExhausted(text);
  // RocksDB has no code of its own for a lock that another holds.
  if (status.IsIOError() && text.find("lock") != std::string::npos) {
    return Unavailable(Concat(text, " (another process or worker has it open)"));
  }
  return Internal(text);
}

}  // namespace

struct StateStore::Impl {
  StateStoreOptions options;
  std::unique_ptr<rocksdb::DB> db;
  std::optional<std::int64_t> position;
  mutable absl::Status failed;
};

StateStore::StateStore(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

StateStore::~StateStore() {
  if (impl_->db == nullptr) return;
  if (!impl_->options.lose_unwritten_on_close) impl_->db->Flush({});
  impl_->db->Close();
}

absl::StatusOr<std::unique_ptr<StateStore>> StateStore::Open(const StateStoreOptions& options,
                                                             WallTime now) {
  std::error_code error;
  std::filesystem::create_directories(options.folder, error);
  if (error) {
    return FailedPrecondition(
        Concat("the state folder ", options.folder, " cannot be made: ", error.message()));
  }
  rocksdb::Options rocks;
  rocks.create_if_missing = true;
  rocks.write_buffer_size = options.write_buffer_bytes;
  rocks.max_open_files = 256;
  rocks.keep_log_file_num = 2;
  rocks.max_log_file_size = 1U << 20;
  rocks.info_log_level = rocksdb::WARN_LEVEL;
  rocks.compression = rocksdb::kLZ4Compression;
  rocks.avoid_flush_during_shutdown = options.lose_unwritten_on_close;
  // One writer, whose batches are in the order of the keys: each key's place is looked for next to
  // that of the one before it, of the same kind.
  rocks.allow_concurrent_memtable_write = false;
  rocks.memtable_insert_with_hint_prefix_extractor.reset(rocksdb::NewCappedPrefixTransform(1));
  rocksdb::BlockBasedTableOptions table;
  table.block_cache = rocksdb::NewLRUCache(options.cache_bytes);
  table.filter_policy.reset(rocksdb::NewBloomFilterPolicy(10));
  rocks.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));

  // Twice at most: a store that is too old is removed and made anew.
  for (int attempt = 0;; ++attempt) {
    auto impl = std::make_unique<Impl>();
    impl->options = options;
    rocksdb::DB* db = nullptr;
    TOCSIN_RETURN_IF_ERROR(FromRocks(rocksdb::DB::Open(rocks, options.folder, &db),
                                     Concat("opening the state in ", options.folder)));
    impl->db.reset(db);
    std::unique_ptr<StateStore> store(new StateStore(std::move(impl)));
    const std::optional<std::string> position = store->Get(kPositionKey);
    const std::optional<std::string> time = store->Get(kTimeKey);
    TOCSIN_RETURN_IF_ERROR(store->status());
    if (position.has_value() && time.has_value()) {
      const WallTime written = FromMicros(DecodeInt64(*time).value_or(0));
      if (now - written > options.max_age && attempt == 0) {
        store.reset();
        TOCSIN_RETURN_IF_ERROR(Wipe(options.folder));
        continue;
      }
      store->impl_->position = DecodeInt64(*position);
    }
    return store;
  }
}

absl::Status StateStore::Wipe(const std::string& folder) {
  std::error_code error;
  std::filesystem::remove_all(folder, error);
  if (error) return Internal(Concat("removing ", folder, ": ", error.message()));
  return absl::OkStatus();
}

std::optional<std::string> StateStore::Get(std::string_view key) const {
  std::string value;
  const rocksdb::Status status = impl_->db->Get({}, ToSlice(key), &value);
  if (status.ok()) return value;
  if (!status.IsNotFound() && impl_->failed.ok()) {
    impl_->failed = FromRocks(status, "reading the state");
  }
  return std::nullopt;
}

void StateStore::Range(std::string_view begin, std::string_view end,
                       const StateVisitor& visit) const {
  const std::string_view bound = end.empty() || end > kOwnKeys ? kOwnKeys : end;
  rocksdb::ReadOptions options;
  const rocksdb::Slice upper = ToSlice(bound);
  options.iterate_upper_bound = &upper;
  const std::unique_ptr<rocksdb::Iterator> iterator(impl_->db->NewIterator(options));
  for (iterator->Seek(ToSlice(begin)); iterator->Valid(); iterator->Next()) {
    if (!visit(FromSlice(iterator->key()), FromSlice(iterator->value()))) break;
  }
  if (!iterator->status().ok() && impl_->failed.ok()) {
    impl_->failed = FromRocks(iterator->status(), "reading the state");
  }
}

absl::Status StateStore::status() const { return impl_->failed; }
std::optional<std::int64_t> StateStore::position() const { return impl_->position; }

absl::Status StateStore::Apply(const StateChanges& changes, std::int64_t position, WallTime now) {
  rocksdb::WriteBatch batch;
  for (const auto& [key, value] : changes) {
    if (value.has_value()) {
      batch.Put(ToSlice(key), ToSlice(*value));
    } else {
      batch.Delete(ToSlice(key));
    }
  }
  batch.Put(ToSlice(kPositionKey), ToSlice(EncodeInt64(position)));
  batch.Put(ToSlice(kTimeKey), ToSlice(EncodeInt64(Micros(now))));
  rocksdb::WriteOptions options;
  options.disableWAL = true;
  TOCSIN_RETURN_IF_ERROR(FromRocks(impl_->db->Write(options, &batch), "writing the state"));
  impl_->position = position;
  return absl::OkStatus();
}

}  // namespace tocsin::correlation
