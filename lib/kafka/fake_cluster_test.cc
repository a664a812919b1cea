#include "lib/kafka/testing/cluster.h"
#include "lib/kafka/testing/fake_kafka.h"

namespace tocsin::kafka::testing {
namespace {
class FakeCluster final : public Cluster {
 public:
  std::unique_ptr<Producer> MakeProducer() override { return kafka_.MakeProducer(); }
  std::unique_ptr<TransactionalProducer> MakeTransactionalProducer(std::string id) override {
    return kafka_.MakeTransactionalProducer(std::move(id));
  }
  std::unique_ptr<BatchProducer> MakeBatchProducer() override { return kafka_.MakeBatchProducer(); }
  std::unique_ptr<Consumer> MakeConsumer(ConsumerOptions options) override {
    return kafka_.MakeConsumer(std::move(options));
  }
  std::unique_ptr<Admin> MakeAdmin() override { return kafka_.MakeAdmin(); }
  void DeleteBefore(const TopicPartition& where, std::int64_t offset) override {
    kafka_.DeleteBefore(where, offset);
  }
  std::string UniqueName(std::string_view prefix) override { return std::string(prefix); }

 private:
  FakeKafka kafka_;
};
}  // namespace

std::unique_ptr<Cluster> MakeCluster() { return std::make_unique<FakeCluster>(); }

}  // namespace tocsin::kafka::testing
