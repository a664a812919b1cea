#include "services/correlation/engine/task.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <deque>

#include "google/protobuf/util/time_util.h"
#include "lib/base/hash.h"
#include "lib/base/testing/status_matchers.h"
#include "lib/base/text.h"
#include "lib/base/time.h"
#include "services/correlation/engine/keys.h"
#include "services/correlation/testing/test_rule.h"
#include "tocsin/correlation/v1/detection.pb.h"
#include "tocsin/correlation/v1/repartition.pb.h"
#include "tocsin/incident/v1/incident.pb.h"

namespace tocsin::correlation {
namespace {

using std::chrono::minutes;
using std::chrono::seconds;
using testing::Call;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::MakeCallRecord;
using testing::MakeRule;
using testing::RuleSpec;

WallTime At(int minute) { return ParseTime("2017-03-01T00:00:00Z").value() + minutes(minute); }

RuleSpec Local(RuleOrder order = RuleOrder::kArrival, std::int64_t at_least = 2) {
  RuleSpec rule;
  rule.id = "surge";
  rule.group_by = {"township"};
  rule.order = order;
  rule.at_least = at_least;
  return rule;
}
RuleSpec ByPlace() {
  RuleSpec rule;
  rule.id = "repeat";
  return rule;
}

// One partition of two; state commits after each batch.
class TaskTest : public ::testing::Test {
 protected:
  void Rules(const std::vector<RuleSpec>& rules, bool processed = false,
             std::set<std::pair<std::string, std::int32_t>> retained = {}) {
    StreamSpec stream;
    stream.topic = "calls.raw";
    stream.partitions = 2;
    stream.message_type = "test.Call";
    stream.processed = processed;
    stream.late = late_;
    std::vector<RuleEntry> entries;
    for (const RuleSpec& rule : rules) entries.push_back({MakeRule(rule), version_});
    const auto plan = RulePlan::Make(stream, entries, std::move(retained));
    if (task_ == nullptr) {
      options_.detection_schema.id = schema::SchemaId(11);
      options_.incident_schema.id = schema::SchemaId(12);
      task_ = std::make_unique<Task>(0, plan, options_);
    } else {
      task_->SetPlan(plan);
    }
  }

  TaskResult Run(std::vector<kafka::Record> records, std::vector<DueSilence> silences = {}) {
    TaskInput input;
    kafka::HeaderMemory headers;
    std::deque<kafka::RecordView> views;
    for (kafka::Record& record : records) {
      if (record.offset == 0) record.offset = ++offset_;
      input.records.push_back(&views.emplace_back(kafka::AsView(record, headers)));
      input.next_offsets[record.topic] = record.offset + 1;
    }
    input.silences = std::move(silences);
    input.now = At(1'000);
    Overlay overlay(state_);
    TaskResult result = task_->Run(input, overlay);
    state_.Apply(overlay.changes());
    return result;
  }

  static std::vector<OutputRecord> Of(const TaskResult& result, OutputKind kind) {
    std::vector<OutputRecord> outputs;
    for (const OutputRecord& output : result.outputs) {
      if (output.kind == kind) outputs.push_back(output);
    }
    return outputs;
  }
  template <typename Message>
  static Message Decode(const OutputRecord& output) {
    Message message;
    EXPECT_TRUE(message.ParseFromString(
        std::string(schema::DecodeFrame(output.record.value.value()).value().payload)));
    return message;
  }

  std::size_t KeysOfType(char type) const {
    std::size_t count = 0;
    for (const auto& [key, value] : state_.entries()) count += key.front() == type ? 1 : 0;
    return count;
  }

  // What the downstream task at partition 1 would get: the forwarded record as read.
  static kafka::Record Forwarded(const OutputRecord& output, std::int64_t offset) {
    kafka::Record record;
    record.topic = output.record.topic;
    record.partition = output.record.partition;
    record.offset = offset;
    record.key = output.record.key;
    record.value = output.record.value;
    record.headers = output.record.headers;
    return record;
  }

  TaskOptions options_;
  // The stream keeps late events.
  bool late_ = false;
  std::int32_t version_ = 1;
  std::unique_ptr<Task> task_;
  MemoryState state_;
  std::int64_t offset_ = 0;
};

TEST_F(TaskTest, DetectionAndIncidentSayWhatHappened) {
  Rules({Local()});
  EXPECT_THAT(Run({MakeCallRecord({"p", "T", "EMS", At(0), "", 1})}).outputs, IsEmpty());
  const TaskResult result = Run({MakeCallRecord({"q", "T", "Fire", At(1), "", 2})});
  ASSERT_EQ(result.outputs.size(), 2U);

  const OutputRecord& output = result.outputs[0];
  EXPECT_EQ(output.kind, OutputKind::kDetection);
  EXPECT_EQ(output.record.topic, "detections");
  EXPECT_EQ(schema::DecodeFrame(*output.record.value)->id, schema::SchemaId(11));
  const auto detection = Decode<v1::Detection>(output);
  EXPECT_EQ(detection.rule_id(), "surge");
  EXPECT_EQ(detection.rule_version(), 1);
  EXPECT_EQ(detection.stream(), "calls.raw");
  EXPECT_THAT(detection.group_key(), ElementsAre("T"));
  EXPECT_EQ(google::protobuf::util::TimeUtil::ToString(detection.time()), "2017-03-01T00:01:00Z");
  EXPECT_EQ(google::protobuf::util::TimeUtil::ToString(detection.window_start()),
            "2017-02-28T23:51:00Z");
  EXPECT_EQ(detection.value(), 2);
  EXPECT_EQ(detection.severity(), tocsin::event::v1::SEVERITY_HIGH);
  ASSERT_EQ(detection.evidence_size(), 2);
  EXPECT_EQ(detection.evidence(0).topic(), "calls.raw");
  EXPECT_EQ(detection.evidence(0).offset(), 1);
  EXPECT_EQ(detection.evidence(0).source(), "test://calls");
  EXPECT_EQ(detection.evidence(0).id(), "1");
  EXPECT_EQ(detection.evidence(0).sequence(), "000000000001");
  EXPECT_EQ(detection.evidence(1).id(), "2");
  const std::string_view parts[] = {"surge", "1", "T", "test://calls", "1", "test://calls", "2"};
  EXPECT_EQ(detection.id(), StableId(parts));
  EXPECT_EQ(output.record.headers.Find("ce_id"), detection.id());
  EXPECT_EQ(output.record.headers.Find("ce_type"), "tocsin.correlation.v1.Detection");
  EXPECT_EQ(output.record.headers.Find("ce_time"), "2017-03-01T00:01:00Z");
  EXPECT_EQ(output.record.headers.Find("ce_severitytext"), "HIGH");
  // The event that fires is the parent, the others are links.
  EXPECT_EQ(output.parent, "00-00000000000000000000000000000003-0000000000000003-01");
  EXPECT_THAT(output.links, ElementsAre("00-00000000000000000000000000000002-0000000000000002-01"));

  EXPECT_EQ(result.outputs[1].kind, OutputKind::kIncident);
  EXPECT_EQ(result.outputs[1].record.topic, "incidents.correlated");
  const auto incident = Decode<tocsin::incident::v1::Incident>(result.outputs[1]);
  EXPECT_EQ(incident.id(), detection.incident_id());
  EXPECT_EQ(result.outputs[1].record.key, incident.id());
  EXPECT_EQ(incident.revision(), 1);
  EXPECT_EQ(incident.title(), "title of surge");
  EXPECT_THAT(incident.detection_ids(), ElementsAre(detection.id()));
  EXPECT_EQ(incident.evidence_size(), 2);
  EXPECT_EQ(result.outputs[1].record.headers.Find("ce_id"), incident.id() + "/1");
}

TEST_F(TaskTest, AWindowBeginsNoEarlierThanTime) {
  Rules({Local(RuleOrder::kArrival, 1)});
  const TaskResult result = Run({MakeCallRecord({"p", "T", "EMS", kFirstTime, "", 1})});
  ASSERT_EQ(result.outputs.size(), 2U);
  const auto detection = Decode<v1::Detection>(result.outputs[0]);
  EXPECT_EQ(detection.window_start().seconds(), detection.time().seconds());
}

TEST_F(TaskTest, DetectionsJoinTheIncidentUpToTheLastMoment) {
  Rules({Local()});
  const auto pair = [this](int minute, std::int64_t row) {
    TaskResult result = Run({MakeCallRecord({"p", "T", "EMS", At(minute), "", row}),
                             MakeCallRecord({"p", "T", "EMS", At(minute), "", row + 1})});
    return Decode<tocsin::incident::v1::Incident>(Of(result, OutputKind::kIncident).at(0));
  };
  const auto first = pair(0, 1);
  const auto second = pair(30, 3);
  EXPECT_EQ(second.id(), first.id()) << "join_within is inclusive";
  EXPECT_EQ(second.revision(), 2);
  EXPECT_EQ(second.detection_count(), 2);
  EXPECT_EQ(second.opened_time().seconds(), first.opened_time().seconds());
  const auto third = pair(61, 5);
  EXPECT_NE(third.id(), first.id());
  EXPECT_EQ(third.revision(), 1);
}

TEST_F(TaskTest, RepeatedIdentitiesAreDropped) {
  Rules({Local()}, true);
  Run({MakeCallRecord({"p", "T", "EMS", At(0), "a", 1})});
  const TaskResult result = Run({MakeCallRecord({"p", "T", "EMS", At(0), "a", 1}),
                                 MakeCallRecord({"p", "T", "EMS", At(0), "a", 1})});
  EXPECT_EQ(result.counts.in, 2);
  EXPECT_EQ(result.counts.duplicate, 2);
  EXPECT_THAT(result.outputs, IsEmpty()) << "not even to the processed topic";
}

TEST_F(TaskTest, IdentitiesAreForgottenByCountAndAge) {
  options_.identity_count = 2;
  options_.identity_age = minutes(5);
  Rules({Local()});
  const auto call = [](const std::string& id, int minute) {
    kafka::Record record = MakeCallRecord({"p", "T", "EMS", At(0), id, 1});
    record.timestamp = At(minute);
    return record;
  };
  // As many as make a chunk of their own.
  const auto many = [&](const std::string& name) {
    std::vector<kafka::Record> records;
    for (int i = 0; i < 64; ++i) records.push_back(call(Concat(name, i), 0));
    return records;
  };
  Run(many("a"));
  EXPECT_EQ(Run({call("a0", 0)}).counts.duplicate, 1);
  Run(many("b"));
  EXPECT_EQ(Run({call("b0", 0)}).counts.duplicate, 1);
  EXPECT_EQ(Run({call("a0", 0)}).counts.duplicate, 0) << "the newest are enough";
  Run({call("x", 6)});
  EXPECT_EQ(KeysOfType('e'), 1U);
  EXPECT_EQ(Run({call("b0", 6)}).counts.duplicate, 0) << "five minutes are over";
  EXPECT_EQ(Run({call("x", 6)}).counts.duplicate, 1);
}

TEST_F(TaskTest, PoisonGoesToTheDeadLetterTopicAndTheRestGoesOn) {
  Rules({Local()});
  struct Poison {
    std::function<void(kafka::Record&)> spoil;
    std::string reason;
  };
  const std::vector<Poison> poisons = {
      {[](kafka::Record& r) { r.headers.Remove("ce_id"); }, "ce_id is missing"},
      {[](kafka::Record& r) { r.headers.Remove("ce_time"); }, "ce_time is missing"},
      {[](kafka::Record& r) { r.headers.Set("ce_time", "yesterday"); }, "ce_time"},
      {[](kafka::Record& r) { r.headers.Set("ce_time", "1970-01-01T00:00:00Z"); },
       "neither 1970 nor 2100"},
      {[](kafka::Record& r) { r.headers.Set("ce_time", "2100-01-01T00:00:00Z"); },
       "neither 1970 nor 2100"},
      {[](kafka::Record& r) { r.key = std::nullopt; }, "has no key"},
      {[](kafka::Record& r) { r.headers.Set("ce_time", "-292277022399-01-01T00:00:00Z"); },
       "ce_time"},
      {[](kafka::Record& r) { r.headers.Set("ce_id", "\xff"); }, "ce_id is not valid UTF-8"},
      {[](kafka::Record& r) { r.headers.Set("ce_sequence", "\xff"); },
       "ce_sequence is not valid UTF-8"},
      {[](kafka::Record& r) { r.headers.Set("traceparent", "\xff"); },
       "traceparent is not valid UTF-8"},
      {[](kafka::Record& r) { r.headers.Set("ce_type", "other.Message"); },
       "ce_type is other.Message, but the stream calls.raw carries test.Call"},
      {[](kafka::Record& r) { r.value.reset(); }, "no value"},
      {[](kafka::Record& r) { r.value = "x"; }, "value"},
      {[](kafka::Record& r) { *r.value += "\xff\xff"; }, "not a message of type test.Call"},
  };
  for (const Poison& poison : poisons) {
    SCOPED_TRACE(poison.reason);
    kafka::Record record = MakeCallRecord({"p", "T", "EMS", At(0), "poison", 1});
    poison.spoil(record);
    record.headers.Append("mine", "kept");
    const TaskResult result = Run({record});
    EXPECT_EQ(result.counts.invalid, 1);
    ASSERT_EQ(result.outputs.size(), 1U);
    const kafka::OutgoingRecord& letter = result.outputs[0].record;
    EXPECT_EQ(letter.topic, "calls.raw.dlq");
    EXPECT_EQ(letter.key, record.key);
    EXPECT_EQ(letter.value, record.value);
    EXPECT_EQ(letter.headers.Find("mine"), "kept");
    EXPECT_EQ(letter.headers.Find("dlq.topic"), "calls.raw");
    EXPECT_EQ(letter.headers.Find("dlq.offset"), std::to_string(offset_));
    EXPECT_EQ(letter.headers.Find("dlq.error_class"), "INVALID_ARGUMENT");
    EXPECT_THAT(std::string(*letter.headers.Find("dlq.message")), HasSubstr(poison.reason));
  }
  const TaskResult good = Run({MakeCallRecord({"p", "T", "EMS", At(0), "poison", 1})});
  EXPECT_EQ(good.counts.accepted, 1) << "what was refused is not known as seen";
}

TEST_F(TaskTest, CountsSayWhyAnEventDidNotTakePart) {
  RuleSpec fire = Local();
  fire.id = "fire";
  fire.agency = "Fire";
  RuleSpec agencies = ByPlace();
  agencies.count_field = "agency";
  Rules({fire, agencies});
  const TaskResult result = Run({MakeCallRecord({"", "T", "EMS", At(0), "", 1}),
                                 MakeCallRecord({"p", "", "Fire", At(0), "", 2})});
  EXPECT_EQ(result.counts.rules.at("fire").filtered, 1);
  EXPECT_EQ(result.counts.rules.at("fire").missing_key, 1);
  EXPECT_EQ(result.counts.rules.at("repeat").missing_key, 1);
  EXPECT_EQ(result.counts.forwarded, 1);
}

TEST_F(TaskTest, ForwardsWithOriginAndWhatThePartitionHadSeen) {
  Rules({ByPlace()}, true);
  Run({MakeCallRecord({"p", "T", "EMS", At(0), "", 1})});
  const TaskResult result = Run({MakeCallRecord({"p", "T", "EMS", At(3), "", 2}, 0, 77)});
  const std::vector<OutputRecord> forwarded = Of(result, OutputKind::kForward);
  ASSERT_EQ(forwarded.size(), 1U);
  const kafka::OutgoingRecord& record = forwarded[0].record;
  EXPECT_EQ(record.topic, "correlation-calls.raw-by-place-repartition");
  EXPECT_EQ(record.key, "p");
  EXPECT_EQ(record.partition, PartitionForKey("p", 2));
  EXPECT_EQ(record.headers.Find("tocsin.origin"), "calls.raw:0:77");
  v1::WatermarkMark before;
  ASSERT_TRUE(before.ParseFromString(std::string(*record.headers.Find("tocsin.before"))));
  EXPECT_EQ(before.highest_time().seconds(), At(0).time_since_epoch().count() / 1'000'000);
  // Its mark goes to every partition, behind the data.
  const std::vector<OutputRecord> marks = Of(result, OutputKind::kMark);
  ASSERT_EQ(marks.size(), 2U);
  EXPECT_EQ(marks[0].record.partition, 0);
  EXPECT_EQ(marks[1].record.partition, 1);
  EXPECT_EQ(result.outputs.back().kind, OutputKind::kMark);
  v1::WatermarkMark mark;
  ASSERT_TRUE(mark.ParseFromString(*marks[0].record.value));
  EXPECT_EQ(mark.highest_time().seconds(), At(3).time_since_epoch().count() / 1'000'000);
  EXPECT_EQ(Of(result, OutputKind::kProcessed).at(0).record.topic, "calls.processed");
}

TEST_F(TaskTest, LateIsWhatItsOwnPartitionHadPassed) {
  RuleSpec rule = Local(RuleOrder::kEventTime);
  rule.max_disorder = minutes(2);
  Rules({rule});
  const TaskResult result = Run({MakeCallRecord({"p", "T", "EMS", At(10), "", 1}),
                                 MakeCallRecord({"p", "T", "EMS", At(8), "", 2}),
                                 MakeCallRecord({"p", "T", "EMS", At(7), "", 3})});
  EXPECT_EQ(result.counts.rules.at("surge").taken, 2);
  EXPECT_EQ(result.counts.rules.at("surge").late, 1);
}

TEST_F(TaskTest, ALateEventIsKeptOnceForAllRules) {
  RuleSpec slow = ByPlace();
  slow.id = "slow";
  slow.max_disorder = minutes(5);
  late_ = true;
  Rules({Local(RuleOrder::kEventTime), ByPlace(), slow});
  kafka::Record late = MakeCallRecord({"p", "T", "EMS", At(7), "", 3});
  late.headers.Append("x", "y");
  const TaskResult result = Run({MakeCallRecord({"p", "T", "EMS", At(10), "", 1}), late});
  EXPECT_EQ(result.counts.rules.at("surge").late, 1);
  EXPECT_EQ(result.counts.rules.at("repeat").late, 1) << "judged where it came in";
  EXPECT_EQ(result.counts.rules.at("slow").late, 0);
  EXPECT_EQ(result.counts.kept_late, 1);
  const std::vector<OutputRecord> kept = Of(result, OutputKind::kLate);
  ASSERT_EQ(kept.size(), 1U);
  const kafka::OutgoingRecord& record = kept[0].record;
  EXPECT_EQ(record.topic, "calls.raw.late");
  EXPECT_EQ(record.key, late.key);
  EXPECT_EQ(record.value, late.value);
  EXPECT_EQ(record.headers.Find("x"), "y");
  EXPECT_EQ(record.headers.Find("late.rule"), "surge,repeat");
  EXPECT_THAT(std::string(*record.headers.Find("late.reason")),
              ::testing::HasSubstr(" behind the watermark "));
  // Forwarded for the rule that still takes it, and not judged again for the other.
  const std::vector<OutputRecord> forwarded = Of(result, OutputKind::kForward);
  ASSERT_EQ(forwarded.size(), 2U);
  EXPECT_EQ(forwarded[1].record.headers.Find("tocsin.late"), "repeat");
  const TaskResult downstream = Run({Forwarded(forwarded[1], 100)});
  EXPECT_THAT(Of(downstream, OutputKind::kLate), IsEmpty());
  EXPECT_TRUE(downstream.counts.rules.empty());
}

TEST_F(TaskTest, ALateEventWithinCorrectWithinIsJudgedInItsPlace) {
  RuleSpec rule = Local(RuleOrder::kEventTime);
  rule.at_least = 2;
  rule.timespan = minutes(10);
  rule.correct_within = minutes(20);
  Rules({rule});
  // Fires at 5; what follows waits for a second.
  const TaskResult first = Run({MakeCallRecord({"p", "T", "EMS", At(1), "", 1}),
                                MakeCallRecord({"p", "T", "EMS", At(5), "", 2}),
                                MakeCallRecord({"p", "T", "EMS", At(8), "", 3}),
                                MakeCallRecord({"p", "T", "EMS", At(20), "", 4})});
  const auto told = Of(first, OutputKind::kDetection);
  ASSERT_EQ(told.size(), 1U);
  const auto before = Decode<v1::Detection>(told[0]);
  EXPECT_EQ(before.revision(), 1);
  // With one more at 3 it fires there, and again at 8: that at 5 was not.
  const TaskResult late = Run({MakeCallRecord({"p", "T", "EMS", At(3), "", 5}),
                               MakeCallRecord({"p", "T", "EMS", At(21), "", 6})});
  EXPECT_EQ(late.counts.rules.at("surge").late, 0);
  EXPECT_EQ(late.counts.rules.at("surge").corrections, 1);
  const auto corrected = Of(late, OutputKind::kDetection);
  ASSERT_EQ(corrected.size(), 3U);
  EXPECT_EQ(Decode<v1::Detection>(corrected[0]).evidence(1).id(), "5");
  const auto retracted = Decode<v1::Detection>(corrected[1]);
  EXPECT_TRUE(retracted.retracted());
  EXPECT_EQ(retracted.id(), before.id());
  EXPECT_EQ(retracted.revision(), 2);
  EXPECT_EQ(Decode<v1::Detection>(corrected[2]).evidence(0).id(), "2");
  const auto incidents = Of(late, OutputKind::kIncident);
  ASSERT_EQ(incidents.size(), 1U) << "each incident once";
  const auto incident = Decode<tocsin::incident::v1::Incident>(incidents[0]);
  EXPECT_TRUE(incident.corrected());
  EXPECT_EQ(incident.revision(), 2);
  EXPECT_EQ(incident.detection_count(), 2);
  EXPECT_EQ(incident.evidence(1).id(), "3");
  // Too late for this.
  EXPECT_EQ(Run({MakeCallRecord({"p", "T", "EMS", At(0), "", 7})}).counts.rules.at("surge").late,
            1);
}

TEST_F(TaskTest, SilenceReleasesAndWhatComesAtThatTimeIsLate) {
  Rules({Local(RuleOrder::kEventTime)});
  Run({MakeCallRecord({"p", "T", "EMS", At(1), "", 1}),
       MakeCallRecord({"p", "T", "EMS", At(1), "", 2})});
  const std::vector<DueSilence> due = {{seconds(10), At(1)}};
  EXPECT_TRUE(task_->WouldPromise(due, state_));
  EXPECT_EQ(Of(Run({}, due), OutputKind::kDetection).size(), 1U);
  EXPECT_FALSE(task_->WouldPromise(due, state_)) << "said once";
  EXPECT_EQ(Run({MakeCallRecord({"p", "T", "EMS", At(1), "", 3})}).counts.rules.at("surge").late,
            1);
}

TEST_F(TaskTest, ASilenceIsVoidWhenTheStreamSpeaksInTheSameBatch) {
  Rules({Local(RuleOrder::kEventTime)});
  Run({MakeCallRecord({"p", "T", "EMS", At(1), "", 1})});
  Run({MakeCallRecord({"p", "T", "EMS", At(1), "", 2})}, {{seconds(10), At(1)}});
  EXPECT_EQ(KeysOfType('b'), 2U) << "nothing is released";
}

TEST_F(TaskTest, DownstreamWaitsForEveryUpstreamPartition) {
  Rules({ByPlace()});
  const TaskResult first = Run({MakeCallRecord({"p", "T", "EMS", At(1), "", 1}),
                                MakeCallRecord({"p", "T", "EMS", At(1), "", 2}),
                                MakeCallRecord({"q", "T", "EMS", At(2), "", 3})});
  std::vector<kafka::Record> records;
  std::int64_t offset = 100;
  for (const OutputRecord& output : first.outputs) records.push_back(Forwarded(output, ++offset));
  const TaskResult alone = Run(records);
  EXPECT_EQ(first.counts.rules.at("repeat").taken, 3) << "counted where they came in";
  EXPECT_FALSE(alone.counts.rules.contains("repeat")) << "and only there";
  EXPECT_THAT(Of(alone, OutputKind::kDetection), IsEmpty()) << "partition 1 has not spoken";
  PartitionTime other;
  other.Observe(At(5));
  kafka::Record mark;
  mark.topic = first.outputs[0].record.topic;
  mark.offset = 200;
  mark.value = other.ToMark(1).SerializeAsString();
  mark.headers.Set("tocsin.kind", "mark");
  EXPECT_EQ(Of(Run({mark}), OutputKind::kDetection).size(), 1U);
  EXPECT_EQ(task_->HighestSeen(state_), At(5));
}

TEST_F(TaskTest, AForwardedEventWithoutOriginIsPoison) {
  Rules({ByPlace()});
  const TaskResult first = Run({MakeCallRecord({"p", "T", "EMS", At(1), "", 1})});
  kafka::Record record = Forwarded(Of(first, OutputKind::kForward).at(0), 100);
  record.headers.Set("tocsin.origin", "nonsense");
  const TaskResult result = Run({record});
  EXPECT_EQ(result.counts.refused, 1);
  EXPECT_EQ(result.outputs.at(0).record.topic, "calls.raw.dlq");
}

TEST_F(TaskTest, AnEmptyPartitionThatOthersPassedSaysSo) {
  Rules({ByPlace()});
  EXPECT_FALSE(task_->WouldPromise({{seconds(10), std::nullopt}}, state_));
  const TaskResult result = Run({}, {{seconds(10), At(4)}});
  ASSERT_EQ(result.outputs.size(), 2U);
  v1::WatermarkMark mark;
  ASSERT_TRUE(mark.ParseFromString(*result.outputs[0].record.value));
  EXPECT_FALSE(mark.has_highest_time());
  ASSERT_EQ(mark.promises_size(), 1);
}

TEST_F(TaskTest, ANewRepartitionTopicGetsMarksAtOnce) {
  Rules({Local(RuleOrder::kEventTime)});
  Run({MakeCallRecord({"p", "T", "EMS", At(1), "", 1})});
  EXPECT_FALSE(task_->HasWork(state_));
  Rules({Local(RuleOrder::kEventTime), ByPlace()});
  EXPECT_TRUE(task_->HasWork(state_));
  EXPECT_EQ(Of(Run({}), OutputKind::kMark).size(), 2U);
  EXPECT_FALSE(task_->HasWork(state_));
  EXPECT_THAT(Run({}).outputs, IsEmpty());
}

TEST_F(TaskTest, StateOfRulesThatAreGoneIsRemoved) {
  Rules({Local()});
  Run({MakeCallRecord({"p", "T", "EMS", At(1), "", 1}),
       MakeCallRecord({"p", "T", "EMS", At(1), "", 2}),
       MakeCallRecord({"p", "T", "EMS", At(1), "", 3})});
  EXPECT_EQ(KeysOfType('k'), 1U);
  EXPECT_EQ(KeysOfType('i'), 1U);
  // A rule that cannot run for the moment keeps its state.
  Rules({}, false, {{"surge", 1}});
  Run({});
  EXPECT_EQ(KeysOfType('k'), 1U);
  // A new version begins with empty windows; the incident stays open.
  version_ = 2;
  Rules({Local()});
  Run({});
  EXPECT_EQ(KeysOfType('k'), 0U);
  EXPECT_EQ(KeysOfType('i'), 1U);
  // The rule goes, and everything with it.
  Rules({});
  Run({});
  EXPECT_EQ(KeysOfType('i'), 0U);
  EXPECT_EQ(KeysOfType('g'), 0U);
}

TEST_F(TaskTest, OffsetsAreInTheState) {
  Rules({Local()});
  Run({MakeCallRecord({"p", "T", "EMS", At(1), "", 1}, 0, 41)});
  EXPECT_EQ(Task::Offsets(state_), (std::map<std::string, std::int64_t>{{"calls.raw", 42}}));
}

TEST_F(TaskTest, ANewerFormatIsRefused) {
  EXPECT_THAT(Task::CheckFormat(state_), IsOk());
  Rules({Local()});
  Run({});
  EXPECT_THAT(Task::CheckFormat(state_), IsOk());
  state_.Apply({{std::string(kFormatKey), "1"}});
  EXPECT_THAT(Task::CheckFormat(state_), IsOk());
  state_.Apply({{std::string(kFormatKey), "3"}});
  EXPECT_THAT(Task::CheckFormat(state_),
              StatusIs(absl::StatusCode::kFailedPrecondition,
                       HasSubstr("format 3, this program knows format 2")));
}

TEST(OriginTest, RoundTrip) {
  const std::string text = EncodeOrigin({"a:b", 3, 9'000'000'000});
  const std::optional<Origin> origin = DecodeOrigin(text);
  ASSERT_TRUE(origin.has_value());
  EXPECT_EQ(origin->topic, "a:b");
  EXPECT_EQ(origin->partition, 3);
  EXPECT_EQ(origin->offset, 9'000'000'000);
  for (const char* bad : {"", "a", "a:1", ":1:2", "a:x:1", "a:1:", "a:1:2x"}) {
    EXPECT_FALSE(DecodeOrigin(bad).has_value()) << bad;
  }
}

}  // namespace
}  // namespace tocsin::correlation
