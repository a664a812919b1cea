#include "lib/schema/comparison.h"

#include <google/protobuf/descriptor.pb.h>

#include <algorithm>
#include <cstddef>
#include <iterator>

#include "lib/base/status.h"

namespace tocsin::schema {

namespace pb = ::google::protobuf;

namespace {

// Scope: FileDescriptor with message_type(i), or Descriptor with nested_type(i).
const pb::Descriptor& MessageOf(const pb::FileDescriptor& scope, int i) {
  return *scope.message_type(i);
}
const pb::Descriptor& MessageOf(const pb::Descriptor& scope, int i) {
  return *scope.nested_type(i);
}

std::vector<int> Beneath(const pb::Descriptor& message, int part, int index) {
  std::vector<int> path = PathOf(message);
  path.push_back(part);
  path.push_back(index);
  return path;
}

// Where the number or the name is reserved; a Spot without a file: it is not.
Spot Reservation(const pb::EnumDescriptor& type, int number) {
  for (int i = 0; i < type.reserved_range_count(); ++i) {
    const pb::EnumDescriptor::ReservedRange& range = *type.reserved_range(i);
    if (number < range.start || number > range.end) continue;
    return SpotOf(type, pb::EnumDescriptorProto::kReservedRangeFieldNumber, i);
  }
  return {};
}
Spot Reservation(const pb::EnumDescriptor& type, const std::string& name) {
  if (!type.IsReservedName(name)) return {};
  for (int i = 0; i < type.reserved_name_count(); ++i) {
    if (type.reserved_name(i) != name) continue;
    return SpotOf(type, pb::EnumDescriptorProto::kReservedNameFieldNumber, i);
  }
  return {};
}

}  // namespace

std::vector<int> PathOf(const pb::Descriptor& message) {
  if (message.containing_type() == nullptr) {
    return {pb::FileDescriptorProto::kMessageTypeFieldNumber, message.index()};
  }
  return Beneath(*message.containing_type(), pb::DescriptorProto::kNestedTypeFieldNumber,
                 message.index());
}

std::vector<int> PathOf(const pb::FieldDescriptor& field) {
  return Beneath(*field.containing_type(), pb::DescriptorProto::kFieldFieldNumber, field.index());
}

std::vector<int> PathOf(const pb::OneofDescriptor& oneof) {
  return Beneath(*oneof.containing_type(), pb::DescriptorProto::kOneofDeclFieldNumber,
                 oneof.index());
}

std::vector<int> PathOf(const pb::EnumDescriptor& type) {
  if (type.containing_type() == nullptr) {
    return {pb::FileDescriptorProto::kEnumTypeFieldNumber, type.index()};
  }
  return Beneath(*type.containing_type(), pb::DescriptorProto::kEnumTypeFieldNumber, type.index());
}

std::vector<int> PathOf(const pb::EnumValueDescriptor& value) {
  std::vector<int> path = PathOf(*value.type());
  path.push_back(pb::EnumDescriptorProto::kValueFieldNumber);
  path.push_back(value.index());
  return path;
}

bool IsMapEntry(const pb::Descriptor& message) { return message.map_key() != nullptr; }

Comparison::Comparison(const FileDescriptor& writer, const FileDescriptor& reader,
                       Direction direction)
    : writer_file_(writer), reader_file_(reader), direction_(direction) {}

std::string_view Comparison::Reader() const {
  return backward() ? "a reader with the new schema" : "a reader with the old schema";
}

std::string_view Comparison::Written() const {
  return backward() ? "data of the old schema" : "data of the new schema";
}

void Comparison::Add(DifferenceKind kind, Words words, Spot writer, Spot reader) {
  Change change{kind,
                "#/" + Join(path_, "/"),
                std::move(words.description),
                std::move(words.consequence),
                std::move(words.repair),
                std::move(writer),
                std::move(reader)};
  if (!backward()) std::swap(change.older, change.newer);
  changes_.push_back(std::move(change));
}

std::vector<Change> Comparison::Run() {
  File();
  ImportedTypes();
  return std::move(changes_);
}

void Comparison::File() {
  const FileDescriptor& older = Older(writer_file_, reader_file_);
  const FileDescriptor& newer = Newer(writer_file_, reader_file_);
  if (older.package() != newer.package()) {
    const auto place = [](const FileDescriptor& file) {
      return Spot{&file, {pb::FileDescriptorProto::kPackageFieldNumber}};
    };
    Add(DifferenceKind::kPackageChanged,
        {Concat("the package was '", older.package(), "' and is '", newer.package(),
                "': every message has another full name"),
         Concat(Reader(), " does not find the types of ", Written(),
                " by their full names; the bytes themselves are the same"),
         older.package().empty()
             ? std::string("leave the package line out, or register the schema under another "
                           "subject")
             : Concat("write package ", older.package(),
                      "; again, or register the schema under another subject")},
        place(writer_file_), place(reader_file_));
  }
  Messages(writer_file_, reader_file_, writer_file_.message_type_count(),
           reader_file_.message_type_count());
  Enums(writer_file_, reader_file_);
}

template <typename Scope>
void Comparison::Messages(const Scope& writer, const Scope& reader, int writer_count,
                          int reader_count) {
  std::map<std::string_view, const Descriptor*> by_name;
  for (int i = 0; i < reader_count; ++i) {
    const Descriptor& message = MessageOf(reader, i);
    if (!IsMapEntry(message)) by_name.emplace(message.name(), &message);
  }
  std::set<std::string_view> known;
  for (int i = 0; i < writer_count; ++i) {
    const Descriptor& message = MessageOf(writer, i);
    if (IsMapEntry(message)) continue;
    known.insert(message.name());
    path_.push_back(message.name());
    const auto found = by_name.find(message.name());
    if (found == by_name.end()) {
      Add(DifferenceKind::kMessageRemoved,
          {backward() ? Concat("message ", message.full_name(), " is no longer in the file")
                      : Concat("message ", message.full_name(), " is new in the file"),
           Concat(Reader(), " does not know the type: records of it in ", Written(),
                  " cannot be read"),
           backward() ? Concat("keep message ", message.name(), " where it was")
                      : Concat("register message ", message.name(), " under a subject of its own")},
          SpotOf(message, kNamePart), {});
    } else {
      if (found->second->index() != message.index()) {
        Add(DifferenceKind::kMessageMoved,
            {Concat("message ", message.full_name(), " was at index ",
                    Older(message, *found->second).index(), " and is at ",
                    Newer(message, *found->second).index()),
             "", ""},
            SpotOf(message, kNamePart), SpotOf(*found->second, kNamePart));
      }
      Message(message, *found->second);
    }
    path_.pop_back();
  }
  for (int i = 0; i < reader_count; ++i) {
    const Descriptor& message = MessageOf(reader, i);
    if (IsMapEntry(message) || known.contains(message.name())) continue;
    path_.push_back(message.name());
    Add(DifferenceKind::kMessageAdded,
        {Concat("message ", message.full_name(), backward() ? " is new" : " is gone"), "", ""}, {},
        SpotOf(message, kNamePart));
    path_.pop_back();
  }
}

template <typename Scope>
void Comparison::Enums(const Scope& writer, const Scope& reader) {
  for (int i = 0; i < writer.enum_type_count(); ++i) {
    const EnumDescriptor& type = *writer.enum_type(i);
    path_.push_back(type.name());
    if (const EnumDescriptor* same = reader.FindEnumTypeByName(type.name()); same != nullptr) {
      EnumValues(type, *same);
    } else {
      Add(DifferenceKind::kEnumRemoved,
          {Concat("enum ", type.full_name(), backward() ? " is no longer in the file" : " is new"),
           "", ""},
          SpotOf(type, kNamePart), {});
    }
    path_.pop_back();
  }
  for (int i = 0; i < reader.enum_type_count(); ++i) {
    const EnumDescriptor& type = *reader.enum_type(i);
    if (writer.FindEnumTypeByName(type.name()) != nullptr) continue;
    path_.push_back(type.name());
    Add(DifferenceKind::kEnumAdded,
        {Concat("enum ", type.full_name(), backward() ? " is new" : " is gone"), "", ""}, {},
        SpotOf(type, kNamePart));
    path_.pop_back();
  }
}

void Comparison::EnumValueGone(const EnumValueDescriptor& value, const EnumDescriptor& reader) {
  // A proto2 enum is closed: its reader keeps an unknown number out of the field.
  const bool closed = reader.file()->syntax() == FileDescriptor::SYNTAX_PROTO2;
  Add(DifferenceKind::kEnumConstRemoved,
      {backward() ? Concat(value.name(), " = ", value.number(), " is no longer in enum ",
                           reader.full_name())
                  : Concat(value.name(), " = ", value.number(), " is new in enum ",
                           value.type()->full_name()),
       closed ? Concat(Reader(), " sees a field that holds it as not set")
              : Concat(Reader(), " sees the bare number ", value.number()),
       backward() ? Concat("keep ", value.name(), " = ", value.number(), ";") : std::string()},
      SpotOf(value, kNamePart), {});
}

void Comparison::EnumValues(const EnumDescriptor& writer, const EnumDescriptor& reader) {
  for (int i = 0; i < writer.value_count(); ++i) {
    const EnumValueDescriptor& value = *writer.value(i);
    const EnumValueDescriptor* same = reader.FindValueByNumber(value.number());
    if (same == nullptr) {
      path_.push_back(value.name());
      EnumValueGone(value, reader);
      path_.pop_back();
    } else if (reader.FindValueByName(value.name()) == nullptr) {
      // Of several with that number the first by name: the order of declaration must not matter.
      for (int j = 0; j < reader.value_count(); ++j) {
        const EnumValueDescriptor& alias = *reader.value(j);
        if (alias.number() == value.number() && alias.name() < same->name()) same = &alias;
      }
      path_.push_back(Newer(value, *same).name());
      Add(DifferenceKind::kEnumConstChanged,
          {Concat("value ", value.number(), " was ", Older(value, *same).name(), " and is ",
                  Newer(value, *same).name()),
           "", ""},
          SpotOf(value, kNamePart), SpotOf(*same, kNamePart));
      path_.pop_back();
    }
  }
  for (int i = 0; i < reader.value_count(); ++i) {
    const EnumValueDescriptor& value = *reader.value(i);
    const bool is_new = writer.FindValueByNumber(value.number()) == nullptr;
    path_.push_back(value.name());
    if (is_new) {
      Add(DifferenceKind::kEnumConstAdded,
          {Concat(value.name(), " = ", value.number(), backward() ? " is new" : " is gone"), "",
           ""},
          {}, SpotOf(value, kNamePart));
    }
    // What was reserved is a fact of the older text alone.
    if (backward()) {
      Spot reservation = is_new ? Reservation(writer, value.number()) : Spot{};
      const bool number = reservation.file != nullptr;
      if (!number) reservation = Reservation(writer, value.name());
      if (reservation.file != nullptr) {
        const std::string what =
            number ? Concat("number ", value.number()) : Concat("the name ", value.name());
        Add(DifferenceKind::kReservedReused,
            {Concat(value.name(), " = ", value.number(), " takes ", what, ", which was reserved"),
             Concat(Reader(), " takes what earlier data meant by ", what, " for ", value.name()),
             number ? std::string("give it a number that was never used, and keep the reservation")
                    : std::string("give it another name, and keep the reservation")},
            std::move(reservation), SpotOf(value, kNamePart));
      }
    }
    path_.pop_back();
  }
}

void Comparison::Message(const Descriptor& writer, const Descriptor& reader) {
  Messages(writer, reader, writer.nested_type_count(), reader.nested_type_count());
  Enums(writer, reader);
  Fields(writer, reader);
  Oneofs(writer, reader);
}

// Compares every pair of imported messages that was reached, in a loop and not by recursion: a
// chain of messages may be as long as the text allows. Then what is wrong with one is carried to
// all that use it, directly or not, and told at each field of the file itself.
void Comparison::ImportedTypes() {
  const std::size_t of_the_file = changes_.size();
  std::map<Pair, std::vector<Pair>> users;
  std::vector<Pair> bad;
  while (!waiting_.empty()) {
    const Pair pair = waiting_.back();
    waiting_.pop_back();
    Imported& imported = imported_[pair];
    within_ = &imported;
    path_ = Split(LocalName(Newer(*pair.first, *pair.second)), '.');
    const std::size_t before = changes_.size();
    Message(*pair.first, *pair.second);
    for (std::size_t i = before; i < changes_.size() && imported.reason.empty(); ++i) {
      if (IsCompatible(changes_[i].kind)) continue;
      imported.reason = Concat(pair.second->full_name(), " of ", pair.second->file()->name(), ": ",
                               KindName(changes_[i].kind), " at ", changes_[i].path);
      bad.push_back(pair);
    }
    for (const Pair& used : imported.uses) users[used].push_back(pair);
  }
  while (!bad.empty()) {
    const Pair pair = bad.back();
    bad.pop_back();
    const std::string& reason = imported_[pair].reason;
    for (const Pair& user : users[pair]) {
      Imported& imported = imported_[user];
      if (!imported.reason.empty()) continue;
      imported.reason = reason;
      bad.push_back(user);
    }
  }
  const auto end_of_file = changes_.begin() + static_cast<std::ptrdiff_t>(of_the_file);
  std::vector<Change> within_imports(std::make_move_iterator(end_of_file),
                                     std::make_move_iterator(changes_.end()));
  changes_.erase(end_of_file, changes_.end());
  for (const Use& use : uses_) {
    const std::string& reason = imported_[use.pair].reason;
    if (reason.empty()) continue;
    path_ = use.path;
    ImportedTypeChanged(use, reason);
  }
  path_.clear();
  std::move(within_imports.begin(), within_imports.end(), std::back_inserter(changes_));
}

}  // namespace tocsin::schema
