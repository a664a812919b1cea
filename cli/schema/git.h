// What a git repository holds at a revision, read by git itself.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace tocsin::cli {

// The standard output of `git` with these arguments, run without a shell in `folder`. Blocks for as
// long as git takes. NOT_FOUND: there is no git. FAILED_PRECONDITION: it failed, in its own words.
// RESOURCE_EXHAUSTED: more than 64 MiB.
absl::StatusOr<std::string> RunGit(const std::filesystem::path& folder,
                                   const std::vector<std::string>& arguments);

}  // namespace tocsin::cli
