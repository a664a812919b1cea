// The rules for one field: type, label, number, name.
#include <google/protobuf/descriptor.pb.h>
#include <google/protobuf/wire_format_lite.h>

#include <algorithm>

#include "lib/base/status.h"
#include "lib/schema/comparison.h"

namespace tocsin::schema {

namespace pb = ::google::protobuf;

namespace {

using FieldProto = pb::FieldDescriptorProto;

// How a value stands on the wire: values of one group can be read as one another.
enum class ValueGroup {
  kVarint,
  kZigZag,
  kText,
  kFixed32,
  kFixed64,
  kFloat,
  kDouble,
  kMessage,
  kGroup,
  kMap,
};

ValueGroup GroupOf(const pb::FieldDescriptor& field) {
  if (field.is_map()) return ValueGroup::kMap;
  switch (field.type()) {
    case pb::FieldDescriptor::TYPE_SINT32:
    case pb::FieldDescriptor::TYPE_SINT64:
      return ValueGroup::kZigZag;
    case pb::FieldDescriptor::TYPE_STRING:
    case pb::FieldDescriptor::TYPE_BYTES:
      return ValueGroup::kText;
    case pb::FieldDescriptor::TYPE_FIXED32:
    case pb::FieldDescriptor::TYPE_SFIXED32:
      return ValueGroup::kFixed32;
    case pb::FieldDescriptor::TYPE_FIXED64:
    case pb::FieldDescriptor::TYPE_SFIXED64:
      return ValueGroup::kFixed64;
    case pb::FieldDescriptor::TYPE_FLOAT:
      return ValueGroup::kFloat;
    case pb::FieldDescriptor::TYPE_DOUBLE:
      return ValueGroup::kDouble;
    case pb::FieldDescriptor::TYPE_MESSAGE:
      return ValueGroup::kMessage;
    case pb::FieldDescriptor::TYPE_GROUP:
      return ValueGroup::kGroup;
    default:
      return ValueGroup::kVarint;
  }
}

bool IsScalar(ValueGroup group) {
  return group != ValueGroup::kMessage && group != ValueGroup::kGroup && group != ValueGroup::kMap;
}

using Lite = pb::internal::WireFormatLite;

int WireTypeOfOne(const pb::FieldDescriptor& field) {
  return Lite::WireTypeForFieldType(static_cast<Lite::FieldType>(field.type()));
}

int WireTypeOf(const pb::FieldDescriptor& field) {
  if (field.is_packed()) return Lite::WIRETYPE_LENGTH_DELIMITED;
  return WireTypeOfOne(field);
}

std::string_view CardinalityText(const pb::FieldDescriptor& field) {
  return field.is_repeated() ? "repeated" : "a single field";
}

bool IsNumeric(const pb::FieldDescriptor& field) {
  const ValueGroup group = GroupOf(field);
  return IsScalar(group) && group != ValueGroup::kText;
}

int TypePart(const pb::FieldDescriptor& field) {
  return field.enum_type() != nullptr || field.message_type() != nullptr
             ? FieldProto::kTypeNameFieldNumber
             : FieldProto::kTypeFieldNumber;
}

Spot TypeSpot(const pb::FieldDescriptor& field) { return SpotOf(field, TypePart(field)); }

// Where the number or the name is reserved; a Spot without a file: it is not.
Spot Reservation(const pb::Descriptor& message, int number) {
  for (int i = 0; i < message.reserved_range_count(); ++i) {
    const pb::Descriptor::ReservedRange& range = *message.reserved_range(i);
    if (number < range.start || number >= range.end) continue;
    return SpotOf(message, pb::DescriptorProto::kReservedRangeFieldNumber, i);
  }
  return {};
}
Spot Reservation(const pb::Descriptor& message, const std::string& name) {
  if (!message.IsReservedName(name)) return {};
  for (int i = 0; i < message.reserved_name_count(); ++i) {
    if (message.reserved_name(i) != name) continue;
    return SpotOf(message, pb::DescriptorProto::kReservedNameFieldNumber, i);
  }
  return {};
}

}  // namespace

// What becomes of a value whose type does not match.
std::string Comparison::MisreadAs(const FieldDescriptor& writer,
                                  const FieldDescriptor& reader) const {
  const int written = WireTypeOf(writer);
  // A reader of a list of numbers takes them one by one, too.
  const bool looked_for =
      written == WireTypeOf(reader) || (reader.is_packed() && written == WireTypeOfOne(reader));
  if (!looked_for && reader.is_required()) {
    return Concat(Reader(), " refuses ", Written(), ": it finds no ", reader.name());
  }
  if (!looked_for) {
    return Concat(Reader(), " sees ", DefaultText(reader),
                  "; the value is among the unknown fields");
  }
  const ValueGroup from = GroupOf(writer);
  const ValueGroup to = GroupOf(reader);
  if (from == ValueGroup::kZigZag) return Concat(Reader(), " misreads numbers: -1 comes as 1");
  if (to == ValueGroup::kZigZag) return Concat(Reader(), " misreads numbers: 1 comes as -1");
  if (from == ValueGroup::kFloat || from == ValueGroup::kDouble) {
    return Concat(Reader(), " misreads numbers: it takes the bits of a ", writer.type_name(),
                  " for an integer");
  }
  if (to == ValueGroup::kFloat || to == ValueGroup::kDouble) {
    return Concat(Reader(), " misreads numbers: it takes the bits of an integer for a ",
                  reader.type_name());
  }
  if (to == ValueGroup::kText) {
    return Concat(Reader(), " sees the bytes of the ", from == ValueGroup::kMap ? "entry" : "value",
                  " as ", reader.type_name(),
                  reader.type() == FieldDescriptor::TYPE_STRING
                      ? ", and refuses the record where they are not UTF-8"
                      : "");
  }
  if (from == ValueGroup::kMap || to == ValueGroup::kMap) {
    return Concat(Reader(), " takes ", TypeText(writer), " for ", TypeText(reader),
                  ": entries are lost or misread unless both have the same two fields");
  }
  return Concat(Reader(), " takes the bytes for ", TypeText(reader),
                ", and refuses the record or sees values that nobody wrote");
}

// Asked for once for each field that breaks, and costs a look at all fields.
int Comparison::FreeNumberFor(const Descriptor& writer, const Descriptor& reader) {
  const Pair pair{&writer, &reader};
  if (pair != free_number_for_) {
    free_number_for_ = pair;
    free_number_ = FreeNumber(*pair.first, *pair.second);
  }
  return free_number_;
}

std::string Comparison::KeepOrRenumber(const FieldDescriptor& writer,
                                       const FieldDescriptor& reader) {
  const FieldDescriptor& older = Older(writer, reader);
  if (IsMapEntry(*older.containing_type())) return Concat("keep ", TypeText(older));
  const int number = FreeNumberFor(*writer.containing_type(), *reader.containing_type());
  const std::string keep = Concat("write ", DeclarationText(older), " again");
  if (number == 0) return keep;
  return Concat(keep, ", or give the new field number ", number, " and write reserved ",
                older.number(), ";");
}

void Comparison::Fields(const Descriptor& writer, const Descriptor& reader) {
  for (int i = 0; i < writer.field_count(); ++i) {
    const FieldDescriptor& field = *writer.field(i);
    const FieldDescriptor* same = reader.FindFieldByNumber(field.number());
    if (same == nullptr) {
      FieldGone(field, reader);
      continue;
    }
    const FieldDescriptor& newer = Newer(field, *same);
    const bool in_oneof = newer.real_containing_oneof() != nullptr;
    if (in_oneof) path_.push_back(newer.real_containing_oneof()->name());
    path_.push_back(newer.name());
    Field(field, *same);
    path_.pop_back();
    if (in_oneof) path_.pop_back();
  }
  for (int i = 0; i < reader.field_count(); ++i) {
    const FieldDescriptor& field = *reader.field(i);
    if (writer.FindFieldByNumber(field.number()) == nullptr) FieldNew(field);
    if (!backward()) continue;
    path_.push_back(field.name());
    ReservedField(field, writer);
    path_.pop_back();
  }
}

void Comparison::FieldGone(const FieldDescriptor& field, const Descriptor& reader) {
  // Members of oneofs have their own rules.
  if (field.real_containing_oneof() != nullptr) return;
  path_.push_back(field.name());
  if (field.is_required()) {
    Add(DifferenceKind::kRequiredFieldRemoved,
        {backward() ? Concat(FieldText(field), " was required and is gone")
                    : Concat(FieldText(field), " is new and required"),
         backward() ? std::string("readers with the old schema, which require it, refuse whatever "
                                  "is written without it")
                    : Concat(Reader(), " does not see it"),
         backward() ? Concat("write ", DeclarationText(field), " again")
                    : Concat("make it optional: optional ", TypeInText(field), " ", field.name(),
                             " = ", field.number(), ";")},
        SpotOf(field, kNamePart), {});
  } else {
    std::string repair;
    if (backward()) {
      if (!reader.IsReservedNumber(field.number())) {
        repair = Concat("reserved ", field.number(), ";");
      }
      if (!reader.IsReservedName(field.name())) {
        repair += Concat(repair.empty() ? "" : " ", "reserved \"", field.name(), "\";");
      }
    }
    Add(DifferenceKind::kFieldRemoved,
        {Concat(FieldText(field), backward() ? " is gone" : " is new"),
         Concat(Reader(), " does not see it; it is among the unknown fields"), std::move(repair)},
        SpotOf(field, kNamePart), {});
  }
  path_.pop_back();
}

void Comparison::FieldNew(const FieldDescriptor& field) {
  if (field.real_containing_oneof() != nullptr) return;
  path_.push_back(field.name());
  if (field.is_required()) {
    Add(DifferenceKind::kRequiredFieldAdded,
        {backward() ? Concat(FieldText(field), " is new and required")
                    : Concat(FieldText(field), " was required and is gone"),
         Concat(Reader(), " refuses ", Written(), ": the required field is not in it"),
         backward() ? Concat("make it optional: optional ", TypeInText(field), " ", field.name(),
                             " = ", field.number(), ";")
                    : Concat("write ", DeclarationText(field), " again")},
        {}, SpotOf(field, kNamePart));
  } else {
    Add(DifferenceKind::kFieldAdded,
        {Concat(FieldText(field), backward() ? " is new" : " is gone"),
         Concat(Reader(), " sees ", DefaultText(field)), ""},
        {}, SpotOf(field, kNamePart));
  }
  path_.pop_back();
}

// What is reserved in the older text; `writer` is the older one.
void Comparison::ReservedField(const FieldDescriptor& field, const Descriptor& writer) {
  Spot reservation = writer.FindFieldByNumber(field.number()) == nullptr
                         ? Reservation(writer, field.number())
                         : Spot{};
  const bool number = reservation.file != nullptr;
  if (!number) reservation = Reservation(writer, field.name());
  if (reservation.file == nullptr) return;
  const int free = FreeNumberFor(writer, *field.containing_type());
  Add(DifferenceKind::kReservedReused,
      {Concat(FieldText(field), " takes ",
              number ? Concat("number ", field.number()) : Concat("the name ", field.name()),
              ", which was reserved"),
       number ? Concat(Reader(), " takes a value of the field that once had number ",
                       field.number(), " for ", field.name())
              : Concat("a reader of JSON takes a value of the field that once was called ",
                       field.name(), " for this one"),
       !number     ? std::string("give it another name, and keep the reservation")
       : free == 0 ? std::string("give it a number that was never used, and keep the reservation")
                   : Concat("give it number ", free, ", and keep the reservation")},
      std::move(reservation),
      SpotOf(field, number ? FieldProto::kNumberFieldNumber : FieldProto::kNameFieldNumber));
}

void Comparison::Field(const FieldDescriptor& writer, const FieldDescriptor& reader) {
  if (writer.name() != reader.name()) {
    Add(DifferenceKind::kFieldNameChanged,
        {Concat("number ", writer.number(), " was ", Older(writer, reader).name(), " and is ",
                Newer(writer, reader).name()),
         "", ""},
        SpotOf(writer, kNamePart), SpotOf(reader, kNamePart));
  }
  Type(writer, reader);
  Label(writer, reader);
  JsonName(writer, reader);
}

void Comparison::Type(const FieldDescriptor& writer, const FieldDescriptor& reader) {
  const ValueGroup from = GroupOf(writer);
  const ValueGroup to = GroupOf(reader);
  const auto changed = [&](DifferenceKind kind) {
    Add(kind,
        {Concat(FieldText(Newer(writer, reader)), " was ", TypeText(Older(writer, reader)),
                " and is ", TypeText(Newer(writer, reader))),
         MisreadAs(writer, reader), KeepOrRenumber(writer, reader)},
        TypeSpot(writer), TypeSpot(reader));
  };
  if (IsScalar(from) && IsScalar(to)) {
    if (from != to) {
      changed(DifferenceKind::kFieldScalarKindChanged);
    } else if (writer.enum_type() != nullptr && reader.enum_type() != nullptr) {
      EnumType(writer, reader);
    }
  } else if (from != to) {
    changed(DifferenceKind::kFieldKindChanged);
  } else if (from == ValueGroup::kMap) {
    const Descriptor& old_entry = *writer.message_type();
    const Descriptor& new_entry = *reader.message_type();
    Type(*old_entry.map_key(), *new_entry.map_key());
    Type(*old_entry.map_value(), *new_entry.map_value());
  } else {
    NamedType(writer, reader);
  }
}

void Comparison::NamedType(const FieldDescriptor& writer, const FieldDescriptor& reader) {
  const Descriptor& old_type = *writer.message_type();
  const Descriptor& new_type = *reader.message_type();
  if (LocalName(old_type) != LocalName(new_type)) {
    Add(DifferenceKind::kFieldNamedTypeChanged,
        {Concat(FieldText(Newer(writer, reader)), " was ", TypeText(Older(writer, reader)),
                " and is ", TypeText(Newer(writer, reader))),
         MisreadAs(writer, reader), KeepOrRenumber(writer, reader)},
        TypeSpot(writer), TypeSpot(reader));
    return;
  }
  if (&old_type == &new_type) return;
  // Types of the file itself are compared in their place.
  if (old_type.file() == &writer_file_ && new_type.file() == &reader_file_) return;
  const Pair pair{&old_type, &new_type};
  if (imported_.try_emplace(pair).second) waiting_.push_back(pair);
  if (within_ != nullptr) {
    within_->uses.push_back(pair);
  } else {
    uses_.push_back({path_, &writer, &reader, pair});
  }
}

void Comparison::ImportedTypeChanged(const Use& use, std::string_view reason) {
  Add(DifferenceKind::kFieldNamedTypeChanged,
      {Concat(FieldText(*use.reader),
              " has an imported type that is not compatible with the one before: ", reason),
       Concat(Reader(), " misreads what is in ", use.reader->name(), " of ", Written()),
       Concat("mend ", use.pair.second->full_name(), " in ", use.pair.second->file()->name(),
              ", or keep the version that was imported before")},
      TypeSpot(*use.writer), TypeSpot(*use.reader));
}

// Enums of the file itself that keep their name are compared in their place; any other pair where
// it is used.
void Comparison::EnumType(const FieldDescriptor& writer, const FieldDescriptor& reader) {
  const EnumDescriptor& from = *writer.enum_type();
  const EnumDescriptor& to = *reader.enum_type();
  if (&from == &to) return;
  if (from.file() == &writer_file_ && to.file() == &reader_file_ &&
      LocalName(from) == LocalName(to)) {
    return;
  }
  if (!compared_enums_.emplace(&from, &to).second) return;
  std::vector<std::string> path = Split(LocalName(Newer(from, to)), '.');
  path.swap(path_);
  EnumValues(from, to);
  path.swap(path_);
}

std::string Comparison::RepeatedConsequence(const FieldDescriptor& writer,
                                            const FieldDescriptor& reader) const {
  if (reader.is_repeated()) {
    return Concat(Reader(), " sees a list of at most one; an empty one where ", writer.name(),
                  " has its default");
  }
  if (writer.is_packed()) {
    return Concat(Reader(), " sees ", DefaultText(reader),
                  ": the values are packed, where it looks for a single one");
  }
  if (reader.message_type() != nullptr) {
    return Concat(Reader(), " sees all elements merged into one");
  }
  return Concat(Reader(), " sees the last of the values alone");
}

void Comparison::Label(const FieldDescriptor& writer, const FieldDescriptor& reader) {
  if (writer.is_map() || reader.is_map()) return;
  const FieldDescriptor& older = Older(writer, reader);
  const FieldDescriptor& newer = Newer(writer, reader);
  const auto spot = [](const FieldDescriptor& field) {
    if (LabelIsWritten(field)) return SpotOf(field, FieldProto::kLabelFieldNumber);
    return TypeSpot(field);
  };
  const bool repeated_changed = writer.is_repeated() != reader.is_repeated();
  const std::string keep = Concat("write ", DeclarationText(older), " again");
  const std::string refuses =
      Concat(Reader(), " refuses ", Written(), " in which ", reader.name(), " is not set");
  if (IsNumeric(writer) && IsNumeric(reader) && LabelIsWritten(writer) && LabelIsWritten(reader) &&
      LabelText(writer) != LabelText(reader)) {
    Add(DifferenceKind::kFieldNumericLabelChanged,
        {Concat(FieldText(newer), " was ", LabelText(older), " and is ", LabelText(newer)),
         repeated_changed ? RepeatedConsequence(writer, reader)
         : reader.is_required()
             ? refuses
             : Concat(Reader(), " sees what was written; what it writes itself may lack the field"),
         repeated_changed ? KeepOrRenumber(writer, reader) : keep},
        spot(writer), spot(reader));
    return;
  }
  if (repeated_changed) {
    Add(DifferenceKind::kFieldLabelChanged,
        {Concat(FieldText(newer), " was ", CardinalityText(older), " and is ",
                CardinalityText(newer)),
         RepeatedConsequence(writer, reader), KeepOrRenumber(writer, reader)},
        spot(writer), spot(reader));
  }
  if (!writer.is_required() && reader.is_required()) {
    Add(DifferenceKind::kFieldMadeRequired,
        {backward() ? Concat(FieldText(newer), " was optional and is required")
                    : Concat(FieldText(newer), " was required and is optional"),
         refuses, keep},
        spot(writer), spot(reader));
  }
}

void Comparison::JsonName(const FieldDescriptor& writer, const FieldDescriptor& reader) {
  if (writer.json_name() == reader.json_name()) return;
  const FieldDescriptor& older = Older(writer, reader);
  const FieldDescriptor& newer = Newer(writer, reader);
  Add(DifferenceKind::kFieldJsonNameChanged,
      {Concat(FieldText(newer), " was \"", older.json_name(), "\" in JSON and is \"",
              newer.json_name(), "\""),
       Concat(Reader(), " that reads JSON does not find ", reader.name(), " in ", Written()),
       Concat("write [json_name = \"", older.json_name(), "\"]")},
      SpotOf(writer, kNamePart), SpotOf(reader, kNamePart));
}

}  // namespace tocsin::schema
