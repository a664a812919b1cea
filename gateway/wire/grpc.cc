#include "gateway/wire/grpc.h"

#include <algorithm>
#include <array>

#include "lib/base/status.h"
#include "lib/base/text.h"

namespace tocsin::gateway {
namespace {

constexpr std::string_view kAlphabet =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

constexpr std::array<std::int8_t, 256> MakeReverse() {
  std::array<std::int8_t, 256> reverse{};
  for (auto& value : reverse) value = -1;
  for (std::size_t i = 0; i < kAlphabet.size(); ++i) {
    reverse[static_cast<unsigned char>(kAlphabet[i])] = static_cast<std::int8_t>(i);
  }
  return reverse;
}
constexpr std::array<std::int8_t, 256> kReverse = MakeReverse();

// Encodes bytes that come in parts; the rest of a part waits for the next.
class Encoder {
 public:
  explicit Encoder(std::size_t size) { out_.reserve((size + 2) / 3 * 4); }
  void Add(std::string_view bytes) {
    for (const char c : bytes) {
      bits_ = (bits_ << 8) | static_cast<unsigned char>(c);
      if (++count_ == 3) {
        for (int shift = 18; shift >= 0; shift -= 6) out_.push_back(kAlphabet[bits_ >> shift & 63]);
        bits_ = 0;
        count_ = 0;
      }
    }
  }
  std::string Finish(bool padding) {
    if (count_ > 0) {
      bits_ <<= 8 * (3 - count_);
      for (int i = 0; i <= count_; ++i) out_.push_back(kAlphabet[bits_ >> (18 - 6 * i) & 63]);
      if (padding) out_.append(static_cast<std::size_t>(3 - count_), '=');
    }
    return std::move(out_);
  }

 private:
  std::string out_;
  std::uint32_t bits_ = 0;
  int count_ = 0;
};

}  // namespace

std::optional<Protocol> ParseContentType(std::string_view value) {
  const std::string type = AsciiLower(Trim(value.substr(0, value.find(';'))));
  if (type == "application/grpc" || type == "application/grpc+proto") return Protocol::kGrpc;
  if (type == "application/grpc-web" || type == "application/grpc-web+proto") {
    return Protocol::kGrpcWeb;
  }
  if (type == "application/grpc-web-text" || type == "application/grpc-web-text+proto") {
    return Protocol::kGrpcWebText;
  }
  return std::nullopt;
}

std::string_view ContentType(Protocol protocol) {
  switch (protocol) {
    case Protocol::kGrpc:
      return "application/grpc";
    case Protocol::kGrpcWeb:
      return "application/grpc-web+proto";
    case Protocol::kGrpcWebText:
      return "application/grpc-web-text+proto";
  }
  return "";
}

Protocol ResponseProtocol(Protocol request, std::string_view accept) {
  if (request == Protocol::kGrpc) return request;
  for (const std::string& part : Split(accept, ',')) {
    const std::optional<Protocol> named = ParseContentType(part);
    if (named.has_value() && *named != Protocol::kGrpc) return *named;
  }
  return request;
}

std::optional<std::chrono::nanoseconds> ParseTimeout(std::string_view text) {
  if (text.size() < 2 || text.size() > 9) return std::nullopt;
  std::int64_t number = 0;
  for (const char c : text.substr(0, text.size() - 1)) {
    if (c < '0' || c > '9') return std::nullopt;
    number = number * 10 + (c - '0');
  }
  constexpr std::chrono::hours kLongest{24 * 3650};
  switch (text.back()) {
    case 'H':
      return std::min(std::chrono::hours(number), kLongest);
    case 'M':
      return std::min<std::chrono::nanoseconds>(
          std::chrono::minutes(std::min<std::int64_t>(number, kLongest.count() * 60)), kLongest);
    case 'S':
      return std::chrono::seconds(number);
    case 'm':
      return std::chrono::milliseconds(number);
    case 'u':
      return std::chrono::microseconds(number);
    case 'n':
      return std::chrono::nanoseconds(number);
    default:
      return std::nullopt;
  }
}

std::string PercentEncode(std::string_view text) {
  static constexpr char kHex[] = "0123456789ABCDEF";
  std::string out;
  out.reserve(text.size());
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte <= 0x7E && c != '%') {
      out.push_back(c);
    } else {
      out.push_back('%');
      out.push_back(kHex[byte >> 4]);
      out.push_back(kHex[byte & 15]);
    }
  }
  return out;
}

absl::Status CheckEncoding(std::optional<std::string_view> grpc_encoding) {
  if (!grpc_encoding.has_value() || *grpc_encoding == "identity") return absl::OkStatus();
  return absl::UnimplementedError(
      ToAbsl(Concat("messages compressed with '", *grpc_encoding,
                    "' are not taken; send them uncompressed (grpc-encoding: identity)")));
}

void AddStatus(const absl::Status& status, http::Headers& to) {
  to.Set("grpc-status", std::to_string(static_cast<int>(status.code())));
  if (!status.message().empty()) to.Set("grpc-message", PercentEncode(Message(status)));
}

std::string FrameHeader(std::uint8_t flag, std::size_t length) {
  std::string header(kFrameHeader, '\0');
  header[0] = static_cast<char>(flag);
  for (std::size_t i = 0; i < 4; ++i) {
    header[4 - i] = static_cast<char>(length >> (8 * i) & 0xFF);
  }
  return header;
}

std::string TrailerFrame(const http::Headers& trailers) {
  std::string lines;
  for (const http::Headers::Field& field : trailers) {
    lines += Concat(field.name, ": ", field.value, "\r\n");
  }
  return FrameHeader(0x80, lines.size()) + lines;
}

void MessageReader::Append(http::Slice bytes) {
  if (bytes.empty()) return;
  size_ += bytes.size();
  slices_.push_back(std::move(bytes));
}

http::Slice MessageReader::Take(std::size_t length) {
  size_ -= length;
  http::Slice& front = slices_.front();
  if (front.size() >= length) {
    http::Slice taken = front.Sub(0, length);
    front.RemovePrefix(length);
    if (front.empty()) slices_.pop_front();
    return taken;
  }
  std::string joined;
  joined.reserve(length);
  while (joined.size() < length) {
    http::Slice& next = slices_.front();
    const std::size_t part = std::min(next.size(), length - joined.size());
    joined.append(next.view().substr(0, part));
    next.RemovePrefix(part);
    if (next.empty()) slices_.pop_front();
  }
  return http::Slice(std::move(joined));
}

absl::StatusOr<std::optional<http::Slice>> MessageReader::Next() {
  if (size_ < kFrameHeader) return std::optional<http::Slice>();
  unsigned char header[kFrameHeader];
  std::size_t filled = 0;
  for (const http::Slice& slice : slices_) {
    for (const char c : slice.view()) {
      header[filled++] = static_cast<unsigned char>(c);
      if (filled == kFrameHeader) break;
    }
    if (filled == kFrameHeader) break;
  }
  if (header[0] == 1) {
    return Internal("a message is marked as compressed, but the call names no grpc-encoding");
  }
  if (header[0] != 0) {
    return Internal(Concat("a message begins with the flags ", static_cast<int>(header[0]),
                           ", which do not exist; this is not a gRPC message"));
  }
  std::size_t length = 0;
  for (std::size_t i = 1; i < kFrameHeader; ++i) length = length << 8 | header[i];
  if (length > max_message_) {
    // Not RESOURCE_EXHAUSTED, which clients may retry: the same message will never pass.
    return InvalidArgument(Concat("a message of ", length, " bytes is larger than the limit of ",
                                  max_message_,
                                  " bytes (max_message_bytes of the gateway); send smaller ones"));
  }
  if (size_ < kFrameHeader + length) return std::optional<http::Slice>();
  Take(kFrameHeader);
  if (length == 0) return std::optional<http::Slice>(http::Slice());
  return std::optional<http::Slice>(Take(length));
}

absl::StatusOr<std::string> Base64Decoder::Decode(std::string_view text) {
  std::string out;
  out.reserve((filled_ + text.size()) / 4 * 3);
  for (const char c : text) {
    if (c != '=' && kReverse[static_cast<unsigned char>(c)] < 0) {
      return InvalidArgument(Concat("the body is not base64: it holds the byte ",
                                    static_cast<int>(static_cast<unsigned char>(c))));
    }
    unit_[filled_++] = c;
    if (filled_ < 4) continue;
    filled_ = 0;
    const std::size_t pads = unit_[3] != '=' ? 0 : unit_[2] != '=' ? 1 : 2;
    std::uint32_t bits = 0;
    for (std::size_t i = 0; i < 4; ++i) {
      const bool pad = unit_[i] == '=';
      if (pad != (i >= 4 - pads))
        return InvalidArgument("the base64 of the body is padded wrongly");
      bits = bits << 6 |
             (pad ? 0U : static_cast<unsigned>(kReverse[static_cast<unsigned char>(unit_[i])]));
    }
    for (std::size_t i = 0; i < 3 - pads; ++i) {
      out.push_back(static_cast<char>(bits >> (16 - 8 * i) & 0xFF));
    }
  }
  return out;
}

absl::Status Base64Decoder::End() const {
  if (filled_ == 0) return absl::OkStatus();
  return InvalidArgument("the base64 of the body ends within a unit of four characters");
}

std::string Base64Encode(const std::vector<http::Slice>& bytes) {
  Encoder encoder(http::TotalSize(bytes));
  for (const http::Slice& slice : bytes) encoder.Add(slice.view());
  return encoder.Finish(true);
}

std::string Base64EncodeUnpadded(std::string_view bytes) {
  Encoder encoder(bytes.size());
  encoder.Add(bytes);
  return encoder.Finish(false);
}

}  // namespace tocsin::gateway
