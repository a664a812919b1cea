// What an aggregate is told of one event.
#pragma once

#include <cstdint>
#include <string>
#include <variant>

namespace tocsin::correlation::aggregate {

// std::monostate: the event has no such value.
using Value = std::variant<std::monostate, std::int64_t, std::uint64_t, double, std::string>;

}  // namespace tocsin::correlation::aggregate
