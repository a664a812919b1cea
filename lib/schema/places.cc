#include "lib/schema/places.h"

#include <google/protobuf/compiler/parser.h>
#include <google/protobuf/descriptor.pb.h>
#include <google/protobuf/io/tokenizer.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <google/protobuf/stubs/logging.h>

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

// From the tokenizer's column (bytes, tabs widened, from 0) to that of an editor: characters, from
// 1.
int EditorColumn(std::string_view line, int column) {
  int at = 0;
  int characters = 0;
  for (const char c : line) {
    if (at >= column) break;
    at += c == '\t' ? kTabWidth - at % kTabWidth : 1;
    if ((static_cast<unsigned char>(c) & 0xc0) != 0x80) ++characters;
  }
  return characters + 1;
}

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

  std::string_view text;
  // Where each line begins.
  std::vector<std::size_t> lines;
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
    if (static_cast<std::size_t>(line) < text->lines.size()) {
      place.column = EditorColumn(text->text.substr(text->lines[static_cast<std::size_t>(line)]),
                                  found->second->span(1));
    }
    break;
  }
  return place;
}

}  // namespace tocsin::schema
