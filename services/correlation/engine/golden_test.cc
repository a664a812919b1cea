// State that released programs have written is read by this one: from each golden file the engine
// goes on, and says what the program that wrote the file would have said.
//
// A golden file (golden/format_<n>.txt) holds, line by line and in hex, the state of two partitions
// after the first half of what happens below, and the outputs of the second half. With
// TOCSIN_WRITE_GOLDEN=<path> the test writes such a file instead, for the format of this program.
#include <gtest/gtest.h>

#include <cstdlib>
#include <deque>
#include <fstream>
#include <map>
#include <sstream>

#include "lib/base/hash.h"
#include "lib/base/hex.h"
#include "lib/base/text.h"
#include "lib/base/time.h"
#include "services/correlation/engine/task.h"
#include "services/correlation/testing/test_rule.h"

namespace tocsin::correlation {
namespace {

using std::chrono::minutes;
using std::chrono::seconds;

constexpr std::int32_t kPartitions = 2;

std::shared_ptr<const RulePlan> Plan() {
  const auto rule = [](std::string id, std::vector<std::string> group_by, std::string count_field,
                       std::int64_t at_least, RuleOrder order) {
    testing::RuleSpec spec;
    spec.id = std::move(id);
    spec.group_by = std::move(group_by);
    spec.count_field = std::move(count_field);
    spec.at_least = at_least;
    spec.order = order;
    spec.max_disorder = order == RuleOrder::kEventTime ? minutes(3) : minutes(0);
    return spec;
  };
  std::vector<RuleEntry> entries;
  for (const testing::RuleSpec& spec :
       {rule("surge", {"township"}, "", 4, RuleOrder::kArrival),
        rule("agencies", {"township"}, "agency", 3, RuleOrder::kEventTime),
        rule("repeat", {"place"}, "", 3, RuleOrder::kEventTime),
        rule("place-agencies", {"place", "agency"}, "", 3, RuleOrder::kArrival)}) {
    entries.push_back({testing::MakeRule(spec), 2});
  }
  StreamSpec stream;
  stream.topic = "calls.raw";
  stream.partitions = kPartitions;
  stream.message_type = "test.Call";
  return RulePlan::Make(stream, entries);
}

// Both partitions of a stream, one batch after the other, until all is read.
class Both {
 public:
  Both() : plan_(Plan()) {
    TaskOptions options;
    options.detection_schema.id = schema::SchemaId(1);
    options.incident_schema.id = schema::SchemaId(2);
    for (std::int32_t p = 0; p < kPartitions; ++p) {
      tasks_.push_back(std::make_unique<Task>(p, plan_, options));
    }
  }

  // Rows first to last of an endless story in which places and townships meet again and again.
  void Tell(int first, int last) {
    for (int row = first; row <= last; ++row) {
      testing::Call call;
      call.township = Concat("township ", row * 7 % 5);
      call.place = Concat("place|", row * 11 % 13, row % 17 == 0 ? "\\" : "");
      call.agency = row % 3 == 0 ? "Fire" : row % 3 == 1 ? "EMS" : "Traffic";
      call.time =
          ParseTime("2016-01-01T00:00:00Z").value() + seconds(40 * row) - seconds(row * 37 % 120);
      // Every ninth comes a second time.
      call.row = row % 9 == 0 ? row - 8 : row;
      if (row % 9 == 0) call.id = std::to_string(call.row);
      const std::int32_t partition = PartitionForKey(call.township, kPartitions);
      kafka::Record record = testing::MakeCallRecord(call, partition, row);
      record.timestamp = call.time + seconds(5);
      queues_[static_cast<std::size_t>(partition)].push_back(std::move(record));
      if (row % 10 == 0) RunAll();
    }
    RunAll();
  }

  void RunAll() {
    for (bool ran = true; ran;) {
      ran = false;
      for (std::size_t p = 0; p < tasks_.size(); ++p) {
        if (!queues_[p].empty() || tasks_[p]->HasWork(states_[p])) {
          Run(p);
          ran = true;
        }
      }
    }
  }

  MemoryState& state(std::size_t partition) { return states_[partition]; }
  const std::vector<std::string>& told() const { return told_; }
  void Forget() { told_.clear(); }

 private:
  void Run(std::size_t p) {
    const std::deque<kafka::Record> records = std::exchange(queues_[p], {});
    TaskInput input;
    kafka::HeaderMemory headers;
    std::deque<kafka::RecordView> views;
    for (const kafka::Record& record : records) {
      input.records.push_back(&views.emplace_back(kafka::AsView(record, headers)));
      input.next_offsets[record.topic] = record.offset + 1;
    }
    Overlay overlay(states_[p]);
    TaskResult result = tasks_[p]->Run(input, overlay);
    states_[p].Apply(overlay.changes());
    for (OutputRecord& output : result.outputs) {
      kafka::OutgoingRecord& out = output.record;
      std::string line =
          Concat("output ", p, ' ', out.topic, ' ', out.partition, ' ',
                 HexEncode(out.key.value_or("")), ' ', HexEncode(out.value.value_or("")));
      for (const auto& [name, value] : out.headers.entries()) {
        line += Concat(' ', name, '=', HexEncode(value));
      }
      told_.push_back(std::move(line));
      if (plan_->FindRepartition(out.topic) == nullptr) continue;
      kafka::Record record;
      record.topic = out.topic;
      record.partition = out.partition;
      record.offset = next_offset_++;
      record.key = std::move(out.key);
      record.value = std::move(out.value);
      record.headers = std::move(out.headers);
      queues_[static_cast<std::size_t>(out.partition)].push_back(std::move(record));
    }
  }

  std::shared_ptr<const RulePlan> plan_;
  std::vector<std::unique_ptr<Task>> tasks_;
  MemoryState states_[kPartitions];
  std::deque<kafka::Record> queues_[kPartitions];
  std::int64_t next_offset_ = 1'000;
  std::vector<std::string> told_;
};

constexpr int kHalf = 70;
constexpr int kEnd = 140;

std::string GoldenPath(const std::string& name) {
  return Concat(TOCSIN_SOURCE_DIR, "/services/correlation/engine/golden/", name);
}

TEST(GoldenTest, WriteWhereAsked) {
  const char* path = std::getenv("TOCSIN_WRITE_GOLDEN");
  if (path == nullptr) GTEST_SKIP() << "TOCSIN_WRITE_GOLDEN names no file";
  std::ofstream file(path);
  Both writer;
  writer.Tell(1, kHalf);
  for (std::size_t p = 0; p < kPartitions; ++p) {
    for (const auto& [key, value] : writer.state(p).entries()) {
      file << "state " << p << ' ' << HexEncode(key) << ' ' << HexEncode(value) << '\n';
    }
  }
  writer.Forget();
  writer.Tell(kHalf + 1, kEnd);
  for (const std::string& line : writer.told()) file << line << '\n';
  ASSERT_TRUE(file.good());
}

class GoldenFileTest : public ::testing::TestWithParam<std::string> {};

TEST_P(GoldenFileTest, IsReadAndContinued) {
  std::ifstream file(GoldenPath(GetParam()));
  ASSERT_TRUE(file.is_open()) << GoldenPath(GetParam());
  Both reader;
  std::vector<std::string> expected;
  std::string line;
  while (std::getline(file, line)) {
    if (!line.starts_with("state ")) {
      expected.push_back(line);
      continue;
    }
    std::istringstream words(line.substr(6));
    std::size_t partition = 0;
    std::string key;
    std::string value;
    words >> partition >> key >> value;
    ASSERT_LT(partition, std::size_t{kPartitions});
    reader.state(partition).Apply({{HexDecode(key).value(), HexDecode(value).value()}});
  }
  for (std::size_t p = 0; p < kPartitions; ++p) {
    ASSERT_TRUE(Task::CheckFormat(reader.state(p)).ok());
  }
  reader.Tell(kHalf + 1, kEnd);
  ASSERT_GT(expected.size(), 50U);
  EXPECT_EQ(reader.told(), expected);
}

INSTANTIATE_TEST_SUITE_P(Formats, GoldenFileTest, ::testing::Values("format_1.txt", "format_2.txt"),
                         [](const auto& test) { return test.param.substr(0, 8); });

}  // namespace
}  // namespace tocsin::correlation
