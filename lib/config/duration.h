// Durations of a configuration message as chrono types.
#pragma once

#include <google/protobuf/duration.pb.h>

#include <chrono>

namespace tocsin::config {

// The field's value, or `otherwise` where it was not set:
//   config::DurationOr(config.has_linger(), config.linger(), milliseconds(2))
template <typename Result>
Result DurationOr(bool set, const google::protobuf::Duration& duration, Result otherwise) {
  if (!set) return otherwise;
  return std::chrono::duration_cast<Result>(std::chrono::seconds(duration.seconds()) +
                                            std::chrono::nanoseconds(duration.nanos()));
}

}  // namespace tocsin::config
