// topic_writer HOST:PORT TOPIC: writes a record for each line of standard input, in order: key,
// value in hex (`-`: none) and ce_time (`-`: none), separated by tabs.
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdlib>
#include <iostream>
#include <string>
#include <utility>

#include "lib/base/status.h"
#include "lib/kafka/producer.h"

namespace {

int Digit(char c) { return c <= '9' ? c - '0' : c - 'a' + 10; }

}  // namespace

int main(int argc, char** argv) {
  using namespace tocsin;  // NOLINT(google-build-using-namespace): a program of one file
  if (argc != 3) return EXIT_FAILURE;
  kafka::ProducerOptions options;
  options.connection.bootstrap_servers = argv[1];
  options.connection.client_id = "topic-writer";
  const auto producer = kafka::MakeProducer(std::move(options));
  if (!producer.ok()) {
    std::cerr << Message(producer.status()) << '\n';
    return EXIT_FAILURE;
  }
  std::atomic<bool> failed{false};
  std::string key;
  std::string hex;
  std::string time;
  while (std::getline(std::cin, key, '\t') && std::getline(std::cin, hex, '\t') &&
         std::getline(std::cin, time)) {
    kafka::OutgoingRecord record;
    record.topic = argv[2];
    record.key = key;
    if (hex != "-") {
      std::string& bytes = record.value.emplace();
      for (std::size_t i = 0; i + 1 < hex.size(); i += 2) {
        bytes.push_back(static_cast<char>(Digit(hex[i]) * 16 + Digit(hex[i + 1])));
      }
    }
    if (time != "-") record.headers.Set("ce_time", time);
    const absl::Status produced = (*producer)->Produce(
        std::move(record), [&failed](const absl::StatusOr<kafka::Delivered>& delivered) {
          if (!delivered.ok()) failed = true;
        });
    if (!produced.ok()) failed = true;
  }
  if (!(*producer)->Flush(std::chrono::seconds(30)).ok()) failed = true;
  return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
