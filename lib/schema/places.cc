#include "lib/schema/places.h"

#include <google/protobuf/compiler/parser.h>
#include <google/protobuf/descriptor.pb.h>
#include <google/protobuf/io/tokenizer.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <google/protobuf/stubs/logging.h>

#include <algorithm>
#include <cstddef>
#include <string_view>
#include <vector>

namespace tocsin::schema {

namespace pb = ::google::protobuf;

namespace {

// Protobuf's tokenizer lets a tab advance to the next multiple of this.
constexpr int kTabWidth = 8;

class IgnoreErrors final : public pb::io::ErrorCollector {
  // The text has been compiled before.
  void AddError(int, pb::io::ColumnNumber, const std::string&) override {}
};

// From columns of the tokenizer (bytes, tabs widened, from 0) to those of an editor: characters,
// from 1. Walks the line once and remembers where it was every so often: a line may be the whole
// text, with as many findings as it has messages.
class EditorColumns {
 public:
  explicit EditorColumns(std::string_view line) {
    Mark mark;
    for (std::size_t i = 0; i < line.size(); ++i) {
      if (i % kBetweenMarks == 0) marks_.push_back(mark);
      Step(line[i], mark);
      mark.byte = i + 1;
    }
    marks_.push_back(mark);
  }

  int Of(std::string_view line, int column) const {
    // The last mark that is not after the column.
    auto mark = std::upper_bound(marks_.begin(), marks_.end(), column,
                                 [](int wanted, const Mark& each) { return wanted < each.at; });
    if (mark != marks_.begin()) --mark;
    Mark at = *mark;
    for (std::size_t i = at.byte; i < line.size() && at.at < column; ++i) Step(line[i], at);
    return at.characters + 1;
  }

 private:
  struct Mark {
    std::size_t byte = 0;
    // What the tokenizer calls this column, and how many characters are before it.
    int at = 0;
    int characters = 0;
  };
  static constexpr std::size_t kBetweenMarks = 256;

  static void Step(char c, Mark& mark) {
    mark.at += c == '\t' ? kTabWidth - mark.at % kTabWidth : 1;
    if ((static_cast<unsigned char>(c) & 0xc0) != 0x80) ++mark.characters;
  }

  std::vector<Mark> marks_;
};

}  // namespace

struct Places::Text {
  explicit Text(std::string_view source) : text(source) {
    for (std::size_t at = 0; at <= text.size();) {
      lines.push_back(at);
      const std::size_t end = text.find('\n', at);
      if (end == std::string_view::npos) break;
      at = end + 1;
    }
    const pb::LogSilencer silent;
    pb::io::ArrayInputStream stream(text.data(), static_cast<int>(text.size()));
    IgnoreErrors errors;
    pb::io::Tokenizer tokenizer(&stream, &errors);
    pb::compiler::Parser parser;
    parser.RecordErrorsTo(&errors);
    parser.Parse(&tokenizer, &proto);
    for (const auto& location : proto.source_code_info().location()) {
      spans.emplace(std::vector<int>(location.path().begin(), location.path().end()), &location);
    }
  }

  // As in Place; `line` and `column` count from 0.
  int ColumnIn(std::size_t line, int column) {
    if (line >= lines.size()) return 1;
    const std::size_t end = line + 1 < lines.size() ? lines[line + 1] - 1 : text.size();
    const std::string_view whole = text.substr(lines[line], end - lines[line]);
    return columns.try_emplace(line, whole).first->second.Of(whole, column);
  }

  std::string_view text;
  // Where each line begins.
  std::vector<std::size_t> lines;
  // Of the lines that were asked for.
  std::map<std::size_t, EditorColumns> columns;
  pb::FileDescriptorProto proto;
  std::map<std::vector<int>, const pb::SourceCodeInfo::Location*> spans;
};

Places::Places(const CompiledSchema& schema) : schema_(schema) {}
Places::~Places() = default;

std::optional<Place> Places::Find(const Spot& spot) {
  if (spot.file == nullptr) return std::nullopt;
  std::unique_ptr<Text>& text = texts_[spot.file];
  if (text == nullptr) {
    const std::string* source = schema_.TextOf(spot.file->name());
    if (source == nullptr) return std::nullopt;
    text = std::make_unique<Text>(*source);
  }
  Place place;
  if (spot.file != &schema_.file()) place.file = spot.file->name();
  place.line = 1;
  place.column = 1;
  // A part that the text leaves out (a label, the field of a map's entry) is where its whole is.
  for (std::vector<int> path = spot.path; !path.empty(); path.pop_back()) {
    const auto found = text->spans.find(path);
    if (found == text->spans.end()) continue;
    const int line = found->second->span(0);
    place.line = line + 1;
    place.column = text->ColumnIn(static_cast<std::size_t>(line), found->second->span(1));
    break;
  }
  return place;
}

}  // namespace tocsin::schema
