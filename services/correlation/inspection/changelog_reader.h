// Takes what a question is about out of a changelog topic, for partitions that other processes
// have.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "absl/status/statusor.h"
#include "lib/base/clock.h"
#include "lib/kafka/consumer.h"
#include "services/correlation/inspection/state_question.h"

namespace tocsin::correlation {

// Reads `changelog` from its beginning to where it ends now into `excerpt` and returns that end.
// Blocks for as long as the changelog is long, at most until the deadline and a little.
// DEADLINE_EXCEEDED: says how much was read. UNAVAILABLE: Kafka does not answer; try again.
// Thread-safe.
absl::StatusOr<std::int64_t> ReadChangelog(
    const std::function<absl::StatusOr<std::unique_ptr<kafka::Consumer>>(kafka::ConsumerOptions)>&
        make_consumer,
    const kafka::TopicPartition& changelog, const Clock& clock, SteadyTime deadline,
    StateExcerpt& excerpt);

}  // namespace tocsin::correlation
