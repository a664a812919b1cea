#include <gtest/gtest.h>

#include "lib/base/testing/status_matchers.h"
#include "lib/kafka/rd.h"
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
}  // namespace

std::unique_ptr<Cluster> MakeCluster() { return std::make_unique<BrokerCluster>(); }

}  // namespace tocsin::kafka::testing
