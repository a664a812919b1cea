// Through a socket: what is answered on the I/O thread, and what is refused before there is a whole
// request.
#include "schema-registry/rest/rest_handler.h"

#include <cstdint>
#include <memory>
#include <vector>

#include "lib/base/text.h"
#include "lib/http/server.h"
#include "lib/http/testing/clients.h"
#include "schema-registry/rest/testing/rest_fixture.h"

namespace tocsin::registry {
namespace {

using ::testing::HasSubstr;

class RestHandlerTest : public RestFixture {
 protected:
  void Start(RestOptions options = {}, std::size_t max_queue = 10) {
    Serve(std::move(options));
    RestHandlerOptions handler;
    handler.max_body = 5000;
    handler.worker_threads = 2;
    handler.max_queue = max_queue;
    handler.answers = answers_;
    http::ServerOptions server;
    server.limits.body_timeout = std::chrono::seconds(30);
    server.tick = std::chrono::milliseconds(5);
    server.clock = &clock_;
    server_ =
        std::make_unique<http::Server>(server, MakeRestHandler(*rest_, Clock::Real(), handler));
    ASSERT_TRUE(server_->Start().ok());
  }
  http::Http2Client::Stream Call(const std::string& method, const std::string& path,
                                 const std::string& token = "reads", std::string body = "") {
    http::Headers headers;
    if (!token.empty()) headers.Set("authorization", "Bearer " + token);
    if (!body.empty()) headers.Set("content-type", "application/json");
    http::Http2Client client(server_->port());
    return client.Call(method, path, headers, std::move(body));
  }
  bool InMemory(const std::string& target, const std::string& token = "reads") {
    http::RequestHead head;
    head.method = "GET";
    head.target = target;
    head.headers.Set("authorization", "Bearer " + token);
    return rest_->FromMemory(head).has_value();
  }

  FakeClock clock_;
  AnswerMemory::Options answers_;
  std::unique_ptr<http::Server> server_;
};

TEST_F(RestHandlerTest, TheSecondRequestForAnIdIsAnsweredFromMemory) {
  Start();
  Register("s", kAlert);
  EXPECT_FALSE(InMemory("/schemas/ids/1"));
  const auto first = Call("GET", "/schemas/ids/1?fetchMaxId=false&subject=s");
  EXPECT_TRUE(InMemory("/schemas/ids/1"));
  EXPECT_TRUE(InMemory("/schemas/ids/1?fetchMaxId=false&subject=s"));
  EXPECT_FALSE(InMemory("/schemas/ids/1?fetchMaxId=true"));
  EXPECT_FALSE(InMemory("/schemas/ids/1?format=serialized"));
  EXPECT_FALSE(InMemory("/schemas/ids/1?referenceFormat=qualified"));
  EXPECT_FALSE(InMemory("/schemas/ids/1?subject=:.eu:s"));
  EXPECT_FALSE(InMemory("/schemas/ids/2"));
  EXPECT_FALSE(InMemory("/schemas/ids/1/schema"));
  const auto second = Call("GET", "/schemas/ids/1");
  EXPECT_EQ(first.status, 200);
  EXPECT_EQ(second.status, 200);
  EXPECT_EQ(first.body, second.body);
  EXPECT_EQ(second.headers.Get("content-type"), "application/vnd.schemaregistry.v1+json");
  EXPECT_EQ(second.headers.Get("content-length"), std::to_string(second.body.size()));
  EXPECT_EQ(first.headers.size(), second.headers.size()) << "nobody sees a difference";
  const auto head = Call("HEAD", "/schemas/ids/1");
  EXPECT_EQ(head.status, 200);
  EXPECT_EQ(head.body, "");
  Call("GET", "/schemas/ids/1?format=serialized");
  EXPECT_TRUE(InMemory("/schemas/ids/1?format=serialized"));
}

TEST_F(RestHandlerTest, MemoryAsksForTheTokenToo) {
  Start();
  Register("s", kAlert);
  Call("GET", "/schemas/ids/1");
  EXPECT_FALSE(InMemory("/schemas/ids/1", "forged"));
  EXPECT_FALSE(InMemory("/schemas/ids/1", "views"));
  EXPECT_EQ(Call("GET", "/schemas/ids/1", "forged").status, 401);
  EXPECT_EQ(Call("GET", "/schemas/ids/1", "views").status, 403);
  EXPECT_EQ(Call("GET", "/schemas/ids/1", "").status, 401);
}

TEST_F(RestHandlerTest, WhatWasDeletedForGoodIsNotAnsweredFromMemory) {
  Start();
  Register("s", kAlert);
  Call("GET", "/schemas/ids/1");
  EXPECT_TRUE(InMemory("/schemas/ids/1"));
  Send("DELETE", "/subjects/s");
  EXPECT_TRUE(InMemory("/schemas/ids/1"));
  Send("DELETE", "/subjects/s?permanent=true");
  EXPECT_FALSE(InMemory("/schemas/ids/1"));
  EXPECT_EQ(Call("GET", "/schemas/ids/1").status, 404);
}

TEST_F(RestHandlerTest, RulesForReadersAreNotGoneRound) {
  SubjectAccess::Rules rules;
  auto* rule = rules.Add();
  rule->set_subject_prefix("s");
  rule->add_readers("ada");
  RestOptions options;
  options.access = SubjectAccess::Create(rules).value();
  Start(std::move(options));
  RestFixture::Register("t", kAlert);
  EXPECT_EQ(Call("GET", "/schemas/ids/1").status, 200);
  EXPECT_FALSE(InMemory("/schemas/ids/1"));
}

TEST_F(RestHandlerTest, ABodyThatIsTooLargeIsRefusedInTheFormOfAllErrors) {
  Start();
  const auto response =
      Call("POST", "/subjects/s/versions", "rules", Body(std::string(10'000, ' ')));
  EXPECT_EQ(response.status, 422);
  const Json body = Json::parse(response.body);
  EXPECT_EQ(body["error_code"], 42209);
  EXPECT_THAT(body["message"].get<std::string>(), HasSubstr("larger than the limit of 5000 bytes"));
}

TEST_F(RestHandlerTest, WhatCannotWaitAnyMoreIsRefusedInTheFormOfAllErrors) {
  Start({}, /*max_queue=*/0);
  const auto response = Call("GET", "/subjects");
  EXPECT_EQ(response.status, 503);
  EXPECT_EQ(response.headers.Get("retry-after"), "1");
  const Json body = Json::parse(response.body);
  EXPECT_EQ(body["error_code"], 503);
  EXPECT_EQ(body["message"], "too many requests wait here; try again in a second");
}

TEST_F(RestHandlerTest, AnswersThatNobodyReadsHaveTheirBound) {
  answers_.bytes = std::size_t{16} << 20;
  answers_.patience = std::chrono::milliseconds(0);
  const std::string text = Concat("syntax = 'proto3'; // ", std::string(1'900, 'x'), "\n");
  Start();
  for (int i = 0; i < 600; ++i) {
    ASSERT_GT(Register("s" + std::to_string(i), Concat(text, "message M", i, " {}")), 0);
  }
  http::Headers headers;
  headers.Set("authorization", "Bearer reads");
  http::Http2Client::Options options;
  options.auto_window = false;
  // All take the first 64 KiB and then nothing.
  std::vector<std::unique_ptr<http::Http2Client>> readers;
  std::int32_t list = 0;
  int status = 200;
  while (status == 200 && readers.size() < 30) {
    readers.push_back(std::make_unique<http::Http2Client>(server_->port(), options));
    http::Http2Client& reader = *readers.back();
    list = reader.Start("GET", "/schemas", headers, "");
    ASSERT_TRUE(reader.Until([&] { return reader.stream(list).status != 0; }));
    status = reader.stream(list).status;
  }
  ASSERT_EQ(status, 503);
  EXPECT_GT(readers.size(), 2U) << "some are answered";
  ASSERT_TRUE(readers.back()->UntilClosed(list));
  const auto& response = readers.back()->stream(list);
  EXPECT_EQ(response.headers.Get("retry-after"), "1");
  const Json body = Json::parse(response.body);
  EXPECT_EQ(body["error_code"], 503);
  EXPECT_THAT(body["message"].get<std::string>(),
              HasSubstr("too many answers wait for clients to read them"));
  // What is small goes on.
  EXPECT_EQ(Call("GET", "/subjects/s1/versions").status, 200);
  EXPECT_EQ(Call("GET", "/schemas/ids/1").status, 200);
  EXPECT_EQ(Call("POST", "/subjects/s/versions", "rules", Body(kAlert)).status, 200);
  // Who does not read gets no more of it after a time, and then there is room.
  clock_.Advance(std::chrono::seconds(61));
  ASSERT_TRUE(readers.front()->UntilClosed(list));
  EXPECT_NE(readers.front()->stream(list).error, 0U);
  EXPECT_EQ(Call("GET", "/schemas").status, 200);
}

TEST_F(RestHandlerTest, ABodyThatDoesNotComeIsRefusedInTheFormOfAllErrors) {
  Start();
  http::RawSocket socket(server_->port());
  socket.Send(
      "POST /subjects/s/versions HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n"
      "Expect: 100-continue\r\n\r\n");
  // From here on the body is waited for.
  ASSERT_TRUE(socket.ReceiveUntil("HTTP/1.1 100 Continue\r\n\r\n"));
  socket.received.clear();
  clock_.Advance(std::chrono::seconds(31));
  ASSERT_TRUE(socket.ReceiveAll());
  const auto response = http::TakeResponse(socket.received);
  ASSERT_TRUE(response.has_value());
  EXPECT_EQ(response->status, 408);
  const Json body = Json::parse(response->body);
  EXPECT_EQ(body["error_code"], 408);
  EXPECT_THAT(body["message"].get<std::string>(), HasSubstr("body came for 30s"));
}

TEST_F(RestHandlerTest, AQueryThatCannotBeDecodedIsRefusedInTheFormOfAllErrors) {
  Start();
  Register("s", kAlert);
  Call("GET", "/schemas/ids/1");
  EXPECT_FALSE(InMemory("/schemas/ids/1?subject=%s"));
  for (const std::string path : {"/schemas/ids/1?subject=%s", "/subjects?subjectPrefix=%"}) {
    const auto response = Call("GET", path);
    EXPECT_EQ(response.status, 400) << path;
    const Json body = Json::parse(response.body);
    EXPECT_EQ(body["error_code"], 400);
    EXPECT_THAT(body["message"].get<std::string>(), HasSubstr("of the query begins no escape"));
  }
}

TEST_F(RestHandlerTest, ATraceIsContinued) {
  Start();
  Register("s", kAlert);
  Call("GET", "/schemas/ids/1");
  http::Headers headers;
  headers.Set("authorization", "Bearer reads");
  headers.Set("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
  http::Http2Client client(server_->port());
  EXPECT_EQ(client.Call("GET", "/schemas/ids/1", headers, "").status, 200);
}

}  // namespace
}  // namespace tocsin::registry
