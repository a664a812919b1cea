// The commands against a gateway that stands in this test: what they send, how they print, what
// they say and return when it goes wrong.
#include "cli/commands.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <atomic>
#include <deque>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <thread>

#include "cli/app.h"
#include "cli/command_line.h"
#include "cli/console.h"
#include "cli/core/columns.h"
#include "cli/core/exit_code.h"
#include "cli/output.h"
#include "cli/stop_request.h"
#include "cli/testing/user_environment.h"
#include "cli/watch.h"
#include "lib/base/mutex.h"
#include "lib/base/testing/status_matchers.h"
#include "lib/base/text.h"
#include "tocsin/correlation/v1/rules.grpc.pb.h"
#include "tocsin/correlation/v1/state_service.grpc.pb.h"
#include "tocsin/ingest/v1/ingest.grpc.pb.h"
#include "tocsin/live/v1/live.grpc.pb.h"
#include "tocsin/report/v1/report.grpc.pb.h"
#include "tocsin/schema/v1/registry.grpc.pb.h"

namespace tocsin::cli {
namespace {

using nlohmann::json;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

std::string TokenOf(const grpc::ServerContext& context) {
  const auto found = context.client_metadata().find("authorization");
  return found == context.client_metadata().end()
             ? ""
             : std::string(found->second.data(), found->second.size());
}

// Until the one who called has gone.
grpc::Status UntilCancelled(const grpc::ServerContext& context) {
  while (!context.IsCancelled()) std::this_thread::yield();
  return grpc::Status::CANCELLED;
}

class FakeIngest : public ingest::v1::IngestService::Service {
 public:
  grpc::Status PublishBatch(grpc::ServerContext* context,
                            grpc::ServerReader<ingest::v1::PublishBatchRequest>* reader,
                            ingest::v1::PublishBatchResponse* response) override {
    called = true;
    if (hangs) return UntilCancelled(*context);
    MutexLock lock(mutex_);
    tokens.insert(TokenOf(*context));
    for (ingest::v1::PublishBatchRequest request; reader->Read(&request);) {
      for (const auto& event : request.events()) {
        ids.push_back(event.id().substr(event.id().find('#') + 1));
        response->add_receipts()->set_id(event.id());
      }
    }
    if (failures.empty()) return grpc::Status::OK;
    const grpc::Status failure = failures.front();
    failures.pop_front();
    return failure;
  }
  grpc::Status Publish(grpc::ServerContext*, const ingest::v1::PublishRequest* request,
                       ingest::v1::PublishResponse* response) override {
    MutexLock lock(mutex_);
    published.push_back(*request);
    if (!failures.empty()) {
      const grpc::Status failure = failures.front();
      if (failures.size() > 1) failures.pop_front();
      if (!failure.ok()) return failure;
    }
    auto& receipt = *response->mutable_receipt();
    receipt.set_id(request->event().id());
    receipt.set_durability(ingest::v1::DURABILITY_QUORUM);
    receipt.set_topic(request->stream());
    receipt.set_partition(3);
    receipt.set_offset(41);
    return grpc::Status::OK;
  }

  std::vector<std::string> ids;
  std::set<std::string> tokens;
  std::deque<grpc::Status> failures;
  std::vector<ingest::v1::PublishRequest> published;
  std::atomic<bool> called{false};
  std::atomic<bool> hangs{false};

 private:
  Mutex mutex_;
};

class FakeRules : public correlation::v1::RuleService::Service {
 public:
  grpc::Status ListRules(grpc::ServerContext*, const correlation::v1::ListRulesRequest*,
                         correlation::v1::ListRulesResponse* response) override {
    if (!refusal.ok()) return refusal;
    for (const char* const id : {"area-surge", "repeat-location"}) {
      response->add_rules()->mutable_rule()->set_id(id);
    }
    return grpc::Status::OK;
  }
  grpc::Status refusal;
};

class FakeState : public correlation::v1::StateService::Service {
 public:
  grpc::Status GetLag(grpc::ServerContext*, const correlation::v1::GetLagRequest*,
                      correlation::v1::GetLagResponse* response) override {
    if (!refusal.ok()) return refusal;
    ++asked;
    response->set_group("correlation");
    auto& good = *response->add_partitions();
    good.set_topic("alerts.raw");
    good.set_stream("alerts.raw");
    good.set_committed(40);
    good.set_end(42);
    good.set_records_behind(2);
    good.set_seconds_behind(1.25);
    good.set_owner("worker-0");
    auto& silent = *response->add_partitions();
    silent.set_topic("alerts.raw");
    silent.set_partition(1);
    silent.set_problem("kafka does not answer");
    return grpc::Status::OK;
  }
  grpc::Status ShowState(grpc::ServerContext*, const correlation::v1::ShowStateRequest* request,
                         correlation::v1::ShowStateResponse* response) override {
    if (!refusal.ok()) return refusal;
    shown = *request;
    response->set_rule_id(request->rule_id());
    response->set_rule_version(2);
    response->set_stream("alerts.raw");
    response->add_group_by("township");
    *response->mutable_group_key() = request->group_key();
    response->set_source(correlation::v1::ShowStateResponse::SOURCE_STORE);
    response->set_worker("worker-0");
    response->set_changelog("correlation-alerts.raw-changelog");
    response->set_changelog_position(77);
    response->mutable_watermark()->set_seconds(1'452'859'260);
    auto& event = *response->add_events();
    event.mutable_reference()->set_id("row-7");
    event.mutable_reference()->set_topic("alerts.raw");
    event.mutable_reference()->set_offset(12);
    event.mutable_reference()->mutable_time()->set_seconds(1'452'859'200);
    event.add_values("EMS");
    response->mutable_incident()->set_id("i-1");
    auto& pane = *response->add_panes();
    pane.set_events(3);
    auto& count = *pane.add_aggregates();
    count.set_name("calls");
    count.set_integer(3);
    return grpc::Status::OK;
  }
  grpc::Status Verify(grpc::ServerContext*, const correlation::v1::VerifyRequest* request,
                      grpc::ServerWriter<correlation::v1::VerifyResponse>* writer) override {
    if (!refusal.ok()) return refusal;
    verified = *request;
    correlation::v1::VerifyResponse response;
    response.mutable_progress()->set_records(5);
    writer->Write(response);
    if (torn) {
      response.mutable_finding()->set_kind("torn");
      response.mutable_finding()->set_what("worker-0/1/2: 2 of 3 outputs");
      writer->Write(response);
    }
    auto& summary = *response.mutable_summary();
    summary.mutable_from_time()->set_seconds(1'452'859'200);
    summary.mutable_to_time()->set_seconds(1'452'862'800);
    *summary.mutable_whole_from_time() = summary.from_time();
    summary.add_topics("detections");
    summary.set_records(10);
    summary.set_outputs(9);
    if (torn) (*summary.mutable_violations())["torn"] = 1;
    if (!silent_at_the_end) writer->Write(response);
    return grpc::Status::OK;
  }
  bool torn = false;
  bool silent_at_the_end = false;
  correlation::v1::VerifyRequest verified;
  std::atomic<int> asked{0};
  correlation::v1::ShowStateRequest shown;
  grpc::Status refusal;
};

class FakeReport : public report::v1::ReportService::Service {
 public:
  grpc::Status ListIncidents(grpc::ServerContext* context,
                             const report::v1::ListIncidentsRequest* request,
                             report::v1::ListIncidentsResponse* response) override {
    asked = true;
    if (hangs) return UntilCancelled(*context);
    if (!refusal.ok() && !request->page_token().empty()) return refusal;
    requests.push_back(*request);
    const int from = request->page_token().empty() ? 0 : std::stoi(request->page_token());
    // Smaller pages than asked for, as a server may give.
    const int until = std::min({total, from + request->page_size(), from + 2});
    for (int i = from; i < until; ++i) {
      auto& incident = *response->add_incidents();
      incident.set_id(Concat("incident-", i));
      incident.set_rule_id("area-surge");
      incident.add_group_key("NORTH");
      incident.mutable_last_detection_time()->set_seconds(1'452'859'260);
      incident.set_corrected(corrected);
    }
    if (until < total) response->set_next_page_token(std::to_string(until));
    return grpc::Status::OK;
  }
  grpc::Status ListDetections(grpc::ServerContext*, const report::v1::ListDetectionsRequest*,
                              report::v1::ListDetectionsResponse*) override {
    return grpc::Status::OK;
  }
  grpc::Status GetIncident(grpc::ServerContext*, const report::v1::GetIncidentRequest* request,
                           report::v1::GetIncidentResponse* response) override {
    response->mutable_incident()->set_id(request->id());
    response->mutable_incident()->set_corrected(corrected);
    return grpc::Status::OK;
  }
  grpc::Status Acknowledge(grpc::ServerContext*, const report::v1::AcknowledgeRequest* request,
                           report::v1::AcknowledgeResponse* response) override {
    if (!refusal.ok()) return refusal;
    response->mutable_incident()->set_id(request->incident_id());
    response->mutable_incident()->set_state(incident::v1::INCIDENT_STATE_ACKNOWLEDGED);
    return grpc::Status::OK;
  }

  std::atomic<bool> asked{false};
  std::atomic<bool> hangs{false};
  int total = 5;
  // By late events, which leave no detections.
  bool corrected = false;
  std::vector<report::v1::ListIncidentsRequest> requests;
  grpc::Status refusal;
};

class FakeRegistry : public schema::v1::SchemaRegistryService::Service {
 public:
  grpc::Status GetVersion(grpc::ServerContext*, const schema::v1::GetVersionRequest*,
                          schema::v1::GetVersionResponse* response) override {
    if (!refusal.ok()) return refusal;
    response->mutable_schema()->set_text(
        "syntax = \"proto3\"; package t; message Reading { string sensor = 1; int32 value = 2; }");
    return grpc::Status::OK;
  }
  grpc::Status refusal;
};

class FakeLive : public live::v1::LiveService::Service {
 public:
  grpc::Status Subscribe(grpc::ServerContext* context, const live::v1::SubscribeRequest* request,
                         grpc::ServerWriter<live::v1::SubscribeResponse>* writer) override {
    {
      MutexLock lock(mutex_);
      cursors.push_back(request->cursor());
    }
    live::v1::SubscribeResponse heartbeat;
    heartbeat.mutable_heartbeat();
    writer->Write(heartbeat);
    int at = request->cursor().empty() ? 0 : std::stoi(request->cursor());
    for (int sent = 0; at < 3 && sent < 2; ++sent) {
      live::v1::SubscribeResponse response;
      response.mutable_incident()->set_id(Concat("incident-", at));
      response.mutable_incident()->set_revision(1);
      response.set_cursor(std::to_string(++at));
      writer->Write(response);
    }
    if (at < 3) return {grpc::StatusCode::UNAVAILABLE, "the gateway stops"};
    return UntilCancelled(*context);
  }

  std::vector<std::string> Cursors() const {
    MutexLock lock(mutex_);
    return cursors;
  }

 private:
  mutable Mutex mutex_;
  std::vector<std::string> cursors;
};

class CommandsTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { ForgetUserEnvironment(); }
  void SetUp() override {
    std::string pattern = (std::filesystem::temp_directory_path() / "tocsin-cmd-XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
    std::ofstream(folder_ / "token") << "the-token\n";
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port_);
    for (grpc::Service* const service : std::initializer_list<grpc::Service*>{
             &ingest_, &report_, &rules_, &state_, &registry_, &live_}) {
      builder.RegisterService(service);
    }
    server_ = builder.BuildAndStart();
    ASSERT_NE(server_, nullptr);
  }
  void TearDown() override {
    server_->Shutdown(std::chrono::system_clock::now());
    std::filesystem::remove_all(folder_);
  }

  struct Ran {
    int exit_code;
    std::string out;
    std::string err;
  };
  // `output`: what is standard output meanwhile, in the place of what is captured.
  Ran Run(std::vector<std::string> words, std::optional<int> output = std::nullopt) {
    ProcessStop().Clear();
    ForgetPrinted();
    words.insert(words.begin(), {"tocsin", "--gateway", Concat("127.0.0.1:", port_), "--token-file",
                                 (folder_ / "token").string(), "--packs",
                                 (std::filesystem::path(TOCSIN_SOURCE_DIR) / "packs").string()});
    std::vector<char*> arguments;
    for (std::string& word : words) arguments.push_back(word.data());
    ::testing::internal::CaptureStdout();
    ::testing::internal::CaptureStderr();
    if (output.has_value()) dup2(*output, STDOUT_FILENO);
    const int code = cli::Run(static_cast<int>(arguments.size()), arguments.data());
    return {code, ::testing::internal::GetCapturedStdout(),
            ::testing::internal::GetCapturedStderr()};
  }

  std::filesystem::path folder_;
  int port_ = 0;
  FakeIngest ingest_;
  FakeReport report_;
  FakeRules rules_;
  FakeState state_;
  FakeRegistry registry_;
  FakeLive live_;
  std::unique_ptr<grpc::Server> server_;
};

TEST_F(CommandsTest, ListsReadAllPagesUnlessLimited) {
  const Ran all = Run({"incidents", "list", "-o", "json"});
  EXPECT_EQ(all.exit_code, 0) << all.err;
  const json array = json::parse(all.out);
  ASSERT_TRUE(array.is_array());
  EXPECT_EQ(array.size(), 5U);
  EXPECT_EQ(array[4]["id"], "incident-4");
  EXPECT_EQ(array[0]["groupKey"][0], "NORTH");
  EXPECT_EQ(array[0]["lastDetectionTime"], "2016-01-15T12:01:00Z");
  EXPECT_THAT(all.err, IsEmpty());

  EXPECT_EQ(json::parse(Run({"incidents", "list", "-o", "json", "--limit", "3"}).out).size(), 3U);
  EXPECT_EQ(report_.requests.back().page_size(), 1);
  const Ran lines = Run({"incidents", "list", "--rule", "x", "-o", "jsonl"});
  EXPECT_EQ(std::count(lines.out.begin(), lines.out.end(), '\n'), 5);
  EXPECT_EQ(report_.requests.back().rule_id(), "x");
  report_.total = 0;
  EXPECT_EQ(Run({"incidents", "list", "-o", "json"}).out, "[]\n");
}

TEST_F(CommandsTest, TablesAreForPeople) {
  report_.total = 1;
  EXPECT_EQ(Run({"incidents", "list"}).out,
            "INCIDENT    STATE  SEVERITY  RULE        KEY    DETECTIONS  LAST\n"
            "incident-0  open   INFO      area-surge  NORTH  0           2016-01-15T12:01:00Z\n");
  report_.corrected = true;
  EXPECT_THAT(Run({"incidents", "list"}).out, HasSubstr("incident-0  open, withdrawn  INFO"));
  EXPECT_THAT(Run({"incidents", "get", "i-1"}).out,
              HasSubstr("open, withdrawn\n            Events that came late have shown"));
}

TEST_F(CommandsTest, LagIsATableWithWhatCouldNotBeAsked) {
  Ran ran = Run({"lag"});
  EXPECT_EQ(ran.exit_code, 0) << ran.err;
  EXPECT_EQ(ran.out,
            "TOPIC       PARTITION  COMMITTED  END  RECORDS  SECONDS  WORKER\n"
            "alerts.raw  0          40         42   2        1.2      worker-0\n"
            "alerts.raw  1          -          ?    ?        ?        -\n");
  EXPECT_THAT(ran.err, AllOf(HasSubstr("alerts.raw[1]: kafka does not answer"),
                             HasSubstr("2 records are not handled yet; the first is 1.2 s old"),
                             HasSubstr("1 partition is read by no worker")));
  ran = Run({"lag", "-o", "json"});
  EXPECT_THAT(ran.err, IsEmpty());
  const json array = json::parse(ran.out);
  ASSERT_EQ(array.size(), 2U);
  EXPECT_EQ(array[0]["recordsBehind"], "2");
  EXPECT_EQ(array[0]["secondsBehind"], 1.25);
  EXPECT_EQ(array[1]["problem"], "kafka does not answer");
  EXPECT_EQ(Run({"lag", "--every", "soon"}).exit_code, kExitUsage);

  // Again and again, until somebody stops it.
  state_.asked = 0;
  std::thread stopper([this] {
    while (state_.asked < 3) std::this_thread::yield();
    ProcessStop().Make(SIGINT);
  });
  EXPECT_EQ(Run({"lag", "--watch", "--every", "100ms"}).exit_code, kExitInterrupted);
  stopper.join();
  state_.refusal = {grpc::StatusCode::UNAVAILABLE, "the rules are not known yet"};
  EXPECT_EQ(Run({"lag"}).exit_code, kExitUnavailable);
}

TEST_F(CommandsTest, StateIsAStoryForPeopleAndAnObjectForPrograms) {
  Ran ran = Run({"state", "show", "--rule", "surge", "--key", "NORTH", "--key", "EMS"});
  EXPECT_EQ(ran.exit_code, 0) << ran.err;
  EXPECT_THAT(ran.out, AllOf(HasSubstr("rule       surge version 2\nkey        township=NORTH\n"),
                             HasSubstr("the store of worker-0, which stands at "
                                       "correlation-alerts.raw-changelog[0] 77\n"),
                             HasSubstr("watermark  2016-01-15T12:01:00Z\n"),
                             HasSubstr("in the window: 1 event\n"),
                             HasSubstr("2016-01-15T12:00:00Z  row-7  alerts.raw[0]  12      EMS\n"),
                             HasSubstr("incident   i-1"), HasSubstr("FROM  TO  EVENTS  calls\n")));
  EXPECT_EQ(state_.shown.group_key_size(), 2);
  EXPECT_EQ(state_.shown.group_key(1), "EMS");
  EXPECT_FALSE(state_.shown.has_partition());
  ran =
      Run({"state", "show", "--rule", "surge", "--key", "NORTH", "--partition", "3", "-o", "json"});
  const json object = json::parse(ran.out);
  EXPECT_EQ(object["source"], "SOURCE_STORE");
  EXPECT_EQ(object["events"][0]["reference"]["offset"], "12");
  EXPECT_EQ(state_.shown.partition(), 3);
  EXPECT_EQ(Run({"state", "show", "--key", "NORTH"}).exit_code, kExitUsage);
  state_.refusal = {grpc::StatusCode::NOT_FOUND, "no rule 'surge' runs"};
  EXPECT_EQ(Run({"state", "show", "--rule", "surge"}).exit_code, kExitNotFound);
}

TEST_F(CommandsTest, VerifyFailsWhenSomethingIsTorn) {
  Ran ran = Run({"verify", "--from", "2016-01-15T12:00:00Z", "--to", "2016-01-15T13:00:00Z"});
  EXPECT_EQ(ran.exit_code, 0) << ran.err;
  EXPECT_EQ(ran.out,
            "From 2016-01-15T12:00:00Z to 2016-01-15T13:00:00Z: 9 outputs of correlation in 10 "
            "records of 1 topics.\nNo transaction is torn, lost, repeated or out of order.\n");
  EXPECT_THAT(ran.err, IsEmpty()) << "no progress where there is no terminal";
  EXPECT_EQ(state_.verified.from_time().seconds(), 1'452'859'200);
  state_.torn = true;
  ran = Run({"verify"});
  EXPECT_EQ(ran.exit_code, kExitFailure);
  EXPECT_FALSE(state_.verified.has_from_time());
  EXPECT_THAT(ran.out, AllOf(HasSubstr("torn  worker-0/1/2: 2 of 3 outputs\n"),
                             HasSubstr("VIOLATED 1 time: torn 1\n")));
  ran = Run({"verify", "-o", "json"});
  EXPECT_EQ(ran.exit_code, kExitFailure);
  const json array = json::parse(ran.out);
  ASSERT_EQ(array.size(), 2U);
  EXPECT_EQ(array[0]["finding"]["kind"], "torn");
  EXPECT_EQ(array[1]["summary"]["violations"]["torn"], "1");

  state_.silent_at_the_end = true;
  EXPECT_EQ(Run({"verify"}).exit_code, kExitFailure);
  EXPECT_EQ(Run({"verify", "--from", "yesterday"}).exit_code, kExitUsage);
  state_.refusal = {grpc::StatusCode::UNAVAILABLE, "kafka does not answer"};
  EXPECT_EQ(Run({"verify"}).exit_code, kExitUnavailable);
}

TEST_F(CommandsTest, ErrorsGiveCodesAndAdvice) {
  EXPECT_EQ(Run({"incidents", "ack", "i-1", "--note", "on it"}).out, "i-1 is acknowledged\n");
  report_.refusal = {grpc::StatusCode::PERMISSION_DENIED, "needs the role operator"};
  Ran ran = Run({"incidents", "ack", "i-1"});
  EXPECT_EQ(ran.exit_code, kExitNoRight);
  EXPECT_THAT(ran.err, AllOf(HasSubstr("needs the role operator"), HasSubstr("tocsin token")));
  report_.refusal = {grpc::StatusCode::FAILED_PRECONDITION, "it is RESOLVED"};
  EXPECT_EQ(Run({"incidents", "ack", "i-1"}).exit_code, kExitConflict);
  report_.refusal = {grpc::StatusCode::NOT_FOUND, "no such incident"};
  EXPECT_EQ(Run({"incidents", "ack", "i-1"}).exit_code, kExitNotFound);
  EXPECT_EQ(Run({"incidents", "lits"}).exit_code, kExitUsage);
  EXPECT_EQ(Run({"incidents", "list", "-o", "xml"}).exit_code, kExitUsage);
  EXPECT_EQ(Run({"rules", "delete", "x"}).exit_code, kExitFailure);  // UNIMPLEMENTED here

  std::ofstream(folder_ / "token") << "\n";
  ran = Run({"incidents", "list"});
  EXPECT_EQ(ran.exit_code, kExitNoRight);
  EXPECT_THAT(ran.err, HasSubstr("is empty"));
  std::ofstream(folder_ / "token") << "the-token\n";
  server_->Shutdown(std::chrono::system_clock::now());
  ran = Run({"incidents", "list"});
  EXPECT_EQ(ran.exit_code, kExitUnavailable);
  EXPECT_THAT(ran.err, HasSubstr("`tocsin up` starts it"));
}

TEST_F(CommandsTest, AValueThatNothingCanBeDoneWithIsWrongUsage) {
  struct Case {
    std::vector<std::string> words;
    const char* says;
  };
  const std::string csv = (folder_ / "calls.csv").string();
  for (const Case& c : std::vector<Case>{
           {{"replay", "--pack", "public-safety", "--csv", csv, "--speed", "0"},
            "--speed '0': give"},
           {{"replay", "--pack", "public-safety", "--csv", csv, "--speed=-3"},
            "--speed '-3': give"},
           {{"replay", "--pack", "public-safety", "--csv", csv, "--chunk", "0"},
            "--chunk: '0' is not what it takes: give a whole number, 1 to 10000"},
           {{"token", "--role", "king"}, "--role: there is no role 'king'"},
           {{"token", "--role", "viewer", "--lifetime", "long"}, "--lifetime: 'long' is not a"},
           {{"up", "--registry", "127.0.0.1:99999"}, "--registry: '127.0.0.1:99999' is not an"},
           {{"up", "--kafka", "10.0.0.1:9092"}, "--kafka 10.0.0.1:9092: the broker"},
           {{"publish", "--stream", "s", "--data", "{}", "--time", "yesterday"},
            "--time: 'yesterday' is not a time"},
           {{"incidents", "list", "--state", "shut"}, "there is no state 'shut'"},
           {{"incidents", "list", "--min-severity", "dire"}, "there is no severity 'dire'"},
           {{"incidents", "list", "--from", "noon"}, "--from: 'noon' is not a time"},
           {{"incidents", "list", "--to", "noon"}, "--to: 'noon' is not a time"},
           {{"incidents", "list", "--limit=-1"},
            "--limit: '-1' is not what it takes: give a whole number, 1 or more"},
           {{"incidents", "list", "--limit", "abc"},
            "--limit: 'abc' is not what it takes: give a whole number, 1 or more"},
           {{"incidents", "watch", "--count", "0"}, "--count: '0' is not what it takes"},
           {{"schema", "get", "s", "--version", "0"}, "--version: '0' is not what it takes"},
           {{"rules", "apply"}, "name rule files"}}) {
    const Ran ran = Run(c.words);
    EXPECT_EQ(ran.exit_code, kExitUsage) << c.says;
    EXPECT_THAT(ran.err, HasSubstr(c.says));
    EXPECT_LT(ran.err.size(), 400U) << ran.err;
    EXPECT_THAT(ran.out, IsEmpty());
  }
  // What a service refuses is no usage error.
  report_.refusal = {grpc::StatusCode::INVALID_ARGUMENT, "the note is too long"};
  EXPECT_EQ(Run({"incidents", "ack", "i-1"}).exit_code, kExitFailure);
}

TEST_F(CommandsTest, AnEmptyListOfAnUnknownRuleSaysWhichThereAre) {
  report_.total = 0;
  for (const char* const what : {"incidents", "detections"}) {
    const Ran unknown = Run({what, "list", "--rule", "area-surg", "-o", "json"});
    EXPECT_EQ(unknown.exit_code, 0);
    EXPECT_EQ(unknown.out, "[]\n");
    EXPECT_EQ(unknown.err,
              "No rule 'area-surg' is running; did you mean 'area-surge'? Those that "
              "are: area-surge, repeat-location.\n");
    EXPECT_THAT(Run({what, "list", "--rule", "repeat-location"}).err, IsEmpty());
    EXPECT_THAT(Run({what, "list"}).err, IsEmpty());
  }
  // A list that has rows may be of a rule that ran once; and what cannot be asked is not said.
  report_.total = 1;
  EXPECT_THAT(Run({"incidents", "list", "--rule", "nope"}).err, IsEmpty());
  report_.total = 0;
  rules_.refusal = {grpc::StatusCode::PERMISSION_DENIED, "needs the role viewer"};
  const Ran not_told = Run({"incidents", "list", "--rule", "nope"});
  EXPECT_EQ(not_told.exit_code, 0);
  EXPECT_THAT(not_told.err, IsEmpty());
}

TEST_F(CommandsTest, ReplaySendsAgainAndEndsWell) {
  std::ofstream(folder_ / "calls.csv") << "lat,lng,title,time,township,address\n"
                                          "1,2,EMS: X,2016-01-15 12:02,N,A\n"
                                          "1,2,EMS: X,2016-01-15 12:01,N,A\n"
                                          "1,2,EMS: X,2016-01-15 12:03,N,A\n";
  ingest_.failures = {{grpc::StatusCode::UNAVAILABLE, "kafka is away"}, grpc::Status::OK};
  const Ran ran = Run({"replay", "--pack", "public-safety", "--csv",
                       (folder_ / "calls.csv").string(), "--chunk", "2"});
  EXPECT_EQ(ran.exit_code, 0) << ran.err;
  EXPECT_THAT(ingest_.ids, ElementsAre("2", "1", "2", "1", "3"));
  EXPECT_THAT(ingest_.tokens, ElementsAre("Bearer the-token"));
  EXPECT_THAT(ran.err, AllOf(HasSubstr("kafka is away"), HasSubstr("3 of 3 rows acknowledged"),
                             HasSubstr("1 calls made again")));
  EXPECT_THAT(ran.out, IsEmpty());
}

TEST_F(CommandsTest, ReplaySaysWhichRowsWereRefused) {
  std::ofstream(folder_ / "calls.csv") << "lat,lng,title,time,township,address\n"
                                          "1,2,EMS: X,2016-01-15 12:02,N,A\n"
                                          "1,2,EMS: X,noon,N,A\n";
  const Ran ran =
      Run({"replay", "--pack", "public-safety", "--csv", (folder_ / "calls.csv").string()});
  EXPECT_EQ(ran.exit_code, kExitPartial);
  EXPECT_THAT(ran.err, AllOf(HasSubstr("row 2: line 3: 'noon'"), HasSubstr("1 refused")));
  std::ofstream(folder_ / "other.csv") << "a,b\n1,2\n";
  const Ran other =
      Run({"replay", "--pack", "public-safety", "--csv", (folder_ / "other.csv").string()});
  EXPECT_EQ(other.exit_code, kExitFailure);
  EXPECT_THAT(other.err, AllOf(HasSubstr("other.csv"), HasSubstr("needs the columns")));
}

TEST_F(CommandsTest, PublishBuildsTheMessageOfTheRegistry) {
  const Ran ran = Run({"publish", "--stream", "iot.readings", "--data",
                       R"({"sensor":"s1","value":7})", "--key", "s1", "--time",
                       "2016-01-15T12:01:00Z", "--id", "e-1", "--severity", "high", "-o", "jsonl"});
  EXPECT_EQ(ran.exit_code, 0) << ran.err;
  EXPECT_EQ(json::parse(ran.out)["offset"], "41");
  ASSERT_EQ(ingest_.published.size(), 1U);
  const auto& event = ingest_.published[0].event();
  EXPECT_EQ(event.type(), "t.Reading");
  EXPECT_EQ(event.id(), "e-1");
  EXPECT_EQ(event.binary_data(), std::string("\x0a\x02s1\x10\x07"));
  EXPECT_EQ(event.attributes().at("partitionkey").ce_string(), "s1");
  EXPECT_EQ(event.attributes().at("time").ce_string(), "2016-01-15T12:01:00Z");
  EXPECT_EQ(event.attributes().at("severitytext").ce_string(), "high");

  const Ran bad = Run({"publish", "--stream", "iot.readings", "--data", R"({"sensr":"s1"})"});
  EXPECT_EQ(bad.exit_code, kExitFailure);
  EXPECT_THAT(bad.err, HasSubstr("sensr"));
}

TEST_F(CommandsTest, PublishIsSentAgainUnderTheSameId) {
  ingest_.failures = {{grpc::StatusCode::UNAVAILABLE, "Kafka did not confirm the event in time"},
                      grpc::Status::OK};
  const Ran ran =
      Run({"publish", "--stream", "iot.readings", "--data", R"({"sensor":"s1"})", "-o", "json"});
  EXPECT_EQ(ran.exit_code, 0) << ran.err;
  ASSERT_EQ(ingest_.published.size(), 2U);
  EXPECT_EQ(ingest_.published[0].event().id(), ingest_.published[1].event().id());
  EXPECT_THAT(ran.err, AllOf(HasSubstr("Trying again"), HasSubstr("Kafka did not confirm")));
  EXPECT_EQ(json::parse(ran.out).size(), 1U);
}

TEST_F(CommandsTest, PublishSaysWhatTheServiceSaid) {
  ingest_.failures = {{grpc::StatusCode::UNAVAILABLE, "Kafka did not confirm the event in time"}};
  const Ran ran = Run({"publish", "--stream", "iot.readings", "--data", R"({"sensor":"s1"})",
                       "--id", "e-1", "--timeout", "1s"});
  EXPECT_EQ(ran.exit_code, kExitUnavailable);
  EXPECT_THAT(ran.err, AllOf(HasSubstr("event 1: not acknowledged within 1 s: Kafka did not "
                                       "confirm the event in time"),
                             HasSubstr("--id e-1"), HasSubstr("tocsin status"),
                             Not(HasSubstr("does not answer"))));
  EXPECT_GT(ingest_.published.size(), 1U);
}

TEST_F(CommandsTest, AnEventThatNoProcessTakesIsNotSent) {
  const std::string path = (folder_ / "large.json").string();
  std::ofstream(path) << R"({"sensor":")" << std::string(20 << 20, 'x') << R"("})";
  const Ran ran = Run({"publish", "--stream", "iot.readings", "--data", "@" + path});
  EXPECT_EQ(ran.exit_code, kExitFailure);
  EXPECT_THAT(ran.err, AllOf(HasSubstr("event 1: has 209716"), HasSubstr("16777216"),
                             HasSubstr("max_event_bytes of ingest")));
  EXPECT_THAT(ingest_.published, IsEmpty());

  std::ofstream(path) << R"({"sensor":")" << std::string(65 << 20, 'x') << R"("})";
  EXPECT_THAT(Run({"publish", "--stream", "iot.readings", "--data", "@" + path}).err,
              AllOf(HasSubstr("large.json"), HasSubstr("64 MiB")));
  EXPECT_EQ(Run({"publish", "--stream", "iot.readings", "--data", "@/dev/zero"}).exit_code,
            kExitFailure);
  EXPECT_EQ(
      Run({"publish", "--stream", "iot.readings", "--data", "@" + folder_.string()}).exit_code,
      kExitNotFound);
}

TEST_F(CommandsTest, PublishKnowsAPacksSchemaWhereItMayNotReadTheRegistry) {
  registry_.refusal = {grpc::StatusCode::PERMISSION_DENIED, "needs the role schema.read"};
  const Ran ran = Run({"publish", "--stream", "alerts.raw", "--data", R"({"township":"N"})"});
  EXPECT_EQ(ran.exit_code, 0) << ran.err;
  EXPECT_EQ(ingest_.published[0].event().type(), "tocsin.packs.publicsafety.v1.Alert");
  const Ran unknown = Run({"publish", "--stream", "alerts.rwa", "--data", "{}"});
  EXPECT_EQ(unknown.exit_code, kExitNotFound);
  EXPECT_THAT(unknown.err, HasSubstr("did you mean 'alerts.raw'?"));
}

TEST_F(CommandsTest, WatchGoesOnBehindTheLastChange) {
  const Ran ran = Run({"incidents", "watch", "--count", "3", "-o", "jsonl"});
  EXPECT_EQ(ran.exit_code, 0) << ran.err;
  std::vector<std::string> ids;
  for (const std::string& line : Split(ran.out, '\n')) {
    if (!line.empty()) ids.push_back(json::parse(line)["incident"]["id"]);
  }
  EXPECT_THAT(ids, ElementsAre("incident-0", "incident-1", "incident-2"));
  EXPECT_THAT(live_.Cursors(), ElementsAre("", "2"));
  EXPECT_THAT(ran.err, HasSubstr("the gateway stops"));
}

TEST_F(CommandsTest, AnEmptyFileIsNamedOnce) {
  const std::string path = (folder_ / "empty.csv").string();
  std::ofstream(path) << "";
  EXPECT_EQ(
      Run({"replay", "--pack", "public-safety", "--csv", path}).err,
      Concat("tocsin: ", path, ": the file is empty: its first line must name the columns\n"));
}

TEST_F(CommandsTest, WatchEndsWhenAskedTo) {
  std::thread stopper([this] {
    while (live_.Cursors().size() < 2) std::this_thread::yield();
    ProcessStop().Make(SIGINT);
  });
  const Ran ran = Run({"incidents", "watch"});
  stopper.join();
  EXPECT_EQ(ran.exit_code, kExitInterrupted);
  EXPECT_THAT(ran.err, HasSubstr(" changes. Go on behind the last one:\n  tocsin incidents watch "
                                 "--cursor "));
}

TEST_F(CommandsTest, AStopEndsACallAtOnce) {
  report_.hangs = true;
  const SteadyTime start = Clock::Real().SteadyNow();
  std::thread stopper([this] {
    while (!report_.asked) std::this_thread::yield();
    ProcessStop().Make(SIGINT);
  });
  const Ran ran = Run({"incidents", "list", "--timeout", "60s"});
  stopper.join();
  EXPECT_EQ(ran.exit_code, kExitInterrupted);
  EXPECT_EQ(ran.err, "Stopped.\n");
  EXPECT_LT(Clock::Real().SteadyNow() - start, std::chrono::seconds(20));
}

TEST_F(CommandsTest, AStopEndsReplayAtOnceAndSaysHowToGoOn) {
  std::ofstream(folder_ / "calls.csv") << "lat,lng,title,time,township,address\n"
                                          "1,2,EMS: X,2016-01-15 12:02,N,A\n";
  ingest_.hangs = true;
  const SteadyTime start = Clock::Real().SteadyNow();
  std::thread stopper([this] {
    while (!ingest_.called) std::this_thread::yield();
    ProcessStop().Make(SIGINT);
  });
  const std::string csv = (folder_ / "calls.csv").string();
  const Ran ran = Run({"replay", "--pack", "public-safety", "--csv", csv, "--source", "/s"});
  stopper.join();
  EXPECT_EQ(ran.exit_code, kExitInterrupted);
  EXPECT_THAT(ran.err, HasSubstr(Concat("tocsin replay --pack public-safety --csv ", csv,
                                        " --source /s --speed max")));
  EXPECT_LT(Clock::Real().SteadyNow() - start, std::chrono::seconds(20));
}

TEST_F(CommandsTest, OutputThatNobodyReadsEndsQuietly) {
  int pipe_ends[2];
  ASSERT_EQ(pipe(pipe_ends), 0);
  close(pipe_ends[0]);
  for (const std::vector<std::string>& words :
       {std::vector<std::string>{"incidents", "list", "-o", "json"},
        {"incidents", "list"},
        {"incidents", "watch"},
        {"version"}}) {
    const Ran ran = Run(words, pipe_ends[1]);
    EXPECT_EQ(ran.exit_code, kExitClosedOutput) << words[1];
    EXPECT_THAT(ran.err, IsEmpty());
  }
  close(pipe_ends[1]);
  const int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
  const Ran ran = Run({"incidents", "list"}, full);
  close(full);
  EXPECT_EQ(ran.exit_code, kExitFailure);
  EXPECT_THAT(ran.err, HasSubstr("No space left on device"));
}

TEST_F(CommandsTest, AListThatBreaksOffIsStillJson) {
  report_.refusal = {grpc::StatusCode::INTERNAL, "the database is gone"};
  const Ran ran = Run({"incidents", "list", "-o", "json"});
  EXPECT_EQ(ran.exit_code, kExitFailure);
  EXPECT_EQ(json::parse(ran.out).size(), 2U);
  EXPECT_THAT(Run({"incidents", "list"}).out, HasSubstr("incident-1"));
  server_->Shutdown(std::chrono::system_clock::now());
  EXPECT_THAT(Run({"incidents", "list", "-o", "json"}).out, IsEmpty()) << "not an empty list";
}

TEST_F(CommandsTest, WordsOfOtherProgramsAreUnderstood) {
  for (const auto& [words, meant] :
       {std::pair<std::vector<std::string>, const char*>{{"incidents", "show"}, "'get'"},
        {{"incidents", "lits"}, "'list'"},
        {{"incidents", "ls"}, "'list'"},
        {{"rules", "rm"}, "'delete'"},
        {{"send"}, "'publish'"},
        {{"incidents", "list", "--stat", "open"}, "'--state'"}}) {
    const Ran ran = Run(words);
    EXPECT_EQ(ran.exit_code, kExitUsage);
    EXPECT_THAT(ran.err, HasSubstr(Concat("did you mean ", meant, "?"))) << words.back();
  }
  EXPECT_THAT(Run({"incidents", "xyzzy"}).err, HasSubstr("unknown: 'xyzzy'.\n"));
}

TEST(HelpTest, EveryCommandHasAnExampleAndEveryFlagAMeaning) {
  CLI::App app("", "tocsin");
  Choice choice;
  AddCommands(app, choice);
  const auto all = [](const CLI::App*) { return true; };
  const std::function<void(const CLI::App&, const std::string&)> check =
      [&](const CLI::App& command, const std::string& path) {
        EXPECT_FALSE(command.get_description().empty() && path != "tocsin") << path;
        for (const CLI::Option* option : command.get_options()) {
          EXPECT_FALSE(option->get_description().empty()) << path << " " << option->get_name();
        }
        const auto below = command.get_subcommands(all);
        if (below.empty()) {
          EXPECT_THAT(command.get_footer(), HasSubstr("Example")) << path;
          EXPECT_THAT(command.get_footer(), HasSubstr(path)) << "an example calls it";
        }
        for (const CLI::App* one : below) check(*one, Concat(path, " ", one->get_name()));
        for (const std::string& line : Split(command.help(), '\n')) {
          EXPECT_LE(Columns(line), 120U) << path << ": " << line;
        }
      };
  check(app, "tocsin");
  EXPECT_THAT(app.get_footer(),
              HasSubstr("Exit codes: 0 ok, 1 failed, 2 wrong usage, 3 not found"));
}

TEST(OutputTest, NothingThatOthersWroteMovesTheCursor) {
  EXPECT_EQ(FormatTable({"A", "B"}, {{"x\x1b[2J\ny", "z"}}), "A        B\nx [2J y  z\n");
}

TEST(OutputTest, TablesCountLettersNotBytes) {
  EXPECT_EQ(FormatTable({"A", "B"}, {{"→", "x"}, {"ab", ""}}), "A   B\n→   x\nab  \n");
}

TEST(OutputTest, ChangesAreOneLine) {
  live::v1::SubscribeResponse response;
  auto& incident = *response.mutable_incident();
  incident.set_id("i-1");
  incident.set_rule_id("area-surge");
  incident.add_group_key("NORTH");
  incident.set_severity(event::v1::SEVERITY_HIGH);
  incident.set_revision(1);
  incident.mutable_last_detection_time()->set_seconds(1'452'859'260);
  EXPECT_EQ(ChangeText(response),
            "2016-01-15T12:01:00Z  HIGH      area-surge        NORTH  opened  i-1\n");
  incident.set_revision(2);
  incident.set_detection_count(2);
  EXPECT_THAT(ChangeText(response), HasSubstr("grew to 2 detections"));
  incident.set_corrected(true);
  incident.set_detection_count(1);
  EXPECT_THAT(ChangeText(response), HasSubstr("NORTH  corrected to 1 detection  i-1\n"));
  incident.set_detection_count(0);
  EXPECT_THAT(ChangeText(response), HasSubstr("NORTH  withdrawn: late events leave no detection"));
  auto& detection = *response.mutable_detection();
  detection.set_id("d-1");
  detection.add_evidence();
  detection.set_corrects("d-0");
  EXPECT_THAT(ChangeText(response), HasSubstr("detected anew, with late events, from 1 events"));
  detection.clear_corrects();
  detection.set_retracted(true);
  EXPECT_THAT(ChangeText(response),
              HasSubstr("retracted: with late events the rule does not fire here  d-1\n"));
}

}  // namespace
}  // namespace tocsin::cli
