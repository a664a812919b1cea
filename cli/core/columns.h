// How wide a text is on a terminal, and how to make it fit.
//
// Threads: pure.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace tocsin::cli {

// UTF-8 text without control characters. Letters of East Asia and most emoji take two columns,
// combining marks none.
std::size_t Columns(std::string_view text);

// The text as it may stand in a line on a terminal: control characters (a line break, an escape in
// what somebody else wrote) become blanks.
std::string OneLine(std::string_view text);

// The text in one line, or as much of it as leaves room for "…" within `columns`.
std::string FitColumns(std::string_view text, std::size_t columns);

}  // namespace tocsin::cli
