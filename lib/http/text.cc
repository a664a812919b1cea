#include "lib/http/text.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <ctime>

namespace tocsin::http {
namespace {

bool IsToken(std::string_view name) {
  return !name.empty() && std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
           std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
  });
}

bool BelongsToConnection(std::string_view name) {
  return name == "connection" || name == "keep-alive" || name == "transfer-encoding" ||
         name == "upgrade" || name == "proxy-connection";
}

}  // namespace

std::vector<Headers::Field> SendableFields(const Headers& headers) {
  std::vector<Headers::Field> fields;
  fields.reserve(headers.size());
  for (const Headers::Field& field : headers) {
    if (!IsToken(field.name) || BelongsToConnection(field.name)) continue;
    fields.push_back(field);
    std::erase_if(fields.back().value, [](char c) { return c == '\r' || c == '\n' || c == '\0'; });
  }
  return fields;
}

std::string HttpDate(WallTime time) {
  static constexpr const char* kDays[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
  static constexpr const char* kMonths[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                            "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  const std::time_t seconds =
      std::chrono::duration_cast<std::chrono::seconds>(time.time_since_epoch()).count();
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  char text[64];
  std::snprintf(text, sizeof(text), "%s, %02d %s %04d %02d:%02d:%02d GMT", kDays[parts.tm_wday],
                parts.tm_mday, kMonths[parts.tm_mon], parts.tm_year + 1900, parts.tm_hour,
                parts.tm_min, parts.tm_sec);
  return text;
}

}  // namespace tocsin::http
