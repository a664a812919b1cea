// Any text as YAML for a message: refused, or read so that showing it and reading that again gives
// the same message.
#include <google/protobuf/util/message_differencer.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "lib/base/status.h"
#include "lib/config/config.h"
#include "tocsin/pack/v1/pack.pb.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  tocsin::pack::v1::Pack pack;
  tocsin::config::Positions positions;
  const absl::Status status = tocsin::config::ParseYaml(text, "fuzz.yaml", pack, &positions);
  if (!status.ok()) {
    if (!tocsin::Message(status).starts_with("fuzz.yaml:")) std::abort();
    return 0;
  }
  for (std::size_t offset = 0; offset <= pack.title().size(); ++offset) {
    positions.Inside("title", offset);
  }
  const std::string dump = tocsin::config::Dump(pack);
  // What is hidden cannot come back.
  if (dump.find("[redacted]") != std::string::npos) return 0;
  tocsin::pack::v1::Pack again;
  if (!tocsin::config::ParseYaml(dump, "dump.yaml", again).ok()) std::abort();
  if (!google::protobuf::util::MessageDifferencer::Equals(pack, again)) std::abort();
  return 0;
}
