// Reads a topic from its beginning to the end that it has now, with librdkafka and nothing else: no
// group, no commit, no look at what is read. What it costs is the least that any engine on
// librdkafka can cost.
//
//   bare_consumer --broker H:P --topic T
//
// Prints one JSON object: records, bytes of their values, CPU and wall seconds from the first fetch
// to the last record.
#include <librdkafka/rdkafka.h>
#include <sys/resource.h>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

namespace {

constexpr int kTimeoutMs = 10'000;
constexpr int kBatchMs = 100;
constexpr std::size_t kBatch = 1'000;

[[noreturn]] void Fail(const std::string& message) {
  std::fprintf(stderr, "bare_consumer: %s\n", message.c_str());
  std::exit(1);
}

double CpuSeconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

}  // namespace

int main(int argc, char** argv) {
  std::string broker;
  std::string topic;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string_view name = argv[i];
    if (name == "--broker") broker = argv[i + 1];
    if (name == "--topic") topic = argv[i + 1];
  }
  if (broker.empty() || topic.empty()) Fail("--broker and --topic are needed");
  rd_kafka_conf_t* const conf = rd_kafka_conf_new();
  char error[512];
  const std::pair<const char*, const char*> settings[] = {
      {"bootstrap.servers", broker.c_str()},
      {"group.id", "bare"},
      {"enable.auto.commit", "false"},
      // As lib/kafka's consumer has them, so that both fetch and check alike.
      {"enable.auto.offset.store", "false"},
      {"isolation.level", "read_committed"},
      {"check.crcs", "true"},
      {"fetch.wait.max.ms", "100"},
      {"queued.max.messages.kbytes", "32768"},
      {"socket.nagle.disable", "true"}};
  for (const auto& [name, value] : settings) {
    if (rd_kafka_conf_set(conf, name, value, error, sizeof(error)) != RD_KAFKA_CONF_OK) {
      Fail(error);
    }
  }
  rd_kafka_t* const consumer = rd_kafka_new(RD_KAFKA_CONSUMER, conf, error, sizeof(error));
  if (consumer == nullptr) Fail(error);
  rd_kafka_poll_set_consumer(consumer);

  rd_kafka_topic_t* const handle = rd_kafka_topic_new(consumer, topic.c_str(), nullptr);
  const rd_kafka_metadata_t* metadata = nullptr;
  if (rd_kafka_metadata(consumer, 0, handle, &metadata, kTimeoutMs) != 0 ||
      metadata->topic_cnt != 1 || metadata->topics[0].partition_cnt == 0) {
    Fail("no metadata of topic " + topic);
  }
  const int partitions = metadata->topics[0].partition_cnt;
  rd_kafka_metadata_destroy(metadata);
  rd_kafka_topic_destroy(handle);
  rd_kafka_topic_partition_list_t* const assignment = rd_kafka_topic_partition_list_new(partitions);
  std::int64_t wanted = 0;
  for (int partition = 0; partition < partitions; ++partition) {
    std::int64_t low = 0;
    std::int64_t high = 0;
    if (rd_kafka_query_watermark_offsets(consumer, topic.c_str(), partition, &low, &high,
                                         kTimeoutMs) != RD_KAFKA_RESP_ERR_NO_ERROR) {
      Fail("no offsets of topic " + topic);
    }
    wanted += high - low;
    rd_kafka_topic_partition_list_add(assignment, topic.c_str(), partition)->offset = low;
  }
  // Fetching begins here.
  const double cpu = CpuSeconds();
  const auto begin = std::chrono::steady_clock::now();
  if (rd_kafka_assign(consumer, assignment) != RD_KAFKA_RESP_ERR_NO_ERROR) Fail("cannot assign");
  rd_kafka_topic_partition_list_destroy(assignment);

  rd_kafka_queue_t* const queue = rd_kafka_queue_get_consumer(consumer);
  std::vector<rd_kafka_message_t*> batch(kBatch);
  std::int64_t records = 0;
  std::size_t bytes = 0;
  auto last = begin;
  while (records < wanted) {
    // It waits until the batch is full, or so long.
    const ssize_t got = rd_kafka_consume_batch_queue(queue, kBatchMs, batch.data(), kBatch);
    const auto now = std::chrono::steady_clock::now();
    if (got > 0) last = now;
    if (now - last > std::chrono::milliseconds(kTimeoutMs)) Fail("nothing more comes");
    for (ssize_t i = 0; i < got; ++i) {
      rd_kafka_message_t* const message = batch[static_cast<std::size_t>(i)];
      if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
        ++records;
        bytes += message->len;
      }
      rd_kafka_message_destroy(message);
    }
  }
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  const double spent = CpuSeconds() - cpu;
  std::printf(
      "{\"records\": %lld, \"bytes\": %zu, \"cpu_seconds\": %.6f, \"wall_seconds\": %.6f, "
      "\"events_per_cpu_second\": %.0f}\n",
      static_cast<long long>(records), bytes, spent, seconds, static_cast<double>(records) / spent);
  rd_kafka_queue_destroy(queue);
  rd_kafka_consumer_close(consumer);
  rd_kafka_destroy(consumer);
  return 0;
}
