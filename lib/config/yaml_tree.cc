#include "lib/config/yaml_tree.h"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

#include <exception>
#include <sstream>
#include <utility>

#include "lib/base/status.h"
#include "lib/base/text.h"

namespace tocsin::config {
namespace {

Position FromMark(const YAML::Mark& mark) { return {mark.line + 1, mark.column + 1}; }

// Leaves the parser through yaml-cpp's own frames; caught in ParseYamlTree.
struct Refusal {
  Position position;
  std::string reason;
};

class TreeBuilder final : public YAML::EventHandler {
 public:
  void OnDocumentStart(const YAML::Mark& mark) override {
    if (documents_++ > 0) {
      throw Refusal{FromMark(mark), "a second document begins here: one file holds one document"};
    }
  }
  void OnDocumentEnd() override {}

  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    Add(mark, anchor, YamlNode::Kind::kNull);
  }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override {
    throw Refusal{FromMark(mark), "aliases are not supported: write the value out"};
  }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    YamlNode& node = Add(mark, anchor, YamlNode::Kind::kScalar);
    node.text = value;
    // yaml-cpp's tag for a plain scalar without one.
    node.quoted = tag != "?";
    CheckTag(mark, tag);
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    CheckTag(mark, tag);
    Open(mark, anchor, YamlNode::Kind::kList);
  }
  void OnSequenceEnd() override { open_.pop_back(); }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    CheckTag(mark, tag);
    Open(mark, anchor, YamlNode::Kind::kMap);
  }
  void OnMapEnd() override { open_.pop_back(); }

  YamlNode Take() { return std::move(root_); }

 private:
  static void CheckTag(const YAML::Mark& mark, const std::string& tag) {
    if (tag.empty() || tag == "?" || tag == "!") return;
    throw Refusal{FromMark(mark), Concat("the tag '", tag.substr(0, 64), "' is not supported")};
  }

  YamlNode& Add(const YAML::Mark& mark, YAML::anchor_t anchor, YamlNode::Kind kind) {
    if (anchor != 0) throw Refusal{FromMark(mark), "anchors are not supported: remove the '&name'"};
    if (++nodes_ > kMaxYamlNodes) {
      throw Refusal{FromMark(mark), Concat("more than ", kMaxYamlNodes, " keys and values")};
    }
    YamlNode* node = &root_;
    if (!open_.empty()) node = &open_.back()->children.emplace_back();
    node->kind = kind;
    node->position = FromMark(mark);
    node->source_offset = static_cast<std::size_t>(mark.pos);
    return *node;
  }

  // The parents of an open node do not grow before it is closed, so the pointers stay good.
  void Open(const YAML::Mark& mark, YAML::anchor_t anchor, YamlNode::Kind kind) {
    if (open_.size() >= static_cast<std::size_t>(kMaxYamlDepth)) {
      throw Refusal{FromMark(mark), Concat("nested deeper than ", kMaxYamlDepth, " levels")};
    }
    open_.push_back(&Add(mark, anchor, kind));
  }

  int documents_ = 0;
  std::size_t nodes_ = 0;
  YamlNode root_;
  std::vector<YamlNode*> open_;
};

// The place of the first byte that YAML must not hold. yaml-cpp takes 0x04 for the end of the text
// and guesses UTF-16 from zero bytes, so such text would be cut or turned into another one.
std::string FirstForbiddenByte(std::string_view text, std::string_view file_name) {
  Position position;
  std::size_t i = 0;
  while (i < text.size()) {
    const auto byte = static_cast<unsigned char>(text[i]);
    std::size_t length = 1;
    if ((byte < 0x20 && byte != '\t' && byte != '\n' && byte != '\r') || byte == 0x7f) {
      return At(file_name, position, "a control character; configuration is plain UTF-8 text");
    }
    if (byte >= 0x80) {
      length = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : 2;
      bool valid = byte >= 0xc2 && byte <= 0xf4 && i + length <= text.size();
      for (std::size_t k = 1; valid && k < length; ++k) {
        valid = (static_cast<unsigned char>(text[i + k]) & 0xc0U) == 0x80;
      }
      if (!valid) return At(file_name, position, "not valid UTF-8");
    }
    if (byte == '\n') {
      ++position.line;
      position.column = 1;
    } else {
      position.column += static_cast<int>(length);
    }
    i += length;
  }
  return {};
}

}  // namespace

std::string At(std::string_view file_name, Position position, std::string_view reason) {
  return Concat(file_name, file_name.empty() ? "" : ":", position.line, ":", position.column, ": ",
                reason);
}

absl::StatusOr<YamlNode> ParseYamlTree(std::string_view text, std::string_view file_name) {
  if (text.size() > kMaxYamlBytes) {
    return InvalidArgument(
        At(file_name, {},
           Concat("the text has ", text.size(), " bytes; at most ", kMaxYamlBytes, " are read")));
  }
  if (text.starts_with("\xEF\xBB\xBF")) {
    return InvalidArgument(
        At(file_name, {}, "begins with a byte order mark; save it as UTF-8 without one"));
  }
  if (std::string reason = FirstForbiddenByte(text, file_name); !reason.empty()) {
    return InvalidArgument(reason);
  }
  try {
    std::istringstream input{std::string(text)};
    YAML::Parser parser(input);
    TreeBuilder builder;
    while (parser.HandleNextDocument(builder)) {
    }
    return builder.Take();
  } catch (const Refusal& refusal) {
    return InvalidArgument(At(file_name, refusal.position, refusal.reason));
  } catch (const YAML::Exception& error) {
    return InvalidArgument(
        At(file_name, FromMark(error.mark), Concat("not valid YAML: ", error.msg)));
  } catch (const std::exception& error) {
    return Internal(Concat(file_name, ": reading YAML failed: ", error.what()));
  }
}

}  // namespace tocsin::config
