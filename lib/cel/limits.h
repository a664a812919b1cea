// Bounds of what an expression may cost while it runs; those of its text are cel::Limits.
#pragma once

#include <cstddef>

namespace tocsin::cel {

// Text that one evaluation may make by joining and converting: `s + s + s …` over a message of a
// mebibyte would otherwise take gigabytes.
inline constexpr std::size_t kMaxMadeBytes = std::size_t{16} * 1024 * 1024;
// Elements of lists that one evaluation may make.
inline constexpr std::size_t kMaxMadeElements = 1'000'000;
// Memory of one compiled regular expression.
inline constexpr int kMaxRegexMemory = 1 << 20;
inline constexpr std::size_t kMaxRegexLength = 4096;

}  // namespace tocsin::cel
