#include "schema-registry/change_history.h"

#include <algorithm>

#include "lib/base/text.h"

namespace tocsin::registry {

void ChangeHistory::Add(const Change& change) {
  entries_.push_back({change.revision, change.kind,
                      change.subject ? Keep(*change.subject) : nullptr, change.version, change.id,
                      Keep(change.actor), change.time});
  if (entries_.size() > max_changes_) {
    complete_after_ = std::max(complete_after_, entries_.front().revision);
    entries_.pop_front();
  }
}

absl::StatusOr<std::vector<Change>> ChangeHistory::After(std::int64_t revision,
                                                         std::size_t max) const {
  if (revision < complete_after_) {
    return absl::OutOfRangeError(
        ToAbsl(Concat("changes after revision ", revision,
                      " are no longer in the log, which is complete after revision ",
                      complete_after_, " only: read the state anew, then go on from there")));
  }
  std::vector<Change> changes;
  auto entry = std::upper_bound(
      entries_.begin(), entries_.end(), revision,
      [](std::int64_t wanted, const Entry& each) { return wanted < each.revision; });
  for (; entry != entries_.end() && changes.size() < max; ++entry) {
    changes.push_back({entry->revision, entry->kind,
                       entry->subject == nullptr ? std::nullopt : std::optional(*entry->subject),
                       entry->version, entry->id, *entry->actor, entry->time});
  }
  return changes;
}

}  // namespace tocsin::registry
