// What `tocsin topics` and `tocsin up` share.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "cli/core/pack.h"
#include "cli/core/profile.h"
#include "cli/core/topics.h"
#include "lib/kafka/admin.h"

namespace tocsin::cli {

// Blocks for at most about 15 s. UNAVAILABLE: no broker answers.
absl::StatusOr<std::vector<TopicChange>> FindTopicChanges(kafka::Admin& admin,
                                                          const std::vector<LoadedPack>& packs,
                                                          int replication);
// Makes every change but those that cannot be made.
absl::Status ApplyTopicChanges(kafka::Admin& admin, const std::vector<TopicChange>& changes);

// Who sits here: the name in tokens that this machine makes.
std::string UserName(const Environment& environment);

}  // namespace tocsin::cli
