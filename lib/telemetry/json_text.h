// Text as JSON, for the log lines alone: no tree, no allocation beyond the line.
#pragma once

#include <string>
#include <string_view>

namespace tocsin::telemetry {

// With quotes. Control characters are escaped and bytes that are not UTF-8 become U+FFFD, so that
// the result is always one line of valid JSON.
void AppendJsonString(std::string& out, std::string_view text);
// Infinite values and NaN, which JSON does not know, as strings.
void AppendJsonNumber(std::string& out, double value);

}  // namespace tocsin::telemetry
