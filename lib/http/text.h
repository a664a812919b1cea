// Internal: header fields as they may be sent.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "lib/base/clock.h"
#include "lib/http/message.h"

namespace tocsin::http {

// Without what would break the framing: bad names, CR, LF and NUL in values, and the fields that
// belong to the connection, which the session writes itself.
std::vector<Headers::Field> SendableFields(const Headers& headers);

// "Sat, 21 Nov 2026 06:55:14 GMT"
std::string HttpDate(WallTime time);

}  // namespace tocsin::http
