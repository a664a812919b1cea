#include "lib/schema/well_known.h"

#include <google/protobuf/any.pb.h>
#include <google/protobuf/api.pb.h>
#include <google/protobuf/descriptor.pb.h>
#include <google/protobuf/duration.pb.h>
#include <google/protobuf/empty.pb.h>
#include <google/protobuf/field_mask.pb.h>
#include <google/protobuf/source_context.pb.h>
#include <google/protobuf/struct.pb.h>
#include <google/protobuf/timestamp.pb.h>
#include <google/protobuf/type.pb.h>
#include <google/protobuf/wrappers.pb.h>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

#include "lib/base/status.h"
#include "lib/schema/parsed_file.h"

namespace tocsin::schema {
namespace {

namespace pb = ::google::protobuf;

// The texts are part of the program: that one does not compile is a defect of the build.
[[noreturn]] void Broken(std::string_view what) {
  std::fprintf(stderr, "a well-known type is broken: %.*s\n", static_cast<int>(what.size()),
               what.data());
  std::abort();
}

void AddWithImports(const pb::FileDescriptor& file, pb::DescriptorPool& pool) {
  if (pool.FindFileByName(file.name()) != nullptr) return;
  for (int i = 0; i < file.dependency_count(); ++i) AddWithImports(*file.dependency(i), pool);
  pb::FileDescriptorProto proto;
  file.CopyTo(&proto);
  if (pool.BuildFile(proto) == nullptr) Broken(file.name());
}

pb::DescriptorPool* Build() {
  auto* pool = new pb::DescriptorPool();
  // Naming each class keeps a static link from dropping it.
  for (const pb::FileDescriptor* file :
       {pb::Any::descriptor()->file(), pb::Api::descriptor()->file(),
        pb::DescriptorProto::descriptor()->file(), pb::Duration::descriptor()->file(),
        pb::Empty::descriptor()->file(), pb::FieldMask::descriptor()->file(),
        pb::SourceContext::descriptor()->file(), pb::Struct::descriptor()->file(),
        pb::Timestamp::descriptor()->file(), pb::Type::descriptor()->file(),
        pb::StringValue::descriptor()->file()}) {
    AddWithImports(*file, *pool);
  }
  // They import nothing but google/protobuf and what stands before them.
  for (const SourceFile& file : WellKnownTexts()) {
    CompileErrors errors;
    ParsedFile parsed;
    if (!Parse(file, {}, parsed, errors)) Broken(Message(errors.ToStatus()));
    if (pool->BuildFile(parsed.proto) == nullptr) Broken(file.name);
  }
  return pool;
}

}  // namespace

const pb::DescriptorPool& WellKnownPool() {
  static const pb::DescriptorPool* const pool = Build();
  return *pool;
}

bool IsWellKnownImport(std::string_view name) {
  return WellKnownPool().FindFileByName(std::string(name)) != nullptr;
}

}  // namespace tocsin::schema
