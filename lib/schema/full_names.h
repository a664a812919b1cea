// The names in full that a file's elements have. Protobuf keeps one for each, so that a long name
// of a package or of an outer message is there once for everything within it. Internal to
// lib/schema.
#pragma once

#include <google/protobuf/descriptor.pb.h>

#include <cstddef>

namespace tocsin::schema {

// Of one name, and of one in full: with the package and the messages around it.
inline constexpr std::size_t kMaxIdentifierBytes = 512;
inline constexpr std::size_t kMaxFullNameBytes = 1'024;
// Of all names in full together: of a file, and of a file with everything that it imports.
inline constexpr std::size_t kMaxFullNamesBytes = std::size_t{4} << 20;
inline constexpr std::size_t kMaxTotalFullNamesBytes = std::size_t{16} << 20;

struct FullNames {
  // Of all elements together; where `refused` is set, of those up to it.
  std::size_t bytes = 0;
  // The first element with which a limit is exceeded, and which; nullptr: none is.
  const google::protobuf::Message* refused = nullptr;
  enum class Limit { kIdentifier, kFullName, kTogether } limit = Limit::kTogether;
  // Of the element's own name, and in full.
  std::size_t name_bytes = 0;
  std::size_t full_name_bytes = 0;
};

// Nothing is built for it: O(n) in the number of elements. The nesting must be bounded.
FullNames CountFullNames(const google::protobuf::FileDescriptorProto& file);

}  // namespace tocsin::schema
