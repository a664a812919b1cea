// Which schemas the records of a stream may name.
//
// Thread-safe.
#pragma once

#include <chrono>
#include <string_view>

#include "absl/status/status.h"

namespace tocsin::correlation {

class SchemaGate {
 public:
  virtual ~SchemaGate() = default;

  // `prefix`: Confluent's prefix as it stands in the record. OK: the stream may name this schema
  // and this message of it. INVALID_ARGUMENT: it may not, and why (for the dead letter). Any other
  // error: nobody can tell now, and why; ask again. Waits for the answer for at most `wait`.
  virtual absl::Status Check(std::string_view stream, std::string_view prefix,
                             std::chrono::milliseconds wait) = 0;
};

}  // namespace tocsin::correlation
