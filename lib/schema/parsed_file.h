// A .proto text, parsed but not linked, and the errors found on the way. Internal to lib/schema.
#pragma once

#include <google/protobuf/compiler/parser.h>
#include <google/protobuf/descriptor.pb.h>

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "lib/schema/compiled_schema.h"

namespace tocsin::schema {

// Collects "file:line:column: message" from the parser and from the pool.
class CompileErrors {
 public:
  // Both count from 0; below 0 the position is not known.
  void Add(std::string_view file, int line, int column, std::string_view message);
  bool empty() const { return count_ == 0; }
  absl::Status ToStatus() const;

 private:
  std::vector<std::string> lines_;
  std::size_t count_ = 0;
};

struct ParsedFile {
  google::protobuf::FileDescriptorProto proto;
  google::protobuf::compiler::SourceLocationTable locations;
};

// False: it is refused, and why stands in `errors`. A text of n bytes costs O(n) time and memory.
bool Parse(const SourceFile& file, const CompileLimits& limits, ParsedFile& into,
           CompileErrors& errors);

// Checks what Protobuf's linker would take long for; `max_nesting` bounds the recursion. For
// descriptors that did not come out of Parse.
bool CheckCounts(const google::protobuf::FileDescriptorProto& file, const CompileLimits& limits,
                 CompileErrors& errors);

// Checks how long the names are, alone and in full and together (see full_names.h), before Protobuf
// builds a name in full for each. After CheckCounts; for descriptors that did not come out of
// Parse.
bool CheckNames(const ParsedFile& file, CompileErrors& errors);

}  // namespace tocsin::schema
