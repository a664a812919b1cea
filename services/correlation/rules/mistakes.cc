#include "services/correlation/rules/mistakes.h"

#include <utility>

#include "lib/base/status.h"
#include "lib/base/text.h"
#include "lib/base/time.h"

namespace tocsin::correlation {
namespace {

using std::chrono::microseconds;

constexpr std::size_t kShown = 10;
// A picture of the expression stands in it, too.
constexpr std::size_t kReasonShown = 700;

}  // namespace

microseconds FromProto(const google::protobuf::Duration& duration) {
  return std::chrono::seconds(duration.seconds()) + microseconds(duration.nanos() / 1000);
}

void ToProto(microseconds span, google::protobuf::Duration& duration) {
  duration.set_seconds(span.count() / 1'000'000);
  duration.set_nanos(static_cast<std::int32_t>(span.count() % 1'000'000 * 1000));
}

void Mistakes::At(config::Position position, std::string_view reason) {
  if (++count_ > kShown) return;
  lines_.emplace_back(tocsin::Message(positions_.Error(position, Shorten(reason, kReasonShown))));
}
void Mistakes::AtValue(std::string_view path, std::string_view reason) {
  At(positions_.Value(path), reason);
}
void Mistakes::AtKey(std::string_view path, std::string_view reason) {
  At(positions_.Key(path), reason);
}
void Mistakes::Missing(std::string_view path, std::string_view reason) {
  At(positions_.Has(path) ? positions_.Value(path) : positions_.Key(path), reason);
}

void Mistakes::CheckSpan(std::string_view path, microseconds span, microseconds least,
                         microseconds most) {
  if (span >= least && span <= most) return;
  AtValue(path,
          Concat("'", path.substr(path.rfind('.') + 1), "' must be from ", FormatDuration(least),
                 " to ", FormatDuration(most), ", not ", FormatDuration(span)));
}

absl::Status Mistakes::status() const {
  if (lines_.empty()) return absl::OkStatus();
  std::vector<std::string> lines = lines_;
  if (count_ > lines.size()) lines.push_back(Concat("and ", count_ - lines.size(), " more"));
  return InvalidArgument(Join(lines, "\n"));
}

}  // namespace tocsin::correlation
