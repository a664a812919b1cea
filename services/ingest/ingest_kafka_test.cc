// Ingest on a real broker: what a receipt says is what lies in the log, and keys keep their order.
#include <gtest/gtest.h>

#include <map>
#include <string>
#include <thread>
#include <vector>

#include "lib/base/mutex.h"
#include "lib/base/testing/status_matchers.h"
#include "lib/base/text.h"
#include "services/ingest/testing/real_ingest.h"

namespace tocsin::ingest {
namespace {
using ::testing::HasSubstr;

TEST(IngestKafkaTest, ReceiptsAreTheLogAndKeysKeepTheirOrder) {
  constexpr std::int32_t kPartitions = 3;
  RealIngest ingest(kafka::testing::UniqueTopic("alerts", kPartitions));
  // Four feeds, each with keys of its own, each sending its batches one after the other.
  Mutex mutex;
  std::map<std::pair<std::int32_t, std::int64_t>, std::string> receipts;
  std::vector<std::thread> feeds;
  for (int feed = 0; feed < 4; ++feed) {
    feeds.emplace_back([&, feed] {
      int number = 0;
      for (int batch = 0; batch < 10; ++batch) {
        std::vector<io::cloudevents::v1::CloudEvent> events;
        for (int i = 0; i < 50; ++i, ++number) {
          events.push_back(AlertEvent(Concat("feed", feed, "-", 10'000 + number),
                                      Field(1, Concat("feed", feed, "-key", number % 3))));
        }
        const auto answer = ingest.PublishBatch(events);
        ASSERT_THAT(answer, IsOk());
        ASSERT_EQ(answer->receipts_size(), 50);
        MutexLock lock(mutex);
        for (const v1::Receipt& receipt : answer->receipts()) {
          EXPECT_EQ(receipt.error_message(), "");
          receipts[{receipt.partition(), receipt.offset()}] = receipt.id();
        }
      }
    });
  }
  for (std::thread& feed : feeds) feed.join();

  const auto log = ingest.Log(kPartitions);
  EXPECT_EQ(log.size(), 2000U);
  ASSERT_EQ(receipts.size(), 2000U);
  std::map<std::string, std::string> last;
  for (const auto& [where, entry] : log) {
    EXPECT_EQ(receipts[where], entry.id);
    EXPECT_LT(last[entry.key], entry.id) << "an event overtook another of its key";
    last[entry.key] = entry.id;
  }
}

TEST(IngestKafkaTest, AMissingTopicIsNamed) {
  RealIngest ingest(kafka::testing::UniqueName("no-such-topic"));
  const auto answer = ingest.PublishBatch({AlertEvent("e1", Field(1, "X"))});
  ASSERT_THAT(answer, IsOk());
  EXPECT_THAT(answer->receipts(0).error_message(), HasSubstr("tocsin topics apply"));
  EXPECT_EQ(answer->receipts(0).error_code(),
            static_cast<int>(absl::StatusCode::kFailedPrecondition));
}

}  // namespace
}  // namespace tocsin::ingest
