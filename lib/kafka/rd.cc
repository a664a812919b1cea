#include "lib/kafka/rd.h"

#include <algorithm>
#include <array>

#include "lib/base/status.h"
#include "lib/telemetry/log.h"

namespace tocsin::kafka::internal {
namespace {

LogLevel LevelOf(int syslog_level) {
  if (syslog_level <= 3) return LogLevel::kError;
  if (syslog_level == 4) return LogLevel::kWarning;
  return syslog_level <= 6 ? LogLevel::kInfo : LogLevel::kDebug;
}

void OnLog(const rd_kafka_t* client, int level, const char* facility, const char* text) {
  // Lines may come while the client is still being made, or without any client.
  auto* hooks =
      client == nullptr ? nullptr : static_cast<ConfBuilder::Hooks*>(rd_kafka_opaque(client));
  if (hooks == nullptr) return;
  if (hooks->on_log) hooks->on_log(facility, text);
  if (hooks->log) hooks->log(LevelOf(level), Concat(facility, ": ", text));
}

absl::StatusCode CodeOf(rd_kafka_resp_err_t error) {
  switch (error) {
    case RD_KAFKA_RESP_ERR_NO_ERROR:
      return absl::StatusCode::kOk;
    case RD_KAFKA_RESP_ERR__TIMED_OUT:
    case RD_KAFKA_RESP_ERR__MSG_TIMED_OUT:
    case RD_KAFKA_RESP_ERR__TIMED_OUT_QUEUE:
    case RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT:
      return absl::StatusCode::kDeadlineExceeded;
    case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
    case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
    case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
    case RD_KAFKA_RESP_ERR_GROUP_ID_NOT_FOUND:
      return absl::StatusCode::kNotFound;
    case RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS:
      return absl::StatusCode::kAlreadyExists;
    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED:
      return absl::StatusCode::kPermissionDenied;
    case RD_KAFKA_RESP_ERR__AUTHENTICATION:
    case RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED:
    case RD_KAFKA_RESP_ERR__SSL:
      return absl::StatusCode::kUnauthenticated;
    case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE:
    case RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE:
    case RD_KAFKA_RESP_ERR_INVALID_MSG_SIZE:
    case RD_KAFKA_RESP_ERR_INVALID_RECORD:
    case RD_KAFKA_RESP_ERR_INVALID_PARTITIONS:
    case RD_KAFKA_RESP_ERR_INVALID_REPLICATION_FACTOR:
    case RD_KAFKA_RESP_ERR_INVALID_REPLICA_ASSIGNMENT:
    case RD_KAFKA_RESP_ERR_INVALID_CONFIG:
    case RD_KAFKA_RESP_ERR_INVALID_REQUEST:
    case RD_KAFKA_RESP_ERR_INVALID_GROUP_ID:
    case RD_KAFKA_RESP_ERR_INVALID_SESSION_TIMEOUT:
    case RD_KAFKA_RESP_ERR_INVALID_TRANSACTION_TIMEOUT:
    case RD_KAFKA_RESP_ERR_POLICY_VIOLATION:
    case RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION:
    case RD_KAFKA_RESP_ERR__INVALID_ARG:
      return absl::StatusCode::kInvalidArgument;
    case RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE:
    case RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET:
    case RD_KAFKA_RESP_ERR__NO_OFFSET:
      return absl::StatusCode::kOutOfRange;
    case RD_KAFKA_RESP_ERR__BAD_MSG:
    case RD_KAFKA_RESP_ERR__BAD_COMPRESSION:
    case RD_KAFKA_RESP_ERR_INVALID_MSG:
      return absl::StatusCode::kDataLoss;
    case RD_KAFKA_RESP_ERR__QUEUE_FULL:
    case RD_KAFKA_RESP_ERR__MAX_POLL_EXCEEDED:
    case RD_KAFKA_RESP_ERR_THROTTLING_QUOTA_EXCEEDED:
      return absl::StatusCode::kResourceExhausted;
    case RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION:
    case RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID:
    case RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS:
    case RD_KAFKA_RESP_ERR__ASSIGNMENT_LOST:
    case RD_KAFKA_RESP_ERR_CONCURRENT_TRANSACTIONS:
      return absl::StatusCode::kAborted;
    case RD_KAFKA_RESP_ERR__PURGE_QUEUE:
    case RD_KAFKA_RESP_ERR__PURGE_INFLIGHT:
    case RD_KAFKA_RESP_ERR__DESTROY:
      return absl::StatusCode::kCancelled;
    case RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID:
    case RD_KAFKA_RESP_ERR__FENCED:
    case RD_KAFKA_RESP_ERR__FATAL:
    case RD_KAFKA_RESP_ERR__STATE:
    case RD_KAFKA_RESP_ERR_PRODUCER_FENCED:
    case RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH:
    case RD_KAFKA_RESP_ERR_INVALID_TXN_STATE:
      return absl::StatusCode::kFailedPrecondition;
    case RD_KAFKA_RESP_ERR__TRANSPORT:
    case RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN:
    case RD_KAFKA_RESP_ERR__RESOLVE:
    case RD_KAFKA_RESP_ERR__WAIT_COORD:
    case RD_KAFKA_RESP_ERR__WAIT_CACHE:
    case RD_KAFKA_RESP_ERR__ISR_INSUFF:
      return absl::StatusCode::kUnavailable;
    default:
      // Of the broker's own codes the rest are about leaders and coordinators that move.
      return error > 0 ? absl::StatusCode::kUnavailable : absl::StatusCode::kInternal;
  }
}

}  // namespace

ConfBuilder::ConfBuilder(const Connection& connection)
    : conf_(rd_kafka_conf_new()),
      overrides_(connection.overrides),
      log_(connection.log ? connection.log : DefaultLogSink(connection.client_id)) {
  if (connection.bootstrap_servers.empty()) {
    error_ = InvalidArgument("kafka: no bootstrap servers are configured (bootstrap_servers)");
  }
  Set("bootstrap.servers", connection.bootstrap_servers);
  Set("client.id", connection.client_id);
  Set("socket.timeout.ms", std::chrono::milliseconds(6'000));
  Set("socket.connection.setup.timeout.ms", std::chrono::milliseconds(5'000));
  Set("socket.keepalive.enable", true);
  Set("socket.nagle.disable", true);
  Set("reconnect.backoff.ms", std::chrono::milliseconds(100));
  // The default of ten seconds would add that much to every recovery.
  Set("reconnect.backoff.max.ms", std::chrono::milliseconds(1'000));
  Set("topic.metadata.refresh.fast.interval.ms", std::chrono::milliseconds(100));
  Set("log_level", std::int64_t{5});
  rd_kafka_conf_set_log_cb(conf_, OnLog);
}

ConfBuilder::~ConfBuilder() {
  if (conf_ != nullptr) rd_kafka_conf_destroy(conf_);
}

ConfBuilder& ConfBuilder::Set(const char* name, std::string_view value) {
  std::array<char, 512> reason{};
  if (rd_kafka_conf_set(conf_, name, std::string(value).c_str(), reason.data(), reason.size()) !=
          RD_KAFKA_CONF_OK &&
      error_.ok()) {
    error_ = InvalidArgument(Concat("kafka: property ", name, " = '", value, "': ", reason.data()));
  }
  return *this;
}

ConfBuilder& ConfBuilder::Set(const char* name, bool value) {
  return Set(name, std::string_view(value ? "true" : "false"));
}
ConfBuilder& ConfBuilder::Set(const char* name, std::chrono::milliseconds value) {
  return Set(name, std::string_view(std::to_string(value.count())));
}
ConfBuilder& ConfBuilder::Set(const char* name, std::int64_t value) {
  return Set(name, std::string_view(std::to_string(value)));
}

absl::StatusOr<rd_kafka_t*> ConfBuilder::Make(rd_kafka_type_t type, Hooks* hooks) {
  for (const auto& [name, value] : overrides_) Set(name.c_str(), std::string_view(value));
  if (!error_.ok()) return error_;
  hooks->log = log_;
  rd_kafka_conf_set_opaque(conf_, hooks);
  std::array<char, 512> reason{};
  rd_kafka_t* client = rd_kafka_new(type, conf_, reason.data(), reason.size());
  if (client == nullptr) {
    return InvalidArgument(Concat("kafka: the client cannot be made: ", reason.data()));
  }
  conf_ = nullptr;  // the client owns it now
  return client;
}

LogSink DefaultLogSink(std::string client_id) {
  return [client_id = std::move(client_id)](LogLevel level, std::string_view message) {
    const auto log_level = level == LogLevel::kError     ? telemetry::LogLevel::kError
                           : level == LogLevel::kWarning ? telemetry::LogLevel::kWarning
                           : level == LogLevel::kInfo    ? telemetry::LogLevel::kInfo
                                                         : telemetry::LogLevel::kDebug;
    if (!telemetry::LogEnabled(log_level)) return;
    telemetry::Log(log_level, "kafka client", {{"client", client_id}, {"detail", message}});
  };
}

absl::Status StatusOf(rd_kafka_resp_err_t error, std::string_view what, std::string_view detail) {
  if (error == RD_KAFKA_RESP_ERR_NO_ERROR) return absl::OkStatus();
  const char* text = rd_kafka_err2str(error);
  std::string message = Concat(what, ": ", detail.empty() ? std::string_view(text) : detail, " (",
                               rd_kafka_err2name(error), ")");
  return {CodeOf(error), ToAbsl(message)};
}

absl::Status StatusOf(const ErrorPtr& error, std::string_view what) {
  if (error == nullptr) return absl::OkStatus();
  return StatusOf(rd_kafka_error_code(error.get()), what, rd_kafka_error_string(error.get()));
}

int Milliseconds(std::chrono::milliseconds duration) {
  return static_cast<int>(std::clamp<std::int64_t>(duration.count(), 0, 1'000'000'000));
}

PartitionListPtr ToList(const std::vector<TopicPartition>& partitions) {
  PartitionListPtr list(rd_kafka_topic_partition_list_new(static_cast<int>(partitions.size())));
  for (const TopicPartition& where : partitions) {
    rd_kafka_topic_partition_list_add(list.get(), where.topic.c_str(), where.partition);
  }
  return list;
}

PartitionListPtr ToList(const Offsets& offsets) {
  PartitionListPtr list(rd_kafka_topic_partition_list_new(static_cast<int>(offsets.size())));
  for (const auto& [where, offset] : offsets) {
    rd_kafka_topic_partition_list_add(list.get(), where.topic.c_str(), where.partition)->offset =
        offset;
  }
  return list;
}

std::vector<TopicPartition> FromList(const rd_kafka_topic_partition_list_t& list) {
  std::vector<TopicPartition> partitions;
  partitions.reserve(static_cast<std::size_t>(list.cnt));
  for (int i = 0; i < list.cnt; ++i) {
    partitions.push_back({list.elems[i].topic, list.elems[i].partition});
  }
  return partitions;
}

std::string_view IsolationName(Isolation isolation) {
  return isolation == Isolation::kReadCommitted ? "read_committed" : "read_uncommitted";
}

void SetFetching(ConfBuilder& conf, const ConsumerOptions& options) {
  using std::chrono::milliseconds;
  conf.Set("isolation.level", IsolationName(options.isolation))
      .Set("enable.auto.commit", false)
      .Set("enable.auto.offset.store", false)
      // Never jump silently: a position that is gone is an error (the default loses records).
      .Set("auto.offset.reset", std::string_view("error"))
      .Set("enable.partition.eof", true)
      .Set("check.crcs", true)
      // A seek or a resumed partition waits for the fetch under way: keep that short.
      .Set("fetch.wait.max.ms", milliseconds(100))
      .Set("fetch.error.backoff.ms", milliseconds(100))
      .Set("queued.min.messages", static_cast<std::int64_t>(kMaxRecordsAhead))
      .Set("queued.max.messages.kbytes",
           static_cast<std::int64_t>(std::max<std::size_t>(1, options.max_buffered_bytes / 1024)));
}

rd_kafka_headers_t* MakeHeaders(const Headers& headers) {
  if (headers.empty()) return nullptr;
  rd_kafka_headers_t* made = rd_kafka_headers_new(headers.size());
  for (const auto& [name, value] : headers.entries()) {
    rd_kafka_header_add(made, name.data(), static_cast<ssize_t>(name.size()), value.data(),
                        static_cast<ssize_t>(value.size()));
  }
  return made;
}

rd_kafka_resp_err_t Enqueue(rd_kafka_t* client, const OutgoingRecord& record, void* opaque) {
  std::array<rd_kafka_vu_t, 6> values{};
  std::size_t count = 0;
  const auto next = [&](rd_kafka_vtype_t type) -> rd_kafka_vu_t& {
    rd_kafka_vu_t& value = values[count++];
    value.vtype = type;
    return value;
  };
  next(RD_KAFKA_VTYPE_TOPIC).u.cstr = record.topic.c_str();
  next(RD_KAFKA_VTYPE_PARTITION).u.i32 =
      record.partition == kPartitionByKey ? RD_KAFKA_PARTITION_UA : record.partition;
  next(RD_KAFKA_VTYPE_OPAQUE).u.ptr = opaque;
  // librdkafka takes void* and promises not to write: without MSG_F_FREE or MSG_F_COPY it reads the
  // bytes where they are.
  auto& value = next(RD_KAFKA_VTYPE_VALUE).u.mem;
  if (record.value.has_value()) {
    value.ptr = const_cast<char*>(record.value->data());
    value.size = record.value->size();
  }
  if (record.key.has_value()) {
    auto& key = next(RD_KAFKA_VTYPE_KEY).u.mem;
    key.ptr = const_cast<char*>(record.key->data());
    key.size = record.key->size();
  }
  rd_kafka_headers_t* headers = MakeHeaders(record.headers);
  if (headers != nullptr) next(RD_KAFKA_VTYPE_HEADERS).u.headers = headers;
  const ErrorPtr error(rd_kafka_produceva(client, values.data(), count));
  if (error == nullptr) return RD_KAFKA_RESP_ERR_NO_ERROR;
  if (headers != nullptr) rd_kafka_headers_destroy(headers);
  return rd_kafka_error_code(error.get());
}

absl::Status ProbeCluster(rd_kafka_t* client, std::chrono::milliseconds timeout) {
  const rd_kafka_metadata_t* metadata = nullptr;
  const rd_kafka_resp_err_t error =
      rd_kafka_metadata(client, /*all_topics=*/0, nullptr, &metadata, Milliseconds(timeout));
  if (metadata != nullptr) rd_kafka_metadata_destroy(metadata);
  if (error == RD_KAFKA_RESP_ERR_NO_ERROR) return absl::OkStatus();
  return Unavailable(Concat("kafka does not answer: ", rd_kafka_err2str(error)));
}

namespace {

bool LeaderIsElsewhere(rd_kafka_resp_err_t error) {
  return error == RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION ||
         error == RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE ||
         error == RD_KAFKA_RESP_ERR_FENCED_LEADER_EPOCH ||
         error == RD_KAFKA_RESP_ERR_UNKNOWN_LEADER_EPOCH ||
         error == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
}

// librdkafka refreshes by itself only the topics that it reads or writes: a client that merely asks
// for offsets would go to the leader that it once knew for a quarter of an hour.
void RefreshLeaders(rd_kafka_t* client, const std::string& topic,
                    std::chrono::milliseconds timeout) {
  rd_kafka_topic_t* const handle = rd_kafka_topic_new(client, topic.c_str(), nullptr);
  if (handle == nullptr) return;
  const rd_kafka_metadata_t* metadata = nullptr;
  // Where it fails, the next question meets the old leader again and says so.
  (void)rd_kafka_metadata(client, /*all_topics=*/0, handle, &metadata, Milliseconds(timeout));
  if (metadata != nullptr) rd_kafka_metadata_destroy(metadata);
  rd_kafka_topic_destroy(handle);
}

}  // namespace

namespace {

// `what`: a time in milliseconds, or one of librdkafka's names for the edges of the log.
absl::StatusOr<std::int64_t> AskForOffset(rd_kafka_t* client, const TopicPartition& where,
                                          std::int64_t what, std::chrono::milliseconds timeout) {
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  const PartitionListPtr list(rd_kafka_topic_partition_list_new(1));
  rd_kafka_topic_partition_t* const asked =
      rd_kafka_topic_partition_list_add(list.get(), where.topic.c_str(), where.partition);
  for (bool again = false;; again = true) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(
        std::max(deadline - std::chrono::steady_clock::now(),
                 std::chrono::steady_clock::duration(std::chrono::milliseconds(1))));
    asked->offset = what;
    asked->err = RD_KAFKA_RESP_ERR_NO_ERROR;
    rd_kafka_resp_err_t error = rd_kafka_offsets_for_times(client, list.get(), Milliseconds(left));
    if (error == RD_KAFKA_RESP_ERR_NO_ERROR) error = asked->err;
    if (error == RD_KAFKA_RESP_ERR_NO_ERROR) return asked->offset;
    if (!LeaderIsElsewhere(error) || again) {
      return StatusOf(error, Concat("asking for the offsets of ", Describe(where)));
    }
    RefreshLeaders(client, where.topic, left);
  }
}

}  // namespace

absl::StatusOr<std::int64_t> QueryOffset(rd_kafka_t* client, const TopicPartition& where,
                                         LogEdge edge, std::chrono::milliseconds timeout) {
  return AskForOffset(client, where,
                      edge == LogEdge::kEnd ? RD_KAFKA_OFFSET_END : RD_KAFKA_OFFSET_BEGINNING,
                      timeout);
}

absl::StatusOr<std::optional<std::int64_t>> QueryOffset(rd_kafka_t* client,
                                                        const TopicPartition& where, WallTime time,
                                                        std::chrono::milliseconds timeout) {
  const auto since = std::chrono::floor<std::chrono::milliseconds>(time.time_since_epoch());
  // Below zero are librdkafka's names.
  TOCSIN_ASSIGN_OR_RETURN(
      const std::int64_t offset,
      AskForOffset(client, where, std::max<std::int64_t>(0, since.count()), timeout));
  return offset < 0 ? std::nullopt : std::optional(offset);
}

}  // namespace tocsin::kafka::internal
