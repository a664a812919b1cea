// What a reader with one schema makes of data that was written with another: the differences, by
// descriptor. Used by compatibility.cc alone, which turns them into findings.
#pragma once

#include <google/protobuf/descriptor.h>

#include <cstddef>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lib/schema/compatibility.h"

namespace tocsin::schema {

// An element of a file, or a part of one, by the path that SourceCodeInfo uses.
struct Spot {
  // nullptr: the text does not have it.
  const google::protobuf::FileDescriptor* file = nullptr;
  std::vector<int> path;
};

struct Change {
  DifferenceKind kind{};
  std::string path;
  std::string description;
  std::string consequence;
  std::string repair;
  Spot older;
  Spot newer;
};

// More are counted in the last one's description. Each level has a list of its own, and each list
// goes into one answer: two schemas without anything in common would fill it with megabytes.
inline constexpr std::size_t kMaxFindings = 1'000;

// One comparison of two files. What goes on inside a message that is imported is compared once per
// pair of types, after the file itself.
class Comparison {
 public:
  using FileDescriptor = google::protobuf::FileDescriptor;
  using Descriptor = google::protobuf::Descriptor;
  using EnumDescriptor = google::protobuf::EnumDescriptor;
  using EnumValueDescriptor = google::protobuf::EnumValueDescriptor;
  using FieldDescriptor = google::protobuf::FieldDescriptor;
  using OneofDescriptor = google::protobuf::OneofDescriptor;

  // kBackward: the writer has the older schema; kForward: the newer one.
  Comparison(const FileDescriptor& writer, const FileDescriptor& reader, Direction direction);

  std::vector<Change> Run();

 private:
  using Pair = std::pair<const Descriptor*, const Descriptor*>;
  struct Imported {
    std::vector<Pair> uses;
    // The full name of the message in which something is not compatible, and what.
    std::string reason;
  };
  // A field of the file itself whose type is imported.
  struct Use {
    std::vector<std::string> path;
    const FieldDescriptor* writer = nullptr;
    const FieldDescriptor* reader = nullptr;
    Pair pair;
  };
  // What is said of a change; all but `description` may be empty.
  struct Words {
    std::string description;
    std::string consequence;
    std::string repair;
  };

  bool backward() const { return direction_ == Direction::kBackward; }
  template <typename Element>
  const Element& Older(const Element& writer, const Element& reader) const {
    return backward() ? writer : reader;
  }
  template <typename Element>
  const Element& Newer(const Element& writer, const Element& reader) const {
    return backward() ? reader : writer;
  }
  std::string_view Reader() const;
  std::string_view Written() const;

  void Add(DifferenceKind kind, Words words, Spot writer, Spot reader);

  // comparison.cc
  void File();
  template <typename Scope>
  void Messages(const Scope& writer, const Scope& reader, int writer_count, int reader_count);
  template <typename Scope>
  void Enums(const Scope& writer, const Scope& reader);
  void EnumValues(const EnumDescriptor& writer, const EnumDescriptor& reader);
  void EnumValueGone(const EnumValueDescriptor& value, const EnumDescriptor& reader);
  void Message(const Descriptor& writer, const Descriptor& reader);
  void ImportedTypes();

  // field_rules.cc
  void Fields(const Descriptor& writer, const Descriptor& reader);
  void FieldGone(const FieldDescriptor& field, const Descriptor& reader);
  void FieldNew(const FieldDescriptor& field);
  void Field(const FieldDescriptor& writer, const FieldDescriptor& reader);
  void Type(const FieldDescriptor& writer, const FieldDescriptor& reader);
  void NamedType(const FieldDescriptor& writer, const FieldDescriptor& reader);
  void EnumType(const FieldDescriptor& writer, const FieldDescriptor& reader);
  void Label(const FieldDescriptor& writer, const FieldDescriptor& reader);
  void JsonName(const FieldDescriptor& writer, const FieldDescriptor& reader);
  void ReservedField(const FieldDescriptor& field, const Descriptor& writer);
  void ImportedTypeChanged(const Use& use, std::string_view reason);
  std::string MisreadAs(const FieldDescriptor& writer, const FieldDescriptor& reader) const;
  std::string RepeatedConsequence(const FieldDescriptor& writer,
                                  const FieldDescriptor& reader) const;
  std::string KeepOrRenumber(const FieldDescriptor& writer, const FieldDescriptor& reader);
  int FreeNumberFor(const Descriptor& writer, const Descriptor& reader);

  // oneof_rules.cc
  void Oneofs(const Descriptor& writer, const Descriptor& reader);
  void OneofMembers(const Descriptor& writer, const OneofDescriptor& oneof);
  void OneofGone(const OneofDescriptor& oneof, const Descriptor& reader);

  const FileDescriptor& writer_file_;
  const FileDescriptor& reader_file_;
  const Direction direction_;
  std::vector<std::string> path_;
  std::vector<Change> changes_;
  std::map<Pair, Imported> imported_;
  std::vector<Pair> waiting_;
  std::vector<Use> uses_;
  // The imported pair that is being compared; nullptr while the file itself is.
  Imported* within_ = nullptr;
  Pair free_number_for_{};
  int free_number_ = 0;
  // Of enums that are compared where a field uses them.
  std::set<std::pair<const EnumDescriptor*, const EnumDescriptor*>> compared_enums_;
};

// --- words and places, shared by the rules
// --------------------------------------------------------

// The name without the package: what survives a change of the package.
template <typename Element>
std::string LocalName(const Element& element) {
  const std::string& package = element.file()->package();
  const std::string& full = element.full_name();
  return package.empty() ? full : full.substr(package.size() + 1);
}

bool IsMapEntry(const google::protobuf::Descriptor& message);

// Path of an element in its file's FileDescriptorProto: field number, index, field number, index …
std::vector<int> PathOf(const google::protobuf::Descriptor& message);
std::vector<int> PathOf(const google::protobuf::FieldDescriptor& field);
std::vector<int> PathOf(const google::protobuf::OneofDescriptor& oneof);
std::vector<int> PathOf(const google::protobuf::EnumDescriptor& type);
std::vector<int> PathOf(const google::protobuf::EnumValueDescriptor& value);

// A part of the element: a field number of its descriptor message.
template <typename Element>
Spot SpotOf(const Element& element, int part) {
  Spot spot{element.file(), PathOf(element)};
  spot.path.push_back(part);
  return spot;
}
template <typename Element>
Spot SpotOf(const Element& element, int part, int index) {
  Spot spot = SpotOf(element, part);
  spot.path.push_back(index);
  return spot;
}

// Each of DescriptorProto, FieldDescriptorProto, EnumDescriptorProto, … has its name here.
inline constexpr int kNamePart = 1;

// Confluent compares labels only where both files write one: `optional`, `required`, `repeated`.
bool LabelIsWritten(const google::protobuf::FieldDescriptor& field);
// "repeated", "required", else "optional".
std::string_view LabelText(const google::protobuf::FieldDescriptor& field);
// As a text names it: "int32", "p.E", "map<string, p.M>".
std::string TypeInText(const google::protobuf::FieldDescriptor& field);
// "level (number 3)"
std::string FieldText(const google::protobuf::FieldDescriptor& field);
// For a person: "int32", "enum p.E", "map<string, message p.M>".
std::string TypeText(const google::protobuf::FieldDescriptor& field);
// As it stands in the text: "repeated int32 level = 3;"
std::string DeclarationText(const google::protobuf::FieldDescriptor& field);
// What a reader sees where nothing was written: "level = 0 (the default)".
std::string DefaultText(const google::protobuf::FieldDescriptor& field);
// The lowest number above all that either message uses or reserves; 0: there is none.
int FreeNumber(const google::protobuf::Descriptor& one, const google::protobuf::Descriptor& other);

}  // namespace tocsin::schema
