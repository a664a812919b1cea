#include "lib/schema/compiled_schema.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>
#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "lib/base/hash.h"
#include "lib/base/status.h"
#include "lib/schema/full_names.h"
#include "lib/schema/parsed_file.h"
#include "lib/schema/schema_text.h"
#include "lib/schema/well_known.h"

namespace tocsin::schema {

namespace pb = ::google::protobuf;

struct CompiledSchema::Pool {
  // `shared`: over the well-known types that all schemas share; else it has copies of its own,
  // since an import replaces one of them.
  explicit Pool(bool over_well_known)
      : shared(over_well_known), pool(over_well_known ? &WellKnownPool() : nullptr) {}

  const bool shared;
  pb::DescriptorPool pool;
  // Of the descriptors.
  std::size_t estimated_bytes = 0;
  // Of the file, once it is linked: see CompiledSchema::fingerprint.
  std::string fingerprint;
  // Of each imported file that is not well-known: for places in it.
  std::map<std::string, std::string, std::less<>> texts;
};

namespace {

// Descriptors are larger than the messages that they are made of: names in full, tables of names
// and numbers. Measured over schemas of many small messages, and of few with many fields.
constexpr std::size_t kDescriptorBytesPerByte = 4;
// A pool has some, however small its file.
constexpr std::size_t kPoolBytes = 8'192;

class LinkErrors final : public pb::DescriptorPool::ErrorCollector {
 public:
  LinkErrors(const ParsedFile& file, CompileErrors& errors) : file_(file), errors_(errors) {}
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
  CompileErrors& errors_;
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

// The canonical text says all that the descriptor does, and in one way: default names in JSON and
// the pieces in which an option was set do not show.
absl::StatusOr<std::string> FingerprintOf(const pb::FileDescriptor& file,
                                          const pb::DescriptorPool& pool) {
  TOCSIN_ASSIGN_OR_RETURN(const std::string text, PrintFile(file, pool, TextForm::kCanonical));
  const std::string_view parts[] = {text};
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

// Reads and links a file and what it imports, in the order that the pool needs.
class CompiledSchema::Linker {
 public:
  Linker(std::span<const SourceFile> imports, const CompileLimits& limits, CompileErrors& errors)
      : limits_(limits), errors_(errors) {
    for (const SourceFile& file : imports) {
      sources_.emplace(file.name, &file);
      own_well_known_ |= IsWellKnownImport(file.name);
    }
  }

  // Parses everything that `file` imports and puts it into a pool, then `file` itself. nullptr: see
  // the errors.
  const pb::FileDescriptor* Link(const ParsedFile& file, std::size_t text_bytes) {
    pool_ = std::make_unique<CompiledSchema::Pool>(!own_well_known_);
    total_bytes_ = text_bytes;
    path_ = {file.proto.name()};
    if (!LinkImports(file)) return nullptr;
    return Build(file);
  }
  std::unique_ptr<CompiledSchema::Pool> TakePool() { return std::move(pool_); }

 private:
  bool LinkImports(const ParsedFile& file) {
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
      ParsedFile parsed;
      const auto source = sources_.find(name);
      if (source != sources_.end()) {
        if (!Read(*source->second, file, line, column, parsed)) return false;
        pool_->texts.emplace(name, source->second->text);
      } else if (!IsWellKnownImport(name)) {
        errors_.Add(file.proto.name(), line, column,
                    Concat("import \"", name,
                           "\" was not found: there is no file of exactly this path, and in a "
                           "registry no reference of the schema that has it as its name"));
        return false;
      } else if (pool_->shared) {
        continue;
      } else {
        WellKnownPool().FindFileByName(name)->CopyTo(&parsed.proto);
      }
      path_.push_back(name);
      if (!LinkImports(parsed) || Build(parsed) == nullptr) return false;
      path_.pop_back();
      done_.insert(name);
    }
    return true;
  }

  // Parses what `file` imports at this place.
  bool Read(const SourceFile& source, const ParsedFile& file, int line, int column,
            ParsedFile& into) {
    if (++imports_ > limits_.max_imports) {
      errors_.Add(file.proto.name(), line, column,
                  Concat("more than ", limits_.max_imports, " imported files"));
      return false;
    }
    total_bytes_ += source.text.size();
    if (total_bytes_ > limits_.max_total_bytes) {
      errors_.Add(file.proto.name(), line, column,
                  Concat("the schema and its imports are more than ", limits_.max_total_bytes,
                         " bytes together"));
      return false;
    }
    return Parse(source, limits_, into, errors_);
  }

  const pb::FileDescriptor* Build(const ParsedFile& file) {
    LinkErrors collector(file, errors_);
    const std::size_t names = CountFullNames(file.proto).bytes;
    full_names_bytes_ += names;
    if (full_names_bytes_ > kMaxTotalFullNamesBytes) {
      errors_.Add(
          file.proto.name(), -1, -1,
          Concat("the names in full of the schema and its imports, with the package and the "
                 "messages around each, are more than ",
                 kMaxTotalFullNamesBytes, " bytes together"));
      return nullptr;
    }
    pool_->estimated_bytes += kDescriptorBytesPerByte * file.proto.SpaceUsedLong() + names;
    const pb::FileDescriptor* built = pool_->pool.BuildFileCollectingErrors(file.proto, &collector);
    if (built == nullptr && errors_.empty()) {
      errors_.Add(file.proto.name(), -1, -1, "the file does not link");
    }
    return built != nullptr && pool_->shared && !IsDistinct(*built, file) ? nullptr : built;
  }

  // Protobuf does not notice when a file defines what another one in the pool beneath defines, too.
  bool IsDistinct(const pb::FileDescriptor& built, const ParsedFile& file) {
    for (int i = 0; i < built.message_type_count(); ++i) {
      const pb::FileDescriptor* other =
          WellKnownPool().FindFileContainingSymbol(built.message_type(i)->full_name());
      if (other == nullptr || !Imports(built, *other)) continue;
      int line = -1;
      int column = -1;
      file.locations.Find(&file.proto.message_type(i),
                          pb::DescriptorPool::ErrorCollector::ErrorLocation::NAME, &line, &column);
      errors_.Add(built.name(), line, column,
                  Concat("\"", built.message_type(i)->full_name(),
                         "\" is already defined in file \"", other->name(), "\"."));
    }
    return errors_.empty();
  }
  static bool Imports(const pb::FileDescriptor& file, const pb::FileDescriptor& other) {
    for (int i = 0; i < file.dependency_count(); ++i) {
      if (file.dependency(i) == &other) return true;
    }
    return false;
  }

  const CompileLimits& limits_;
  CompileErrors& errors_;
  std::map<std::string, const SourceFile*, std::less<>> sources_;
  std::set<std::string, std::less<>> done_;
  // From the main file down to the one being read: what a cycle is told by.
  std::vector<std::string> path_;
  std::size_t total_bytes_ = 0;
  std::size_t full_names_bytes_ = 0;
  int imports_ = 0;
  // One of the imports is named like a well-known type.
  bool own_well_known_ = false;
  std::unique_ptr<CompiledSchema::Pool> pool_;
};

CompiledSchema::CompiledSchema(std::unique_ptr<Pool> pool, const pb::FileDescriptor* file,
                               std::string text)
    : pool_(std::move(pool)),
      file_(file),
      text_(std::move(text)),
      fingerprint_(std::move(pool_->fingerprint)),
      estimated_bytes_([this] {
        std::size_t bytes = kPoolBytes + pool_->estimated_bytes + text_.size();
        for (const auto& [name, import] : pool_->texts) bytes += name.size() + import.size();
        return bytes;
      }()) {}

CompiledSchema::~CompiledSchema() = default;

absl::StatusOr<std::shared_ptr<const CompiledSchema>> CompiledSchema::Compile(
    const SourceFile& main, std::span<const SourceFile> imports, const CompileLimits& limits) {
  CompileErrors errors;
  ParsedFile parsed;
  if (!Parse(main, limits, parsed, errors)) return errors.ToStatus();
  Linker linker(imports, limits, errors);
  const pb::FileDescriptor* file = linker.Link(parsed, main.text.size());
  if (file == nullptr || !errors.empty()) return errors.ToStatus();
  std::unique_ptr<Pool> pool = linker.TakePool();
  TOCSIN_ASSIGN_OR_RETURN(pool->fingerprint, FingerprintOf(*file, pool->pool));
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

const std::string* CompiledSchema::TextOf(std::string_view file) const {
  if (file == file_->name()) return &text_;
  const auto found = pool_->texts.find(file);
  return found == pool_->texts.end() ? nullptr : &found->second;
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
  CompileErrors errors;
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
  CompileErrors errors;
  if (!CheckCounts(parsed.proto, limits, errors) || !CheckNames(parsed, errors)) {
    return errors.ToStatus();
  }
  CompiledSchema::Linker linker(imports, limits, errors);
  const pb::FileDescriptor* file = linker.Link(parsed, file_descriptor_proto.size());
  if (file == nullptr || !errors.empty()) return errors.ToStatus();
  const auto pool = linker.TakePool();
  return PrintFile(*file, pool->pool, TextForm::kCanonical);
}

std::string CanonicalText(const CompiledSchema& schema) {
  // One that is compiled has been printed before; the normal form takes no more than that.
  return PrintFile(schema.file(), schema.pool_->pool, TextForm::kCanonical).value_or("");
}

std::string NormalizedText(const CompiledSchema& schema) {
  // One that is compiled has been printed before; the normal form takes no more than that.
  return PrintFile(schema.file(), schema.pool_->pool, TextForm::kNormalized).value_or("");
}

}  // namespace tocsin::schema
