// Which incarnation a worker's producer is: our own count, kept in the compacted topic
// `<group>-workers` (key: worker id, value: the number as text) and written in the first
// transaction of each producer.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "lib/kafka/consumer.h"
#include "lib/kafka/types.h"

namespace tocsin::correlation {

// The last one that was committed under this id; 0: none yet. To be asked after
// TransactionalProducer::Init, which ends what a predecessor left open. Reads the topic to its high
// watermark with `reader` (read_committed, no group); blocks for at most `timeout`:
// DEADLINE_EXCEEDED when a transaction in it stays open for so long. NOT_FOUND: there is no such
// topic.
absl::StatusOr<std::int64_t> LastIncarnation(kafka::Consumer& reader, const std::string& topic,
                                             const std::string& worker,
                                             std::chrono::milliseconds timeout);

kafka::OutgoingRecord IncarnationRecord(const std::string& topic, const std::string& worker,
                                        std::int64_t incarnation);

}  // namespace tocsin::correlation
