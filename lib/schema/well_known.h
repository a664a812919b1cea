// The files that every schema may import without more. Internal to lib/schema.
#pragma once

#include <google/protobuf/descriptor.h>

#include <vector>

#include "lib/schema/compiled_schema.h"

namespace tocsin::schema {

// All of them, linked; built at the first call, never destroyed. Nothing is added to it later, so
// that any number of threads may read it and build pools over it.
const google::protobuf::DescriptorPool& WellKnownPool();

// The texts of those that Protobuf's library does not bring: the folder well_known. Embedded by
// cmake/EmbedProtos.cmake.
const std::vector<SourceFile>& WellKnownTexts();

}  // namespace tocsin::schema
