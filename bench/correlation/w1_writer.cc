// Writes workload W1 (or W3 or W4) to a topic, in its order in each partition: CloudEvents in
// binary mode whose values are Protobuf (tocsin.bench.v1.Event) behind Confluent's prefix; record
// key = the key as text. With --rate N events per second are sent at their due times (open loop),
// ce_time included, and the record's Kafka timestamp is the moment when it was due.
//
//   w1_writer --broker H:P --topic T --schema-id N [--events N] [--keys K] [--seed S] [--rate R]
//             [--seconds S] [--first-id N] [--workload w1|w3|w4]
//
// W3 and W4: --events in all, --keys: W3's users.
//
// Prints how many records the broker has acknowledged; exit code 1 when one was not.
#include <librdkafka/rdkafka.h>

#include <array>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "bench/correlation/w1_events.h"
#include "bench/correlation/window_events.h"

namespace {

using Clock = std::chrono::steady_clock;

struct Options {
  std::string broker;
  std::string topic;
  std::uint32_t schema_id = 0;
  std::int64_t rate = 0;
  std::int64_t seconds = 0;
  // Added to every event's id.
  std::int64_t first_id = 0;
  std::string kind = "w1";
  tocsin::bench::W1Options workload;
};

[[noreturn]] void Fail(const std::string& message) {
  std::fprintf(stderr, "w1_writer: %s\n", message.c_str());
  std::exit(1);
}

Options Parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string_view name = argv[i];
    const char* const value = argv[i + 1];
    if (name == "--broker") {
      options.broker = value;
    } else if (name == "--topic") {
      options.topic = value;
    } else if (name == "--schema-id") {
      options.schema_id = static_cast<std::uint32_t>(std::strtoul(value, nullptr, 10));
    } else if (name == "--events") {
      options.workload.background = std::strtoll(value, nullptr, 10);
    } else if (name == "--keys") {
      options.workload.keys = static_cast<std::uint32_t>(std::strtoul(value, nullptr, 10));
    } else if (name == "--seed") {
      options.workload.seed = std::strtoull(value, nullptr, 10);
    } else if (name == "--rate") {
      options.rate = std::strtoll(value, nullptr, 10);
    } else if (name == "--first-id") {
      options.first_id = std::strtoll(value, nullptr, 10);
    } else if (name == "--workload") {
      options.kind = value;
    } else if (name == "--seconds") {
      options.seconds = std::strtoll(value, nullptr, 10);
    } else {
      Fail("unknown option " + std::string(name));
    }
  }
  if (options.broker.empty() || options.topic.empty() || options.schema_id == 0) {
    Fail("--broker, --topic and --schema-id are needed");
  }
  if (options.kind != "w1" && options.kind != "w3" && options.kind != "w4") {
    Fail("unknown workload " + options.kind);
  }
  if (options.workload.keys < 100 || options.workload.keys % 100 != 0) {
    Fail("--keys must be a multiple of 100");
  }
  return options;
}

void AppendVarint(std::string& out, std::uint64_t value) {
  while (value >= 0x80) {
    out += static_cast<char>(value | 0x80);
    value >>= 7;
  }
  out += static_cast<char>(value);
}

void AppendNumber(std::string& out, int field, std::uint64_t value) {
  if (value == 0) return;
  out += static_cast<char>(field << 3);
  AppendVarint(out, value);
}

// RFC 3339 in UTC with milliseconds. Whole seconds are formatted once and kept.
class TimeText {
 public:
  std::string_view Of(std::int64_t ms) {
    const std::time_t second = static_cast<std::time_t>(ms / 1000);
    if (second != second_) {
      second_ = second;
      std::tm parts{};
      gmtime_r(&second, &parts);
      std::strftime(text_, sizeof(text_), "%Y-%m-%dT%H:%M:%S.000Z", &parts);
    }
    const int rest = static_cast<int>(ms % 1000);
    text_[20] = static_cast<char>('0' + rest / 100);
    text_[21] = static_cast<char>('0' + rest / 10 % 10);
    text_[22] = static_cast<char>('0' + rest % 10);
    return {text_, 24};
  }

 private:
  std::time_t second_ = -1;
  char text_[32] = {};
};

struct Reports {
  std::int64_t acknowledged = 0;
  std::int64_t failed = 0;
  std::string reason;
};

void OnDelivery(rd_kafka_t*, const rd_kafka_message_t* message, void* opaque) {
  auto& reports = *static_cast<Reports*>(opaque);
  if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
    ++reports.acknowledged;
  } else {
    ++reports.failed;
    reports.reason = rd_kafka_err2str(message->err);
  }
}

rd_kafka_t* MakeProducer(const Options& options, Reports& reports) {
  rd_kafka_conf_t* const conf = rd_kafka_conf_new();
  char error[512];
  const std::pair<const char*, std::string> settings[] = {
      {"bootstrap.servers", options.broker},
      {"enable.idempotence", "true"},
      {"compression.type", "lz4"},
      {"partitioner", "murmur2_random"},
      {"linger.ms", options.rate > 0 ? "1" : "50"},
      {"batch.size", "262144"},
      {"socket.nagle.disable", "true"},
      {"queue.buffering.max.messages", "500000"},
      {"queue.buffering.max.kbytes", "262144"},
  };
  for (const auto& [name, value] : settings) {
    if (rd_kafka_conf_set(conf, name, value.c_str(), error, sizeof(error)) != RD_KAFKA_CONF_OK) {
      Fail(error);
    }
  }
  rd_kafka_conf_set_dr_msg_cb(conf, OnDelivery);
  rd_kafka_conf_set_opaque(conf, &reports);
  rd_kafka_t* const producer = rd_kafka_new(RD_KAFKA_PRODUCER, conf, error, sizeof(error));
  if (producer == nullptr) Fail(error);
  return producer;
}

class Writer {
 public:
  Writer(const Options& options, rd_kafka_t* producer)
      : producer_(producer), topic_(rd_kafka_topic_new(producer, options.topic.c_str(), nullptr)) {
    prefix_ += '\0';
    for (int shift = 24; shift >= 0; shift -= 8) {
      prefix_ += static_cast<char>(options.schema_id >> shift);
    }
    // Of the message indexes: the first message of the file.
    prefix_ += '\0';
  }
  ~Writer() { rd_kafka_topic_destroy(topic_); }
  Writer(const Writer&) = delete;
  Writer& operator=(const Writer&) = delete;

  // `sent_ms`: the record's Kafka timestamp; 0: now.
  void Send(const tocsin::bench::W1Event& event, std::int64_t sent_ms) {
    const std::string key = std::to_string(event.key);
    const std::string id = std::to_string(event.id);
    value_ = prefix_;
    AppendNumber(value_, 1, static_cast<std::uint64_t>(event.id));
    AppendNumber(value_, 2, static_cast<std::uint64_t>(event.time_ms));
    AppendNumber(value_, 3, event.key);
    AppendNumber(value_, 4, event.type);
    AppendNumber(value_, 5, static_cast<std::uint64_t>(event.value));
    value_ += '\x32';
    value_ += static_cast<char>(key.size() + 1);
    value_ += 'u';
    value_ += key;
    const std::string_view time = time_.Of(event.time_ms);
    std::array<rd_kafka_vu_t, 10> parts{};
    std::size_t count = 0;
    const auto next = [&](rd_kafka_vtype_t type) -> rd_kafka_vu_t& {
      parts.at(count).vtype = type;
      return parts.at(count++);
    };
    const auto header = [&](const char* name, std::string_view text) {
      rd_kafka_vu_t& part = next(RD_KAFKA_VTYPE_HEADER);
      part.u.header = {name, text.data(), static_cast<ssize_t>(text.size())};
    };
    next(RD_KAFKA_VTYPE_RKT).u.rkt = topic_;
    next(RD_KAFKA_VTYPE_MSGFLAGS).u.i = RD_KAFKA_MSG_F_COPY;
    rd_kafka_vu_t& key_part = next(RD_KAFKA_VTYPE_KEY);
    key_part.u.mem.ptr = const_cast<char*>(key.data());
    key_part.u.mem.size = key.size();
    rd_kafka_vu_t& value_part = next(RD_KAFKA_VTYPE_VALUE);
    value_part.u.mem.ptr = value_.data();
    value_part.u.mem.size = value_.size();
    next(RD_KAFKA_VTYPE_TIMESTAMP).u.i64 = sent_ms;
    header("ce_specversion", "1.0");
    header("ce_id", id);
    header("ce_source", "/bench/w1");
    header("ce_type", "tocsin.bench.v1.Event");
    header("ce_time", time);
    for (;;) {
      rd_kafka_error_t* const error = rd_kafka_produceva(producer_, parts.data(), count);
      if (error == nullptr) return;
      const rd_kafka_resp_err_t code = rd_kafka_error_code(error);
      rd_kafka_error_destroy(error);
      if (code != RD_KAFKA_RESP_ERR__QUEUE_FULL) Fail(rd_kafka_err2str(code));
      rd_kafka_poll(producer_, 100);
    }
  }

 private:
  rd_kafka_t* const producer_;
  rd_kafka_topic_t* const topic_;
  std::string prefix_;
  std::string value_;
  TimeText time_;
};

std::int64_t NowMs() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

std::vector<tocsin::bench::W1Event> MakeEvents(const Options& options) {
  const tocsin::bench::W1Options& workload = options.workload;
  if (options.kind == "w1") return tocsin::bench::MakeW1(workload);
  std::vector<tocsin::bench::W1Event> events;
  for (const tocsin::bench::WindowEvent& event :
       options.kind == "w3"
           ? tocsin::bench::MakeW3(workload.background, workload.keys, workload.seed)
           : tocsin::bench::MakeW4(workload.background, workload.seed)) {
    events.push_back({event.id, event.time_ms, event.key, 0, 0});
  }
  return events;
}

}  // namespace

int main(int argc, char** argv) {
  Options options = Parse(argc, argv);
  if (options.rate > 0) options.workload.background = options.rate * options.seconds;
  auto events = MakeEvents(options);
  for (tocsin::bench::W1Event& event : events) event.id += options.first_id;
  Reports reports;
  rd_kafka_t* const producer = MakeProducer(options, reports);
  std::int64_t sent = 0;
  {
    Writer writer(options, producer);
    const auto begin = Clock::now();
    const std::int64_t begin_ms = NowMs();
    for (const tocsin::bench::W1Event& event : events) {
      std::int64_t due_ms = 0;
      if (options.rate > 0) {
        const auto due = std::chrono::nanoseconds(sent * 1'000'000'000 / options.rate);
        due_ms = begin_ms + due / std::chrono::milliseconds(1);
        while (Clock::now() < begin + due) {
          rd_kafka_poll(producer, 0);
          std::this_thread::sleep_for(std::chrono::microseconds(200));
        }
      } else if (sent % 1000 == 0) {
        rd_kafka_poll(producer, 0);
      }
      writer.Send(event, due_ms);
      ++sent;
    }
    if (rd_kafka_flush(producer, 120'000) != RD_KAFKA_RESP_ERR_NO_ERROR) Fail("cannot flush");
  }
  rd_kafka_destroy(producer);
  if (reports.acknowledged != sent) {
    Fail(std::to_string(sent - reports.acknowledged) +
         " records were not written: " + reports.reason);
  }
  std::printf("%lld\n", static_cast<long long>(sent));
  return 0;
}
