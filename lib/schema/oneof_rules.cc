// The rules for oneofs, those of 2026-06: data is lost where fields that could be set together can
// no longer be, and where a member disappears while its oneof lives on.
#include <set>

#include "lib/base/status.h"
#include "lib/schema/comparison.h"

namespace tocsin::schema {

namespace {

using ::google::protobuf::Descriptor;
using ::google::protobuf::OneofDescriptor;

const OneofDescriptor* FindOneof(const Descriptor& message, const std::string& name) {
  const OneofDescriptor* oneof = message.FindOneofByName(name);
  return oneof == nullptr || oneof->is_synthetic() ? nullptr : oneof;
}

}  // namespace

void Comparison::Oneofs(const Descriptor& writer, const Descriptor& reader) {
  for (int i = 0; i < reader.real_oneof_decl_count(); ++i) {
    const OneofDescriptor& oneof = *reader.oneof_decl(i);
    path_.push_back(oneof.name());
    if (FindOneof(writer, oneof.name()) == nullptr) {
      Add(DifferenceKind::kOneofAdded,
          {Concat("oneof ", oneof.name(), backward() ? " is new" : " is gone"), "", ""}, {},
          SpotOf(oneof, kNamePart));
    }
    OneofMembers(writer, oneof);
    path_.pop_back();
  }
  for (int i = 0; i < writer.real_oneof_decl_count(); ++i) {
    const OneofDescriptor& oneof = *writer.oneof_decl(i);
    path_.push_back(oneof.name());
    if (FindOneof(reader, oneof.name()) == nullptr) {
      Add(DifferenceKind::kOneofRemoved,
          {Concat("oneof ", oneof.name(), backward() ? " is gone" : " is new"), "", ""},
          SpotOf(oneof, kNamePart), {});
    }
    OneofGone(oneof, reader);
    path_.pop_back();
  }
}

// At most one member of a oneof survives a read. So for each oneof of the reader the fields in it
// are traced to where they were: members of one oneof excluded each other already, every other
// field stood alone.
void Comparison::OneofMembers(const Descriptor& writer, const OneofDescriptor& oneof) {
  std::set<const OneofDescriptor*> oneofs;
  std::vector<std::string> alone;
  std::vector<std::string> all;
  // Where the first that was there before stood.
  Spot before_spot;
  for (int member = 0; member < oneof.field_count(); ++member) {
    const FieldDescriptor& field = *oneof.field(member);
    const FieldDescriptor* before = writer.FindFieldByNumber(field.number());
    if (before == nullptr) {
      path_.push_back(field.name());
      Add(DifferenceKind::kOneofFieldAdded,
          {Concat(FieldText(field), backward() ? " is new in oneof " : " is gone from oneof ",
                  oneof.name()),
           "", ""},
          {}, SpotOf(field, kNamePart));
      path_.pop_back();
      continue;
    }
    if (all.empty()) before_spot = SpotOf(*before, kNamePart);
    all.push_back(field.name());
    if (before->real_containing_oneof() != nullptr) {
      oneofs.insert(before->real_containing_oneof());
    } else {
      alone.push_back(field.name());
    }
  }
  if (oneofs.size() + alone.size() < 2) return;
  const bool several = alone.size() > 1;
  const std::string names = Join(several || alone.empty() ? all : alone, ", ");
  Add(several ? DifferenceKind::kMultipleFieldsMovedToOneof
              : DifferenceKind::kFieldMovedToExistingOneof,
      {backward() ? Concat(names, " moved into oneof ", oneof.name())
                  : Concat(names, " moved out of oneof ", oneof.name()),
       Concat(Reader(), " keeps the last of ", Join(all, ", "), " where ", Written(),
              " sets more than one"),
       backward() ? Concat("leave ", names, " where they were")
                  : Concat("leave ", names, " in oneof ", oneof.name())},
      std::move(before_spot), SpotOf(oneof, kNamePart));
}

void Comparison::OneofGone(const OneofDescriptor& oneof, const Descriptor& reader) {
  int survivors = 0;
  for (int member = 0; member < oneof.field_count(); ++member) {
    const FieldDescriptor& field = *oneof.field(member);
    const FieldDescriptor* now = reader.FindFieldByNumber(field.number());
    if (now == nullptr) continue;
    ++survivors;
    if (now->real_containing_oneof() != nullptr) continue;
    path_.push_back(field.name());
    Add(DifferenceKind::kOneofFieldMovedToTopLevel,
        {Concat(FieldText(field), backward() ? " moved out of oneof " : " moved into oneof ",
                oneof.name()),
         "", ""},
        SpotOf(field, kNamePart), SpotOf(*now, kNamePart));
    path_.pop_back();
  }
  // A oneof that is gone with all its members is none that a reader could see half of.
  if (survivors == 0) return;
  for (int member = 0; member < oneof.field_count(); ++member) {
    const FieldDescriptor& field = *oneof.field(member);
    if (reader.FindFieldByNumber(field.number()) != nullptr) continue;
    path_.push_back(field.name());
    Add(DifferenceKind::kOneofFieldRemoved,
        {backward() ? Concat(FieldText(field), " is gone from oneof ", oneof.name())
                    : Concat(FieldText(field), " is new in oneof ", oneof.name()),
         Concat(Reader(), " sees oneof ", oneof.name(), " as not set where ", Written(), " sets ",
                field.name()),
         backward() ? Concat("write ", DeclarationText(field), " in the oneof again")
                    : Concat("put ", field.name(), " beside the oneof, not into it")},
        SpotOf(field, kNamePart), {});
    path_.pop_back();
  }
}

}  // namespace tocsin::schema
