// Ingest while the broker stands still.
#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

#include "lib/base/testing/status_matchers.h"
#include "lib/base/text.h"
#include "services/ingest/testing/real_ingest.h"

namespace tocsin::ingest {
namespace {
using ::testing::HasSubstr;

TEST(IngestOutageTest, ResendsNeverOvertakeAndNothingIsLost) {
  RealIngest ingest(kafka::testing::UniqueTopic("alerts", 1),
                    {.produce_timeout = std::chrono::milliseconds(500)});
  const auto batch = [](int from, int to) {
    std::vector<io::cloudevents::v1::CloudEvent> events;
    for (int i = from; i < to; ++i) {
      events.push_back(AlertEvent(Concat("e", 100 + i), Field(1, "X")));
    }
    return events;
  };
  // As a client does: the same again until it is confirmed.
  const auto publish = [&](int from, int to) {
    absl::Status sent;
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    do {
      sent = ingest.PublishBatch(batch(from, to)).status();
    } while (!sent.ok() && std::chrono::steady_clock::now() < deadline);
    return sent;
  };
  ASSERT_THAT(publish(0, 10), IsOk());
  {
    const kafka::testing::FrozenBroker frozen;
    EXPECT_THAT(ingest.PublishBatch(batch(10, 20)),
                StatusIs(absl::StatusCode::kUnavailable,
                         HasSubstr("send the same events again with the same ids")));
    EXPECT_THAT(ingest.PublishBatch(batch(10, 20)), StatusIs(absl::StatusCode::kUnavailable));
  }
  ASSERT_THAT(publish(10, 20), IsOk());
  ASSERT_THAT(publish(20, 30), IsOk());

  // Copies aside, which every reader that counts drops, the log has each event once and in order.
  std::vector<std::string> first_copies;
  std::set<std::string> seen;
  for (const auto& [where, entry] : ingest.Log(1)) {
    if (seen.insert(entry.id).second) first_copies.push_back(entry.id);
  }
  std::vector<std::string> expected;
  for (int i = 0; i < 30; ++i) expected.push_back(Concat("e", 100 + i));
  EXPECT_EQ(first_copies, expected);
}

}  // namespace
}  // namespace tocsin::ingest
