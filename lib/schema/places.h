// Where an element of a schema stands in its text. Compiled schemas do not keep that: it would cost
// more memory than all the rest, and is needed only when there is something to tell.
#pragma once

#include <google/protobuf/descriptor.h>

#include <map>
#include <memory>
#include <optional>

#include "lib/schema/comparison.h"
#include "lib/schema/compatibility.h"
#include "lib/schema/compiled_schema.h"

namespace tocsin::schema {

// Parses each text at most once, when the first place in it is asked for. `schema` must outlive it.
class Places {
 public:
  explicit Places(const CompiledSchema& schema);
  ~Places();
  Places(const Places&) = delete;
  Places& operator=(const Places&) = delete;

  // nullopt: no file, or one without a text (a well-known type).
  std::optional<Place> Find(const Spot& spot);

 private:
  struct Text;
  const CompiledSchema& schema_;
  std::map<const google::protobuf::FileDescriptor*, std::unique_ptr<Text>> texts_;
};

}  // namespace tocsin::schema
