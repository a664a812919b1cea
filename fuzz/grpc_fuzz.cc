// Bodies of gRPC and gRPC-Web: whatever the cuts, the same messages come out; and cursors.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "gateway/live/cursor.h"
#include "gateway/wire/grpc.h"
#include "lib/http/message.h"

namespace {

using namespace tocsin::gateway;  // NOLINT: a program of one file

struct Parsed {
  std::vector<std::string> messages;
  bool failed = false;
  friend bool operator==(const Parsed&, const Parsed&) = default;
};

Parsed Parse(std::string_view body, std::size_t piece, bool text) {
  Parsed parsed;
  MessageReader reader(1 << 16);
  Base64Decoder decoder;
  while (!body.empty()) {
    std::string bytes(body.substr(0, piece));
    body.remove_prefix(std::min(piece, body.size()));
    if (text) {
      auto decoded = decoder.Decode(bytes);
      if (!decoded.ok()) {
        parsed.failed = true;
        return parsed;
      }
      bytes = *std::move(decoded);
    }
    reader.Append(tocsin::http::Slice(std::move(bytes)));
    for (;;) {
      auto message = reader.Next();
      if (!message.ok()) {
        parsed.failed = true;
        return parsed;
      }
      if (!message->has_value()) break;
      parsed.messages.emplace_back((*message)->view());
    }
  }
  parsed.failed = reader.partial() || !decoder.End().ok();
  return parsed;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 1) return 0;
  const std::string_view input(reinterpret_cast<const char*>(data) + 1, size - 1);
  const Parsed binary = Parse(input, 1 + data[0], false);
  if (binary != Parse(input, 1, false)) std::abort();
  const Parsed text = Parse(input, 1 + data[0], true);
  const Parsed bytewise = Parse(input, 1, true);
  // Where the text is broken, how much came before depends on the cuts.
  if (text.failed != bytewise.failed) std::abort();
  if (!text.failed && text != bytewise) std::abort();
  // What was encoded decodes to itself.
  Base64Decoder decoder;
  const auto back =
      decoder.Decode(Base64Encode({tocsin::http::Slice(nullptr, input.substr(0, input.size() / 2)),
                                   tocsin::http::Slice(nullptr, input.substr(input.size() / 2))}));
  if (!back.ok() || *back != input) std::abort();

  (void)ParseTimeout(input);
  (void)ParseContentType(input);
  (void)PercentEncode(input);
  static const auto seal = CursorSeal::Create(std::string(32, 'k'));
  (void)seal->Open(input);
  return 0;
}
