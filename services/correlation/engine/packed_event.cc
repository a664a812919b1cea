#include "services/correlation/engine/packed_event.h"

#include <bit>
#include <cstring>

#include "google/protobuf/util/time_util.h"

namespace tocsin::correlation {
namespace {

using google::protobuf::util::TimeUtil;

// The wire form by hand: this is written for every event that takes part in a rule. The test
// compares it with Protobuf's own.
constexpr char kReferenceTag = 0x0a;
constexpr char kTraceparentTag = 0x12;
constexpr char kTopicTag = 0x0a;
constexpr char kPartitionTag = 0x10;
constexpr char kOffsetTag = 0x18;
constexpr char kSourceTag = 0x22;
constexpr char kIdTag = 0x2a;
constexpr char kSequenceTag = 0x32;

std::size_t VarintBytes(std::uint64_t value) {
  return (static_cast<std::size_t>(std::bit_width(value | 1)) + 6) / 7;
}
std::size_t TextBytes(std::string_view text) {
  return text.empty() ? 0 : 1 + VarintBytes(text.size()) + text.size();
}
std::size_t NumberBytes(std::uint64_t number) { return number == 0 ? 0 : 1 + VarintBytes(number); }

// Writes into room that was made before.
class Writer {
 public:
  explicit Writer(char* at) : at_(at) {}
  void Byte(char byte) { *at_++ = byte; }
  void Bytes(std::string_view bytes) {
    if (bytes.empty()) return;
    std::memcpy(at_, bytes.data(), bytes.size());
    at_ += bytes.size();
  }
  void Fixed32(std::uint32_t number) {
    std::memcpy(at_, &number, sizeof(number));
    at_ += sizeof(number);
  }
  void Fixed64(std::int64_t number) {
    std::memcpy(at_, &number, sizeof(number));
    at_ += sizeof(number);
  }
  void Varint(std::uint64_t value) {
    for (; value >= 0x80; value >>= 7) Byte(static_cast<char>((value & 0x7f) | 0x80));
    Byte(static_cast<char>(value));
  }
  void Text(char tag, std::string_view text) {
    if (text.empty()) return;
    Byte(tag);
    Varint(text.size());
    Bytes(text);
  }
  void Number(char tag, std::uint64_t number) {
    if (number == 0) return;
    Byte(tag);
    Varint(number);
  }

 private:
  char* at_;
};

void AppendHeader(std::int64_t time_us, std::size_t value_bytes, std::size_t event_bytes,
                  std::string& out) {
  AppendFixed64(time_us, out);
  AppendFixed32(static_cast<std::uint32_t>(value_bytes), out);
  AppendFixed32(static_cast<std::uint32_t>(event_bytes), out);
}

}  // namespace

void AppendFixed32(std::uint32_t number, std::string& out) {
  out.append(reinterpret_cast<const char*>(&number), sizeof(number));
}
void AppendFixed64(std::int64_t number, std::string& out) {
  out.append(reinterpret_cast<const char*>(&number), sizeof(number));
}

void AppendPacked(const Envelope& envelope, std::string_view topic, std::int32_t partition,
                  std::int64_t offset, std::string_view value, std::string& out) {
  const auto partition_number = static_cast<std::uint64_t>(std::int64_t{partition});
  const auto offset_number = static_cast<std::uint64_t>(offset);
  const std::size_t reference_bytes = TextBytes(topic) + NumberBytes(partition_number) +
                                      NumberBytes(offset_number) + TextBytes(envelope.source) +
                                      TextBytes(envelope.id) + TextBytes(envelope.sequence);
  const std::size_t event_bytes = 1 + VarintBytes(reference_bytes) + reference_bytes +
                                  TextBytes(envelope.traceparent) + envelope.enrichment.size();
  const std::size_t begin = out.size();
  out.resize(begin + kPackedHeaderBytes + value.size() + event_bytes);
  Writer writer(out.data() + begin);
  writer.Fixed64(envelope.time.time_since_epoch().count());
  writer.Fixed32(static_cast<std::uint32_t>(value.size()));
  writer.Fixed32(static_cast<std::uint32_t>(event_bytes));
  writer.Bytes(value);
  writer.Byte(kReferenceTag);
  writer.Varint(reference_bytes);
  writer.Text(kTopicTag, topic);
  writer.Number(kPartitionTag, partition_number);
  writer.Number(kOffsetTag, offset_number);
  writer.Text(kSourceTag, envelope.source);
  writer.Text(kIdTag, envelope.id);
  writer.Text(kSequenceTag, envelope.sequence);
  writer.Text(kTraceparentTag, envelope.traceparent);
  writer.Bytes(envelope.enrichment);
}

void AppendPacked(const v1::StoredEvent& event, std::string& out) {
  v1::StoredEvent rest = event;
  rest.clear_value();
  rest.mutable_reference()->clear_time();
  const std::string bytes = rest.SerializeAsString();
  AppendHeader(TimeUtil::TimestampToMicroseconds(event.reference().time()), event.value().size(),
               bytes.size(), out);
  out.append(event.value());
  out.append(bytes);
}

v1::StoredEvent Unpack(const PackedEvent& packed) {
  v1::StoredEvent event;
  const std::string_view wire = packed.bytes.substr(kPackedHeaderBytes + packed.value.size());
  event.ParseFromArray(wire.data(), static_cast<int>(wire.size()));
  *event.mutable_reference()->mutable_time() = TimeUtil::MicrosecondsToTimestamp(packed.time_us);
  event.set_value(std::string(packed.value));
  return event;
}

}  // namespace tocsin::correlation
