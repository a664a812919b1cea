// The mistakes of one rule's text, each with its place, so that one reading of the answer mends the
// rule.
//
// Threads: one at a time.
#pragma once

#include <chrono>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "google/protobuf/duration.pb.h"
#include "lib/config/config.h"

namespace tocsin::correlation {

std::chrono::microseconds FromProto(const google::protobuf::Duration& duration);
void ToProto(std::chrono::microseconds span, google::protobuf::Duration& duration);

class Mistakes {
 public:
  config::Positions& positions() { return positions_; }
  bool Has(std::string_view path) const { return positions_.Has(path); }

  void At(config::Position position, std::string_view reason);
  void AtValue(std::string_view path, std::string_view reason);
  void AtKey(std::string_view path, std::string_view reason);
  // For what is not there at all: the place of what should hold it.
  void Missing(std::string_view path, std::string_view reason);
  // `span` must be from `least` to `most`.
  void CheckSpan(std::string_view path, std::chrono::microseconds span,
                 std::chrono::microseconds least, std::chrono::microseconds most);

  // INVALID_ARGUMENT with a line for each, at most ten; OK when there are none.
  absl::Status status() const;

 private:
  config::Positions positions_;
  std::vector<std::string> lines_;
  std::size_t count_ = 0;
};

}  // namespace tocsin::correlation
