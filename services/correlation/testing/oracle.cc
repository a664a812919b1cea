#include "services/correlation/testing/oracle.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <iterator>
#include <ostream>
#include <random>
#include <set>
#include <utility>

#include "google/protobuf/util/time_util.h"
#include "lib/base/text.h"
#include "lib/base/time.h"
#include "lib/schema/wire_format.h"
#include "services/correlation/engine/keys.h"
#include "tocsin/correlation/v1/detection.pb.h"
#include "tocsin/incident/v1/incident.pb.h"

namespace tocsin::correlation::testing {
namespace {

using std::chrono::minutes;

std::string KeyOf(const Call& call, const RuleSpec& rule) {
  return rule.group_by.front() == "place" ? call.place : call.township;
}

template <typename Message>
Message Decode(const kafka::Record& record) {
  Message message;
  EXPECT_TRUE(message.ParseFromString(
      std::string(schema::DecodeFrame(record.value.value()).value().payload)));
  return message;
}

}  // namespace

std::ostream& operator<<(std::ostream& out, const Found& found) {
  out << found.rule << " " << found.key << " " << found.time << " [";
  for (const std::int64_t row : found.rows) out << row << " ";
  return out << "]";
}

Answers BruteForce(const std::vector<Call>& calls, const std::vector<RuleSpec>& rules) {
  Answers answers;
  for (const RuleSpec& rule : rules) {
    std::map<std::string, std::vector<Call>> windows;
    std::map<std::string, WallTime> last_detection;
    for (const Call& call : calls) {
      const std::string key = KeyOf(call, rule);
      if (key.empty() || (!rule.agency.empty() && call.agency != rule.agency)) continue;
      windows[key].push_back(call);
      std::vector<Call> inside;
      std::set<std::string> agencies;
      for (const Call& old : windows[key]) {
        if (old.time <= call.time - rule.timespan || old.time > call.time) continue;
        inside.push_back(old);
        agencies.insert(old.agency);
      }
      const std::size_t count = rule.count_field.empty() ? inside.size() : agencies.size();
      if (std::cmp_less(count, rule.at_least)) continue;
      Found found{rule.id, key, FormatTime(call.time), {}};
      for (const Call& old : inside) found.rows.push_back(old.row);
      answers.detections.push_back(found);
      const auto last = last_detection.find(key);
      if (last == last_detection.end() || call.time - last->second > rule.join_within) {
        ++answers.incidents[rule.id];
      }
      last_detection[key] = call.time;
      windows[key].clear();
    }
  }
  std::sort(answers.detections.begin(), answers.detections.end());
  return answers;
}

Answers Observed(const std::vector<kafka::Record>& detections,
                 const std::vector<kafka::Record>& incidents) {
  Answers answers;
  std::map<std::string, std::set<std::string>> incident_ids;
  std::set<std::string> ids;
  for (const kafka::Record& record : detections) {
    const auto detection = Decode<v1::Detection>(record);
    EXPECT_TRUE(ids.insert(detection.id()).second) << "twice: " << detection.DebugString();
    const std::int64_t time =
        google::protobuf::util::TimeUtil::TimestampToMicroseconds(detection.time());
    Found found{detection.rule_id(), detection.group_key(0), FormatTime(FromMicros(time)), {}};
    for (const auto& event : detection.evidence()) {
      std::int64_t row = 0;
      EXPECT_EQ(std::sscanf(event.sequence().c_str(), "%ld", &row), 1);
      found.rows.push_back(row);
    }
    answers.detections.push_back(found);
    incident_ids[detection.rule_id()].insert(detection.incident_id());
  }
  std::sort(answers.detections.begin(), answers.detections.end());
  for (const auto& [rule, of_rule] : incident_ids) {
    answers.incidents[rule] = static_cast<std::int64_t>(of_rule.size());
  }
  std::map<std::string, std::int64_t> revisions;
  for (const kafka::Record& record : incidents) {
    const auto incident = Decode<tocsin::incident::v1::Incident>(record);
    EXPECT_EQ(incident.revision(), ++revisions[incident.id()]);
    EXPECT_EQ(incident.detection_count(), incident.revision());
    EXPECT_EQ(incident.detection_ids_size(), incident.revision());
    for (const std::string& id : incident.detection_ids()) {
      EXPECT_TRUE(ids.contains(id)) << "an incident tells of a detection that there is not";
    }
  }
  EXPECT_EQ(incidents.size(), detections.size());
  return answers;
}

Answers Corrected(const std::vector<kafka::Record>& detections,
                  const std::vector<kafka::Record>& incidents) {
  // By rule and last event, which tell what corrects what.
  struct Told {
    v1::Detection detection;
    bool stands = false;
  };
  std::map<std::string, Told> told;
  std::set<std::string> headers;
  for (const kafka::Record& record : detections) {
    EXPECT_TRUE(headers.insert(std::string(*record.headers.Find("ce_id"))).second);
    const auto detection = Decode<v1::Detection>(record);
    const std::string place = Concat(detection.rule_id(), " ", detection.group_key(0), " ",
                                     detection.evidence().rbegin()->id());
    Told& before = told[place];
    EXPECT_EQ(detection.revision(), before.detection.revision() + 1) << place;
    EXPECT_EQ(detection.corrects(),
              before.stands && !detection.retracted() ? before.detection.id() : "");
    if (detection.retracted()) {
      EXPECT_TRUE(before.stands) << place;
      EXPECT_EQ(detection.id(), before.detection.id());
      EXPECT_EQ(detection.incident_id(), before.detection.incident_id());
    }
    before = {detection, !detection.retracted()};
  }
  Answers answers;
  std::set<std::string> standing;
  for (const auto& [place, last] : told) {
    if (!last.stands) continue;
    const v1::Detection& detection = last.detection;
    EXPECT_TRUE(standing.insert(Concat(detection.incident_id(), " ", detection.id())).second);
    const std::int64_t time =
        google::protobuf::util::TimeUtil::TimestampToMicroseconds(detection.time());
    Found found{detection.rule_id(), detection.group_key(0), FormatTime(FromMicros(time)), {}};
    for (const auto& event : detection.evidence()) {
      std::int64_t row = 0;
      EXPECT_EQ(std::sscanf(event.sequence().c_str(), "%ld", &row), 1);
      found.rows.push_back(row);
    }
    EXPECT_EQ(detection.value() > 0, true);
    answers.detections.push_back(found);
  }
  std::sort(answers.detections.begin(), answers.detections.end());
  // The last revisions of the incidents hold those detections, each once.
  std::map<std::string, tocsin::incident::v1::Incident> last;
  for (const kafka::Record& record : incidents) {
    const auto incident = Decode<tocsin::incident::v1::Incident>(record);
    EXPECT_EQ(incident.revision(), last[incident.id()].revision() + 1);
    EXPECT_EQ(incident.detection_count(), incident.detection_ids_size());
    last[incident.id()] = incident;
  }
  std::set<std::string> held;
  for (const auto& [id, incident] : last) {
    for (const std::string& detection : incident.detection_ids()) {
      EXPECT_TRUE(held.insert(Concat(id, " ", detection)).second);
    }
    // Of an old one the evidence may not be known any more.
    EXPECT_TRUE(incident.evidence().empty() || !incident.detection_ids().empty());
  }
  EXPECT_EQ(held, standing);
  return answers;
}

void ExpectSame(const Answers& observed, const Answers& expected) {
  std::vector<Found> missing;
  std::vector<Found> surplus;
  std::set_difference(expected.detections.begin(), expected.detections.end(),
                      observed.detections.begin(), observed.detections.end(),
                      std::back_inserter(missing));
  std::set_difference(observed.detections.begin(), observed.detections.end(),
                      expected.detections.begin(), expected.detections.end(),
                      std::back_inserter(surplus));
  EXPECT_THAT(missing, ::testing::IsEmpty());
  EXPECT_THAT(surplus, ::testing::IsEmpty());
  EXPECT_EQ(observed.detections.size(), expected.detections.size());
  EXPECT_EQ(observed.incidents, expected.incidents);
}

RuleSpec MakeSpec(std::string id, std::string key, std::string count_field, std::int64_t at_least,
                  minutes timespan, minutes join_within) {
  RuleSpec rule;
  rule.id = std::move(id);
  rule.group_by = {std::move(key)};
  rule.count_field = std::move(count_field);
  rule.at_least = at_least;
  rule.timespan = timespan;
  rule.join_within = join_within;
  return rule;
}

std::vector<RuleSpec> PublicSafetyRules() {
  return {MakeSpec("repeat-location", "place", "", 2, minutes(10), minutes(30)),
          MakeSpec("multi-agency", "place", "agency", 2, minutes(10), minutes(30)),
          MakeSpec("area-surge", "township", "", 5, minutes(30), minutes(60))};
}

std::shared_ptr<const RulePlan> MakePlan(const std::vector<RuleSpec>& rules,
                                         std::int32_t partitions, std::string stream) {
  StreamSpec spec;
  spec.topic = stream;
  spec.partitions = partitions;
  spec.message_type = "test.Call";
  spec.processed = true;
  std::vector<RuleEntry> entries;
  for (RuleSpec rule : rules) {
    rule.stream = stream;
    entries.push_back({MakeRule(std::move(rule)), 1});
  }
  return RulePlan::Make(spec, entries);
}

std::vector<Call> RandomCalls(std::uint64_t seed, std::size_t count) {
  std::mt19937_64 random(seed);
  const char* agencies[] = {"EMS", "Fire", "Traffic"};
  std::vector<Call> calls;
  WallTime now = ParseTime("2017-03-01T00:00:00Z").value();
  for (std::size_t row = 1; row <= count; ++row) {
    constexpr int kGaps[] = {0, 0, 0, 0, 1, 1, 2, 3, 7, 40};
    now += minutes(kGaps[random() % 10]);
    const std::uint64_t place = random() % 12;
    Call call;
    call.place = Concat("place ", place);
    call.township = Concat("township ", (place + random() % 2) % 9);
    call.agency = agencies[random() % 3];
    call.time = now;
    call.row = static_cast<std::int64_t>(row);
    calls.push_back(call);
  }
  return calls;
}

}  // namespace tocsin::correlation::testing
