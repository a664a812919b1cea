#include "lib/schema/schema_text.h"

#include <google/protobuf/descriptor.pb.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>

#include "lib/base/status.h"
#include "lib/base/text.h"

namespace tocsin::schema {

namespace pb = ::google::protobuf;

namespace {

// Both ends included.
struct Range {
  std::int64_t first = 0;
  std::int64_t last = 0;
  std::vector<OptionText> options;
};

std::string ScalarOrName(const pb::FieldDescriptor& field) {
  if (field.type() == pb::FieldDescriptor::TYPE_ENUM) {
    return Concat(".", field.enum_type()->full_name());
  }
  if (field.type() == pb::FieldDescriptor::TYPE_MESSAGE) {
    return Concat(".", field.message_type()->full_name());
  }
  return field.type_name();
}

std::string_view LabelOf(const pb::FieldDescriptor& field) {
  if (field.is_map() || field.real_containing_oneof() != nullptr) return "";
  if (field.is_repeated()) return "repeated ";
  if (field.is_required()) return "required ";
  return field.has_optional_keyword() ? "optional " : "";
}

bool IsGroup(const pb::FieldDescriptor& field) {
  return field.type() == pb::FieldDescriptor::TYPE_GROUP;
}

// Does the parser make a message of its own for it, beside those that are declared?
bool MakesMessage(const pb::FieldDescriptor& field) { return field.is_map() || IsGroup(field); }

bool HasGroup(const std::vector<const pb::FieldDescriptor*>& fields) {
  return std::any_of(fields.begin(), fields.end(),
                     [](const auto* field) { return IsGroup(*field); });
}

// Scope: FileDescriptor with message_type(i), or Descriptor with nested_type(i).
int MessageCount(const pb::FileDescriptor& scope) { return scope.message_type_count(); }
int MessageCount(const pb::Descriptor& scope) { return scope.nested_type_count(); }
const pb::Descriptor* MessageOf(const pb::FileDescriptor& scope, int i) {
  return scope.message_type(i);
}
const pb::Descriptor* MessageOf(const pb::Descriptor& scope, int i) { return scope.nested_type(i); }

// The messages and the extensions of a file or a message that are still to be printed. Message
// indexes count the messages that maps and groups make, too. So before the parser makes the next
// one for a field, all that stand before it must have been printed.
struct Pending {
  // nullptr: made for a field.
  std::vector<const pb::Descriptor*> messages;
  std::size_t next_message = 0;
  std::vector<const pb::FieldDescriptor*> extensions;
  std::size_t next_extension = 0;
};

template <typename Scope>
Pending PendingOf(const Scope& scope, const std::vector<const pb::FieldDescriptor*>& fields,
                  std::vector<const pb::FieldDescriptor*> extensions) {
  std::vector<const pb::Descriptor*> made;
  for (const pb::FieldDescriptor* field : fields) {
    if (MakesMessage(*field)) made.push_back(field->message_type());
  }
  std::sort(made.begin(), made.end());
  Pending pending;
  pending.extensions = std::move(extensions);
  for (int i = 0; i < MessageCount(scope); ++i) {
    const pb::Descriptor* message = MessageOf(scope, i);
    const bool is_made = std::binary_search(made.begin(), made.end(), message);
    pending.messages.push_back(is_made ? nullptr : message);
  }
  return pending;
}

class Printer {
 public:
  Printer(const pb::DescriptorPool& pool, TextForm form)
      : pool_(pool), normalized_(form == TextForm::kNormalized) {}

  absl::StatusOr<std::string> Print(const pb::FileDescriptor& file) {
    const bool proto2 = file.syntax() == pb::FileDescriptor::SYNTAX_PROTO2;
    if (!proto2 || !normalized_) Line("syntax = \"", proto2 ? "proto2" : "proto3", "\";");
    if (!file.package().empty()) Line("package ", file.package(), ";");
    Imports(file);
    OptionLines(file.options());
    Pending pending = PendingOf(file, {}, Extensions(file));
    RestOfMessages(pending);
    Enums(file);
    Extends(pending, pending.extensions.size());
    Services(file);
    if (!too_long_) return std::move(out_);
    return InvalidArgument(
        Concat(file.name(),
               ": with its types and options by their names in full the text is more "
               "than the limit of ",
               kMaxPrintedBytes,
               " bytes: shorten the names of the package, of outer messages and of custom options, "
               "or split the file"));
  }

 private:
  template <typename... Pieces>
  void Line(const Pieces&... pieces) {
    if (too_long_) return;
    out_.append(2 * depth_, ' ');
    out_ += Concat(pieces...);
    too_long_ = out_.size() > kMaxPrintedBytes;
    out_.push_back('\n');
  }
  template <typename... Pieces>
  void Open(const Pieces&... pieces) {
    Line(pieces..., " {");
    ++depth_;
  }
  void Close() {
    --depth_;
    Line("}");
  }

  void Imports(const pb::FileDescriptor& file) {
    std::vector<std::pair<std::string, std::string_view>> imports;
    for (int i = 0; i < file.dependency_count(); ++i) {
      std::string_view how;
      for (int j = 0; j < file.public_dependency_count(); ++j) {
        if (file.public_dependency(j) == file.dependency(i)) how = "public ";
      }
      for (int j = 0; j < file.weak_dependency_count(); ++j) {
        if (file.weak_dependency(j) == file.dependency(i)) how = "weak ";
      }
      imports.emplace_back(file.dependency(i)->name(), how);
    }
    if (normalized_) std::sort(imports.begin(), imports.end());
    for (const auto& [name, how] : imports) Line("import ", how, QuotedText(name), ";");
  }

  std::vector<OptionText> Options(const pb::Message& options) {
    if (too_long_) return {};
    auto fitting = OptionTexts(options, pool_, factory_, kMaxPrintedBytes - out_.size());
    if (!fitting) {
      too_long_ = true;
      return {};
    }
    std::vector<OptionText> texts = *std::move(fitting);
    if (normalized_) {
      // Stable: the values of a repeated option are a list.
      std::stable_sort(texts.begin(), texts.end(),
                       [](const auto& a, const auto& b) { return a.first < b.first; });
    }
    return texts;
  }
  void OptionLines(const pb::Message& options) {
    for (const auto& [name, value] : Options(options)) Line("option ", name, " = ", value, ";");
  }
  static std::string InBrackets(const std::vector<OptionText>& options) {
    if (options.empty()) return {};
    std::vector<std::string> parts;
    for (const auto& [name, value] : options) parts.push_back(Concat(name, " = ", value));
    return Concat(" [", Join(parts, ", "), "]");
  }

  // Up to the next that is made for a field.
  void MessagesBeforeNextMade(Pending& pending) {
    while (pending.next_message < pending.messages.size()) {
      const pb::Descriptor* message = pending.messages[pending.next_message++];
      if (message == nullptr) return;
      Message(*message, pending);
    }
  }
  void RestOfMessages(Pending& pending) {
    while (pending.next_message < pending.messages.size()) MessagesBeforeNextMade(pending);
  }
  void Message(const pb::Descriptor& message, Pending& pending) {
    // It may be made for an extension that is a group.
    for (std::size_t i = pending.next_extension; i < pending.extensions.size(); ++i) {
      if (!IsGroup(*pending.extensions[i])) continue;
      if (pending.extensions[i]->message_type() != &message) continue;
      Extends(pending, i + 1);
      return;
    }
    Open("message ", message.name());
    Body(message);
    Close();
  }

  void Body(const pb::Descriptor& message) {
    OptionLines(message.options());
    Reserved(message);
    ExtensionRanges(message);
    const std::vector<const pb::FieldDescriptor*> fields = Fields(message);
    Pending pending = PendingOf(message, fields, Extensions(message));
    const pb::OneofDescriptor* within = nullptr;
    for (std::size_t i = 0; i < fields.size(); ++i) {
      const pb::OneofDescriptor* oneof = fields[i]->real_containing_oneof();
      if (oneof != within) {
        if (within != nullptr) Close();
        within = oneof;
        if (oneof != nullptr) {
          // A message cannot be declared within a oneof.
          for (std::size_t j = i; j < fields.size(); ++j) {
            if (fields[j]->real_containing_oneof() != oneof) break;
            if (MakesMessage(*fields[j])) MessagesBeforeNextMade(pending);
          }
          Open("oneof ", oneof->name());
          OptionLines(oneof->options());
        }
      }
      if (within == nullptr && MakesMessage(*fields[i])) MessagesBeforeNextMade(pending);
      Field(*fields[i]);
    }
    if (within != nullptr) Close();
    RestOfMessages(pending);
    Enums(message);
    Extends(pending, pending.extensions.size());
  }

  // In the order in which they are printed; the members of a oneof stand together.
  std::vector<const pb::FieldDescriptor*> Fields(const pb::Descriptor& message) const {
    std::vector<const pb::FieldDescriptor*> fields;
    for (int i = 0; i < message.field_count(); ++i) fields.push_back(message.field(i));
    // A group is a message, and messages stay in their order.
    if (!normalized_ || HasGroup(fields)) return fields;
    std::vector<int> lowest(static_cast<std::size_t>(message.real_oneof_decl_count()),
                            std::numeric_limits<int>::max());
    const auto block = [&lowest](const pb::FieldDescriptor* field) -> int {
      const pb::OneofDescriptor* oneof = field->real_containing_oneof();
      return oneof == nullptr ? field->number() : lowest[static_cast<std::size_t>(oneof->index())];
    };
    for (const pb::FieldDescriptor* field : fields) {
      if (const pb::OneofDescriptor* oneof = field->real_containing_oneof()) {
        int& number = lowest[static_cast<std::size_t>(oneof->index())];
        number = std::min(number, field->number());
      }
    }
    std::sort(fields.begin(), fields.end(), [&block](const auto* a, const auto* b) {
      return std::pair(block(a), a->number()) < std::pair(block(b), b->number());
    });
    return fields;
  }

  void Field(const pb::FieldDescriptor& field) {
    std::vector<OptionText> options = Options(field.options());
    if (!field.is_extension() && field.json_name() != DefaultJsonName(field.name())) {
      options.emplace(options.begin(), "json_name", QuotedText(field.json_name()));
    }
    if (field.has_default_value()) {
      options.emplace(options.begin(), "default", DefaultValueText(field));
    }
    const std::string tail = Concat(" = ", field.number(), InBrackets(options));
    if (field.type() == pb::FieldDescriptor::TYPE_GROUP) {
      Open(LabelOf(field), "group ", field.message_type()->name(), tail);
      Body(*field.message_type());
      Close();
      return;
    }
    std::string type;
    if (field.is_map()) {
      const pb::Descriptor& entry = *field.message_type();
      type = Concat("map<", ScalarOrName(*entry.map_key()), ", ", ScalarOrName(*entry.map_value()),
                    ">");
    } else {
      type = ScalarOrName(field);
    }
    Line(LabelOf(field), type, " ", field.name(), tail, ";");
  }

  template <typename Scope>
  std::vector<const pb::FieldDescriptor*> Extensions(const Scope& scope) const {
    std::vector<const pb::FieldDescriptor*> extensions;
    for (int i = 0; i < scope.extension_count(); ++i) extensions.push_back(scope.extension(i));
    if (normalized_ && !HasGroup(extensions)) {
      std::sort(extensions.begin(), extensions.end(), [](const auto* a, const auto* b) {
        return std::pair(std::string_view(a->containing_type()->full_name()), a->number()) <
               std::pair(std::string_view(b->containing_type()->full_name()), b->number());
      });
    }
    return extensions;
  }

  void Extends(Pending& pending, std::size_t end) {
    const pb::Descriptor* extended = nullptr;
    while (pending.next_extension < end) {
      const pb::FieldDescriptor& field = *pending.extensions[pending.next_extension++];
      if (field.containing_type() != extended) {
        if (extended != nullptr) Close();
        extended = field.containing_type();
        Open("extend .", extended->full_name());
      }
      Field(field);
    }
    if (extended != nullptr) Close();
  }

  std::vector<Range> Merged(std::vector<Range> ranges) const {
    if (!normalized_) return ranges;
    std::sort(ranges.begin(), ranges.end(),
              [](const Range& a, const Range& b) { return a.first < b.first; });
    std::vector<Range> merged;
    for (Range& range : ranges) {
      if (!merged.empty() && merged.back().options == range.options &&
          range.first <= merged.back().last + 1) {
        merged.back().last = std::max(merged.back().last, range.last);
      } else {
        merged.push_back(std::move(range));
      }
    }
    return merged;
  }
  static std::string RangeText(const Range& range, std::int64_t max) {
    if (range.first == range.last) return Concat(range.first);
    return Concat(range.first, " to ", range.last >= max ? "max" : Concat(range.last));
  }
  void ReservedLine(std::vector<Range> ranges, std::int64_t max) {
    std::vector<std::string> texts;
    for (const Range& range : Merged(std::move(ranges))) texts.push_back(RangeText(range, max));
    if (!texts.empty()) Line("reserved ", Join(texts, ", "), ";");
  }
  template <typename Element>
  void ReservedNames(const Element& element) {
    std::vector<std::string> names;
    for (int i = 0; i < element.reserved_name_count(); ++i) {
      names.push_back(QuotedText(element.reserved_name(i)));
    }
    if (normalized_) {
      std::sort(names.begin(), names.end());
      names.erase(std::unique(names.begin(), names.end()), names.end());
    }
    if (!names.empty()) Line("reserved ", Join(names, ", "), ";");
  }

  void Reserved(const pb::Descriptor& message) {
    std::vector<Range> ranges;
    for (int i = 0; i < message.reserved_range_count(); ++i) {
      ranges.push_back({message.reserved_range(i)->start, message.reserved_range(i)->end - 1, {}});
    }
    ReservedLine(std::move(ranges), pb::FieldDescriptor::kMaxNumber);
    ReservedNames(message);
  }

  void ExtensionRanges(const pb::Descriptor& message) {
    std::vector<Range> ranges;
    for (int i = 0; i < message.extension_range_count(); ++i) {
      const pb::Descriptor::ExtensionRange& range = *message.extension_range(i);
      ranges.push_back(
          {range.start, std::int64_t{range.end} - 1,
           range.options_ == nullptr ? std::vector<OptionText>() : Options(*range.options_)});
    }
    for (const Range& range : Merged(std::move(ranges))) {
      Line("extensions ", RangeText(range, pb::FieldDescriptor::kMaxNumber),
           InBrackets(range.options), ";");
    }
  }

  template <typename Scope>
  void Enums(const Scope& scope) {
    std::vector<const pb::EnumDescriptor*> types;
    for (int i = 0; i < scope.enum_type_count(); ++i) types.push_back(scope.enum_type(i));
    if (normalized_) {
      std::sort(types.begin(), types.end(),
                [](const auto* a, const auto* b) { return a->name() < b->name(); });
    }
    for (const pb::EnumDescriptor* type : types) Enum(*type);
  }

  void Enum(const pb::EnumDescriptor& type) {
    Open("enum ", type.name());
    OptionLines(type.options());
    std::vector<const pb::EnumValueDescriptor*> values;
    for (int i = 0; i < type.value_count(); ++i) values.push_back(type.value(i));
    if (normalized_) {
      // The first is the default of every field of the type; of two with one number, the first is
      // the name of it.
      std::stable_sort(values.begin() + 1, values.end(),
                       [](const auto* a, const auto* b) { return a->number() < b->number(); });
    }
    for (const pb::EnumValueDescriptor* value : values) {
      Line(value->name(), " = ", value->number(), InBrackets(Options(value->options())), ";");
    }
    std::vector<Range> ranges;
    for (int i = 0; i < type.reserved_range_count(); ++i) {
      ranges.push_back({type.reserved_range(i)->start, type.reserved_range(i)->end, {}});
    }
    ReservedLine(std::move(ranges), std::numeric_limits<std::int32_t>::max());
    ReservedNames(type);
    Close();
  }

  void Services(const pb::FileDescriptor& file) {
    std::vector<const pb::ServiceDescriptor*> services;
    for (int i = 0; i < file.service_count(); ++i) services.push_back(file.service(i));
    const auto by_name = [](const auto* a, const auto* b) { return a->name() < b->name(); };
    if (normalized_) std::sort(services.begin(), services.end(), by_name);
    for (const pb::ServiceDescriptor* service : services) {
      Open("service ", service->name());
      OptionLines(service->options());
      std::vector<const pb::MethodDescriptor*> methods;
      for (int i = 0; i < service->method_count(); ++i) methods.push_back(service->method(i));
      if (normalized_) std::sort(methods.begin(), methods.end(), by_name);
      for (const pb::MethodDescriptor* method : methods) Method(*method);
      Close();
    }
  }

  void Method(const pb::MethodDescriptor& method) {
    const std::string signature = Concat(
        "rpc ", method.name(), "(", method.client_streaming() ? "stream ." : ".",
        method.input_type()->full_name(), ") returns (",
        method.server_streaming() ? "stream ." : ".", method.output_type()->full_name(), ")");
    if (method.options().ByteSizeLong() == 0) {
      Line(signature, ";");
      return;
    }
    Open(signature);
    OptionLines(method.options());
    Close();
  }

  const pb::DescriptorPool& pool_;
  // Costly to make, so one for all options.
  pb::DynamicMessageFactory factory_;
  const bool normalized_;
  std::string out_;
  std::size_t depth_ = 0;
  // Nothing is added any more.
  bool too_long_ = false;
};

}  // namespace

absl::StatusOr<std::string> PrintFile(const pb::FileDescriptor& file,
                                      const pb::DescriptorPool& pool, TextForm form) {
  return Printer(pool, form).Print(file);
}

}  // namespace tocsin::schema
