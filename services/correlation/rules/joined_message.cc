#include "services/correlation/rules/joined_message.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>

#include <algorithm>
#include <set>
#include <string_view>
#include <utility>

#include "lib/base/status.h"
#include "lib/base/text.h"

namespace tocsin::correlation {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::DescriptorPool;
using google::protobuf::DescriptorProto;
using google::protobuf::FieldDescriptorProto;
using google::protobuf::FileDescriptor;
using google::protobuf::FileDescriptorProto;

constexpr std::int32_t kLargestNumber = 536'870'911;
// From here on tags have five bytes.
constexpr std::int32_t kSmallestNumber = 1 << 25;

// Files before those that import them.
using Files = std::vector<FileDescriptorProto>;

bool IsProtobufsOwn(std::string_view name) { return name.starts_with("google/protobuf/"); }

void Collect(const FileDescriptor& file, std::set<std::string>& seen, Files& files) {
  if (!seen.insert(file.name()).second) return;
  for (int i = 0; i < file.dependency_count(); ++i) Collect(*file.dependency(i), seen, files);
  file.CopyTo(&files.emplace_back());
}

Files FilesOf(const Descriptor& message) {
  Files files;
  std::set<std::string> seen;
  Collect(*message.file(), seen, files);
  return files;
}

// Moves everything that a set of files defines into a package of its own.
class Mover {
 public:
  explicit Mover(const std::string& name)
      : package_(Concat("tocsin_joined_", name)), folder_(Concat("tocsin_joined/", name, "/")) {}

  std::string File(const std::string& name) const {
    return IsProtobufsOwn(name) ? name : Concat(folder_, name);
  }
  std::string Name(const std::string& full) const { return Concat(package_, ".", full); }

  // The names of those files alone.
  void Rename(const std::set<std::string>& names, Files& files) const {
    const auto rename = [&](std::string& name) {
      if (names.contains(name)) name = File(name);
    };
    for (FileDescriptorProto& file : files) {
      rename(*file.mutable_name());
      for (std::string& dependency : *file.mutable_dependency()) rename(dependency);
    }
  }

  void Move(FileDescriptorProto& file) const {
    if (IsProtobufsOwn(file.name())) return;
    file.set_name(File(file.name()));
    file.set_package(file.package().empty() ? package_ : Name(file.package()));
    for (std::string& dependency : *file.mutable_dependency()) dependency = File(dependency);
    // Extensions of options have their numbers once in a pool.
    file.clear_extension();
    for (DescriptorProto& message : *file.mutable_message_type()) Move(message);
  }

 private:
  // Recursion is bounded by the nesting that the file was compiled with.
  void Move(DescriptorProto& message) const {
    message.clear_extension();
    for (FieldDescriptorProto& field : *message.mutable_field()) {
      const std::string& type = field.type_name();
      if (!type.starts_with('.') || type.starts_with(".google.protobuf.")) continue;
      field.set_type_name(Concat(".", package_, type));
    }
    for (DescriptorProto& nested : *message.mutable_nested_type()) Move(nested);
  }

  const std::string package_;
  const std::string folder_;
};

class FirstError final : public DescriptorPool::ErrorCollector {
 public:
  void AddError(const std::string& file, const std::string& element,
                const google::protobuf::Message*, ErrorLocation,
                const std::string& reason) override {
    if (text_.empty()) text_ = Concat(file, ": ", element, ": ", reason);
  }
  const std::string& text() const { return text_; }

 private:
  std::string text_;
};

struct Part {
  Files files;
  // Where the joined message is in them.
  std::string file;
  std::string type;
};

// The names that files of both have for different contents.
std::set<std::string> Clashing(const Files& known, const Files& more) {
  std::set<std::string> names;
  for (const FileDescriptorProto& file : more) {
    if (IsProtobufsOwn(file.name())) continue;
    for (const FileDescriptorProto& other : known) {
      if (file.name() == other.name() && file.SerializeAsString() != other.SerializeAsString()) {
        names.insert(file.name());
      }
    }
  }
  return names;
}

DescriptorProto& Find(FileDescriptorProto& file, const Descriptor& message) {
  if (message.containing_type() == nullptr) return *file.mutable_message_type(message.index());
  return *Find(file, *message.containing_type()).mutable_nested_type(message.index());
}

absl::StatusOr<std::int32_t> FreeNumber(const Descriptor& message, std::int32_t below) {
  std::int32_t number = below;
  for (bool moved = true; moved;) {
    moved = false;
    for (int i = 0; i < message.extension_range_count(); ++i) {
      const auto& range = *message.extension_range(i);
      if (number < range.start || number >= range.end) continue;
      number = range.start - 1;
      moved = true;
    }
    if (message.FindFieldByNumber(number) == nullptr) continue;
    --number;
    moved = true;
  }
  if (number < kSmallestNumber) {
    return InvalidArgument(Concat(message.full_name(),
                                  " gives its high field numbers to extensions: no number is left "
                                  "for a table's row"));
  }
  return number;
}

absl::StatusOr<JoinedMessage> Build(const Descriptor& message,
                                    const std::vector<FieldToJoin>& fields,
                                    const std::vector<Part>& parts) {
  Files files = FilesOf(message);
  JoinedMessage joined;
  FileDescriptorProto own = std::move(files.back());
  files.pop_back();
  const std::string own_bytes = own.SerializeAsString();
  std::int32_t below = kLargestNumber;
  DescriptorProto& target = Find(own, message);
  // They keep later versions of the message from using names and numbers again; these are ours.
  target.clear_reserved_range();
  target.clear_reserved_name();
  for (std::size_t i = 0; i < parts.size(); ++i) {
    for (const FileDescriptorProto& file : parts[i].files) {
      if (file.name() == own.name()) {
        if (file.SerializeAsString() == own_bytes) continue;
        return InvalidArgument(Concat("two files are called ", file.name()));
      }
      const auto known = std::find_if(files.begin(), files.end(),
                                      [&](const auto& f) { return f.name() == file.name(); });
      if (known == files.end()) {
        files.push_back(file);
      } else if (!IsProtobufsOwn(file.name()) &&
                 known->SerializeAsString() != file.SerializeAsString()) {
        return InvalidArgument(Concat("two files are called ", file.name()));
      }
    }
    TOCSIN_ASSIGN_OR_RETURN(const std::int32_t number, FreeNumber(message, below));
    below = number - 1;
    joined.numbers.push_back(number);
    FieldDescriptorProto& field = *target.add_field();
    field.set_name(fields[i].name);
    field.set_number(number);
    field.set_label(FieldDescriptorProto::LABEL_OPTIONAL);
    field.set_type(FieldDescriptorProto::TYPE_MESSAGE);
    field.set_type_name(Concat(".", parts[i].type));
    const auto& dependencies = own.dependency();
    if (parts[i].file != own.name() &&
        std::find(dependencies.begin(), dependencies.end(), parts[i].file) == dependencies.end()) {
      own.add_dependency(parts[i].file);
    }
  }
  files.push_back(std::move(own));
  const auto pool = std::make_shared<DescriptorPool>();
  FirstError error;
  for (const FileDescriptorProto& file : files) {
    if (pool->BuildFileCollectingErrors(file, &error) == nullptr) {
      return InvalidArgument(error.text());
    }
  }
  joined.descriptor = pool->FindMessageTypeByName(message.full_name());
  joined.owner = pool;
  return joined;
}

}  // namespace

absl::StatusOr<JoinedMessage> JoinMessages(const Descriptor& message,
                                           const std::vector<FieldToJoin>& fields) {
  std::vector<Part> parts;
  absl::StatusOr<JoinedMessage> joined = InvalidArgument("nothing is joined");
  Files known = FilesOf(message);
  for (std::size_t i = 0; i < fields.size(); ++i) {
    const Descriptor& other = *fields[i].message;
    const Mover mover(fields[i].name);
    Part& part = parts.emplace_back(Part{FilesOf(other), other.file()->name(), other.full_name()});
    const std::set<std::string> clashing = Clashing(known, part.files);
    mover.Rename(clashing, part.files);
    if (clashing.contains(part.file)) part.file = mover.File(part.file);
    joined = Build(message, fields, parts);
    if (joined.ok()) {
      known.insert(known.end(), part.files.begin(), part.files.end());
      continue;
    }
    // Other versions of the same types, or files that import each other in a circle.
    part.files = FilesOf(other);
    for (FileDescriptorProto& file : part.files) mover.Move(file);
    part.file = mover.File(other.file()->name());
    part.type =
        IsProtobufsOwn(other.file()->name()) ? other.full_name() : mover.Name(other.full_name());
    joined = Build(message, fields, parts);
    if (!joined.ok()) return joined;
    known.insert(known.end(), part.files.begin(), part.files.end());
  }
  return joined;
}

}  // namespace tocsin::correlation
