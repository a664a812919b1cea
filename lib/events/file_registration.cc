#include "lib/events/file_registration.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <utility>

#include "lib/base/status.h"
#include "lib/events/own_topic.h"

namespace tocsin::events {
namespace {

using google::protobuf::DescriptorPool;
using google::protobuf::FileDescriptor;

// After what it imports; each once. A pool holds no cycle.
void Collect(const FileDescriptor& file, std::set<const FileDescriptor*>& seen,
             std::vector<const FileDescriptor*>& files) {
  if (!seen.insert(&file).second) return;
  for (int i = 0; i < file.dependency_count(); ++i) {
    const FileDescriptor& imported = *file.dependency(i);
    if (!schema::IsWellKnownImport(imported.name())) Collect(imported, seen, files);
  }
  files.push_back(&file);
}

std::vector<const FileDescriptor*> FilesOf(const FileDescriptor& file) {
  std::set<const FileDescriptor*> seen;
  std::vector<const FileDescriptor*> files;
  Collect(file, seen, files);
  return files;
}

// `before`: at least what `file` imports.
absl::StatusOr<std::string> TextOf(const FileDescriptor& file,
                                   const std::vector<schema::SourceFile>& before) {
  // A dynamic file may have the name of one of ours and another content.
  if (file.pool() == DescriptorPool::generated_pool()) {
    const auto& protos = EmbeddedProtos();
    const auto found = std::find_if(protos.begin(), protos.end(),
                                    [&](const auto& proto) { return proto.name == file.name(); });
    if (found != protos.end()) return found->text;
  }
  google::protobuf::FileDescriptorProto proto;
  file.CopyTo(&proto);
  auto text = schema::TextOfSerialized(proto.SerializeAsString(), before);
  if (text.ok()) return text;
  return Annotate(text.status(), Concat("the schema of ", file.name(), " as text"));
}

absl::StatusOr<std::vector<schema::SourceFile>> TextsOf(
    const std::vector<const FileDescriptor*>& files) {
  std::vector<schema::SourceFile> texts;
  for (const FileDescriptor* file : files) {
    TOCSIN_ASSIGN_OR_RETURN(std::string text, TextOf(*file, texts));
    texts.push_back({file->name(), std::move(text)});
  }
  return texts;
}

}  // namespace

absl::StatusOr<std::vector<schema::SourceFile>> SourceFilesOf(const FileDescriptor& file) {
  return TextsOf(FilesOf(file));
}

absl::StatusOr<RegisteredVersion> RegisterFile(RegistryClient& registry, std::string_view subject,
                                               const FileDescriptor& file,
                                               const FileRegistrationOptions& options) {
  const std::vector<const FileDescriptor*> files = FilesOf(file);
  TOCSIN_ASSIGN_OR_RETURN(std::vector<schema::SourceFile> texts, TextsOf(files));
  std::map<std::string, SchemaReference> done;
  for (std::size_t i = 0; i < files.size(); ++i) {
    SchemaDraft draft{std::move(texts[i].text), {}, options.normalize};
    for (int d = 0; d < files[i]->dependency_count(); ++d) {
      const auto imported = done.find(files[i]->dependency(d)->name());
      if (imported != done.end()) draft.references.push_back(imported->second);
    }
    const bool is_main = i + 1 == files.size();
    const std::string where =
        is_main ? std::string(subject)
                : ReferenceSubjectName(options.reference_naming, files[i]->name());
    const bool registers = options.action == FileRegistrationOptions::Action::kRegister;
    auto version = registers ? registry.Register(where, draft) : registry.Lookup(where, draft);
    if (!version.ok()) {
      return Annotate(version.status(),
                      Concat(registers ? "registering" : "looking up", " the schema of ", where));
    }
    if (is_main) return version;
    done.emplace(files[i]->name(), SchemaReference{files[i]->name(), where, version->version});
  }
  return Internal("a file without itself");
}

}  // namespace tocsin::events
