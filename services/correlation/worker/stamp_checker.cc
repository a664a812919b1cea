#include "services/correlation/worker/stamp_checker.h"

#include <algorithm>
#include <utility>

#include "lib/base/text.h"

namespace tocsin::correlation {
namespace {

// A worker that comes back more often between two settlements loses the oldest from view.
constexpr std::size_t kMaxIncarnations = 64;
// Findings kept for Take.
constexpr std::size_t kMaxFound = 1'000;

std::string Name(const std::string& worker, std::int64_t incarnation, std::int64_t transaction) {
  return Concat(worker, "/", incarnation, "/", transaction);
}

}  // namespace

void StampChecker::Note(std::string kind, std::string what) {
  if (found_.size() < kMaxFound) found_.push_back({std::move(kind), std::move(what)});
}

void StampChecker::Read(const kafka::TopicPartition& where, std::int64_t offset,
                        const OutputStamp& stamp) {
  const TransactionStamp& of = stamp.transaction;
  const std::string name =
      Concat(Name(of.worker, of.incarnation, of.transaction), " ", stamp.i, " of ", of.outputs,
             " in ", kafka::Describe(where), " at ", offset);
  const auto doubtful = doubtful_below_.find(where);
  const bool is_doubtful = doubtful != doubtful_below_.end() && offset < doubtful->second;

  auto& incarnations = workers_[of.worker].incarnations;
  Incarnation& incarnation = incarnations[of.incarnation];
  while (incarnations.size() > kMaxIncarnations) {
    if (incarnations.begin()->first == of.incarnation) break;
    incarnations.erase(incarnations.begin());
  }
  bool is_new = true;
  if (of.transaction < incarnation.next) {
    // Settled: it was whole.
    Note("repeated", name);
    is_new = false;
  } else {
    Seen& seen = incarnation.open[of.transaction];
    if (seen.have.empty()) {
      seen.outputs = of.outputs;
      seen.moment = moment_;
    }
    seen.doubtful = seen.doubtful || is_doubtful;
    if (seen.outputs != of.outputs) {
      Note("torn", Concat(name, ": others of it say that there are ", seen.outputs));
    }
    is_new = seen.have.insert(stamp.i).second;
    if (!is_new) Note("repeated", name);
  }
  const Place place{of.incarnation, of.transaction, stamp.i};
  Place& last = last_[{where, of.worker}];
  if (place > last) {
    last = place;
  } else if (is_new) {
    Note("reordered", Concat(name, ": behind ", Name(of.worker, last.incarnation, last.transaction),
                             " ", last.i));
  }
}

void StampChecker::SettleIncarnation(const std::string& worker, std::int64_t number,
                                     Incarnation& incarnation, std::int64_t moment) {
  // The newest that must be whole by now, and with it everything before it.
  std::int64_t newest = 0;
  for (const auto& [transaction, seen] : incarnation.open) {
    if (seen.moment <= moment) newest = std::max(newest, transaction);
  }
  while (!incarnation.open.empty() && incarnation.open.begin()->first <= newest) {
    const auto& [transaction, seen] = *incarnation.open.begin();
    // Where the reading began in the middle, nobody knows what lay before.
    if (incarnation.next > 0) {
      for (std::int64_t gone = incarnation.next; gone < transaction; ++gone) {
        Note("lost", Name(worker, number, gone));
      }
    }
    if (!seen.doubtful && static_cast<std::int64_t>(seen.have.size()) < seen.outputs) {
      Note("torn", Concat(Name(worker, number, transaction), ": ", seen.have.size(), " of ",
                          seen.outputs, " outputs"));
    }
    // Between two in doubt others may lie whose outputs are all before the beginning.
    incarnation.next = seen.doubtful ? 0 : transaction + 1;
    incarnation.open.erase(incarnation.open.begin());
  }
}

void StampChecker::Settle(std::int64_t moment) {
  for (auto& [name, worker] : workers_) {
    for (auto& [number, incarnation] : worker.incarnations) {
      // A whole one counts from 1, also where its first is what is missing: that shows when the
      // reading began at the beginning, or this worker was known before.
      const bool from_one =
          incarnation.next == 0 && !incarnation.open.empty() &&
          !incarnation.open.begin()->second.doubtful &&
          (doubtful_below_.empty() || number > worker.incarnations.begin()->first);
      if (from_one) incarnation.next = 1;
      SettleIncarnation(name, number, incarnation, moment);
    }
    // An older incarnation of which nothing is open will not come again.
    while (worker.incarnations.size() > 2 && worker.incarnations.begin()->second.open.empty()) {
      worker.incarnations.erase(worker.incarnations.begin());
    }
  }
}

std::vector<Violation> StampChecker::Take() { return std::exchange(found_, {}); }

}  // namespace tocsin::correlation
