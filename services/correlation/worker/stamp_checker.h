// Do the outputs of all workers, read in full, hold whole transactions, each once and in order?
//
//   repeated   an output that was read before
//   reordered  within one partition, an output behind a later one of its worker
//   torn       a transaction of which outputs are missing
//   lost       a transaction of which nothing is there, between others of its incarnation
//
// Records of one transaction lie in several partitions, which are read in any order. So what is
// missing is judged when everything that was in the logs at some moment has been read: a
// transaction seen before that moment was written in full before it.
//
//   moment = checker.Moment()          then ask for the end (high watermark) of every partition
//   … read every partition to there …
//   checker.Settle(moment)
//
// Memory: what is not settled yet, and a few numbers per worker and partition. Pure.
// Threads: one at a time.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "lib/kafka/types.h"
#include "services/correlation/worker/stamp.h"

namespace tocsin::correlation {

struct Violation {
  // "repeated", "reordered", "torn" or "lost".
  std::string kind;
  std::string what;
};

class StampChecker {
 public:
  // A transaction with a record below these offsets may have begun before the reading did: it is
  // not expected to be whole. Partitions that are not named are read from their beginning.
  explicit StampChecker(kafka::Offsets doubtful_below = {})
      : doubtful_below_(std::move(doubtful_below)) {}

  // The next record of its partition. Records without a stamp, or with none that can be read, are
  // not given.
  void Read(const kafka::TopicPartition& where, std::int64_t offset, const OutputStamp& stamp);

  std::int64_t Moment() { return moment_++; }
  // Everything that was in the logs at that moment has been read.
  void Settle(std::int64_t moment);

  // What has been found since the last call.
  std::vector<Violation> Take();

 private:
  struct Seen {
    std::int64_t outputs = 0;
    std::set<std::int64_t> have;
    std::int64_t moment = 0;
    bool doubtful = false;
  };
  struct Incarnation {
    // Not settled, by number.
    std::map<std::int64_t, Seen> open;
    // Everything before it is settled; 0: nothing yet.
    std::int64_t next = 0;
  };
  struct Worker {
    std::map<std::int64_t, Incarnation> incarnations;
  };
  struct Place {
    std::int64_t incarnation = 0;
    std::int64_t transaction = 0;
    std::int64_t i = 0;
    friend auto operator<=>(const Place&, const Place&) = default;
  };

  void Note(std::string kind, std::string what);
  void SettleIncarnation(const std::string& worker, std::int64_t number, Incarnation& incarnation,
                         std::int64_t moment);

  const kafka::Offsets doubtful_below_;
  std::int64_t moment_ = 0;
  std::map<std::string, Worker> workers_;
  // The last output of a worker in a partition.
  std::map<std::pair<kafka::TopicPartition, std::string>, Place> last_;
  std::vector<Violation> found_;
};

}  // namespace tocsin::correlation
