// The bytes of gRPC and gRPC-Web (binary and text), without I/O: content types, message frames,
// base64 that is cut anywhere, timeouts, statuses.
//
// Threads: functions are pure; a reader or decoder belongs to one body.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "lib/http/message.h"

namespace tocsin::gateway {

enum class Protocol { kGrpc, kGrpcWeb, kGrpcWebText };

// "application/grpc-web-text+proto; charset=x" → kGrpcWebText. Only Protobuf is spoken: another
// sub-format ("+json") is none of ours. Any case.
std::optional<Protocol> ParseContentType(std::string_view value);
// What a response is called: "application/grpc-web+proto".
std::string_view ContentType(Protocol protocol);
// gRPC-Web answers in the form that Accept names, else in that of the request.
Protocol ResponseProtocol(Protocol request, std::string_view accept);

// "<at most 8 digits><H|M|S|m|u|n>", cut to 10 years. Nothing when it is not that.
std::optional<std::chrono::nanoseconds> ParseTimeout(std::string_view text);

// grpc-message: bytes outside 0x20…0x7E, and '%', as %XX.
std::string PercentEncode(std::string_view text);

// grpc-encoding of the request: OK for none and identity; else UNIMPLEMENTED, to be sent with
// "grpc-accept-encoding: identity".
absl::Status CheckEncoding(std::optional<std::string_view> grpc_encoding);

// The headers or trailers that carry a status: grpc-status, grpc-message where there is one.
void AddStatus(const absl::Status& status, http::Headers& to);

// flag (1 byte), length (4 bytes, big-endian)
inline constexpr std::size_t kFrameHeader = 5;
std::string FrameHeader(std::uint8_t flag, std::size_t length);
// gRPC-Web's last frame: 0x80, and lower-case "key: value\r\n" lines.
std::string TrailerFrame(const http::Headers& trailers);

// Cuts a body into its messages.
class MessageReader {
 public:
  explicit MessageReader(std::size_t max_message) : max_message_(max_message) {}

  void Append(http::Slice bytes);
  // The next whole message, without copying it where it lies in one slice; nothing when more bytes
  // are needed. INVALID_ARGUMENT: over the limit. INTERNAL: a compressed message (none was
  // announced), or flags that do not exist. After an error the body is of no more use.
  absl::StatusOr<std::optional<http::Slice>> Next();
  // Bytes are left that make no whole message.
  bool partial() const { return size_ > 0; }

 private:
  http::Slice Take(std::size_t length);

  const std::size_t max_message_;
  std::deque<http::Slice> slices_;
  std::size_t size_ = 0;
};

// Base64 as gRPC-Web's text mode sends it: pieces that were encoded each for itself, with padding,
// joined, and cut anywhere by the network.
class Base64Decoder {
 public:
  // INVALID_ARGUMENT: a character that is not base64's, or padding in the wrong place.
  absl::StatusOr<std::string> Decode(std::string_view text);
  // INVALID_ARGUMENT when a unit of four characters is not whole.
  absl::Status End() const;

 private:
  char unit_[4] = {};
  std::size_t filled_ = 0;
};

// One piece, with padding.
std::string Base64Encode(const std::vector<http::Slice>& bytes);
// For -bin metadata; without padding, as gRPC recommends.
std::string Base64EncodeUnpadded(std::string_view bytes);

}  // namespace tocsin::gateway
