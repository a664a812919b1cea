#include "cli/core/template_text.h"

#include <algorithm>
#include <cctype>

#include "lib/base/status.h"
#include "lib/base/text.h"

namespace tocsin::cli {
namespace {

// Cuts at `separator` where it stands outside single quotes.
std::vector<std::string> CutOutsideQuotes(std::string_view text, char separator) {
  std::vector<std::string> parts{""};
  bool quoted = false;
  for (const char c : text) {
    if (c == '\'') quoted = !quoted;
    if (c == separator && !quoted) {
      parts.emplace_back();
    } else {
      parts.back().push_back(c);
    }
  }
  return parts;
}

// The end of the piece that begins at `from`: the first '}' outside single quotes.
std::size_t ClosingBrace(std::string_view text, std::size_t from) {
  bool quoted = false;
  for (std::size_t at = from; at < text.size(); ++at) {
    if (text[at] == '\'') quoted = !quoted;
    if (text[at] == '}' && !quoted) return at;
  }
  return std::string_view::npos;
}

}  // namespace

absl::StatusOr<TemplateText::Piece> TemplateText::ParsePiece(
    std::string_view inside, const std::vector<std::string>& names) {
  const std::vector<std::string> parts = CutOutsideQuotes(inside, '|');
  Piece piece;
  const auto found = std::find(names.begin(), names.end(), parts.front());
  if (found == names.end()) {
    return InvalidArgument(Concat("there is no column '", parts.front(), "'",
                                  DidYouMean(parts.front(), names), " There are ",
                                  Join(names, ", "), "."));
  }
  piece.name = static_cast<int>(found - names.begin());
  for (std::size_t i = 1; i < parts.size(); ++i) {
    const std::size_t colon = parts[i].find(':');
    const std::string name = parts[i].substr(0, colon);
    Step step{Filter::kTrim, {}};
    const bool takes_text = name == "before" || name == "after";
    if (takes_text) {
      const std::string_view argument = colon == std::string::npos
                                            ? std::string_view()
                                            : std::string_view(parts[i]).substr(colon + 1);
      if (argument.size() < 3 || argument.front() != '\'' || argument.back() != '\'') {
        return InvalidArgument(
            Concat("the filter ", name, " needs a text in single quotes: ", name, ":', '"));
      }
      step.filter = name == "before" ? Filter::kBefore : Filter::kAfter;
      step.argument = argument.substr(1, argument.size() - 2);
    } else if (colon == std::string::npos && name == "trim") {
      step.filter = Filter::kTrim;
    } else if (colon == std::string::npos && name == "upper") {
      step.filter = Filter::kUpper;
    } else if (colon == std::string::npos && name == "lower") {
      step.filter = Filter::kLower;
    } else {
      return InvalidArgument(
          Concat("there is no filter '", parts[i],
                 "'; the filters are before:'…', after:'…', trim, upper, lower"));
    }
    piece.steps.push_back(std::move(step));
  }
  return piece;
}

absl::StatusOr<TemplateText> TemplateText::Parse(std::string_view text,
                                                 const std::vector<std::string>& names) {
  TemplateText result;
  const auto literal = [&](char c) {
    if (result.pieces_.empty() || result.pieces_.back().name >= 0) result.pieces_.emplace_back();
    result.pieces_.back().literal.push_back(c);
  };
  const auto wrong = [&](std::string_view reason) {
    return InvalidArgument(Concat("template \"", text, "\": ", reason));
  };
  for (std::size_t at = 0; at < text.size(); ++at) {
    const char c = text[at];
    if ((c == '{' || c == '}') && at + 1 < text.size() && text[at + 1] == c) {
      literal(c);
      ++at;
    } else if (c == '}') {
      return wrong("a closing brace without an opening one (write }} for a brace)");
    } else if (c != '{') {
      literal(c);
    } else {
      const std::size_t end = ClosingBrace(text, at + 1);
      if (end == std::string_view::npos) {
        return wrong("an opening brace without a closing one (write {{ for a brace)");
      }
      auto piece = ParsePiece(text.substr(at + 1, end - at - 1), names);
      if (!piece.ok()) return wrong(Message(piece.status()));
      result.pieces_.push_back(*std::move(piece));
      at = end;
    }
  }
  return result;
}

std::string TemplateText::Render(std::span<const std::string> values) const {
  std::string out;
  for (const Piece& piece : pieces_) {
    if (piece.name < 0) {
      out.append(piece.literal);
      continue;
    }
    std::string text = values[static_cast<std::size_t>(piece.name)];
    for (const Step& step : piece.steps) {
      const std::size_t at = step.argument.empty() ? std::string::npos : text.find(step.argument);
      switch (step.filter) {
        case Filter::kBefore:
          text = text.substr(0, at);
          break;
        case Filter::kAfter:
          text = at == std::string::npos ? std::string() : text.substr(at + step.argument.size());
          break;
        case Filter::kTrim:
          text = std::string(Trim(text));
          break;
        case Filter::kUpper:
        case Filter::kLower:
          std::transform(text.begin(), text.end(), text.begin(), [&](char letter) {
            const auto byte = static_cast<unsigned char>(letter);
            return static_cast<char>(step.filter == Filter::kUpper ? std::toupper(byte)
                                                                   : std::tolower(byte));
          });
          break;
      }
    }
    out.append(text);
  }
  return out;
}

}  // namespace tocsin::cli
