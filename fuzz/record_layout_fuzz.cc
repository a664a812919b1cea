// The headers of a fetched record, read where they lie: whatever stands in the header block and
// before the key, nothing outside of the record is touched.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "lib/kafka/record_layout.h"

namespace {

void AppendVarint(std::string& out, std::int64_t number) {
  auto rest = (static_cast<std::uint64_t>(number) << 1) ^ static_cast<std::uint64_t>(number >> 63);
  for (; rest >= 0x80; rest >>= 7) out.push_back(static_cast<char>(rest | 0x80));
  out.push_back(static_cast<char>(rest));
}

void Require(bool holds) {
  if (!holds) std::abort();
}

}  // namespace

// Byte 0: the key's size, 1: the value's, 2: the time's, 3: the offset's; the rest is the header
// block of a record whose length is true, as librdkafka has checked it.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 4) return 0;
  const std::size_t key_size = data[0];
  const std::size_t value_size = data[1] * std::size_t{3};
  const std::string_view block(reinterpret_cast<const char*>(data) + 4, size - 4);
  std::string body(1, '\0');
  AppendVarint(body, std::int64_t{1} << (data[2] % 62));
  AppendVarint(body, std::int64_t{1} << (data[3] % 31));
  AppendVarint(body, static_cast<std::int64_t>(key_size));
  const std::size_t key_at = body.size();
  body.append(key_size, static_cast<char>(data[0]));
  AppendVarint(body, static_cast<std::int64_t>(value_size));
  const std::size_t value_at = body.size();
  body.append(value_size, static_cast<char>(data[1]));
  body.append(block);
  std::string record;
  AppendVarint(record, static_cast<std::int64_t>(body.size()));
  const std::size_t prefix = record.size();
  record += body;
  // Of exactly its size, for the sanitizer.
  const auto bytes = std::make_unique<char[]>(record.size());
  record.copy(bytes.get(), record.size());
  const char* const inside = bytes.get() + prefix;
  const std::optional<std::string_view> key =
      key_size == 0 ? std::string_view("") : std::string_view(inside + key_at, key_size);
  const std::optional<std::string_view> value =
      value_size == 0 ? std::string_view("") : std::string_view(inside + value_at, value_size);
  tocsin::kafka::HeaderMemory memory;
  const auto found = tocsin::kafka::internal::HeadersInPlace(key, value, memory);
  if (!found.has_value()) return 0;
  const char* const end = bytes.get() + record.size();
  const char* const begin = end - block.size();
  for (const auto& [name, text] : found->entries()) {
    Require(name.empty() || (name.data() >= begin && name.data() + name.size() <= end));
    Require(text.empty() || (text.data() >= begin && text.data() + text.size() <= end));
  }
  return 0;
}
