// Several registries on one log, faults of the producer, compaction, restarts: what must hold
// whatever happens. Every test says its seed.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "lib/base/testing/status_matchers.h"
#include "lib/base/text.h"
#include "schema-registry/registry.h"
#include "schema-registry/registry_state.h"
#include "schema-registry/testing/fake_log.h"

namespace tocsin::registry {
namespace {

using std::chrono::milliseconds;

class Replica {
 public:
  Replica(FakeTopic& topic, std::int64_t node) : log(topic) {
    RegistryOptions options;
    options.node = node;
    options.tombstone_own_after = milliseconds(0);
    options.tombstone_others_after = milliseconds(0);
    options.tombstones_per_second = 10'000;
    registry = std::make_unique<Registry>(log, audit, Clock::Real(), options);
    registry->Start();
  }
  ~Replica() { registry->Stop(); }

  FakeLog log;
  FakeAudit audit;
  std::unique_ptr<Registry> registry;
};

Draft DraftOf(std::string text) {
  Draft draft;
  draft.text = std::move(text);
  return draft;
}

// Compatible with each other in every direction, and all different.
std::string TextNumber(int n) {
  return Concat("syntax='proto3'; message M { int32 common = 1; int32 f", n, " = ", n + 2, "; }");
}

RegistryState StateOf(const std::vector<LogRecord>& records) {
  RegistryState state(StateOptions{});
  for (const LogRecord& record : records) state.Apply(record);
  return state;
}

// All that the state answers, as text. `next`: with the numbers that come next.
std::string Describe(const RegistryState& state) {
  std::string out;
  for (const std::string& context : state.Contexts("")) {
    out += Concat("context ", context, "\n");
  }
  for (const std::string& name : state.Subjects({std::nullopt, "", Deleted::kInclude})) {
    for (const SchemaVersion& version : state.VersionsOf(name)) {
      out += Concat(name, "/", version.version, " id ", version.schema->id.value(),
                    version.deleted ? " deleted " : " ", *version.schema->text, "\n");
    }
    out += Concat(name, " level ", schema::LevelName(*state.ConfigInForce(name).level), " mode ",
                  ModeName(state.ModeInForce(name)), "\n");
  }
  return out;
}

std::string DescribeNext(const RegistryState& state, const std::set<std::string>& subjects) {
  std::string out;
  for (const std::string& name : subjects) {
    out += Concat(name, " next ", state.NextVersion(name), "\n");
  }
  for (const std::string context : {".", ".eu"}) {
    out += Concat(context, " next id ", state.NextId(context).value(), "\n");
  }
  return out;
}

const std::set<std::string> kSubjects = {"a", "b", "c", ":.eu:a", ":.eu:b"};

// What one thread was told.
struct Acknowledged {
  std::string subject;
  std::int32_t version = 0;
  SchemaId id;
  std::string text;
};

void RandomOperations(Registry& registry, std::uint32_t seed, int count, bool permanent,
                      std::vector<Acknowledged>& acknowledged) {
  std::mt19937 random(seed);
  const auto pick = [&](std::size_t below) { return random() % below; };
  for (int i = 0; i < count; ++i) {
    const std::string subject =
        *std::next(kSubjects.begin(), static_cast<int>(pick(kSubjects.size())));
    switch (pick(12)) {
      case 0:
        (void)registry.DeleteVersion({"ann", ""}, subject, 1 + static_cast<int>(pick(10)), false);
        break;
      case 1:
        if (permanent) {
          (void)registry.DeleteVersion({"ann", ""}, subject, 1 + static_cast<int>(pick(10)), true);
        }
        break;
      case 2:
        if (pick(4) == 0) (void)registry.DeleteSubject({"ann", ""}, subject, false);
        break;
      case 3:
        if (permanent && pick(2) == 0) (void)registry.DeleteSubject({"ann", ""}, subject, true);
        break;
      case 4: {
        SubjectConfig config;
        config.level = pick(2) == 0 ? schema::CompatibilityLevel::kNone
                                    : schema::CompatibilityLevel::kBackward;
        (void)registry.SetConfig({"ann", ""}, subject, config);
        break;
      }
      case 5:
        (void)registry.DeleteConfig({"ann", ""}, subject);
        break;
      default: {
        const std::string text = TextNumber(static_cast<int>(pick(40)));
        const auto version = registry.Register({"ann", ""}, subject, DraftOf(text));
        if (version.ok()) {
          acknowledged.push_back(
              {subject, version->version, version->schema->id, *version->schema->text});
          EXPECT_EQ(*version->schema->text, text);
        } else {
          EXPECT_THAT(CodeOf(version.status()),
                      ::testing::AnyOf(ErrorCode::kStore, ErrorCode::kTimeout))
              << version.status();
        }
      }
    }
  }
}

// Whatever was ever given in the log: no id two contents, no version two schemas.
void ExpectNothingGivenTwice(const std::vector<LogRecord>& records) {
  RegistryState state(StateOptions{});
  std::map<std::pair<std::string, std::int32_t>, std::string> text_of_id;
  std::map<std::pair<std::string, std::int32_t>, std::int32_t> id_of_version;
  for (const LogRecord& record : records) {
    if (state.Apply(record) != Applied::kCounted || !record.value) continue;
    const auto key = DecodeKey(*record.key);
    if (key->type != KeyType::kSchema) continue;
    const auto value = DecodeSchemaValue(*record.value);
    const auto [version, new_version] =
        id_of_version.emplace(std::pair(value->subject, value->version), value->id.value());
    EXPECT_EQ(version->second, value->id.value())
        << value->subject << "/" << value->version << " was given twice";
    if (value->gone()) continue;
    const auto [id, new_id] = text_of_id.emplace(
        std::pair(NameInRecord(value->subject).context, value->id.value()), value->text);
    EXPECT_EQ(id->second, value->text) << "id " << value->id.value() << " was given twice";
  }
}

class RaceTest : public ::testing::TestWithParam<std::uint32_t> {
 protected:
  FakeTopic topic_;
};

TEST_P(RaceTest, NoNumberTwiceAndAllThatWasAcknowledgedIsReadEverywhere) {
  constexpr int kReplicas = 3;
  constexpr int kWritersEach = 4;
  std::vector<std::unique_ptr<Replica>> replicas;
  for (int i = 0; i < kReplicas; ++i) {
    replicas.push_back(std::make_unique<Replica>(topic_, i + 1));
    FakeLog::WaitUntilReady(*replicas.back()->registry);
    replicas.back()->log.SetChaos(GetParam() * 100 + static_cast<std::uint32_t>(i));
  }
  std::vector<std::vector<Acknowledged>> acknowledged(kReplicas * kWritersEach);
  std::vector<std::thread> writers;
  for (int i = 0; i < kReplicas * kWritersEach; ++i) {
    writers.emplace_back([&, i] {
      const auto at = static_cast<std::size_t>(i);
      RandomOperations(*replicas[at % kReplicas]->registry,
                       GetParam() * 1000 + static_cast<std::uint32_t>(i), 25,
                       /*permanent=*/false, acknowledged[at]);
    });
  }
  for (std::thread& writer : writers) writer.join();
  ExpectNothingGivenTwice(topic_.records());
  std::map<std::pair<std::string, SchemaId>, std::string> texts;
  for (const auto& list : acknowledged) {
    for (const Acknowledged& each : list) {
      const auto [known, fresh] =
          texts.emplace(std::pair(NameInRecord(each.subject).context, each.id), each.text);
      EXPECT_EQ(known->second, each.text);
      for (const auto& replica : replicas) {
        const auto found = replica->registry->GetSchema(each.id, each.subject);
        ASSERT_THAT(found, IsOk());
        EXPECT_EQ(*found->schema->text, each.text);
        const auto version =
            replica->registry->GetVersion(each.subject, each.version, /*deleted=*/true);
        ASSERT_THAT(version, IsOk());
        EXPECT_EQ(version->schema->id, each.id);
      }
    }
  }
  EXPECT_GT(texts.size(), 20U) << "else this shows little";
}

TEST_P(RaceTest, CompactionAndRestartChangeNothing) {
  constexpr int kReplicas = 2;
  {
    std::vector<std::unique_ptr<Replica>> replicas;
    std::vector<std::thread> writers;
    std::vector<std::vector<Acknowledged>> acknowledged(kReplicas * 2);
    for (int i = 0; i < kReplicas; ++i) {
      replicas.push_back(std::make_unique<Replica>(topic_, i + 1));
      FakeLog::WaitUntilReady(*replicas.back()->registry);
      replicas.back()->log.SetChaos(GetParam() * 100 + static_cast<std::uint32_t>(i));
    }
    for (std::size_t i = 0; i < acknowledged.size(); ++i) {
      writers.emplace_back([&, i] {
        RandomOperations(*replicas[i % kReplicas]->registry,
                         GetParam() * 1000 + static_cast<std::uint32_t>(i), 60,
                         /*permanent=*/true, acknowledged[i]);
      });
    }
    for (std::thread& writer : writers) writer.join();
  }
  const std::vector<LogRecord> full = topic_.records();
  ExpectNothingGivenTwice(full);
  const RegistryState whole = StateOf(full);
  const std::string expected = Describe(whole) + DescribeNext(whole, kSubjects);
  EXPECT_GT(std::count_if(full.begin(), full.end(),
                          [](const LogRecord& record) { return !record.value; }),
            0)
      << "no tombstone was written, so nothing is shown";
  std::mt19937 random(GetParam());
  const std::int64_t end = topic_.size();
  std::int64_t cut = 0;
  std::size_t left = full.size();
  // The cleaner comes by again and again; its prefix only grows.
  while (cut < end) {
    cut = std::min(end, cut + 1 + static_cast<std::int64_t>(random() % 40));
    topic_.Compact(cut, random() % 2 == 0);
    const std::vector<LogRecord> compacted = topic_.records();
    RegistryState again = StateOf(compacted);
    again.ReachedEnd(end);
    ASSERT_EQ(Describe(again) + DescribeNext(again, kSubjects), expected)
        << "after compaction up to " << cut;
    left = compacted.size();
  }
  EXPECT_LT(left, full.size());
  // And life goes on.
  Replica replica(topic_, 9);
  FakeLog::WaitUntilReady(*replica.registry);
  for (const std::string& subject : kSubjects) {
    const auto version = replica.registry->Register(
        {}, subject,
        DraftOf(Concat("syntax='proto3'; message M { int32 common = 1; int32 new", subject.size(),
                       " = 900; }")));
    ASSERT_THAT(version, IsOk());
    EXPECT_GE(version->version, whole.NextVersion(subject)) << "a version was given again";
  }
  ExpectNothingGivenTwice(topic_.records());
}

INSTANTIATE_TEST_SUITE_P(Seeds, RaceTest, ::testing::Range(1U, 9U));

// A record of a batch whose neighbour never came, behind a record of somebody else that took the
// neighbour's place: it lies where it should, and yet it was decided on another state.
TEST(BatchTest, RecordWhoseNeighbourIsMissingDoesNotCount) {
  FakeTopic topic;
  const auto append = [&](std::int64_t seq, std::int64_t node, std::int64_t attempt, bool follows,
                          int version, int id) {
    RecordKey key;
    key.type = KeyType::kSchema;
    key.subject = "s";
    key.version = version;
    key.sequence = Sequence{seq, node, attempt, follows};
    SchemaValue value;
    value.subject = "s";
    value.version = version;
    value.id = SchemaId(id);
    value.type = kProtobuf;
    value.text = TextNumber(static_cast<int>(node));
    topic.Append(EncodeKey(key), EncodeSchemaValue(value));
  };
  append(0, 7, 1, false, 1, 1);
  // Of node 8's batch {1, 2} only the second came; node 9 was at 1.
  append(1, 9, 1, false, 2, 2);
  append(2, 8, 2, true, 2, 3);
  RegistryState state = StateOf(topic.records());
  EXPECT_EQ(state.FindVersion("s", 2)->schema->id, SchemaId(2));
  EXPECT_EQ(state.NextId("."), SchemaId(3));
  // Its tombstone comes first, and as long as it is not there no other is written.
  const auto keys = state.superseded().Take(SteadyTime(), {}, 10);
  ASSERT_EQ(keys.size(), 1U);
  EXPECT_THAT(keys[0], ::testing::HasSubstr(R"("node":8)"));
}

}  // namespace
}  // namespace tocsin::registry
