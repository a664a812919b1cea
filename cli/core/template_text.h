// The templates of a pack's CSV mappings: "{lat},{lng}", "{title|before:':'|trim}". Their language
// is described at tocsin.pack.v1.CsvMapping.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace tocsin::cli {

// Immutable, thread-safe.
class TemplateText {
 public:
  // `names` are the columns and other names that may stand in braces; Render takes their values in
  // the same order. INVALID_ARGUMENT quotes the template, says what is wrong, and lists the names
  // when one is unknown.
  static absl::StatusOr<TemplateText> Parse(std::string_view text,
                                            const std::vector<std::string>& names);

  // `values.size()` must be the number of names.
  std::string Render(std::span<const std::string> values) const;

 private:
  enum class Filter { kBefore, kAfter, kTrim, kUpper, kLower };
  struct Step {
    Filter filter;
    std::string argument;
  };
  struct Piece {
    // A literal when `name` is negative.
    int name = -1;
    std::string literal;
    std::vector<Step> steps;
  };
  static absl::StatusOr<Piece> ParsePiece(std::string_view inside,
                                          const std::vector<std::string>& names);

  std::vector<Piece> pieces_;
};

}  // namespace tocsin::cli
