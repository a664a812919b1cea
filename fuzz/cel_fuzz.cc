// Any text as a CEL expression over a message that has every shape of field, and any bytes as that
// message: neither may do more than be refused.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/status.h"
#include "lib/cel/cel.h"
#include "tocsin/rule/v1/rule.pb.h"

// The expression is what stands before the first zero byte, the message what stands after it.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const std::size_t cut = input.find('\0');
  const std::string_view expression = input.substr(0, cut);
  tocsin::rule::v1::Rule message;
  if (cut != std::string_view::npos) {
    const std::string_view bytes = input.substr(cut + 1);
    if (!message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) return 0;
  }
  tocsin::cel::CompileError error;
  const auto program = tocsin::cel::Compile(expression, message.GetDescriptor(), &error);
  if (!program.ok()) {
    // A refusal always says why, and points into the expression.
    if (error.reason.empty() || error.offset > expression.size()) std::abort();
    return 0;
  }
  const auto first = (*program)->EvaluateBool(message);
  const auto again = (*program)->EvaluateBool(message);
  if (first.ok() != again.ok() || (first.ok() && *first != *again)) std::abort();
  // Over the bytes it is the same.
  const auto projection =
      tocsin::schema::WireProjection::Compile(message.GetDescriptor(), (*program)->paths());
  tocsin::schema::ProjectedMessage projected(projection, message);
  const std::string bytes = message.SerializeAsString();
  if (!projected.Read(bytes)) std::abort();
  std::vector<std::uint32_t> slots;
  for (const auto& path : (*program)->paths()) {
    slots.push_back(static_cast<std::uint32_t>(projection->SlotOf(path)));
  }
  const auto over_slots =
      (*program)->EvaluateBool(tocsin::schema::FieldView(projected, slots.data()));
  if (first.ok() != over_slots.ok() || (first.ok() && *first != *over_slots)) std::abort();
  return 0;
}
