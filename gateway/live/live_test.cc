#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "gateway/live/cursor.h"
#include "gateway/live/entry.h"
#include "gateway/live/log_store.h"
#include "gateway/live/subscription.h"
#include "lib/base/testing/fake_clock.h"
#include "lib/base/testing/status_matchers.h"
#include "lib/base/text.h"
#include "lib/events/own_topic.h"

namespace tocsin::gateway {
namespace {

using live::v1::SubscribeRequest;
using live::v1::SubscribeResponse;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pair;
using ::testing::SizeIs;

const std::string kKey(32, 'k');

// --- cursor

TEST(CursorTest, ComesBackAsItWas) {
  const auto seal = CursorSeal::Create(kKey);
  ASSERT_THAT(seal, IsOk());
  const Positions positions = {{"a", {0, kEarliest, 1'000'000'000'000}}, {"b.c", {}}, {"d", {7}}};
  EXPECT_THAT(seal->Open(seal->Seal(positions)), IsOkAndHolds(positions));
  EXPECT_THAT(seal->Open(seal->Seal({})), IsOkAndHolds(Positions{}));
}

TEST(CursorTest, AnyChangeIsSeen) {
  const auto seal = CursorSeal::Create(kKey);
  const std::string cursor = seal->Seal({{"incidents.correlated", {5, 6, 7}}});
  for (std::size_t i = 0; i < cursor.size(); ++i) {
    std::string changed = cursor;
    changed[i] = changed[i] == 'A' ? 'B' : 'A';
    EXPECT_THAT(seal->Open(changed), StatusIs(absl::StatusCode::kInvalidArgument)) << i;
    EXPECT_THAT(seal->Open(cursor.substr(0, i)), StatusIs(absl::StatusCode::kInvalidArgument));
  }
  EXPECT_THAT(seal->Open("not a cursor!"), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(CursorSeal::Create(std::string(32, 'x'))->Open(cursor),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("another key")));
  EXPECT_THAT(CursorSeal::Create("short"), StatusIs(absl::StatusCode::kInvalidArgument));
}

// --- the store

EntryPtr MakeTestEntry(std::int64_t offset, std::string_view rule = "r",
                       Severity severity = tocsin::event::v1::SEVERITY_INFO) {
  auto entry = std::make_shared<Entry>();
  entry->offset = offset;
  entry->kind = live::v1::KIND_DETECTION;
  entry->rule_id = rule;
  entry->severity = severity;
  SubscribeResponse response;
  response.mutable_detection()->set_id(std::to_string(offset));
  entry->body = http::Slice(response.SerializeAsString());
  return entry;
}

std::vector<std::int64_t> Offsets(const std::vector<EntryPtr>& entries) {
  std::vector<std::int64_t> offsets;
  for (const EntryPtr& entry : entries) offsets.push_back(entry->offset);
  return offsets;
}

TEST(LogStoreTest, ReadsFromAnyPositionAcrossHoles) {
  LogStore store(LiveTopics({}), 1 << 20);
  const std::size_t partition = store.AddPartition(0, 10);
  // 11 and 13 are markers of transactions, 14 an aborted record.
  store.Append(partition, {MakeTestEntry(10), MakeTestEntry(12)}, 13);
  store.Append(partition, {}, 15);
  store.Append(partition, {MakeTestEntry(15)}, 16);
  EXPECT_EQ(store.Read(partition, 9, 10).place, LogStore::Window::kBelow);
  const auto all = store.Read(partition, 10, 10);
  EXPECT_THAT(Offsets(all.entries), ElementsAre(10, 12, 15));
  EXPECT_EQ(all.position, 16);
  const auto two = store.Read(partition, 11, 1);
  EXPECT_THAT(Offsets(two.entries), ElementsAre(12));
  EXPECT_EQ(two.position, 15);
  EXPECT_THAT(store.Read(partition, 13, 10).entries, SizeIs(1));
  const auto head = store.Read(partition, 16, 10);
  EXPECT_EQ(head.place, LogStore::Window::kInside);
  EXPECT_THAT(head.entries, IsEmpty());
  EXPECT_EQ(store.Read(partition, 17, 10).place, LogStore::Window::kAbove);
}

TEST(LogStoreTest, ForgetsTheOldestOverAllPartitions) {
  const std::size_t each = MakeTestEntry(100)->memory();
  LogStore store(LiveTopics({}), 4 * each);
  const std::size_t a = store.AddPartition(0, 100);
  const std::size_t b = store.AddPartition(0, 100);
  for (int i = 0; i < 3; ++i) {
    store.Append(a, {MakeTestEntry(100 + i)}, 101 + i);
    store.Append(b, {MakeTestEntry(100 + i)}, 101 + i);
  }
  EXPECT_LE(store.bytes(), 4 * each);
  EXPECT_EQ(store.Read(a, 100, 9).place, LogStore::Window::kBelow);
  EXPECT_THAT(Offsets(store.Read(a, 101, 9).entries), ElementsAre(101, 102));
  EXPECT_THAT(Offsets(store.Read(b, 101, 9).entries), ElementsAre(101, 102));
  store.Restart(a, 0);
  EXPECT_EQ(store.bytes(), 2 * each);
  store.Append(a, {MakeTestEntry(5), MakeTestEntry(6), MakeTestEntry(7)}, 8);
  EXPECT_THAT(Offsets(store.Read(b, 102, 9).entries), ElementsAre(102));
  EXPECT_THAT(Offsets(store.Read(a, 0, 9).entries), ElementsAre(5, 6, 7));
}

// --- entries

kafka::Record RecordOf(const std::string& topic, const google::protobuf::Message& message,
                       std::string_view traceparent) {
  const events::OwnTopic own(topic, message.GetDescriptor(), "/tocsin/test",
                             {schema::SchemaId(7), {0}});
  events::OwnEnvelope envelope;
  envelope.id = "id-1";
  envelope.key = "key";
  envelope.time = WallTime(std::chrono::seconds(1'452'864'240));
  envelope.traceparent = traceparent;
  const kafka::OutgoingRecord out = own.Encode(message, envelope);
  kafka::Record record;
  record.topic = topic;
  record.partition = 3;
  record.offset = 42;
  record.key = out.key;
  record.value = out.value;
  record.headers = out.headers;
  return record;
}

SubscribeResponse Parse(const std::vector<http::Slice>& message) {
  SubscribeResponse response;
  EXPECT_TRUE(response.ParseFromString(http::Flatten(message)));
  return response;
}

TEST(EntryTest, TheRecordsBytesBecomeTheMessage) {
  incident::v1::Incident incident;
  incident.set_id("i-1");
  incident.set_rule_id("repeat-location");
  incident.set_severity(tocsin::event::v1::SEVERITY_HIGH);
  const std::string traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
  std::string why;
  const EntryPtr entry = MakeEntry({"incidents.correlated", live::v1::KIND_INCIDENT},
                                   RecordOf("incidents.correlated", incident, traceparent), &why);
  EXPECT_EQ(why, "");
  EXPECT_EQ(entry->offset, 42);
  EXPECT_EQ(entry->rule_id, "repeat-location");
  EXPECT_EQ(entry->severity, tocsin::event::v1::SEVERITY_HIGH);
  const SubscribeResponse response = Parse({http::Slice(CursorField("the cursor")), entry->body});
  EXPECT_EQ(response.cursor(), "the cursor");
  EXPECT_EQ(response.incident().SerializeAsString(), incident.SerializeAsString());
  EXPECT_EQ(response.traceparent(), traceparent);
}

TEST(EntryTest, EventsAreToldWithTheirReference) {
  incident::v1::IncidentActivity any;
  any.set_note("any message will do");
  const EntryPtr entry =
      MakeEntry({"alerts.raw", live::v1::KIND_EVENT}, RecordOf("alerts.raw", any, ""));
  const SubscribeResponse response = Parse({entry->body});
  EXPECT_EQ(response.event().reference().topic(), "alerts.raw");
  EXPECT_EQ(response.event().reference().partition(), 3);
  EXPECT_EQ(response.event().reference().offset(), 42);
  EXPECT_EQ(response.event().reference().id(), "id-1");
  EXPECT_EQ(response.event().reference().time().seconds(), 1'452'864'240);
  EXPECT_EQ(response.event().type(), "tocsin.incident.v1.IncidentActivity");
  EXPECT_EQ(response.event().partition_key(), "key");
  EXPECT_EQ(response.event().data(), any.SerializeAsString());
  EXPECT_EQ(response.event().severity(), tocsin::event::v1::SEVERITY_INFO);
}

TEST(EntryTest, WhatCannotBeReadKeepsItsPlaceAlone) {
  const LiveTopic topic{"detections", live::v1::KIND_DETECTION};
  correlation::v1::Detection detection;
  kafka::Record record = RecordOf("detections", detection, "");
  *record.value += '\xff';
  std::string why;
  EXPECT_TRUE(MakeEntry(topic, record, &why)->body.empty());
  EXPECT_THAT(why, HasSubstr("is not a tocsin.correlation.v1.Detection"));
  record.value.reset();
  why.clear();
  EXPECT_TRUE(MakeEntry(topic, record, &why)->body.empty());
  EXPECT_EQ(why, "");
}

// --- subscriptions

// A client that takes what it is given as long as it is told to.
class FakeCall final : public Call, public std::enable_shared_from_this<FakeCall> {
 public:
  const CallInfo& info() const override { return info_; }
  void Read(std::function<void(absl::StatusOr<std::optional<http::Slice>>)>) override {}
  void SendHeaders(http::Headers) override {}
  void Write(std::vector<http::Slice> message) override {
    const SubscribeResponse response = Parse(message);
    if (!response.cursor().empty()) cursor = response.cursor();
    said.push_back(response);
  }
  void WhenWritable(std::function<void()> done) override {
    if (takes) {
      tasks.push_back(std::move(done));
    } else {
      waiting = std::move(done);
    }
  }
  void Finish(absl::Status, http::Headers) override {}
  void OnCancelled(std::function<void()>) override {}
  void Post(std::function<void()> task) override { tasks.push_back(std::move(task)); }

  void RunAll() {
    while (!tasks.empty()) {
      const auto task = std::move(tasks.front());
      tasks.pop_front();
      task();
    }
  }
  // Ids of the detections told since the last call.
  std::vector<std::string> Ids() {
    std::vector<std::string> ids;
    for (const SubscribeResponse& response : said) {
      if (response.has_detection()) ids.push_back(response.detection().id());
      if (response.has_gap()) {
        ids.push_back(
            Concat("gap ", response.gap().from_offset(), "-", response.gap().to_offset()));
      }
    }
    said.clear();
    return ids;
  }

  CallInfo info_;
  std::deque<std::function<void()>> tasks;
  std::function<void()> waiting;
  bool takes = true;
  std::vector<SubscribeResponse> said;
  std::string cursor;
};

// Answers from what the test has put there.
class FakeReplayer final : public Replayer {
 public:
  void Read(std::size_t partition, std::int64_t from,
            std::function<void(absl::StatusOr<ChunkPtr>)> done) override {
    asked.push_back({partition, from});
    dones.push_back(std::move(done));
  }
  void Answer(absl::StatusOr<Chunk> chunk) {
    const auto done = std::move(dones.front());
    dones.pop_front();
    done(chunk.ok() ? absl::StatusOr<ChunkPtr>(std::make_shared<const Chunk>(*std::move(chunk)))
                    : chunk.status());
  }
  std::vector<std::pair<std::size_t, std::int64_t>> asked;
  std::deque<std::function<void(absl::StatusOr<ChunkPtr>)>> dones;
};

class SubscriptionTest : public ::testing::Test {
 protected:
  std::shared_ptr<FakeCall> Subscribe(const SubscribeRequest& request) {
    auto call = std::make_shared<FakeCall>();
    auto subscription = Subscription::Create(shared_, call, request);
    EXPECT_THAT(subscription, IsOk());
    last_ = *subscription;
    last_->Start();
    call->RunAll();
    return call;
  }
  SubscribeRequest Detections(live::v1::From from = live::v1::FROM_LATEST) {
    SubscribeRequest request;
    request.add_kinds(live::v1::KIND_DETECTION);
    request.set_from(from);
    return request;
  }
  void Append(std::size_t partition, const std::vector<EntryPtr>& entries, std::int64_t next,
              FakeCall& call) {
    store_.Append(partition, entries, next);
    last_->Wake();
    call.RunAll();
  }

  FakeClock clock_;
  LogStore store_{LiveTopics({"alerts.raw"}), 1 << 20};
  FakeReplayer replayer_;
  CursorSeal seal_ = *CursorSeal::Create(kKey);
  Subscription::Shared shared_{store_, replayer_, seal_, clock_, std::chrono::seconds(15)};
  std::shared_ptr<Subscription> last_;
  // detections[0] and [1]
  std::size_t p0_ = store_.AddPartition(0, 100);
  std::size_t p1_ = store_.AddPartition(0, 200);
};

TEST_F(SubscriptionTest, BeginsWithAHeartbeatAndTellsWhatComes) {
  const auto call = Subscribe(Detections());
  ASSERT_THAT(call->said, SizeIs(1));
  EXPECT_TRUE(call->said[0].has_heartbeat());
  EXPECT_NE(call->said[0].cursor(), "");
  Append(p0_, {MakeTestEntry(100), MakeTestEntry(102)}, 103, *call);
  Append(p1_, {MakeTestEntry(200)}, 201, *call);
  EXPECT_THAT(call->Ids(), ElementsAre("100", "102", "200"));
}

TEST_F(SubscriptionTest, EachMessageHasTheCursorBehindIt) {
  auto call = Subscribe(Detections());
  store_.Append(p0_, {MakeTestEntry(100), MakeTestEntry(101), MakeTestEntry(102)}, 103);
  last_->Wake();
  call->RunAll();
  std::vector<std::string> cursors;
  for (const SubscribeResponse& response : call->said) cursors.push_back(response.cursor());
  ASSERT_THAT(cursors, SizeIs(4));
  const std::vector<std::vector<std::string>> rest = {
      {"100", "101", "102"}, {"101", "102"}, {"102"}, {}};
  for (std::size_t i = 0; i < cursors.size(); ++i) {
    SubscribeRequest request = Detections();
    request.set_cursor(cursors[i]);
    EXPECT_EQ(Subscribe(request)->Ids(), rest[i]) << i;
  }
}

TEST_F(SubscriptionTest, TheCursorMovesOverWhatIsNotWanted) {
  SubscribeRequest request = Detections();
  request.add_rule_ids("wanted");
  request.set_min_severity(tocsin::event::v1::SEVERITY_MEDIUM);
  const auto call = Subscribe(request);
  using namespace tocsin::event::v1;  // NOLINT: the scale
  Append(p0_,
         {MakeTestEntry(100, "other", SEVERITY_HIGH), MakeTestEntry(101, "wanted", SEVERITY_LOW),
          MakeTestEntry(102, "wanted", SEVERITY_MEDIUM), MakeTestEntry(103, "other")},
         104, *call);
  EXPECT_THAT(call->Ids(), ElementsAre("102"));
  clock_.Advance(std::chrono::seconds(15));
  last_->Beat();
  call->RunAll();
  ASSERT_THAT(call->said, SizeIs(1));
  const auto positions = seal_.Open(call->said[0].cursor());
  EXPECT_THAT(positions, IsOkAndHolds(Positions{{"detections", {104, 200}}}));
}

TEST_F(SubscriptionTest, HeartbeatsComeAfterSilenceOnly) {
  const auto call = Subscribe(Detections());
  call->said.clear();
  clock_.Advance(std::chrono::seconds(14));
  last_->Beat();
  call->RunAll();
  EXPECT_THAT(call->said, IsEmpty());
  Append(p0_, {MakeTestEntry(100)}, 101, *call);
  clock_.Advance(std::chrono::seconds(2));
  last_->Beat();
  call->RunAll();
  EXPECT_THAT(call->said, SizeIs(1));
  clock_.Advance(std::chrono::seconds(13));
  last_->Beat();
  call->RunAll();
  EXPECT_TRUE(call->said.back().has_heartbeat());
}

TEST_F(SubscriptionTest, ASlowClientIsAPositionNotAQueue) {
  const auto call = Subscribe(Detections());
  call->takes = false;
  std::vector<EntryPtr> many;
  for (int i = 0; i < 2000; ++i) many.push_back(MakeTestEntry(100 + i));
  Append(p0_, many, 2100, *call);
  const std::size_t told = call->said.size();
  EXPECT_LT(told, 1000u);
  Append(p0_, {MakeTestEntry(2100)}, 2101, *call);
  EXPECT_EQ(call->said.size(), told);
  call->takes = true;
  std::exchange(call->waiting, nullptr)();
  call->RunAll();
  const auto ids = call->Ids();
  EXPECT_THAT(ids, SizeIs(2001));
  EXPECT_EQ(ids.back(), "2100");
}

Chunk WholeChunk(std::int64_t from, std::int64_t to, std::vector<std::int64_t> offsets) {
  Chunk chunk;
  chunk.from = from;
  chunk.to = to;
  for (const std::int64_t offset : offsets) chunk.entries.push_back(MakeTestEntry(offset));
  return chunk;
}

TEST_F(SubscriptionTest, ReadsThePastThenTheRingWithoutASeam) {
  // What lies in the log below the rings, with holes; told in chunks of at most two records, of
  // which some reach into the ring.
  const std::map<std::size_t, std::vector<std::int64_t>> log = {{p0_, {10, 20, 30, 99, 100, 101}},
                                                                {p1_, {150, 151, 199}}};
  store_.Append(p0_, {MakeTestEntry(100), MakeTestEntry(101)}, 102);
  const auto call = Subscribe(Detections(live::v1::FROM_EARLIEST));
  for (std::size_t i = 0; !replayer_.dones.empty(); ++i) {
    ASSERT_LT(i, 20u);
    const auto [partition, from] = replayer_.asked[i];
    Chunk chunk = WholeChunk(from == kEarliest ? 5 : from, 0, {});
    chunk.to = partition == p0_ ? 102 : 200;
    for (const std::int64_t offset : log.at(partition)) {
      if (offset < chunk.from) continue;
      if (chunk.entries.size() == 2) {
        chunk.to = offset;
        break;
      }
      chunk.entries.push_back(MakeTestEntry(offset));
    }
    replayer_.Answer(chunk);
    call->RunAll();
  }
  Append(p1_, {MakeTestEntry(200)}, 201, *call);
  std::vector<std::string> p0, p1;
  for (const std::string& id : call->Ids()) (std::stoi(id) < 150 ? p0 : p1).push_back(id);
  EXPECT_THAT(p0, ElementsAre("10", "20", "30", "99", "100", "101"));
  EXPECT_THAT(p1, ElementsAre("150", "151", "199", "200"));
}

TEST_F(SubscriptionTest, SaysWhatIsGone) {
  SubscribeRequest request = Detections();
  request.set_cursor(seal_.Seal({{"detections", {7, 200}}}));
  const auto call = Subscribe(request);
  ASSERT_THAT(replayer_.asked, ElementsAre(Pair(p0_, 7)));
  Chunk gone;
  gone.found = Chunk::kGone;
  gone.from = 7;
  gone.to = 90;
  replayer_.Answer(gone);
  call->RunAll();
  replayer_.Answer(WholeChunk(90, 100, {95}));
  call->RunAll();
  EXPECT_THAT(call->Ids(), ElementsAre("gap 7-90", "95"));
}

TEST_F(SubscriptionTest, AheadOfThisReplicaItWaits) {
  SubscribeRequest request = Detections();
  request.set_cursor(seal_.Seal({{"detections", {105, 200}}}));
  const auto call = Subscribe(request);
  replayer_.Answer(WholeChunk(105, 105, {}));
  call->RunAll();
  // Asked again, but not at once.
  EXPECT_THAT(replayer_.asked, SizeIs(1));
  Append(p0_, {MakeTestEntry(104), MakeTestEntry(105)}, 106, *call);
  EXPECT_THAT(call->Ids(), ElementsAre("105"));
}

TEST_F(SubscriptionTest, KafkaAwayIsOnlyAPause) {
  SubscribeRequest request = Detections();
  request.set_cursor(seal_.Seal({{"detections", {50, 200}}}));
  const auto call = Subscribe(request);
  replayer_.Answer(absl::UnavailableError("no broker"));
  call->RunAll();
  EXPECT_THAT(replayer_.asked, SizeIs(1));
  clock_.Advance(std::chrono::seconds(2));
  last_->Beat();
  call->RunAll();
  ASSERT_THAT(replayer_.asked, SizeIs(2));
  replayer_.Answer(WholeChunk(50, 100, {60}));
  call->RunAll();
  EXPECT_THAT(call->Ids(), ElementsAre("60"));
}

TEST_F(SubscriptionTest, PartitionsThatComeLaterAreToldFromTheirFirstRecord) {
  const auto call = Subscribe(Detections());
  const std::size_t p2 = store_.AddPartition(0, 0);
  Append(p2, {MakeTestEntry(0), MakeTestEntry(1)}, 2, *call);
  EXPECT_THAT(call->Ids(), ElementsAre("0", "1"));
  EXPECT_THAT(seal_.Open(call->cursor), IsOkAndHolds(Positions{{"detections", {100, 200, 2}}}));
}

TEST_F(SubscriptionTest, RefusesWhatMakesNoSense) {
  const auto code = absl::StatusCode::kInvalidArgument;
  const auto create = [&](const SubscribeRequest& request) {
    return Subscription::Create(shared_, std::make_shared<FakeCall>(), request).status();
  };
  SubscribeRequest kinds;
  kinds.add_kinds(static_cast<live::v1::Kind>(99));
  EXPECT_THAT(create(kinds), StatusIs(code, HasSubstr("99 is not a kind")));
  SubscribeRequest streams;
  streams.add_kinds(live::v1::KIND_EVENT);
  streams.add_streams("alerts.row");
  EXPECT_THAT(create(streams), StatusIs(code, HasSubstr("there are: alerts.raw")));
  SubscribeRequest forged = Detections();
  forged.set_cursor("AAAA");
  EXPECT_THAT(create(forged), StatusIs(code, HasSubstr("not one that this system gave")));
  SubscribeRequest other = Detections();
  other.set_cursor(seal_.Seal({{"incidents.correlated", {1}}}));
  EXPECT_THAT(create(other), StatusIs(code, HasSubstr("other kinds or streams")));
}

}  // namespace
}  // namespace tocsin::gateway
