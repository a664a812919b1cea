// Which topics there should be, what there is, and the difference.
//
// Threads: pure.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "lib/kafka/admin.h"
#include "tocsin/pack/v1/pack.pb.h"

namespace tocsin::cli {

// The topics of the pack's streams (with <stream>.processed and <stream>.late where asked, and
// <stream>.dlq) and
// those of the system itself. `replication`: for all; with 2 or more, min.insync.replicas is one
// less.
std::vector<kafka::TopicSpec> WantedTopics(const std::vector<pack::v1::Pack>& packs,
                                           std::int32_t replication);

struct TopicChange {
  enum class Kind {
    kCreate,
    // More partitions than there are.
    kGrow,
    // Properties that differ.
    kConfigure,
    // Fewer partitions than there are, which Kafka cannot do, or another replication factor, which
    // needs a reassignment: said, never done.
    kCannot,
  };
  Kind kind;
  kafka::TopicSpec wanted;
  // For people: "+ alerts.raw: 6 partitions, retention.ms=604800000".
  std::string text;
};

// In the order of `wanted`. Topics that exist and are not wanted are not mentioned.
std::vector<TopicChange> TopicDifference(
    const std::vector<kafka::TopicSpec>& wanted,
    const std::map<std::string, kafka::TopicDescription>& present);

}  // namespace tocsin::cli
