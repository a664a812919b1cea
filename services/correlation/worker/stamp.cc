#include "services/correlation/worker/stamp.h"

#include <array>
#include <charconv>

#include "lib/base/text.h"
#include "tocsin/correlation/v1/state.pb.h"

namespace tocsin::correlation {

std::string TransactionStamp::Header(std::int64_t i) const {
  return Concat(worker, "/", incarnation, "/", transaction, "/", i, "/", outputs);
}

std::string TransactionStamp::Serialize() const {
  v1::TransactionStamp stamp;
  stamp.set_worker(worker);
  stamp.set_incarnation(incarnation);
  stamp.set_transaction(transaction);
  stamp.set_outputs(outputs);
  return stamp.SerializeAsString();
}

std::optional<OutputStamp> ParseStamp(std::string_view header) {
  // From the end: a worker's name may hold a slash.
  std::array<std::int64_t, 4> numbers{};
  for (std::size_t n = numbers.size(); n > 0; --n) {
    const std::size_t slash = header.rfind('/');
    if (slash == std::string_view::npos) return std::nullopt;
    const std::string_view digits = header.substr(slash + 1);
    const char* const end = digits.data() + digits.size();
    const auto [rest, error] = std::from_chars(digits.data(), end, numbers[n - 1]);
    if (error != std::errc() || rest != end || numbers[n - 1] < 1) return std::nullopt;
    header.remove_suffix(header.size() - slash);
  }
  if (header.empty() || numbers[2] > numbers[3]) return std::nullopt;
  return OutputStamp{{std::string(header), numbers[0], numbers[1], numbers[3]}, numbers[2]};
}

std::string FormatInputs(const InputRanges& ranges, std::int32_t partition) {
  std::string text;
  for (const auto& [topic, range] : ranges) {
    if (!text.empty()) text += ',';
    text += Concat(topic, ":", partition, ":", range.first, "-", range.second);
  }
  return text;
}

}  // namespace tocsin::correlation
