#include "services/correlation/tables/table_index.h"

#include <algorithm>
#include <utility>

#include "lib/base/status.h"
#include "lib/base/text.h"

namespace tocsin::correlation {
namespace {

// What a version takes beside its texts: the entry, its place in the map and in the list of what
// was replaced, and the allocator's share.
constexpr std::size_t kOverhead = 256;

}  // namespace

TableIndex::TableIndex(const std::vector<TableOptions>& tables, std::size_t max_bytes)
    : max_bytes_(max_bytes) {
  for (const TableOptions& options : tables) tables_[options.topic].options = options;
}
TableIndex::~TableIndex() = default;

std::size_t TableIndex::Cost(std::string_view key, const Version& version) const {
  return kOverhead + 2 * key.size() + (version.value == nullptr ? 0 : version.value->size());
}

std::optional<TableRow> TableIndex::Find(std::string_view table, std::string_view key,
                                         WallTime time) const {
  MutexLock lock(mutex_);
  const auto found = tables_.find(table);
  if (found == tables_.end()) return std::nullopt;
  const auto of_key = found->second.keys.find(key);
  if (of_key == found->second.keys.end()) return std::nullopt;
  const Versions& versions = of_key->second;
  const auto after =
      std::upper_bound(versions.begin(), versions.end(), time,
                       [](WallTime at, const Version& version) { return at < version.time; });
  if (after == versions.begin()) return std::nullopt;
  const Version& version = *std::prev(after);
  if (version.value == nullptr) return std::nullopt;
  return TableRow{version.partition, version.offset, version.time, version.value};
}

absl::Status TableIndex::Apply(std::string_view table, const TableRecord& record, WallTime now) {
  MutexLock lock(mutex_);
  const auto found = tables_.find(table);
  if (found == tables_.end()) return NotFound(Concat("there is no table ", table));
  Table& of_table = found->second;
  ForgetIn(of_table, now);
  Version version;
  version.time = record.time;
  // A time of sending in the future would be kept until then.
  version.sent = std::min(record.sent, now);
  version.partition = record.partition;
  version.offset = record.offset;
  if (record.value.has_value()) {
    version.value = std::make_shared<const std::string>(*record.value);
  }
  const auto of_key = of_table.keys.find(record.key);
  const bool is_new_key = of_key == of_table.keys.end();
  if (!is_new_key) {
    for (const Version& known : of_key->second) {
      if (known.partition == version.partition && known.offset == version.offset) {
        return absl::OkStatus();
      }
    }
  }
  const std::size_t cost = Cost(record.key, version);
  if (bytes_ + cost > max_bytes_) {
    return ResourceExhausted(Concat(
        "the tables take ", bytes_, " bytes of the ", max_bytes_, " that table_bytes allows, and ",
        table, "[", record.partition, "] offset ", record.offset, " needs ", cost,
        " more. Raise table_bytes, shorten keep-versions, or remove rows that nothing looks up"));
  }
  Versions& versions = is_new_key ? of_table.keys[std::string(record.key)] : of_key->second;
  const bool had_row = HasRow(versions);
  const auto place = std::upper_bound(
      versions.begin(), versions.end(), version, [](const Version& a, const Version& b) {
        return std::pair(a.time, a.offset) < std::pair(b.time, b.offset);
      });
  if (!is_new_key || version.value == nullptr) {
    of_table.replaced.emplace(version.sent, std::string(record.key));
  }
  versions.insert(place, std::move(version));
  bytes_ += cost;
  of_table.rows += static_cast<std::int64_t>(HasRow(versions)) - static_cast<std::int64_t>(had_row);
  return absl::OkStatus();
}

void TableIndex::Forget(WallTime now) {
  MutexLock lock(mutex_);
  for (auto& [topic, table] : tables_) ForgetIn(table, now);
}

void TableIndex::ForgetIn(Table& table, WallTime now) {
  const WallTime until = now - table.options.keep_versions;
  while (!table.replaced.empty() && table.replaced.begin()->first <= until) {
    const std::string key = std::move(table.replaced.begin()->second);
    table.replaced.erase(table.replaced.begin());
    Trim(table, key, until);
  }
}

void TableIndex::Trim(Table& table, const std::string& key, WallTime until) {
  const auto found = table.keys.find(key);
  if (found == table.keys.end()) return;
  Versions& versions = found->second;
  // What the newest version so old has replaced.
  std::size_t first = 0;
  for (std::size_t i = 0; i < versions.size(); ++i) {
    if (versions[i].sent <= until) first = i;
  }
  // A removal so old has nothing to hide any more.
  if (versions[first].sent <= until && versions[first].value == nullptr) ++first;
  for (std::size_t i = 0; i < first; ++i) bytes_ -= Cost(key, versions[i]);
  versions.erase(versions.begin(), versions.begin() + static_cast<std::ptrdiff_t>(first));
  if (versions.empty()) table.keys.erase(found);
}

std::size_t TableIndex::bytes() const {
  MutexLock lock(mutex_);
  return bytes_;
}

std::int64_t TableIndex::Rows(std::string_view table) const {
  MutexLock lock(mutex_);
  const auto found = tables_.find(table);
  return found == tables_.end() ? 0 : found->second.rows;
}

}  // namespace tocsin::correlation
