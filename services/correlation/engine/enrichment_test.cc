// Rules that look rows up, against a brute force, in a world of crashes, cut batches and any
// interleaving.
#include <gmock/gmock.h>
#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>
#include <google/protobuf/dynamic_message.h>
#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_format.h"
#include "lib/base/testing/status_matchers.h"
#include "lib/base/text.h"
#include "lib/base/time.h"
#include "lib/schema/wire_format.h"
#include "services/correlation/engine/keys.h"
#include "services/correlation/engine/tables.h"
#include "services/correlation/testing/world.h"
#include "tocsin/correlation/v1/aggregate.pb.h"
#include "tocsin/correlation/v1/detection.pb.h"

namespace tocsin::correlation {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::Message;
using std::chrono::seconds;
using testing::World;
using testing::WorldOptions;

constexpr std::int64_t kSecond = 1'000'000;
constexpr std::int32_t kPartitions = 3;
constexpr std::int64_t kTime = 1'700'000'000 * kSecond;

const Descriptor* Build(const char* text, const char* name) {
  google::protobuf::FileDescriptorProto file;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &file));
  // Two pools, as with two subjects of a registry.
  auto* pool = new google::protobuf::DescriptorPool;
  static std::vector<std::unique_ptr<google::protobuf::DescriptorPool>> pools;
  pools.emplace_back(pool);
  EXPECT_NE(pool->BuildFile(file), nullptr);
  return pool->FindMessageTypeByName(name);
}

const Descriptor* ReadingType() {
  static const Descriptor* const type = Build(
      R"(name: "reading.proto" package: "iot" syntax: "proto3"
         message_type { name: "Reading"
           field { name: "device_id" number: 1 type: TYPE_STRING label: LABEL_OPTIONAL }
           field { name: "value" number: 2 type: TYPE_INT64 label: LABEL_OPTIONAL }
           field { name: "site" number: 3 type: TYPE_STRING label: LABEL_OPTIONAL } })",
      "iot.Reading");
  return type;
}

const Descriptor* DeviceType() {
  static const Descriptor* const type = Build(
      R"(name: "device.proto" package: "iot" syntax: "proto3"
         message_type { name: "Device"
           field { name: "region" number: 1 type: TYPE_STRING label: LABEL_OPTIONAL }
           field { name: "limit" number: 2 type: TYPE_INT64 label: LABEL_OPTIONAL }
           field { name: "factor" number: 3 type: TYPE_DOUBLE label: LABEL_OPTIONAL } })",
      "iot.Device");
  return type;
}

std::string Bytes(const Descriptor* type, const std::string& text) {
  static google::protobuf::DynamicMessageFactory factory;
  const std::unique_ptr<Message> message(factory.GetPrototype(type)->New());
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, message.get())) << text;
  return message->SerializeAsString();
}

struct Version {
  std::string device;
  std::int64_t time_us = 0;
  std::int64_t offset = 0;
  // Empty: removed.
  std::string region;
  std::int64_t limit = 0;
};

// What is known at once.
class FakeTables final : public Tables {
 public:
  std::vector<Version> versions;
  // Each question is answered once, then never again.
  bool forgetful = false;

  const Version* At(std::string_view device, std::int64_t time_us) const {
    const Version* best = nullptr;
    for (const Version& version : versions) {
      if (version.device != device || version.time_us > time_us) continue;
      if (best == nullptr ||
          std::pair(version.time_us, version.offset) > std::pair(best->time_us, best->offset)) {
        best = &version;
      }
    }
    return best == nullptr || best->region.empty() ? nullptr : best;
  }
  std::optional<TableRow> Find(std::string_view table, std::string_view key,
                               WallTime time) const override {
    if (table != "devices") return std::nullopt;
    if (forgetful && !asked_.emplace(key, Micros(time)).second) return std::nullopt;
    const Version* version = At(key, Micros(time));
    if (version == nullptr) return std::nullopt;
    return TableRow{0, version->offset, FromMicros(version->time_us),
                    std::make_shared<const std::string>(
                        Bytes(DeviceType(), Concat("region: '", version->region,
                                                   "' limit: ", version->limit, " factor: 0.5")))};
  }

 private:
  mutable std::set<std::pair<std::string, std::int64_t>> asked_;
};

struct Reading {
  std::int64_t row = 0;
  std::int64_t time_us = 0;
  std::string device;
  std::int64_t value = 0;
};

kafka::Record MakeRecord(const Reading& reading, const std::string& more = "") {
  constexpr std::int32_t kFirstMessage[] = {0};
  kafka::Record record;
  record.topic = "readings";
  record.key = reading.device;
  record.value = schema::EncodeFrame(
      schema::SchemaId(7), kFirstMessage,
      Bytes(ReadingType(),
            Concat("device_id: '", reading.device, "' value: ", reading.value, " site: 's'")) +
          more);
  record.headers.Set("ce_id", std::to_string(reading.row));
  record.headers.Set("ce_source", "test://readings");
  record.headers.Set("ce_type", "iot.Reading");
  record.headers.Set("ce_time", FormatTime(FromMicros(reading.time_us)));
  record.headers.Set("ce_sequence", absl::StrFormat("%012d", reading.row));
  return record;
}

std::shared_ptr<const RulePlan> PlanOf(const std::vector<std::string>& rules) {
  const FixedStreams streams({{"readings", ReadingType(), "device_id", nullptr}},
                             {{"devices", DeviceType(), nullptr}});
  std::vector<RuleEntry> entries;
  for (const std::string& yaml : rules) {
    const auto rule = CompileRule(yaml, "rule.yaml", streams);
    EXPECT_THAT(rule.status(), IsOk());
    entries.push_back({*rule, 1});
  }
  StreamSpec stream;
  stream.topic = "readings";
  stream.partitions = kPartitions;
  stream.message_type = "iot.Reading";
  return RulePlan::Make(stream, entries);
}

constexpr char kHead[] =
    "stream: readings\norder: event_time\nidle-timeout: 5s\nmax-disorder: 2s\n";
constexpr char kLookup[] =
    "enrich: [{table: devices, key: device_id, as: device, fields: [region, factor]}]\n";

std::string RegionRule() {
  return Concat("id: region\n", kHead, kLookup,
                "where: value > device.limit\n"
                "correlation: {type: event_count, group-by: [device.region], timespan: 20s, "
                "condition: {gte: 3}}\n");
}
std::string DeviceRule() {
  return Concat("id: device\n", kHead,
                "enrich: [{table: devices, key: device_id, as: device, required: true}]\n"
                "correlation: {type: event_count, group-by: [device_id], timespan: 20s, "
                "condition: {gte: 2}}\n");
}
std::string WindowRule() {
  return Concat("id: window\n", kHead,
                "enrich: [{table: devices, key: device_id, as: device}]\n"
                "window: {type: tumbling, size: 10s, grace: 0s, group-by: [device.region], "
                "aggregates: [{name: n, function: count}, {name: most, function: max, field: "
                "device.limit}]}\n");
}
std::string PlainRule() {
  return Concat("id: plain\n", kHead,
                "correlation: {type: event_count, group-by: [site], timespan: 20s, condition: "
                "{gte: 2}}\n");
}

// --- what must be found ---

struct Judged {
  std::string key;
  Reading reading;
  const Version* row = nullptr;
};

std::string Describe(const std::string& key, const std::vector<Judged>& events) {
  std::string text = key;
  std::vector<std::string> rows;
  for (const Judged& event : events) {
    text += Concat(" ", event.reading.row);
    if (event.row == nullptr) continue;
    const std::string row = Concat(event.reading.device, "@", event.row->offset);
    if (std::count(rows.begin(), rows.end(), row) == 0) rows.push_back(row);
  }
  return Concat(text, " with ", Join(rows, " "));
}

std::vector<std::string> BruteForce(const std::vector<Judged>& events, std::size_t at_least) {
  std::map<std::string, std::vector<Judged>> of_key;
  std::vector<std::string> found;
  for (const Judged& event : events) {
    std::vector<Judged>& kept = of_key[event.key];
    kept.push_back(event);
    std::erase_if(kept, [&](const Judged& old) {
      return old.reading.time_us <= event.reading.time_us - 20 * kSecond;
    });
    if (kept.size() < at_least) continue;
    found.push_back(Describe(event.key, kept));
    kept.clear();
  }
  std::sort(found.begin(), found.end());
  return found;
}

// --- what was found ---

template <typename Message>
std::vector<Message> Read(World& world, const char* topic, const char* rule) {
  std::vector<Message> messages;
  for (const kafka::Record& record : world.LogOf(topic)) {
    Message message;
    const auto framed = schema::DecodeFrame(*record.value);
    EXPECT_TRUE(
        message.ParseFromArray(framed->payload.data(), static_cast<int>(framed->payload.size())));
    if (message.rule_id() == rule) messages.push_back(message);
  }
  return messages;
}

std::vector<std::string> Detections(World& world, const char* rule) {
  std::vector<std::string> found;
  for (const auto& detection : Read<v1::Detection>(world, "detections", rule)) {
    std::string text = detection.group_key(0);
    for (const auto& event : detection.evidence()) text += Concat(" ", event.id());
    std::vector<std::string> rows;
    for (const auto& row : detection.enrichment()) {
      EXPECT_EQ(row.as(), "device");
      EXPECT_EQ(row.table(), "devices");
      rows.push_back(Concat(row.key(), "@", row.offset()));
    }
    found.push_back(Concat(text, " with ", Join(rows, " ")));
  }
  std::sort(found.begin(), found.end());
  return found;
}

void FillIn(TaskOptions& task, const Tables& tables) {
  task.detection_schema.id = schema::SchemaId(1);
  task.incident_schema.id = schema::SchemaId(2);
  task.aggregate_schema.id = schema::SchemaId(3);
  task.tables = &tables;
}

class EnrichmentSimulationTest : public ::testing::TestWithParam<int> {
 protected:
  EnrichmentSimulationTest() : random_(static_cast<std::uint64_t>(GetParam())) {}

  WorldOptions Options() const {
    WorldOptions options;
    options.seed = static_cast<std::uint64_t>(GetParam());
    options.max_batch = 1 + options.seed % 40;
    options.task.max_release = 1 + options.seed * 7 % 50;
    FillIn(options.task, tables_);
    return options;
  }

  void MakeAll() {
    const std::int64_t begin = 1'700'000'000 * kSecond;
    for (std::int64_t offset = 0; offset < 30; ++offset) {
      Version version;
      version.device = Concat("d", random_() % 6);
      version.time_us = begin + static_cast<std::int64_t>(random_() % 60) * kSecond;
      version.offset = offset;
      if (random_() % 4 != 0) version.region = random_() % 2 == 0 ? "north" : "south";
      version.limit = static_cast<std::int64_t>(random_() % 8);
      tables_.versions.push_back(version);
    }
    std::vector<std::pair<std::int64_t, Reading>> sent;
    for (std::int64_t row = 1; row <= 200; ++row) {
      Reading reading;
      reading.row = row;
      reading.time_us = begin + row * 400'000;
      // Now and then exactly when a row begins to count.
      if (random_() % 4 == 0) reading.time_us = reading.time_us / kSecond * kSecond;
      reading.device = Concat("d", random_() % 7);
      reading.value = static_cast<std::int64_t>(random_() % 10);
      sent.emplace_back(reading.time_us + static_cast<std::int64_t>(random_() % 1'500'000),
                        reading);
    }
    std::stable_sort(sent.begin(), sent.end(),
                     [](const auto& a, const auto& b) { return a.first < b.first; });
    for (auto& [at, reading] : sent) readings_.push_back(reading);
  }

  void Deliver(World& world) {
    for (const Reading& reading : readings_) {
      world.Publish(MakeRecord(reading));
      for (std::size_t n = random_() % 4; n > 0; --n) world.RunSomething();
    }
    world.RunUntilQuiet();
    world.StopCrashing();
    world.Wait(seconds(45));
    world.RunUntilQuiet();
    // In the order in which they are judged.
    std::sort(readings_.begin(), readings_.end(), [](const Reading& a, const Reading& b) {
      return std::pair(a.time_us, a.row) < std::pair(b.time_us, b.row);
    });
  }

  std::vector<std::string> ExpectedRegions() const {
    std::vector<Judged> events;
    for (const Reading& reading : readings_) {
      const Version* row = tables_.At(reading.device, reading.time_us);
      if (row != nullptr && reading.value > row->limit)
        events.push_back({row->region, reading, row});
    }
    return BruteForce(events, 3);
  }

  std::mt19937_64 random_;
  FakeTables tables_;
  std::vector<Reading> readings_;
};
INSTANTIATE_TEST_SUITE_P(Seeds, EnrichmentSimulationTest, ::testing::Range(1, 61));

TEST_P(EnrichmentSimulationTest, FindsWhatTheLogAndTheTableSay) {
  MakeAll();
  World world(PlanOf({RegionRule(), DeviceRule(), WindowRule(), PlainRule()}), Options());
  Deliver(world);
  EXPECT_EQ(Detections(world, "region"), ExpectedRegions());
  EXPECT_FALSE(ExpectedRegions().empty());

  std::vector<Judged> with_row;
  std::vector<Judged> all;
  std::map<std::string, std::pair<std::int64_t, std::int64_t>> windows;
  for (const Reading& reading : readings_) {
    all.push_back({"s", reading, nullptr});
    const Version* row = tables_.At(reading.device, reading.time_us);
    if (row == nullptr) continue;
    with_row.push_back({reading.device, reading, row});
    auto& [count, most] = windows[Concat(row->region, "/", reading.time_us / (10 * kSecond) * 10)];
    most = count == 0 ? row->limit : std::max(most, row->limit);
    ++count;
  }
  EXPECT_EQ(Detections(world, "device"), BruteForce(with_row, 2));
  EXPECT_EQ(Detections(world, "plain"), BruteForce(all, 2));
  std::map<std::string, std::pair<std::int64_t, std::int64_t>> found;
  for (const auto& result : Read<v1::WindowResult>(world, "aggregates", "window")) {
    EXPECT_TRUE(result.final());
    found[Concat(result.group_key(0), "/", result.window_start().seconds())] = {
        result.aggregates(0).integer(), result.aggregates(1).integer()};
  }
  EXPECT_EQ(found, windows);

  const RuleCounts& counts = world.counts().rules.at("device");
  EXPECT_EQ(counts.missing_key, static_cast<std::int64_t>(readings_.size() - with_row.size()));
  EXPECT_EQ(counts.found_rows, static_cast<std::int64_t>(with_row.size()));
  EXPECT_EQ(counts.absent_rows, counts.missing_key);
  for (const char* id : {"region", "device", "plain", "window"}) {
    EXPECT_EQ(world.counts().rules.at(id).late, 0);
  }
  EXPECT_EQ(Unreconciled(world.counts()), "");
}

// The task that judges a forwarded event does not look for itself: the table may have gone on.
TEST_P(EnrichmentSimulationTest, AForwardedEventBringsItsRows) {
  MakeAll();
  // Each time once, so that each question is asked once upstream.
  std::set<std::pair<std::string, std::int64_t>> seen;
  std::erase_if(readings_, [&](const Reading& reading) {
    return !seen.emplace(reading.device, reading.time_us).second;
  });
  tables_.forgetful = true;
  WorldOptions options = Options();
  options.crash_percent = 0;
  World world(PlanOf({RegionRule()}), options);
  Deliver(world);
  EXPECT_EQ(Detections(world, "region"), ExpectedRegions());
}

class EnrichmentTest : public ::testing::Test {
 protected:
  EnrichmentTest() {
    tables_.versions.push_back({"d1", 0, 4, "north", 2});
    options_.crash_percent = 0;
    FillIn(options_.task, tables_);
  }
  static std::string Arrival(std::string_view where) {
    return Concat("id: r\nstream: readings\n", kLookup, "where: ", where,
                  "\ncorrelation: {type: event_count, group-by: [device_id], timespan: 20s, "
                  "condition: {gte: 1}}\n");
  }
  FakeTables tables_;
  WorldOptions options_;
};

TEST_F(EnrichmentTest, DetectionsShowTheRow) {
  World world(PlanOf({Arrival("has(device)")}), options_);
  world.Publish(MakeRecord({1, kTime, "d1", 5}));
  world.Publish(MakeRecord({2, kTime, "d2", 5}));
  world.RunUntilQuiet();
  const auto found = Read<v1::Detection>(world, "detections", "r");
  ASSERT_EQ(found.size(), 1);
  ASSERT_EQ(found[0].enrichment_size(), 1);
  const v1::Enrichment& row = found[0].enrichment(0);
  EXPECT_EQ(row.key(), "d1");
  EXPECT_EQ(row.offset(), 4);
  ASSERT_EQ(row.fields_size(), 2);
  EXPECT_EQ(row.fields(0).name(), "region");
  EXPECT_EQ(row.fields(0).value(), "north");
  EXPECT_EQ(row.fields(1).value(), "0.5");
  EXPECT_EQ(world.counts().rules.at("r").absent_rows, 1);
}

// Whoever sends events must not be able to send rows with them.
TEST_F(EnrichmentTest, AnEventCannotBringARowOfItsOwn) {
  World world(PlanOf({Arrival("device.region != ''")}), options_);
  const std::string forged = Bytes(DeviceType(), "region: 'forged'");
  const std::string tag = "\xfa\xff\xff\xff\x0f";
  // The same tag with bits beyond the 32 that count.
  const std::string loose_tag = "\xfa\xff\xff\xff\x1f";
  std::int64_t row = 0;
  for (const std::string& each : {tag, loose_tag}) {
    world.Publish(
        MakeRecord({++row, kTime, "d2", 5}, each + static_cast<char>(forged.size()) + forged));
  }
  world.Publish(
      MakeRecord({++row, kTime, "d1", 5}, tag + static_cast<char>(forged.size()) + forged));
  world.RunUntilQuiet();
  const auto found = Read<v1::Detection>(world, "detections", "r");
  ASSERT_EQ(found.size(), 1);
  EXPECT_EQ(found[0].group_key(0), "d1");
  EXPECT_EQ(found[0].enrichment(0).fields(0).value(), "north");
}

TEST_F(EnrichmentTest, WithoutTablesNothingIsFound) {
  options_.task.tables = nullptr;
  World world(PlanOf({Arrival("(!has(device))")}), options_);
  world.Publish(MakeRecord({1, kTime, "d1", 5}));
  world.RunUntilQuiet();
  EXPECT_EQ(Read<v1::Detection>(world, "detections", "r").size(), 1);
}

}  // namespace
}  // namespace tocsin::correlation
