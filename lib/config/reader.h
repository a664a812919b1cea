// From a YAML tree into a message, by reflection.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "lib/config/config.h"
#include "lib/config/yaml_tree.h"

namespace google::protobuf {
class FieldDescriptor;
class Message;
}  // namespace google::protobuf

namespace tocsin::config {

// Fills a Positions; a null one swallows all.
class PositionsWriter {
 public:
  PositionsWriter(Positions* positions, std::string_view file_name, std::string_view source);
  void Note(const std::string& path, Position key, const YamlNode& value);

 private:
  Positions* positions_;
};

class Reader {
 public:
  Reader(std::string_view file_name, PositionsWriter& positions)
      : file_name_(file_name), positions_(positions) {}

  void ReadMessage(const YamlNode& node, const std::string& path,
                   google::protobuf::Message& message);
  // Replaces what the field holds; a singular message is merged.
  void ReadField(const YamlNode& node, const std::string& path,
                 const google::protobuf::FieldDescriptor& field,
                 google::protobuf::Message& message);

  // All mistakes met, one a line.
  absl::Status Result() const;

 private:
  void Fail(Position position, std::string_view reason);
  void ReadMap(const YamlNode& node, const std::string& path,
               const google::protobuf::FieldDescriptor& field, google::protobuf::Message& message);
  void ReadScalar(const YamlNode& node, const google::protobuf::FieldDescriptor& field,
                  google::protobuf::Message& message);

  std::string_view file_name_;
  PositionsWriter& positions_;
  std::vector<std::string> mistakes_;
  std::size_t mistake_count_ = 0;
};

}  // namespace tocsin::config
