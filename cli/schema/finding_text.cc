#include "cli/schema/finding_text.h"

#include <algorithm>
#include <cstddef>

#include "cli/core/columns.h"
#include "lib/base/text.h"

namespace tocsin::cli {
namespace {

bool InWord(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
         c == '.';
}

// The nth line, from 1; npos as begin: there is none.
std::string_view Line(std::string_view text, int number) {
  std::size_t begin = 0;
  for (int line = 1; line < number; ++line) {
    begin = text.find('\n', begin);
    if (begin == std::string_view::npos) return {};
    ++begin;
  }
  std::string_view line = text.substr(begin, text.find('\n', begin) - begin);
  if (line.ends_with('\r')) line.remove_suffix(1);
  return line;
}

// The bytes of the first `characters` characters.
std::size_t BytesOf(std::string_view line, int characters) {
  std::size_t at = 0;
  for (int i = 0; i < characters && at < line.size(); ++i) {
    ++at;
    while (at < line.size() && (static_cast<unsigned char>(line[at]) & 0xc0) == 0x80) ++at;
  }
  return at;
}

std::string Where(const Side& side, const schema::Place& place) {
  return Concat(side.name, place.file.empty() ? "" : Concat(" (", place.file, ")"), ":", place.line,
                ":", place.column);
}

std::string PlaceText(std::string_view before, const Side& side, const schema::Place& place) {
  const std::string* text =
      place.file.empty() ? &side.schema.text() : side.schema.TextOf(place.file);
  return Concat("    ", before, Where(side, place), "\n",
                text == nullptr ? "" : CaretText(*text, place));
}

google::protobuf::Value PlaceFields(const schema::Place& place) {
  google::protobuf::Value value;
  auto& fields = *value.mutable_struct_value()->mutable_fields();
  fields["file"].set_string_value(place.file);
  fields["line"].set_number_value(place.line);
  fields["column"].set_number_value(place.column);
  return value;
}

}  // namespace

std::string CaretText(std::string_view text, const schema::Place& place) {
  const std::string_view line = Line(text, place.line);
  if (place.line < 1 || place.column < 1 || line.empty()) return {};
  const std::size_t at = BytesOf(line, place.column - 1);
  std::size_t end = at;
  while (end < line.size() && InWord(line[end])) ++end;
  const std::string number = std::to_string(place.line);
  // Tabs stay tabs, so that the caret stands where the terminal puts the word.
  std::string pad;
  for (std::size_t from = 0; from < at;) {
    const std::size_t tab = std::min(line.find('\t', from), at);
    pad.append(Columns(OneLine(line.substr(from, tab - from))), ' ');
    if (tab < at) pad += '\t';
    from = tab + 1;
  }
  std::string shown;
  for (const char c : line) {
    shown += c == '\t' || (static_cast<unsigned char>(c) >= 0x20 && c != 0x7f) ? c : ' ';
  }
  const std::size_t width = std::max<std::size_t>(end - at, 1);
  return Concat("      ", number, " | ", shown, "\n      ", std::string(number.size(), ' '), " | ",
                pad, "^", std::string(width - 1, '~'), "\n");
}

std::string FindingText(const schema::Finding& finding, const Side& older, const Side& newer) {
  std::string out = Concat("  ", schema::KindName(finding.kind), " at ", finding.path, "\n");
  if (!finding.description.empty()) out += Concat("  ", finding.description, "\n");
  if (finding.newer) out += PlaceText("", newer, *finding.newer);
  if (finding.older) out += PlaceText("before, in ", older, *finding.older);
  if (!finding.consequence.empty()) out += Concat("  on the wire: ", finding.consequence, "\n");
  if (!finding.repair.empty()) out += Concat("  repair: ", finding.repair, "\n");
  return out;
}

google::protobuf::Struct FindingFields(const schema::Finding& finding) {
  google::protobuf::Struct row;
  auto& fields = *row.mutable_fields();
  fields["kind"].set_string_value(std::string(schema::KindName(finding.kind)));
  fields["path"].set_string_value(finding.path);
  fields["description"].set_string_value(finding.description);
  fields["direction"].set_string_value(
      finding.direction == schema::Direction::kBackward ? "BACKWARD" : "FORWARD");
  if (finding.older) fields["older"] = PlaceFields(*finding.older);
  if (finding.newer) fields["newer"] = PlaceFields(*finding.newer);
  fields["consequence"].set_string_value(finding.consequence);
  fields["repair"].set_string_value(finding.repair);
  return row;
}

}  // namespace tocsin::cli
