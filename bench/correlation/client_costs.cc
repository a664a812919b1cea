// What lib/kafka costs for one record, beside bench/peers/bare_consumer: reading a topic from its
// beginning to its end by Consumer::PollViews, looking at every header, or writing records.
//
//   client_costs read  --broker H:P --topic T [--polled yes]         (yes: by Poll, copied)
//   client_costs write --broker H:P --topic T --records N --headers N [--transaction N]
//
// `--transaction` is the number of records in each; 0 (the default) writes without transactions.
// Prints one JSON object: records, bytes of values and headers, CPU and wall seconds of the whole
// process from the first call to the last.
#include <sys/resource.h>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "lib/base/status.h"
#include "lib/kafka/admin.h"
#include "lib/kafka/batch_producer.h"
#include "lib/kafka/consumer.h"
#include "lib/kafka/transactional_producer.h"

namespace tocsin::kafka {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr milliseconds kPatience{30'000};

[[noreturn]] void Fail(const std::string& message) {
  std::fprintf(stderr, "client_costs: %s\n", message.c_str());
  std::exit(1);
}

void Check(const absl::Status& status) {
  if (!status.ok()) Fail(tocsin::Describe(status));
}

double CpuSeconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto as_seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
  };
  return as_seconds(usage.ru_utime) + as_seconds(usage.ru_stime);
}

struct Counted {
  std::int64_t records = 0;
  std::size_t bytes = 0;
};

class Measurement {
 public:
  void Print(const Counted& counted) const {
    const double cpu = CpuSeconds() - cpu_;
    const double wall =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - begin_).count();
    std::printf(
        "{\"records\": %lld, \"bytes\": %zu, \"cpu_seconds\": %.6f, \"wall_seconds\": %.6f, "
        "\"cpu_ns_per_record\": %.1f}\n",
        static_cast<long long>(counted.records), counted.bytes, cpu, wall,
        counted.records == 0 ? 0.0 : cpu * 1e9 / static_cast<double>(counted.records));
  }

 private:
  const double cpu_ = CpuSeconds();
  const std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
};

using Arguments = std::map<std::string, std::string>;

void Read(const Connection& connection, const Arguments& arguments) {
  const std::string& topic = arguments.at("--topic");
  const bool copied = arguments.contains("--polled");
  auto admin = MakeAdmin(connection);
  Check(admin.status());
  const auto partitions = (*admin)->PartitionCount(topic, kPatience);
  Check(partitions.status());
  auto consumer = MakeConsumer({.connection = connection});
  Check(consumer.status());
  Offsets from;
  for (std::int32_t p = 0; p < *partitions; ++p) from[{topic, p}] = 0;
  const Measurement measurement;
  Check((*consumer)->Assign(from));
  Counted counted;
  Offsets ends;
  while (ends.size() < from.size()) {
    if (copied) {
      const Batch batch = (*consumer)->Poll(seconds(1));
      for (const PollError& error : batch.errors) Check(error.status);
      for (const Record& record : batch.records) {
        ++counted.records;
        counted.bytes += record.value.has_value() ? record.value->size() : 0;
        for (const auto& [name, value] : record.headers.entries()) counted.bytes += value.size();
      }
      ends.insert(batch.ends.begin(), batch.ends.end());
      continue;
    }
    const ViewBatch batch = (*consumer)->PollViews(seconds(1));
    for (const PollError& error : batch.errors()) Check(error.status);
    for (const RecordView& record : batch.records()) {
      ++counted.records;
      counted.bytes += record.value.has_value() ? record.value->size() : 0;
      for (const auto& [name, value] : record.headers.entries()) counted.bytes += value.size();
    }
    ends.insert(batch.ends().begin(), batch.ends().end());
  }
  measurement.Print(counted);
}

template <typename Producer, typename End>
void WriteAll(const Arguments& arguments, std::int64_t each, Producer& producer, End end) {
  const std::string& topic = arguments.at("--topic");
  const std::int64_t records = std::stoll(arguments.at("--records"));
  std::vector<HeaderViews::Entry> headers(std::stoul(arguments.at("--headers")),
                                          {"tocsin.inputs", "0123456789abcdef"});
  const std::string value(60, 'x');
  std::string key = "u0000";
  const Measurement measurement;
  Counted counted;
  for (std::int64_t i = 0; i < records; ++i) {
    key[1 + static_cast<std::size_t>(i % 4)] = static_cast<char>('0' + i % 10);
    Check(producer
              .ProduceView({.topic = topic,
                            .partition = static_cast<std::int32_t>(i % 4),
                            .key = key,
                            .value = value,
                            .headers = HeaderViews(headers)})
              .status);
    ++counted.records;
    counted.bytes += value.size();
    if (counted.records % each == 0 || counted.records == records) end();
  }
  measurement.Print(counted);
}

void Write(const Connection& connection, const Arguments& arguments) {
  const auto given = arguments.find("--transaction");
  const std::int64_t each = given == arguments.end() ? 0 : std::stoll(given->second);
  if (each == 0) {
    auto producer = MakeBatchProducer({.connection = connection});
    Check(producer.status());
    WriteAll(arguments, 100'000, **producer, [&] { Check((*producer)->Flush(kPatience).status); });
    return;
  }
  auto producer =
      MakeTransactionalProducer({.connection = connection, .transactional_id = "client_costs"});
  Check(producer.status());
  Check((*producer)->Init().status);
  Check((*producer)->Begin().status);
  WriteAll(arguments, each, **producer, [&] {
    Check((*producer)->Commit().status);
    Check((*producer)->Begin().status);
  });
}

int Main(int argc, char** argv) {
  Arguments arguments;
  for (int i = 2; i + 1 < argc; i += 2) arguments[argv[i]] = argv[i + 1];
  const std::string_view what = argc > 1 ? argv[1] : "";
  if (!arguments.contains("--broker") || !arguments.contains("--topic")) {
    Fail("--broker and --topic are needed");
  }
  const Connection connection{.bootstrap_servers = arguments["--broker"]};
  if (what == "read") {
    Read(connection, arguments);
  } else if (what == "write" && arguments.contains("--records") &&
             arguments.contains("--headers")) {
    Write(connection, arguments);
  } else {
    Fail("say read, or write with --records and --headers");
  }
  return 0;
}

}  // namespace
}  // namespace tocsin::kafka

int main(int argc, char** argv) { return tocsin::kafka::Main(argc, argv); }
