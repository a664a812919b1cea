#include "lib/config/reader.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>

#include <algorithm>
#include <map>

#include "lib/base/status.h"
#include "lib/base/text.h"
#include "lib/config/fields.h"

namespace tocsin::config {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::OneofDescriptor;
using google::protobuf::Reflection;

constexpr std::size_t kMistakesShown = 10;
constexpr std::size_t kReasonShown = 400;

std::string FieldName(std::string_view key) {
  std::string name(key);
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

std::string_view KindName(YamlNode::Kind kind) {
  switch (kind) {
    case YamlNode::Kind::kNull:
      return "nothing";
    case YamlNode::Kind::kScalar:
      return "a single value";
    case YamlNode::Kind::kList:
      return "a list";
    case YamlNode::Kind::kMap:
      return "keys and values";
  }
  return "something else";
}

std::string UnknownKey(std::string_view key, const std::string& path, const Descriptor& type) {
  std::vector<std::string> names;
  const bool dashes = key.find('-') != std::string_view::npos;
  for (int i = 0; i < type.field_count(); ++i) {
    std::string name = type.field(i)->name();
    if (dashes) std::replace(name.begin(), name.end(), '_', '-');
    names.push_back(std::move(name));
  }
  std::string reason = Concat("unknown key '", key.substr(0, 64), "'");
  if (!path.empty()) reason += Concat(" in ", path);
  const std::string nearest = NearestName(key, names);
  if (!nearest.empty()) return Concat(reason, "; did you mean '", nearest, "'?");
  if (names.empty()) return Concat(reason, "; it has no keys");
  return Concat(reason, "; known keys: ", Join(names, ", "));
}

}  // namespace

PositionsWriter::PositionsWriter(Positions* positions, std::string_view file_name,
                                 std::string_view source)
    : positions_(positions) {
  if (positions_ == nullptr) return;
  positions_->file_name_ = std::string(file_name);
  positions_->source_ = std::string(source);
  positions_->entries_.clear();
  positions_->entries_[""] = {};
}

void PositionsWriter::Note(const std::string& path, Position key, const YamlNode& value) {
  if (positions_ == nullptr) return;
  Positions::Entry entry;
  entry.key = key;
  // The parser puts an absent value where the next thing begins.
  entry.value = value.kind == YamlNode::Kind::kNull ? key : value.position;
  entry.scalar = value.kind == YamlNode::Kind::kScalar;
  if (entry.scalar) {
    entry.text = value.text;
    entry.source_offset = value.source_offset;
  }
  positions_->entries_[path] = std::move(entry);
}

void Reader::Fail(Position position, std::string_view reason) {
  if (++mistake_count_ > kMistakesShown) return;
  mistakes_.push_back(At(file_name_, position, Shorten(reason, kReasonShown)));
}

absl::Status Reader::Result() const {
  if (mistake_count_ == 0) return absl::OkStatus();
  std::string text = Join(mistakes_, "\n");
  if (mistake_count_ > mistakes_.size()) {
    text += Concat("\nand ", mistake_count_ - mistakes_.size(), " more");
  }
  return InvalidArgument(text);
}

void Reader::ReadMessage(const YamlNode& node, const std::string& path, Message& message) {
  if (node.kind == YamlNode::Kind::kNull) return;
  if (node.kind != YamlNode::Kind::kMap) {
    Fail(node.position, Concat(path.empty() ? "the text" : path, " must be keys and values, not ",
                               KindName(node.kind)));
    return;
  }
  const Descriptor& type = *message.GetDescriptor();
  std::map<const FieldDescriptor*, Position> seen;
  std::map<const OneofDescriptor*, const FieldDescriptor*> chosen;
  for (std::size_t i = 0; i + 1 < node.children.size(); i += 2) {
    const YamlNode& key = node.children[i];
    const YamlNode& value = node.children[i + 1];
    if (key.kind != YamlNode::Kind::kScalar) {
      Fail(key.position, Concat("a key must be a name, not ", KindName(key.kind)));
      continue;
    }
    const FieldDescriptor* field = type.FindFieldByName(FieldName(key.text));
    if (field == nullptr) {
      Fail(key.position, UnknownKey(key.text, path, type));
      continue;
    }
    if (const auto [first, added] = seen.emplace(field, key.position); !added) {
      Fail(key.position, Concat("the key '", key.text, "' was already given on line ",
                                first->second.line, "; remove one of the two"));
      continue;
    }
    if (const OneofDescriptor* oneof = field->real_containing_oneof();
        oneof != nullptr && value.kind != YamlNode::Kind::kNull) {
      if (const auto [other, added] = chosen.emplace(oneof, field); !added) {
        Fail(key.position, Concat("'", key.text, "' and '", other->second->name(),
                                  "' exclude one another; keep one of the two"));
        continue;
      }
    }
    const std::string field_path = path.empty() ? field->name() : Concat(path, ".", field->name());
    positions_.Note(field_path, key.position, value);
    ReadField(value, field_path, *field, message);
  }
}

void Reader::ReadField(const YamlNode& node, const std::string& path, const FieldDescriptor& field,
                       Message& message) {
  if (node.kind == YamlNode::Kind::kNull) return;
  const Reflection& reflection = *message.GetReflection();
  if (field.is_map()) {
    reflection.ClearField(&message, &field);
    ReadMap(node, path, field, message);
    return;
  }
  if (!field.is_repeated()) {
    if (IsScalar(field)) {
      ReadScalar(node, field, message);
    } else {
      ReadMessage(node, path, *reflection.MutableMessage(&message, &field));
    }
    return;
  }
  reflection.ClearField(&message, &field);
  if (node.kind == YamlNode::Kind::kScalar && IsScalar(field)) {
    positions_.Note(Concat(path, "[0]"), node.position, node);
    ReadScalar(node, field, message);
    return;
  }
  if (node.kind != YamlNode::Kind::kList) {
    Fail(node.position, Concat("'", field.name(), "' must be a list, not ", KindName(node.kind)));
    return;
  }
  for (std::size_t i = 0; i < node.children.size(); ++i) {
    const YamlNode& element = node.children[i];
    const std::string element_path = Concat(path, "[", i, "]");
    positions_.Note(element_path, element.position, element);
    if (element.kind == YamlNode::Kind::kNull) {
      Fail(element.position, Concat("an empty element in '", field.name(), "'"));
    } else if (IsScalar(field)) {
      ReadScalar(element, field, message);
    } else {
      ReadMessage(element, element_path, *reflection.AddMessage(&message, &field));
    }
  }
}

void Reader::ReadMap(const YamlNode& node, const std::string& path, const FieldDescriptor& field,
                     Message& message) {
  if (node.kind != YamlNode::Kind::kMap) {
    Fail(node.position,
         Concat("'", field.name(), "' must be keys and values, not ", KindName(node.kind)));
    return;
  }
  const FieldDescriptor& key_field = *field.message_type()->map_key();
  const FieldDescriptor& value_field = *field.message_type()->map_value();
  std::map<std::string, Position> seen;
  for (std::size_t i = 0; i + 1 < node.children.size(); i += 2) {
    const YamlNode& key = node.children[i];
    const YamlNode& value = node.children[i + 1];
    if (key.kind != YamlNode::Kind::kScalar) {
      Fail(key.position, Concat("a key must be a single value, not ", KindName(key.kind)));
      continue;
    }
    if (const auto [first, added] = seen.emplace(key.text, key.position); !added) {
      Fail(key.position, Concat("the key '", key.text, "' was already given on line ",
                                first->second.line, "; remove one of the two"));
      continue;
    }
    Message& entry = *message.GetReflection()->AddMessage(&message, &field);
    const std::string entry_path = Concat(path, "[", key.text, "]");
    positions_.Note(entry_path, key.position, value);
    ReadScalar(key, key_field, entry);
    ReadField(value, entry_path, value_field, entry);
  }
}

void Reader::ReadScalar(const YamlNode& node, const FieldDescriptor& field, Message& message) {
  if (node.kind != YamlNode::Kind::kScalar) {
    Fail(node.position, Concat("'", field.name(), "' must be ", Expectation(field), ", not ",
                               KindName(node.kind)));
    return;
  }
  if (const absl::Status status = SetScalar(message, field, node.text); !status.ok()) {
    Fail(node.position, tocsin::Message(status));
  }
}

}  // namespace tocsin::config
