#include "lib/schema/testing/random_schema.h"

#include <algorithm>
#include <cstddef>
#include <iterator>
#include <set>
#include <string_view>
#include <utility>

#include "lib/base/text.h"

namespace tocsin::schema::testing {
namespace {

constexpr std::string_view kTypes[] = {"int32",
                                       "int64",
                                       "uint32",
                                       "bool",
                                       "sint32",
                                       "sint64",
                                       "fixed32",
                                       "sfixed64",
                                       "float",
                                       "double",
                                       "string",
                                       "bytes",
                                       "Top0",
                                       "Kind0",
                                       "imported.Inner",
                                       "google.protobuf.Timestamp",
                                       "google.type.Money",
                                       "map<string, int32>",
                                       "map<int64, Top0>",
                                       "map<bool, Kind0>"};

std::size_t Below(Random& random, std::size_t n) {
  return std::uniform_int_distribution<std::size_t>(0, n - 1)(random);
}
bool OneIn(Random& random, std::size_t n) { return Below(random, n) == 0; }

bool IsMap(const FieldModel& field) { return field.type.rfind("map<", 0) == 0; }

void SetLabel(FieldModel& field, bool proto2, Random& random) {
  field.options.clear();
  if (IsMap(field) || !field.oneof.empty()) {
    field.label.clear();
    return;
  }
  constexpr std::string_view kProto3[] = {"", "optional", "repeated"};
  constexpr std::string_view kProto2[] = {"optional", "repeated", "required"};
  field.label = proto2 ? kProto2[Below(random, 3)] : kProto3[Below(random, 3)];
  if (OneIn(random, 6)) field.options = "deprecated = true";
  if (OneIn(random, 6)) field.options = "json_name = \"J" + std::to_string(field.number) + "\"";
  if (OneIn(random, 6)) field.options = "(imported.tag) = \"a\\\"b\", (imported.tag) = \"c\"";
  if (OneIn(random, 6)) field.options = "(imported.inner) = { name: \"x\" many: 1 many: 2 }";
  if (proto2 && field.label == "optional" && field.type == "string") {
    field.options = "default = \"a\\001\\n\\\"\\303\\244\"";
  }
  if (proto2 && field.label == "optional" && field.type == "double")
    field.options = "default = -inf";
  if (proto2 && field.label == "optional" && field.type == "float") field.options = "default = 1.1";
}

FieldModel RandomField(int number, bool proto2, const std::string& oneof, Random& random) {
  FieldModel field;
  field.number = number;
  field.name = Concat(OneIn(random, 3) ? "two_words_" : "f", number);
  field.type = kTypes[Below(random, std::size(kTypes))];
  if (!oneof.empty()) {
    while (IsMap(field)) field.type = kTypes[Below(random, std::size(kTypes))];
    field.oneof = oneof;
  }
  SetLabel(field, proto2, random);
  return field;
}

EnumModel RandomEnum(const std::string& name, Random& random) {
  EnumModel type{name, {{name + "_ZERO", 0}}};
  for (std::size_t i = 1; i < 1 + Below(random, 4); ++i) {
    type.values.emplace_back(Concat(name, "_", i), static_cast<int>(i * 2));
  }
  return type;
}

MessageModel RandomMessage(const std::string& name, bool proto2, int levels, Random& random) {
  MessageModel message;
  message.name = name;
  int number = 0;
  for (std::size_t i = 0; i < Below(random, 7); ++i) {
    number += 1 + static_cast<int>(Below(random, 3));
    const std::string oneof = OneIn(random, 3) ? (OneIn(random, 2) ? "choice" : "other") : "";
    message.fields.push_back(RandomField(number, proto2, oneof, random));
  }
  if (OneIn(random, 3)) message.reserved = {number + 5, number + 6, number + 9};
  if (levels > 0) {
    for (std::size_t i = 0; i < Below(random, 3); ++i) {
      message.nested.push_back(RandomMessage(Concat("Nested", i), proto2, levels - 1, random));
    }
    if (OneIn(random, 3)) message.enums.push_back(RandomEnum(name + "Kind", random));
  }
  return message;
}

template <typename T>
std::vector<T> Shuffled(std::vector<T> items, Random* random) {
  if (random != nullptr) std::shuffle(items.begin(), items.end(), *random);
  return items;
}

std::string FieldText(const FieldModel& field) {
  return Concat(field.label, field.label.empty() ? "" : " ", field.type, " ", field.name, " = ",
                field.number, field.options.empty() ? "" : Concat(" [", field.options, "]"), ";\n");
}

std::string EnumText(const EnumModel& type, Random* shuffle) {
  std::vector<std::pair<std::string, int>> rest(type.values.begin() + 1, type.values.end());
  rest = Shuffled(std::move(rest), shuffle);
  rest.insert(rest.begin(), type.values.front());
  std::string text = Concat("enum ", type.name, " {\n");
  for (const auto& [name, number] : rest) text += Concat(name, " = ", number, ";\n");
  return text + "}\n";
}

std::string MessageText(const MessageModel& message, Random* shuffle) {
  std::vector<std::string> parts;
  std::set<std::string> oneofs;
  for (const FieldModel& field : message.fields) {
    if (field.oneof.empty()) {
      parts.push_back(FieldText(field));
    } else if (oneofs.insert(field.oneof).second) {
      std::vector<std::string> members;
      for (const FieldModel& member : message.fields) {
        if (member.oneof == field.oneof) members.push_back(FieldText(member));
      }
      parts.push_back(
          Concat("oneof ", field.oneof, " {\n", Join(Shuffled(members, shuffle), ""), "}\n"));
    }
  }
  for (const int number : message.reserved) parts.push_back(Concat("reserved ", number, ";\n"));
  for (const EnumModel& type : message.enums) parts.push_back(EnumText(type, shuffle));
  for (const MessageModel& nested : message.nested) parts.push_back(MessageText(nested, shuffle));
  return Concat("message ", message.name, " {\n", Join(Shuffled(parts, shuffle), ""), "}\n");
}

void MutateMessage(MessageModel& message, bool proto2, Random& random) {
  const std::size_t what = Below(random, 9);
  if (message.fields.empty() || what == 0) {
    int number = 1;
    for (const FieldModel& field : message.fields) number = std::max(number, field.number + 1);
    std::erase(message.reserved, number);
    message.fields.push_back(RandomField(number, proto2, OneIn(random, 3) ? "choice" : "", random));
    return;
  }
  FieldModel& field = message.fields[Below(random, message.fields.size())];
  switch (what) {
    case 1:
      message.fields.erase(message.fields.begin() + (&field - message.fields.data()));
      break;
    case 2:
      message.reserved.push_back(field.number);
      message.fields.erase(message.fields.begin() + (&field - message.fields.data()));
      break;
    case 3:
      field.name = Concat("renamed", field.number);
      break;
    case 4:
    case 5:
      field = [&] {
        FieldModel changed = RandomField(field.number, proto2, field.oneof, random);
        changed.name = field.name;
        return changed;
      }();
      break;
    case 6:
      SetLabel(field, proto2, random);
      break;
    default:
      if (IsMap(field)) break;
      field.oneof = field.oneof.empty() ? (OneIn(random, 2) ? "choice" : "other") : "";
      SetLabel(field, proto2, random);
      break;
  }
}

}  // namespace

SchemaModel RandomSchema(Random& random) {
  SchemaModel schema;
  schema.proto2 = OneIn(random, 3);
  for (std::size_t i = 0; i < 1 + Below(random, 4); ++i) {
    schema.messages.push_back(RandomMessage(Concat("Top", i), schema.proto2, 2, random));
  }
  for (std::size_t i = 0; i < 1 + Below(random, 2); ++i) {
    schema.enums.push_back(RandomEnum(Concat("Kind", i), random));
  }
  return schema;
}

void Mutate(SchemaModel& schema, Random& random) {
  switch (Below(random, 8)) {
    case 0:
      schema.messages.push_back(
          RandomMessage(Concat("Added", Below(random, 1'000'000)), schema.proto2, 1, random));
      return;
    case 1:
      // Top0 and Kind0 are used as types.
      if (schema.messages.size() > 1) schema.messages.pop_back();
      return;
    case 2: {
      EnumModel& type = schema.enums[Below(random, schema.enums.size())];
      if (type.values.size() > 1 && OneIn(random, 2)) {
        type.values.pop_back();
      } else {
        type.values.emplace_back(Concat(type.name, "_NEW", type.values.back().second),
                                 type.values.back().second + 1);
      }
      return;
    }
    default: {
      MessageModel* message = &schema.messages[Below(random, schema.messages.size())];
      while (!message->nested.empty() && OneIn(random, 2)) {
        message = &message->nested[Below(random, message->nested.size())];
      }
      MutateMessage(*message, schema.proto2, random);
    }
  }
}

std::string Render(const SchemaModel& schema, Random* shuffle) {
  std::vector<std::string> parts;
  for (const MessageModel& message : schema.messages) {
    parts.push_back(MessageText(message, shuffle));
  }
  for (const EnumModel& type : schema.enums) parts.push_back(EnumText(type, shuffle));
  return Concat("syntax = \"", schema.proto2 ? "proto2" : "proto3", "\";\npackage p.q;\n",
                "import \"imported.proto\";\nimport \"google/protobuf/timestamp.proto\";\n",
                "import \"google/type/money.proto\";\noption java_package = \"x.y\";\n",
                Join(Shuffled(parts, shuffle), ""));
}

const std::vector<SourceFile>& ImportsOfRandomSchemas() {
  static const auto* const imports = new std::vector<SourceFile>{{"imported.proto", R"(
syntax = "proto2";
package imported;
import "google/protobuf/descriptor.proto";
message Inner {
  optional string name = 1;
  repeated int32 many = 2;
}
extend google.protobuf.FieldOptions {
  repeated string tag = 50001;
  optional Inner inner = 50002;
}
)"}};
  return *imports;
}

}  // namespace tocsin::schema::testing
