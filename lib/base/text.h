// Bridges between std::string_view, which our interfaces speak, and absl::string_view, which is
// another type in Debian's build of Abseil; and the few text helpers that more than one library
// needs.
//
// Threads: all functions are pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace tocsin {

inline absl::string_view ToAbsl(std::string_view text) { return {text.data(), text.size()}; }
inline std::string_view ToStd(absl::string_view text) { return {text.data(), text.size()}; }

// Joins anything that converts to std::string_view or is a number. The pendant of absl::StrCat,
// which does not take std::string_view here.
namespace internal {
inline void AppendPiece(std::string& out, std::string_view piece) { out.append(piece); }
inline void AppendPiece(std::string& out, const std::string& piece) { out.append(piece); }
inline void AppendPiece(std::string& out, const char* piece) { out.append(piece); }
inline void AppendPiece(std::string& out, char* piece) { out.append(piece); }
inline void AppendPiece(std::string& out, char piece) { out.push_back(piece); }
inline void AppendPiece(std::string& out, bool piece) { out.append(piece ? "true" : "false"); }
template <typename Number>
void AppendPiece(std::string& out, Number piece) {
  out.append(std::to_string(piece));
}
}  // namespace internal

template <typename... Pieces>
std::string Concat(const Pieces&... pieces) {
  std::string out;
  (internal::AppendPiece(out, pieces), ...);
  return out;
}

std::vector<std::string> Split(std::string_view text, char separator);
std::string Join(const std::vector<std::string>& parts, std::string_view separator);
std::string_view Trim(std::string_view text);
// The letters of ASCII in one case; all else stays.
std::string AsciiLower(std::string_view text);
std::string AsciiUpper(std::string_view text);
// The text, or its first `most` bytes and "…" where it is longer; characters of UTF-8 stay whole.
// For quoting what others wrote: messages travel in gRPC metadata, which holds 8 KiB.
std::string Shorten(std::string_view text, std::size_t most);

// Splits "host:port" and "[v6]:port". INVALID_ARGUMENT with a sentence that quotes the text.
struct HostPort {
  std::string host;
  std::uint16_t port = 0;
};
absl::StatusOr<HostPort> ParseHostPort(std::string_view text);

// The name nearest to `word` by edit distance, for "did you mean"; empty when none is near.
std::string NearestName(std::string_view word, const std::vector<std::string>& names);

// How a sentence ends that quotes a word nobody knows: "; did you mean 'alerts.raw'?", or "." where
// no name is near. Another sentence may follow.
std::string DidYouMean(std::string_view word, const std::vector<std::string>& names);

}  // namespace tocsin
