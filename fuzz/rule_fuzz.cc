// Any text as a rule: refused with a reason, or compiled into one that answers.
#include <google/protobuf/descriptor.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/status.h"
#include "services/correlation/rules/compiled_rule.h"
#include "tocsin/rule/v1/rule.pb.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using tocsin::rule::v1::Rule;
  static const tocsin::correlation::FixedStreams streams(
      {{"alerts.raw", Rule::descriptor(), "stream", nullptr}});
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto rule = tocsin::correlation::CompileRule(text, "fuzz.yaml", streams);
  if (!rule.ok()) {
    if (!tocsin::Message(rule.status()).starts_with("fuzz.yaml:")) std::abort();
    return 0;
  }
  Rule message;
  message.set_id("x");
  (*rule)->Matches(message);
  (*rule)->GroupKey(message);
  (*rule)->Value(message);
  const auto projection =
      tocsin::schema::WireProjection::Compile(message.GetDescriptor(), (*rule)->paths());
  tocsin::schema::ProjectedMessage projected(projection, message);
  const std::string bytes = message.SerializeAsString();
  if (!projected.Read(bytes)) std::abort();
  std::vector<std::uint32_t> slots;
  for (const auto& path : (*rule)->paths()) {
    slots.push_back(static_cast<std::uint32_t>(projection->SlotOf(path)));
  }
  const tocsin::schema::FieldView fields(projected, slots.data());
  std::string joined;
  if ((*rule)->Matches(fields) != (*rule)->Matches(message)) std::abort();
  if ((*rule)->JoinedGroupKey(fields, joined) != (*rule)->GroupKey(message).has_value()) {
    std::abort();
  }
  return 0;
}
