#include "services/correlation/tables/table_follower.h"

#include <utility>

#include "lib/base/status.h"
#include "lib/base/text.h"
#include "lib/base/time.h"
#include "lib/schema/wire_format.h"
#include "lib/telemetry/log.h"
#include "lib/telemetry/metrics.h"

namespace tocsin::correlation {
namespace {

constexpr std::chrono::milliseconds kQueryTimeout{2'000};

void CountRecord(const std::string& table, const char* outcome) {
  telemetry::GetCounter("tocsin_correlation_table_records_total",
                        "Records read from the topics of tables, by what they were.",
                        {{"table", table}, {"outcome", outcome}})
      .Increment(1);
}

}  // namespace

TableFollower::TableFollower(std::vector<std::string> topics, TableFollowerIo io, TableIndex& index)
    : topics_(std::move(topics)), io_(std::move(io)), index_(index) {
  if (topics_.empty()) caught_up_ = true;
}
TableFollower::~TableFollower() = default;

absl::Status TableFollower::Open() {
  if (consumer_ != nullptr) return absl::OkStatus();
  TOCSIN_ASSIGN_OR_RETURN(std::unique_ptr<kafka::Consumer> consumer, io_.make_consumer());
  kafka::Offsets from;
  ends_.clear();
  // Read twice is no harm: the index knows what it has.
  waiting_.clear();
  for (const std::string& topic : topics_) {
    TOCSIN_ASSIGN_OR_RETURN(const std::int32_t partitions, io_.partition_count(topic));
    for (std::int32_t p = 0; p < partitions; ++p) {
      const kafka::TopicPartition where{topic, p};
      TOCSIN_ASSIGN_OR_RETURN(from[where], consumer->QueryBeginningOffset(where, kQueryTimeout));
      TOCSIN_ASSIGN_OR_RETURN(
          ends_[where],
          consumer->QueryEndOffset(where, kafka::Isolation::kReadCommitted, kQueryTimeout));
    }
  }
  TOCSIN_RETURN_IF_ERROR(consumer->Assign(from));
  consumer_ = std::move(consumer);
  return absl::OkStatus();
}

absl::Status TableFollower::Take(const kafka::Record& record) {
  const auto pass_over = [&](std::string_view why) {
    CountRecord(record.topic, "invalid");
    telemetry::LogError("a record of a table is passed over", {{"table", record.topic},
                                                               {"partition", record.partition},
                                                               {"offset", record.offset},
                                                               {"why", std::string(why)}});
    return absl::OkStatus();
  };
  if (!record.key.has_value()) return pass_over("it has no key");
  TableRecord row;
  row.key = *record.key;
  row.partition = record.partition;
  row.offset = record.offset;
  row.sent = record.timestamp;
  row.time = record.timestamp;
  if (const auto text = record.headers.Find("ce_time"); text.has_value()) {
    const absl::StatusOr<WallTime> time = ParseTime(*text);
    if (!time.ok()) return pass_over(Message(time.status()));
    row.time = *time;
  }
  if (record.value.has_value()) {
    const absl::StatusOr<schema::Framed> framed = schema::DecodeFrame(*record.value);
    if (!framed.ok()) return pass_over(Message(framed.status()));
    row.value = framed->payload;
  }
  TOCSIN_RETURN_IF_ERROR(index_.Apply(record.topic, row, io_.clock->Now()));
  CountRecord(record.topic, row.value.has_value() ? "row" : "removal");
  return absl::OkStatus();
}

absl::Status TableFollower::Poll(std::chrono::milliseconds timeout) {
  if (topics_.empty()) return absl::OkStatus();
  TOCSIN_RETURN_IF_ERROR(Annotate(Open(), "reading the tables"));
  // Without room nothing more is read: what waits stays bounded.
  if (waiting_.empty()) {
    kafka::Batch batch = consumer_->Poll(timeout);
    for (const kafka::PollError& error : batch.errors) {
      if (!error.fatal && error.status.code() != absl::StatusCode::kOutOfRange) continue;
      consumer_.reset();
      return Annotate(error.status, "reading the tables");
    }
    for (kafka::Record& record : batch.records) waiting_.push_back(std::move(record));
  }
  index_.Forget(io_.clock->Now());
  while (!waiting_.empty()) {
    if (absl::Status taken = Take(waiting_.front()); !taken.ok()) {
      ShowFigures();
      return taken;
    }
    waiting_.pop_front();
  }
  ShowFigures();
  for (const auto& [where, end] : ends_) {
    if (consumer_->Position(where).value_or(0) < end) {
      return Unavailable(Concat("reading the table ", where.topic, " to its end"));
    }
  }
  caught_up_ = true;
  return absl::OkStatus();
}

void TableFollower::ShowFigures() {
  for (const std::string& topic : topics_) {
    telemetry::GetGauge("tocsin_correlation_table_rows", "Rows that a table has now.",
                        {{"table", topic}})
        .Set(static_cast<double>(index_.Rows(topic)));
  }
  telemetry::GetGauge("tocsin_correlation_table_bytes",
                      "Memory that the tables take, all versions.")
      .Set(static_cast<double>(index_.bytes()));
}

}  // namespace tocsin::correlation
