#include "lib/schema/compiled_schema.h"

#include <google/protobuf/any.pb.h>
#include <google/protobuf/api.pb.h>
#include <google/protobuf/compiler/parser.h>
#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>
#include <google/protobuf/duration.pb.h>
#include <google/protobuf/empty.pb.h>
#include <google/protobuf/field_mask.pb.h>
#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/tokenizer.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <google/protobuf/source_context.pb.h>
#include <google/protobuf/struct.pb.h>
#include <google/protobuf/timestamp.pb.h>
#include <google/protobuf/type.pb.h>
#include <google/protobuf/wrappers.pb.h>

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "lib/base/hash.h"
#include "lib/base/status.h"

namespace tocsin::schema {
namespace {

namespace pb = ::google::protobuf;

constexpr std::size_t kMaxErrorsTold = 20;
// Protobuf compares each reserved range with each field and each other range.
constexpr int kMaxPerMessage = 10'000;

// By name, from the descriptors compiled into Protobuf's library; naming each class keeps a static
// link from dropping it.
const std::map<std::string, const pb::FileDescriptor*, std::less<>>& WellKnown() {
  static const auto* const files = [] {
    auto* map = new std::map<std::string, const pb::FileDescriptor*, std::less<>>();
    for (const pb::FileDescriptor* file :
         {pb::Any::descriptor()->file(), pb::Api::descriptor()->file(),
          pb::DescriptorProto::descriptor()->file(), pb::Duration::descriptor()->file(),
          pb::Empty::descriptor()->file(), pb::FieldMask::descriptor()->file(),
          pb::SourceContext::descriptor()->file(), pb::Struct::descriptor()->file(),
          pb::Timestamp::descriptor()->file(), pb::Type::descriptor()->file(),
          pb::StringValue::descriptor()->file()}) {
      map->emplace(file->name(), file);
    }
    return map;
  }();
  return *files;
}

// Collects "file:line:column: message" from the parser and from the pool.
class Errors {
 public:
  void Add(std::string_view file, int line, int column, std::string_view message) {
    ++count_;
    if (lines_.size() >= kMaxErrorsTold) return;
    // Both count from 0; below 0 the position is not known.
    std::string where(file);
    if (line >= 0) where += Concat(":", line + 1, ":", std::max(column, 0) + 1);
    std::string text = Concat(where, ": ", message);
    if (std::find(lines_.begin(), lines_.end(), text) == lines_.end()) {
      lines_.push_back(std::move(text));
    } else {
      --count_;
    }
  }
  bool empty() const { return count_ == 0; }
  absl::Status ToStatus() const {
    if (empty()) return absl::OkStatus();
    std::string text = Join(lines_, "\n");
    if (count_ > lines_.size()) text += Concat("\n… and ", count_ - lines_.size(), " more errors");
    return InvalidArgument(text);
  }

 private:
  std::vector<std::string> lines_;
  std::size_t count_ = 0;
};

class ParserErrors final : public pb::io::ErrorCollector {
 public:
  ParserErrors(std::string_view file, Errors& errors) : file_(file), errors_(errors) {}
  void AddError(int line, pb::io::ColumnNumber column, const std::string& message) override {
    errors_.Add(file_, line, column, message);
  }

 private:
  const std::string_view file_;
  Errors& errors_;
};

struct ParsedFile {
  pb::FileDescriptorProto proto;
  pb::compiler::SourceLocationTable locations;
};

// Protobuf 3.21's parser recurses without a bound, so braces are counted before it runs.
bool CheckNesting(const SourceFile& file, int max_nesting, Errors& errors) {
  pb::io::ArrayInputStream stream(file.text.data(), static_cast<int>(file.text.size()));
  // Its errors are told by the parser's own pass.
  class Silent final : public pb::io::ErrorCollector {
    void AddError(int, pb::io::ColumnNumber, const std::string&) override {}
  } silent;
  pb::io::Tokenizer tokenizer(&stream, &silent);
  int depth = 0;
  while (tokenizer.Next()) {
    const pb::io::Tokenizer::Token& token = tokenizer.current();
    if (token.type != pb::io::Tokenizer::TYPE_SYMBOL) continue;
    const char symbol = token.text[0];
    if (symbol == '{' || symbol == '<' || symbol == '[') {
      if (++depth > max_nesting) {
        errors.Add(file.name, token.line, token.column,
                   Concat("nested deeper than ", max_nesting, " levels"));
        return false;
      }
    } else if (symbol == '}' || symbol == '>' || symbol == ']') {
      depth = std::max(depth - 1, 0);
    }
  }
  return true;
}

bool CheckCounts(std::string_view file, const pb::EnumDescriptorProto& type, Errors& errors) {
  if (type.value_size() > kMaxPerMessage || type.reserved_range_size() > kMaxPerMessage) {
    errors.Add(file, -1, -1,
               Concat("enum ", type.name(), " has more than ", kMaxPerMessage,
                      " values or reserved ranges"));
    return false;
  }
  return true;
}

bool CheckCounts(std::string_view file, const pb::DescriptorProto& message, int levels_left,
                 Errors& errors) {
  if (levels_left <= 0) {
    errors.Add(file, -1, -1, Concat("message ", message.name(), " is nested too deeply"));
    return false;
  }
  if (message.field_size() > kMaxPerMessage ||
      message.reserved_range_size() + message.extension_range_size() > kMaxPerMessage) {
    errors.Add(file, -1, -1,
               Concat("message ", message.name(), " has more than ", kMaxPerMessage,
                      " fields or reserved ranges"));
    return false;
  }
  for (const auto& type : message.enum_type()) {
    if (!CheckCounts(file, type, errors)) return false;
  }
  for (const auto& nested : message.nested_type()) {
    if (!CheckCounts(file, nested, levels_left - 1, errors)) return false;
  }
  return true;
}

bool CheckCounts(const pb::FileDescriptorProto& file, int max_nesting, Errors& errors) {
  for (const auto& type : file.enum_type()) {
    if (!CheckCounts(file.name(), type, errors)) return false;
  }
  for (const auto& message : file.message_type()) {
    if (!CheckCounts(file.name(), message, max_nesting, errors)) return false;
  }
  return true;
}

bool Parse(const SourceFile& file, const CompileLimits& limits, ParsedFile& into, Errors& errors) {
  if (file.text.size() > limits.max_text_bytes) {
    errors.Add(file.name, -1, -1,
               Concat("the text is ", file.text.size(), " bytes, more than the limit of ",
                      limits.max_text_bytes));
    return false;
  }
  if (!CheckNesting(file, limits.max_nesting, errors)) return false;
  pb::io::ArrayInputStream stream(file.text.data(), static_cast<int>(file.text.size()));
  ParserErrors collector(file.name, errors);
  pb::io::Tokenizer tokenizer(&stream, &collector);
  pb::compiler::Parser parser;
  parser.RecordErrorsTo(&collector);
  parser.RecordSourceLocationsTo(&into.locations);
  into.proto.set_name(file.name);
  const bool parsed = parser.Parse(&tokenizer, &into.proto);
  // The parser may return true after errors of the tokenizer.
  return parsed && errors.empty() && CheckCounts(into.proto, limits.max_nesting, errors);
}

class LinkErrors final : public pb::DescriptorPool::ErrorCollector {
 public:
  LinkErrors(const ParsedFile& file, Errors& errors) : file_(file), errors_(errors) {}
  void AddError(const std::string& file_name, const std::string& element_name,
                const pb::Message* descriptor, ErrorLocation location,
                const std::string& message) override {
    int line = -1;
    int column = -1;
    const bool known = location == ErrorLocation::IMPORT
                           ? file_.locations.FindImport(descriptor, element_name, &line, &column)
                           : file_.locations.Find(descriptor, location, &line, &column);
    if (known) {
      errors_.Add(file_name, line, column, message);
    } else {
      errors_.Add(file_name, -1, -1,
                  element_name.empty() ? message : Concat(element_name, ": ", message));
    }
  }

 private:
  const ParsedFile& file_;
  Errors& errors_;
};

// Reads and links a file and what it imports, in the order that the pool needs.
class Linker {
 public:
  Linker(std::span<const SourceFile> imports, const CompileLimits& limits, Errors& errors)
      : limits_(limits), errors_(errors) {
    for (const SourceFile& file : imports) sources_.emplace(file.name, &file);
  }

  // Parses everything that `file` imports and puts it into the pool, then `file` itself.
  const pb::FileDescriptor* Link(const ParsedFile& file, std::size_t text_bytes,
                                 pb::DescriptorPool& pool) {
    total_bytes_ = text_bytes;
    path_ = {file.proto.name()};
    if (!LinkImports(file, pool)) return nullptr;
    return Build(file, pool);
  }

 private:
  bool LinkImports(const ParsedFile& file, pb::DescriptorPool& pool) {
    for (const std::string& name : file.proto.dependency()) {
      if (done_.contains(name)) continue;
      int line = -1;
      int column = -1;
      file.locations.FindImport(&file.proto, name, &line, &column);
      const auto cycle = std::find(path_.begin(), path_.end(), name);
      if (cycle != path_.end()) {
        std::vector<std::string> names(cycle, path_.end());
        names.push_back(name);
        errors_.Add(file.proto.name(), line, column, Concat("import cycle: ", Join(names, " → ")));
        return false;
      }
      if (const auto known = WellKnown().find(name);
          known != WellKnown().end() && !sources_.contains(name)) {
        LinkWellKnown(*known->second, pool);
        continue;
      }
      const auto source = sources_.find(name);
      if (source == sources_.end()) {
        errors_.Add(file.proto.name(), line, column,
                    Concat("import \"", name,
                           "\" was not found: register it first and give it as a reference whose "
                           "name is exactly this path"));
        return false;
      }
      if (++imports_ > limits_.max_imports) {
        errors_.Add(file.proto.name(), line, column,
                    Concat("more than ", limits_.max_imports, " imported files"));
        return false;
      }
      total_bytes_ += source->second->text.size();
      if (total_bytes_ > limits_.max_total_bytes) {
        errors_.Add(file.proto.name(), line, column,
                    Concat("the schema and its imports are more than ", limits_.max_total_bytes,
                           " bytes together"));
        return false;
      }
      ParsedFile parsed;
      if (!Parse(*source->second, limits_, parsed, errors_)) return false;
      path_.push_back(name);
      if (!LinkImports(parsed, pool) || Build(parsed, pool) == nullptr) return false;
      path_.pop_back();
      done_.insert(name);
    }
    return true;
  }

  void LinkWellKnown(const pb::FileDescriptor& file, pb::DescriptorPool& pool) {
    if (!done_.insert(file.name()).second) return;
    for (int i = 0; i < file.dependency_count(); ++i) LinkWellKnown(*file.dependency(i), pool);
    pb::FileDescriptorProto proto;
    file.CopyTo(&proto);
    pool.BuildFile(proto);
  }

  const pb::FileDescriptor* Build(const ParsedFile& file, pb::DescriptorPool& pool) {
    LinkErrors collector(file, errors_);
    const pb::FileDescriptor* built = pool.BuildFileCollectingErrors(file.proto, &collector);
    if (built == nullptr && errors_.empty()) {
      errors_.Add(file.proto.name(), -1, -1, "the file does not link");
    }
    return built;
  }

  const CompileLimits& limits_;
  Errors& errors_;
  std::map<std::string, const SourceFile*, std::less<>> sources_;
  std::set<std::string, std::less<>> done_;
  // From the main file down to the one being read: what a cycle is told by.
  std::vector<std::string> path_;
  std::size_t total_bytes_ = 0;
  int imports_ = 0;
};

std::string DeterministicBytes(const pb::Message& message) {
  std::string bytes;
  {
    pb::io::StringOutputStream stream(&bytes);
    pb::io::CodedOutputStream coded(&stream);
    coded.SetSerializationDeterministic(true);
    message.SerializePartialToCodedStream(&coded);
  }
  return bytes;
}

// protoc leaves json_name out of what it compiles into programs, the parser always sets it: without
// those that are the default both give the same bytes.
void DropDefaultJsonNames(const pb::Descriptor& message, pb::DescriptorProto& proto) {
  for (int i = 0; i < message.field_count(); ++i) {
    std::string camel;
    bool upper = false;
    for (const char c : message.field(i)->name()) {
      if (c == '_') {
        upper = true;
      } else {
        camel.push_back(upper && c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c);
        upper = false;
      }
    }
    if (proto.field(i).json_name() == camel) proto.mutable_field(i)->clear_json_name();
  }
  for (auto& extension : *proto.mutable_extension()) extension.clear_json_name();
  for (int i = 0; i < message.nested_type_count(); ++i) {
    DropDefaultJsonNames(*message.nested_type(i), *proto.mutable_nested_type(i));
  }
}

std::string Fingerprint(const pb::FileDescriptor& file) {
  pb::FileDescriptorProto proto;
  file.CopyTo(&proto);
  proto.clear_name();
  for (int i = 0; i < file.message_type_count(); ++i) {
    DropDefaultJsonNames(*file.message_type(i), *proto.mutable_message_type(i));
  }
  for (auto& extension : *proto.mutable_extension()) extension.clear_json_name();
  const std::string bytes = DeterministicBytes(proto);
  const std::string_view parts[] = {bytes};
  return StableId(parts);
}

void CollectNames(const pb::Descriptor& message, std::vector<std::string>& into) {
  if (message.options().map_entry()) return;
  into.push_back(message.full_name());
  for (int i = 0; i < message.nested_type_count(); ++i) {
    CollectNames(*message.nested_type(i), into);
  }
}

}  // namespace

struct CompiledSchema::Pool {
  pb::DescriptorPool pool;
};

CompiledSchema::CompiledSchema(std::unique_ptr<Pool> pool, const pb::FileDescriptor* file,
                               std::string text)
    : pool_(std::move(pool)),
      file_(file),
      text_(std::move(text)),
      fingerprint_(Fingerprint(*file_)) {}

CompiledSchema::~CompiledSchema() = default;

absl::StatusOr<std::shared_ptr<const CompiledSchema>> CompiledSchema::Compile(
    const SourceFile& main, std::span<const SourceFile> imports, const CompileLimits& limits) {
  Errors errors;
  ParsedFile parsed;
  if (!Parse(main, limits, parsed, errors)) return errors.ToStatus();
  auto pool = std::make_unique<Pool>();
  Linker linker(imports, limits, errors);
  const pb::FileDescriptor* file = linker.Link(parsed, main.text.size(), pool->pool);
  if (file == nullptr) return errors.ToStatus();
  return std::shared_ptr<const CompiledSchema>(
      new CompiledSchema(std::move(pool), file, main.text));
}

absl::StatusOr<const pb::Descriptor*> CompiledSchema::MessageAt(
    std::span<const std::int32_t> indexes) const {
  const pb::Descriptor* message = nullptr;
  for (std::size_t level = 0; level < indexes.size(); ++level) {
    const std::int32_t index = indexes[level];
    const int count =
        message == nullptr ? file_->message_type_count() : message->nested_type_count();
    if (index < 0 || index >= count) {
      return InvalidArgument(Concat(
          message == nullptr ? Concat("the schema has ", count, " messages at its top level")
                             : Concat(message->full_name(), " has ", count, " nested messages"),
          "; the message index ", index, " names none of them"));
    }
    message = message == nullptr ? file_->message_type(index) : message->nested_type(index);
  }
  if (message == nullptr) return InvalidArgument("the path of message indexes is empty");
  return message;
}

const pb::Descriptor* CompiledSchema::FindMessage(std::string_view full_name) const {
  const pb::Descriptor* message = pool_->pool.FindMessageTypeByName(std::string(full_name));
  return message != nullptr && message->file() == file_ ? message : nullptr;
}

std::vector<std::string> CompiledSchema::MessageNames() const {
  std::vector<std::string> names;
  for (int i = 0; i < file_->message_type_count(); ++i) {
    CollectNames(*file_->message_type(i), names);
  }
  return names;
}

std::string CompiledSchema::Serialized() const {
  pb::FileDescriptorProto proto;
  file_->CopyTo(&proto);
  return DeterministicBytes(proto);
}

std::vector<std::int32_t> MessageIndexes(const pb::Descriptor& message) {
  std::vector<std::int32_t> indexes;
  for (const pb::Descriptor* at = &message; at != nullptr; at = at->containing_type()) {
    indexes.insert(indexes.begin(), at->index());
  }
  return indexes;
}

absl::StatusOr<std::vector<std::string>> ImportsOf(const SourceFile& file,
                                                   const CompileLimits& limits) {
  Errors errors;
  ParsedFile parsed;
  if (!Parse(file, limits, parsed, errors)) return errors.ToStatus();
  std::vector<std::string> names;
  for (const std::string& name : parsed.proto.dependency()) {
    if (!IsWellKnownImport(name)) names.push_back(name);
  }
  return names;
}

absl::StatusOr<std::string> TextOfSerialized(std::string_view file_descriptor_proto,
                                             std::span<const SourceFile> imports,
                                             const CompileLimits& limits) {
  if (file_descriptor_proto.size() > limits.max_text_bytes) {
    return InvalidArgument(Concat("the descriptor is ", file_descriptor_proto.size(),
                                  " bytes, more than the limit of ", limits.max_text_bytes));
  }
  ParsedFile parsed;
  if (!parsed.proto.ParseFromArray(file_descriptor_proto.data(),
                                   static_cast<int>(file_descriptor_proto.size()))) {
    return InvalidArgument("the bytes are not a serialized FileDescriptorProto");
  }
  if (parsed.proto.name().empty()) parsed.proto.set_name("descriptor");
  Errors errors;
  if (!CheckCounts(parsed.proto, limits.max_nesting, errors)) return errors.ToStatus();
  pb::DescriptorPool pool;
  Linker linker(imports, limits, errors);
  const pb::FileDescriptor* file = linker.Link(parsed, file_descriptor_proto.size(), pool);
  if (file == nullptr) return errors.ToStatus();
  return file->DebugString();
}

bool IsWellKnownImport(std::string_view name) { return WellKnown().contains(name); }

}  // namespace tocsin::schema
