// Schemas by chance, for property tests: equal seeds give equal schemas.
#pragma once

#include <cstdint>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "lib/schema/compiled_schema.h"

namespace tocsin::schema::testing {

using Random = std::mt19937_64;

// What a text is made of; changed by Mutate, written by Render.
struct FieldModel {
  std::string name;
  int number = 0;
  // "", "optional", "repeated", "required"
  std::string label;
  std::string type;
  // Name of the oneof; empty: none.
  std::string oneof;
  // What stands in brackets; may be empty.
  std::string options;
};
struct EnumModel {
  std::string name;
  std::vector<std::pair<std::string, int>> values;
};
struct MessageModel {
  std::string name;
  std::vector<FieldModel> fields;
  std::vector<EnumModel> enums;
  std::vector<MessageModel> nested;
  std::vector<int> reserved;
};
struct SchemaModel {
  bool proto2 = false;
  std::vector<MessageModel> messages;
  std::vector<EnumModel> enums;
};

SchemaModel RandomSchema(Random& random);
// One change of any kind that leaves a schema that compiles.
void Mutate(SchemaModel& schema, Random& random);
// `shuffle`: messages, fields, enums, values and reserved statements in any order.
std::string Render(const SchemaModel& schema, Random* shuffle = nullptr);
// What the texts import.
const std::vector<SourceFile>& ImportsOfRandomSchemas();

}  // namespace tocsin::schema::testing
