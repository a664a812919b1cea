#include "lib/schema/schema_tags.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>
#include <google/protobuf/unknown_field_set.h>

#include <algorithm>
#include <string_view>

#include "lib/base/status.h"

namespace tocsin::schema {

namespace pb = ::google::protobuf;

namespace {

constexpr char kMetaImport[] = "confluent/meta.proto";
// Of the extensions message_meta and field_meta, and of the field `tags` in them.
constexpr int kMetaNumber = 1088;
constexpr int kTagsNumber = 3;

// The message of these names, each within the one before; nullptr: there is none.
pb::DescriptorProto* FindMessage(pb::FileDescriptorProto& file,
                                 const std::vector<std::string>& names) {
  auto* messages = file.mutable_message_type();
  pb::DescriptorProto* message = nullptr;
  for (const std::string& name : names) {
    const auto found =
        std::find_if(messages->begin(), messages->end(),
                     [&](const pb::DescriptorProto& each) { return each.name() == name; });
    if (found == messages->end()) return nullptr;
    message = &*found;
    messages = message->mutable_nested_type();
  }
  return message;
}

pb::FieldDescriptorProto* FindField(pb::DescriptorProto& message, std::string_view name) {
  for (pb::FieldDescriptorProto& field : *message.mutable_field()) {
    if (field.name() == name) return &field;
  }
  return nullptr;
}

// Custom options are not known to the messages of descriptor.proto.
absl::Status ChangeTags(pb::UnknownFieldSet& options, const std::vector<std::string>& tags,
                        bool add) {
  // Options that were set one by one are several values, which count as one.
  std::string bytes;
  for (int i = 0; i < options.field_count(); ++i) {
    const pb::UnknownField& field = options.field(i);
    if (field.number() != kMetaNumber) continue;
    if (field.type() != pb::UnknownField::TYPE_LENGTH_DELIMITED) {
      return InvalidArgument(Concat("its option number ", kMetaNumber, " is not that of ",
                                    kMetaImport, ", where tags would stand"));
    }
    bytes += field.length_delimited();
  }
  pb::UnknownFieldSet meta;
  if (!meta.ParseFromString(bytes)) return InvalidArgument("its tags cannot be read");
  const auto tag_at = [&](int i, const std::string& tag) {
    const pb::UnknownField& field = meta.field(i);
    return field.number() == kTagsNumber &&
           field.type() == pb::UnknownField::TYPE_LENGTH_DELIMITED &&
           field.length_delimited() == tag;
  };
  for (const std::string& tag : tags) {
    bool there = false;
    for (int i = meta.field_count(); i-- > 0;) {
      if (!tag_at(i, tag)) continue;
      there = true;
      if (!add) meta.DeleteSubrange(i, 1);
    }
    if (add && !there) meta.AddLengthDelimited(kTagsNumber, tag);
  }
  options.DeleteByNumber(kMetaNumber);
  if (meta.empty()) return absl::OkStatus();
  std::string changed;
  if (!meta.SerializeToString(&changed)) return Internal("tags cannot be written");
  options.AddLengthDelimited(kMetaNumber, changed);
  return absl::OkStatus();
}

template <typename Element>
absl::Status ChangeTagsOf(Element& element, const std::vector<std::string>& tags, bool add) {
  auto& options = *element.mutable_options();
  const absl::Status changed =
      ChangeTags(*options.GetReflection()->MutableUnknownFields(&options), tags, add);
  if (options.ByteSizeLong() == 0) element.clear_options();
  return changed;
}

absl::Status Change(pb::FileDescriptorProto& file, const EntityTags& entity, bool add) {
  std::string_view path = entity.path;
  if (!path.empty() && path.front() == '.') path.remove_prefix(1);
  const bool is_field = entity.kind == EntityTags::Kind::kField;
  // The path as it stands comes first: a message may be called as its package is.
  for (const bool within_package : {false, true}) {
    std::string_view local = path;
    if (within_package) {
      const std::string prefix = file.package() + ".";
      if (file.package().empty() || local.substr(0, prefix.size()) != prefix) break;
      local.remove_prefix(prefix.size());
    }
    std::vector<std::string> names = Split(local, '.');
    std::string field_name;
    if (is_field && !names.empty()) {
      field_name = names.back();
      names.pop_back();
    }
    pb::DescriptorProto* message = FindMessage(file, names);
    if (message == nullptr) continue;
    pb::FieldDescriptorProto* field = is_field ? FindField(*message, field_name) : nullptr;
    if (is_field && field == nullptr) continue;
    const absl::Status changed = is_field ? ChangeTagsOf(*field, entity.tags, add)
                                          : ChangeTagsOf(*message, entity.tags, add);
    if (changed.ok()) return changed;
    return InvalidArgument(Concat("'", Shorten(entity.path, 200), "': ", Message(changed)));
  }
  return InvalidArgument(
      Concat("there is no ", is_field ? "field" : "message", " '", Shorten(entity.path, 200),
             "' to tag: give its name after those of the messages it is in, as in ",
             is_field ? "Outer.Inner.field" : "Outer.Inner"));
}

}  // namespace

absl::StatusOr<std::string> WithTags(const CompiledSchema& schema, const TagChanges& changes,
                                     std::span<const SourceFile> imports,
                                     const CompileLimits& limits) {
  pb::FileDescriptorProto file;
  if (!file.ParseFromString(schema.Serialized())) return Internal("a descriptor does not parse");
  for (const EntityTags& entity : changes.add) {
    TOCSIN_RETURN_IF_ERROR(Change(file, entity, /*add=*/true));
  }
  for (const EntityTags& entity : changes.remove) {
    TOCSIN_RETURN_IF_ERROR(Change(file, entity, /*add=*/false));
  }
  const auto& known = file.dependency();
  if (!changes.add.empty() && std::find(known.begin(), known.end(), kMetaImport) == known.end()) {
    file.add_dependency(kMetaImport);
  }
  return TextOfSerialized(file.SerializeAsString(), imports, limits);
}

}  // namespace tocsin::schema
