#include "cli/core/columns.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <limits>

namespace tocsin::cli {
namespace {

struct Range {
  std::uint32_t first;
  std::uint32_t last;
};
// Of Unicode's East Asian Width, the large blocks that are wide.
constexpr std::array kWide{Range{0x1100, 0x115F},   Range{0x2E80, 0x303E},  Range{0x3041, 0xA4CF},
                           Range{0xAC00, 0xD7A3},   Range{0xF900, 0xFAFF},  Range{0xFE30, 0xFE6F},
                           Range{0xFF00, 0xFF60},   Range{0xFFE0, 0xFFE6},  Range{0x1F300, 0x1F64F},
                           Range{0x1F900, 0x1F9FF}, Range{0x20000, 0x3FFFD}};
constexpr std::array kNone{Range{0x0300, 0x036F}, Range{0x200B, 0x200F}, Range{0xFE00, 0xFE0F}};

template <std::size_t n>
bool Within(std::uint32_t letter, const std::array<Range, n>& ranges) {
  return std::any_of(ranges.begin(), ranges.end(), [letter](const Range& range) {
    return range.first <= letter && letter <= range.last;
  });
}

std::size_t WidthOf(std::uint32_t letter) {
  if (Within(letter, kNone)) return 0;
  return Within(letter, kWide) ? 2 : 1;
}

// The next letter's bytes, which are taken from `text`. A byte that begins no UTF-8 sequence is a
// letter of its own.
std::string_view TakeLetter(std::string_view& text, std::uint32_t& letter) {
  const auto first = static_cast<unsigned char>(text.front());
  const std::size_t length = first < 0xC0 ? 1 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
  letter = length == 1 ? first : first & (0x7FU >> length);
  std::size_t taken = 1;
  while (taken < length && taken < text.size() &&
         (static_cast<unsigned char>(text[taken]) & 0xC0) == 0x80) {
    letter = letter << 6 | (static_cast<unsigned char>(text[taken++]) & 0x3FU);
  }
  const std::string_view bytes = text.substr(0, taken);
  text.remove_prefix(taken);
  return bytes;
}

}  // namespace

std::size_t Columns(std::string_view text) {
  std::size_t columns = 0;
  while (!text.empty()) {
    std::uint32_t letter = 0;
    TakeLetter(text, letter);
    columns += WidthOf(letter);
  }
  return columns;
}

std::string OneLine(std::string_view text) {
  return FitColumns(text, std::numeric_limits<std::size_t>::max());
}

std::string FitColumns(std::string_view text, std::size_t columns) {
  std::string out;
  std::size_t used = 0;
  // Where the text would be cut.
  std::size_t cut = 0;
  while (!text.empty()) {
    std::uint32_t letter = 0;
    const std::string_view bytes = TakeLetter(text, letter);
    const bool control = letter < 0x20 || (0x7F <= letter && letter < 0xA0);
    used += control ? 1 : WidthOf(letter);
    if (used > columns) {
      out.resize(cut);
      return columns == 0 ? out : out + "…";
    }
    out.append(control ? " " : bytes);
    if (used < columns) cut = out.size();
  }
  return out;
}

}  // namespace tocsin::cli
