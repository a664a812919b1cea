// What the contract test (lib/kafka/contract_test.cc) needs of a cluster: the fake and the real
// broker are held to the same words.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "lib/kafka/admin.h"
#include "lib/kafka/batch_producer.h"
#include "lib/kafka/consumer.h"
#include "lib/kafka/producer.h"
#include "lib/kafka/transactional_producer.h"

namespace tocsin::kafka::testing {

class Cluster {
 public:
  virtual ~Cluster() = default;
  virtual std::unique_ptr<Producer> MakeProducer() = 0;
  virtual std::unique_ptr<TransactionalProducer> MakeTransactionalProducer(std::string id) = 0;
  virtual std::unique_ptr<BatchProducer> MakeBatchProducer() = 0;
  // Fills in the connection.
  virtual std::unique_ptr<Consumer> MakeConsumer(ConsumerOptions options) = 0;
  virtual std::unique_ptr<Admin> MakeAdmin() = 0;
  virtual void DeleteBefore(const TopicPartition& where, std::int64_t offset) = 0;
  virtual std::string UniqueName(std::string_view prefix) = 0;
};

// Defined once in each program that links the contract test.
std::unique_ptr<Cluster> MakeCluster();

}  // namespace tocsin::kafka::testing
