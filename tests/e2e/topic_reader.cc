// topic_reader HOST:PORT TOPIC PARTITIONS: the committed values of a topic, each as one line of
// hex, until the end of every partition.
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <set>
#include <string>

#include "lib/base/hex.h"
#include "lib/base/status.h"
#include "lib/kafka/consumer.h"

int main(int argc, char** argv) {
  using namespace tocsin;  // NOLINT(google-build-using-namespace): a program of one file
  if (argc != 4) return EXIT_FAILURE;
  kafka::ConsumerOptions options;
  options.connection.bootstrap_servers = argv[1];
  options.connection.client_id = "topic-reader";
  const auto consumer = kafka::MakeConsumer(std::move(options));
  if (!consumer.ok()) {
    std::cerr << Message(consumer.status()) << '\n';
    return EXIT_FAILURE;
  }
  kafka::Offsets from;
  std::set<kafka::TopicPartition> open;
  for (std::int32_t partition = 0; partition < std::atoi(argv[3]); ++partition) {
    from[{argv[2], partition}] = 0;
    open.insert({argv[2], partition});
  }
  if (!(*consumer)->Assign(from).ok()) return EXIT_FAILURE;
  while (!open.empty()) {
    const kafka::Batch batch = (*consumer)->Poll(std::chrono::seconds(1));
    for (const kafka::Record& record : batch.records) {
      if (record.value.has_value()) std::cout << HexEncode(*record.value) << '\n';
    }
    for (const auto& [where, offset] : batch.ends) open.erase(where);
    for (const kafka::PollError& error : batch.errors) {
      std::cerr << Message(error.status) << '\n';
      if (error.fatal) return EXIT_FAILURE;
    }
  }
  return EXIT_SUCCESS;
}
