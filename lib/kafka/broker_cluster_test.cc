#include <gtest/gtest.h>

#include "lib/base/testing/status_matchers.h"
#include "lib/kafka/rd.h"
#include "lib/kafka/record_layout.h"
#include "lib/kafka/testing/broker.h"
#include "lib/kafka/testing/cluster.h"

namespace tocsin::kafka::testing {
namespace {
class BrokerCluster final : public Cluster {
 public:
  std::unique_ptr<Producer> MakeProducer() override {
    return kafka::MakeProducer({.connection = BrokerConnection()}).value();
  }
  std::unique_ptr<TransactionalProducer> MakeTransactionalProducer(std::string id) override {
    return kafka::MakeTransactionalProducer(
               {.connection = BrokerConnection(), .transactional_id = std::move(id)})
        .value();
  }
  std::unique_ptr<BatchProducer> MakeBatchProducer() override {
    return kafka::MakeBatchProducer({.connection = BrokerConnection()}).value();
  }
  std::unique_ptr<Consumer> MakeConsumer(ConsumerOptions options) override {
    options.connection = BrokerConnection();
    return kafka::MakeConsumer(std::move(options)).value();
  }
  std::unique_ptr<Admin> MakeAdmin() override {
    return kafka::MakeAdmin(BrokerConnection()).value();
  }
  // Not part of Admin: nothing of ours deletes records but retention.
  void DeleteBefore(const TopicPartition& where, std::int64_t offset) override {
    internal::ConfBuilder::Hooks hooks;
    internal::ConfBuilder conf(BrokerConnection());
    const auto client = conf.Make(RD_KAFKA_PRODUCER, &hooks);
    ASSERT_THAT(client, IsOk());
    const auto offsets = internal::ToList(Offsets{{where, offset}});
    rd_kafka_DeleteRecords_t* request = rd_kafka_DeleteRecords_new(offsets.get());
    const internal::QueuePtr queue(rd_kafka_queue_new(*client));
    rd_kafka_DeleteRecords(*client, &request, 1, nullptr, queue.get());
    const internal::EventPtr event(rd_kafka_queue_poll(queue.get(), 20'000));
    rd_kafka_DeleteRecords_destroy(request);
    ASSERT_NE(event, nullptr);
    EXPECT_EQ(rd_kafka_event_error(event.get()), RD_KAFKA_RESP_ERR_NO_ERROR);
  }
  std::string UniqueName(std::string_view prefix) override { return testing::UniqueName(prefix); }
};

// What makes reading cheap rests on where librdkafka leaves the bytes. Should a later one put them
// elsewhere, all stays right and this fails.
TEST(FetchedRecordTest, HeadersAreFoundInPlace) {
  constexpr int kRecords = 500;
  for (const char* compression : {"none", "lz4", "gzip"}) {
    Connection connection = BrokerConnection();
    connection.overrides["compression.codec"] = compression;
    const std::string topic = UniqueTopic("layout");
    auto producer = kafka::MakeProducer({.connection = connection});
    ASSERT_THAT(producer, IsOk());
    for (int i = 0; i < kRecords; ++i) {
      OutgoingRecord record{.topic = topic, .value = std::string(static_cast<std::size_t>(i), 'v')};
      if (i % 3 != 0) record.key = std::string(static_cast<std::size_t>(i % 200), 'k');
      if (i % 7 == 1) record.value = std::nullopt;
      for (int h = 0; h < i % 10; ++h) record.headers.Append("name", std::string(50, 'h'));
      ASSERT_THAT((*producer)->Produce(record, nullptr), IsOk());
    }
    ASSERT_THAT((*producer)->Flush(std::chrono::seconds(30)), IsOk());

    internal::ConfBuilder::Hooks hooks;
    internal::ConfBuilder conf(BrokerConnection());
    conf.Set("group.id", std::string_view("layout"));
    internal::SetFetching(conf, {});
    const auto client = conf.Make(RD_KAFKA_CONSUMER, &hooks);
    ASSERT_THAT(client, IsOk());
    rd_kafka_poll_set_consumer(*client);
    const auto offsets = internal::ToList(Offsets{{{topic, 0}, 0}});
    rd_kafka_assign(*client, offsets.get());
    int found = 0;
    for (int seen = 0; seen < kRecords;) {
      const internal::MessagePtr message(rd_kafka_consumer_poll(*client, 20'000));
      if (message == nullptr) {
        ADD_FAILURE() << "nothing more comes after " << seen << " records";
        break;
      }
      if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR) continue;
      const int i = seen++;
      const auto view = [](const void* bytes, std::size_t size) {
        return bytes == nullptr
                   ? std::nullopt
                   : std::optional(std::string_view(static_cast<const char*>(bytes), size));
      };
      const auto key = view(message->key, message->key_len);
      const auto value = view(message->payload, message->len);
      HeaderMemory memory;
      const auto headers = internal::HeadersInPlace(key, value, memory);
      const bool bare = key.value_or("").empty() && value.value_or("").empty();
      EXPECT_EQ(headers.has_value(), !bare) << compression << " " << i;
      if (!headers.has_value()) continue;
      ++found;
      EXPECT_EQ(headers->size(), static_cast<std::size_t>(i % 10)) << compression << " " << i;
      for (const auto& [name, text] : headers->entries()) {
        EXPECT_EQ(name, "name");
        EXPECT_EQ(text, std::string(50, 'h'));
      }
    }
    EXPECT_GT(found, kRecords * 9 / 10);
    rd_kafka_consumer_close(*client);
    rd_kafka_destroy(*client);
  }
}

}  // namespace

std::unique_ptr<Cluster> MakeCluster() { return std::make_unique<BrokerCluster>(); }

}  // namespace tocsin::kafka::testing
