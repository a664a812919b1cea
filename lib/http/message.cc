#include "lib/http/message.h"

#include <algorithm>

#include "lib/base/hex.h"
#include "lib/base/status.h"
#include "lib/base/text.h"

namespace tocsin::http {
Slice::Slice(std::string bytes) {
  auto owner = std::make_shared<const std::string>(std::move(bytes));
  bytes_ = *owner;
  owner_ = std::move(owner);
}

std::size_t TotalSize(const std::vector<Slice>& slices) {
  std::size_t size = 0;
  for (const Slice& slice : slices) size += slice.size();
  return size;
}

std::string Flatten(const std::vector<Slice>& slices) {
  std::string out;
  out.reserve(TotalSize(slices));
  for (const Slice& slice : slices) out.append(slice.view());
  return out;
}

Headers::Headers(std::initializer_list<std::pair<std::string_view, std::string_view>> fields) {
  fields_.reserve(fields.size());
  for (const auto& [name, value] : fields) Add(name, value);
}

void Headers::Add(std::string_view name, std::string_view value) {
  fields_.push_back(Field{AsciiLower(name), std::string(value)});
}

void Headers::Set(std::string_view name, std::string_view value) {
  Remove(name);
  Add(name, value);
}

void Headers::Remove(std::string_view name) {
  const std::string lower = AsciiLower(name);
  std::erase_if(fields_, [&](const Field& field) { return field.name == lower; });
}

std::optional<std::string_view> Headers::Get(std::string_view name) const {
  for (const Field& field : fields_) {
    if (field.name == name) return field.value;
  }
  return std::nullopt;
}

std::string Headers::Joined(std::string_view name) const {
  std::string joined;
  bool first = true;
  for (const Field& field : fields_) {
    if (field.name != name) continue;
    if (!first) joined += ", ";
    joined += field.value;
    first = false;
  }
  return joined;
}

std::string_view RequestHead::path() const {
  return std::string_view(target).substr(0, target.find('?'));
}

std::string_view RequestHead::query() const {
  const std::size_t mark = target.find('?');
  if (mark == std::string::npos) return {};
  return std::string_view(target).substr(mark + 1);
}

namespace {

// `piece` is a part of `whole`, which is called `name` and which the message counts places in.
absl::StatusOr<std::string> DecodePiece(std::string_view piece, std::string_view whole,
                                        std::string_view name, bool plus_is_space) {
  std::string out;
  out.reserve(piece.size());
  for (std::size_t i = 0; i < piece.size(); ++i) {
    if (piece[i] != '%') {
      out.push_back(plus_is_space && piece[i] == '+' ? ' ' : piece[i]);
      continue;
    }
    const int high = i + 1 < piece.size() ? HexValue(piece[i + 1]) : -1;
    const int low = i + 2 < piece.size() ? HexValue(piece[i + 2]) : -1;
    if (high < 0 || low < 0) {
      const auto place = static_cast<std::size_t>(piece.data() - whole.data()) + i + 1;
      return InvalidArgument(Concat("the '%' at character ", place, " of ", name,
                                    " begins no escape: two hexadecimal digits must follow it; a "
                                    "percent sign itself is written %25"));
    }
    out.push_back(static_cast<char>(high * 16 + low));
    i += 2;
  }
  return out;
}

}  // namespace

absl::StatusOr<std::string> PercentDecode(std::string_view text, bool plus_is_space) {
  return DecodePiece(text, text, "the text", plus_is_space);
}

absl::StatusOr<std::vector<std::string>> ParsePath(std::string_view path) {
  std::vector<std::string> segments;
  std::string_view rest = path;
  if (rest.starts_with('/')) rest.remove_prefix(1);
  while (!rest.empty()) {
    const std::size_t end = std::min(rest.find('/'), rest.size());
    TOCSIN_ASSIGN_OR_RETURN(std::string segment,
                            DecodePiece(rest.substr(0, end), path, "the path", false));
    segments.push_back(std::move(segment));
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return segments;
}

absl::StatusOr<std::vector<std::pair<std::string, std::string>>> ParseQuery(
    std::string_view query) {
  std::vector<std::pair<std::string, std::string>> parameters;
  std::string_view rest = query;
  while (!rest.empty()) {
    const std::size_t end = std::min(rest.find('&'), rest.size());
    const std::string_view piece = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    if (piece.empty()) continue;
    const std::size_t equals = std::min(piece.find('='), piece.size());
    TOCSIN_ASSIGN_OR_RETURN(std::string name,
                            DecodePiece(piece.substr(0, equals), query, "the query", true));
    TOCSIN_ASSIGN_OR_RETURN(
        std::string value,
        DecodePiece(piece.substr(std::min(equals + 1, piece.size())), query, "the query", true));
    parameters.emplace_back(std::move(name), std::move(value));
  }
  return parameters;
}

std::string_view ReasonPhrase(int status) {
  switch (status) {
    case 100:
      return "Continue";
    case 200:
      return "OK";
    case 201:
      return "Created";
    case 204:
      return "No Content";
    case 304:
      return "Not Modified";
    case 400:
      return "Bad Request";
    case 401:
      return "Unauthorized";
    case 403:
      return "Forbidden";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 406:
      return "Not Acceptable";
    case 408:
      return "Request Timeout";
    case 409:
      return "Conflict";
    case 411:
      return "Length Required";
    case 413:
      return "Content Too Large";
    case 414:
      return "URI Too Long";
    case 415:
      return "Unsupported Media Type";
    case 422:
      return "Unprocessable Content";
    case 426:
      return "Upgrade Required";
    case 429:
      return "Too Many Requests";
    case 431:
      return "Request Header Fields Too Large";
    case 500:
      return "Internal Server Error";
    case 501:
      return "Not Implemented";
    case 502:
      return "Bad Gateway";
    case 503:
      return "Service Unavailable";
    case 504:
      return "Gateway Timeout";
    case 505:
      return "HTTP Version Not Supported";
    default:
      return "";
  }
}

}  // namespace tocsin::http
