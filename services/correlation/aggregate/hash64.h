// The 64-bit hash of values that sketches are made of. Part of the state's format: the same on
// every machine, for ever.
//
// Pure.
#pragma once

#include <cstdint>
#include <string_view>

namespace tocsin::correlation::aggregate {

// The first half of MurmurHash3 x64 128 with seed 0 (Austin Appleby, public domain).
std::uint64_t Hash64(std::string_view bytes);

}  // namespace tocsin::correlation::aggregate
