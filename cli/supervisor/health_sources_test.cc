// Real servers, as the processes have them: the admin port, gRPC by mutual TLS, health by Watch.
#include "cli/supervisor/health_sources.h"

#include <gmock/gmock.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <optional>
#include <string>
#include <utility>

#include "lib/base/clock.h"
#include "lib/base/mutex.h"
#include "lib/base/status.h"
#include "lib/base/testing/status_matchers.h"
#include "lib/base/text.h"
#include "lib/process/admin.h"
#include "lib/rpc/server.h"
#include "lib/rpc/testing/test_mesh.h"

namespace tocsin::cli {
namespace {

using std::chrono::seconds;
using ::testing::HasSubstr;

// Counts calls, and waits for them.
class News {
 public:
  std::function<void()> Listener() {
    return [this] {
      MutexLock lock(mutex_);
      ++count_;
      came_.NotifyAll();
    };
  }
  int count() const {
    MutexLock lock(mutex_);
    return count_;
  }
  // Until there are more than `before`; false after twenty seconds.
  bool MoreThan(int before) const {
    const SteadyTime until = Clock::Real().SteadyNow() + seconds(20);
    MutexLock lock(mutex_);
    while (count_ <= before) {
      const auto left = until - Clock::Real().SteadyNow();
      if (left <= std::chrono::nanoseconds(0)) return false;
      came_.WaitFor(mutex_, left);
    }
    return true;
  }

 private:
  mutable Mutex mutex_;
  mutable CondVar came_;
  int count_ ABSL_GUARDED_BY(mutex_) = 0;
};

class HealthSourcesTest : public ::testing::Test {
 protected:
  HealthSourcesTest() {
    auto admin = process::AdminServer::Start("127.0.0.1:0", {[] { return ""; }, [] { return ""; },
                                                             [this] {
                                                               MutexLock lock(mutex_);
                                                               return std::pair(
                                                                   readyz_ == "ready\n", readyz_);
                                                             }});
    EXPECT_THAT(admin, IsOk());
    admin_ = *std::move(admin);
    server_.emplace(mesh_.Options("ingest"));
    EXPECT_THAT(server_->Start(), IsOk());
  }

  void SetReadyz(std::string text) {
    MutexLock lock(mutex_);
    readyz_ = std::move(text);
  }
  std::string Admin() const { return Concat("127.0.0.1:", admin_->port()); }
  std::unique_ptr<HealthSource> Source() {
    const auto tls = mesh_.Tls("cli");
    const MeshFiles files{tls.certificate_file(), tls.key_file(), tls.ca_file()};
    return MakeGrpcHealth(Concat("127.0.0.1:", server_->port()), Admin(), &files);
  }

  rpc::testing::TestMesh mesh_;
  std::unique_ptr<process::AdminServer> admin_;
  std::optional<rpc::Server> server_;
  mutable Mutex mutex_;
  std::string readyz_ ABSL_GUARDED_BY(mutex_) = "ready\n";
};

TEST_F(HealthSourcesTest, TheAdminPortSaysWhatIsMissing) {
  server_->SetServing(true);
  const auto source = Source();
  source->OnNews([] {});
  SetReadyz("not ready: kafka: no broker answers (since 2026-01-01T00:00:00Z)\n");
  EXPECT_THAT(source->Ask(), StatusIs(absl::StatusCode::kUnavailable, "kafka: no broker answers"));
  SetReadyz("ready\n");
  EXPECT_THAT(source->Ask(), IsOk());
  admin_.reset();
  EXPECT_THAT(source->Ask(), StatusIs(absl::StatusCode::kUnavailable));
}

TEST_F(HealthSourcesTest, GrpcHasTheLastWord) {
  const auto source = Source();
  source->OnNews([] {});
  EXPECT_THAT(source->Ask(), StatusIs(absl::StatusCode::kUnavailable, "its health to be SERVING"));
  server_->SetServing(true);
  EXPECT_THAT(source->Ask(), IsOk());
  server_->Stop(Clock::Real().SteadyNow() + seconds(5));
  EXPECT_THAT(source->Ask(), StatusIs(absl::StatusCode::kUnavailable, HasSubstr("its gRPC port")));
}

TEST_F(HealthSourcesTest, EveryChangeAndTheEndAreNews) {
  server_->SetServing(true);
  News news;
  auto source = Source();
  source->OnNews(news.Listener());
  ASSERT_THAT(source->Ask(), IsOk());
  // The answer to Watch.
  ASSERT_TRUE(news.MoreThan(0));
  int before = news.count();
  server_->SetServing(false);
  EXPECT_TRUE(news.MoreThan(before)) << "it serves no longer";
  EXPECT_THAT(source->Ask(), StatusIs(absl::StatusCode::kUnavailable));
  before = news.count();
  server_->SetServing(true);
  EXPECT_TRUE(news.MoreThan(before)) << "it serves again";
  EXPECT_THAT(source->Ask(), IsOk());
  before = news.count();
  server_->Stop(Clock::Real().SteadyNow() + seconds(5));
  EXPECT_TRUE(news.MoreThan(before)) << "it has gone";
}

TEST_F(HealthSourcesTest, AWatchThatEndedIsMadeAgain) {
  server_->SetServing(true);
  const int port = server_->port();
  News news;
  const auto source = Source();
  source->OnNews(news.Listener());
  ASSERT_THAT(source->Ask(), IsOk());
  ASSERT_TRUE(news.MoreThan(0));
  server_->Stop(Clock::Real().SteadyNow() + seconds(5));
  server_.reset();
  rpc::ServerOptions options = mesh_.Options("ingest");
  options.listen = Concat("127.0.0.1:", port);
  server_.emplace(options);
  ASSERT_THAT(server_->Start(), IsOk());
  server_->SetServing(true);
  // Until the channel has found the new one.
  const SteadyTime until = Clock::Real().SteadyNow() + seconds(20);
  while (!source->Ask().ok() && Clock::Real().SteadyNow() < until) {
  }
  ASSERT_THAT(source->Ask(), IsOk());
  bool told = false;
  for (bool serving = false; !told && Clock::Real().SteadyNow() < until; serving = !serving) {
    const int before = news.count();
    server_->SetServing(serving);
    told = news.MoreThan(before);
  }
  EXPECT_TRUE(told);
}

TEST_F(HealthSourcesTest, NoNewsComeAfterItsEnd) {
  server_->SetServing(true);
  News news;
  auto source = Source();
  source->OnNews(news.Listener());
  ASSERT_THAT(source->Ask(), IsOk());
  ASSERT_TRUE(news.MoreThan(0));
  // With its Watch under way: neither a wait for the server's end nor a word after its own.
  source.reset();
  const int before = news.count();
  server_->SetServing(false);
  server_->Stop(Clock::Real().SteadyNow() + seconds(5));
  EXPECT_EQ(news.count(), before);
}

TEST_F(HealthSourcesTest, WhatCanNeverBeAskedSaysWhy) {
  const MeshFiles none{"/no/certificate", "/no/key", "/no/authority"};
  const auto source = MakeGrpcHealth("127.0.0.1:1", "127.0.0.1:1", &none);
  source->OnNews([] {});
  EXPECT_THAT(source->Ask(),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("/no/certificate")));
}

TEST_F(HealthSourcesTest, ABrokerThatIsNotThereIsWaitedFor) {
  const auto source = MakeBrokerHealth("127.0.0.1:1");
  source->OnNews([] {});
  EXPECT_THAT(source->Ask(), StatusIs(absl::StatusCode::kUnavailable, "127.0.0.1:1 to answer"));
}

TEST_F(HealthSourcesTest, TheMonitorAsksAgainAtNewsAndTellsOfChanges) {
  server_->SetServing(true);
  News changes;
  HealthMonitor monitor(changes.Listener());
  monitor.Add("ingest", Source());
  ASSERT_TRUE(changes.MoreThan(0));
  EXPECT_TRUE(monitor.Get("ingest").serving);
  int before = changes.count();
  server_->SetServing(false);
  ASSERT_TRUE(changes.MoreThan(before));
  EXPECT_FALSE(monitor.Get("ingest").serving);
  EXPECT_EQ(monitor.Get("ingest").reason, "its health to be SERVING");
  EXPECT_FALSE(monitor.Get("nobody").serving);
}

// Answers when it is told to; believed for an hour.
class SlowHealth : public HealthSource {
 public:
  struct Control {
    Mutex mutex;
    CondVar changed;
    int asked ABSL_GUARDED_BY(mutex) = 0;
    int answered ABSL_GUARDED_BY(mutex) = 0;
    std::function<void()> news ABSL_GUARDED_BY(mutex);

    void AwaitAsked(int count) {
      MutexLock lock(mutex);
      while (asked < count) changed.Wait(mutex);
    }
    void Answer(int count) {
      MutexLock lock(mutex);
      answered = count;
      changed.NotifyAll();
    }
  };
  explicit SlowHealth(Control& control) : control_(control) {}
  absl::Status Ask() override {
    MutexLock lock(control_.mutex);
    const int number = ++control_.asked;
    control_.changed.NotifyAll();
    while (control_.answered < number) control_.changed.Wait(control_.mutex);
    return absl::OkStatus();
  }
  void OnNews(std::function<void()> news) override {
    MutexLock lock(control_.mutex);
    control_.news = std::move(news);
  }
  std::chrono::milliseconds Believed() const override { return std::chrono::hours(1); }

 private:
  Control& control_;
};

TEST(HealthMonitorTest, AnAnswerToAnOlderQuestionIsNotTakenForANewerOne) {
  SlowHealth::Control control;
  News changes;
  HealthMonitor monitor(changes.Listener());
  monitor.Add("a", std::make_unique<SlowHealth>(control));
  control.AwaitAsked(1);
  // It ends while it is being asked: what it said before is of the past, and is asked anew at once.
  monitor.Forget("a");
  control.Answer(1);
  control.AwaitAsked(2);
  EXPECT_FALSE(monitor.Get("a").serving);
  EXPECT_EQ(changes.count(), 0);
  control.Answer(2);
  ASSERT_TRUE(changes.MoreThan(0));
  EXPECT_TRUE(monitor.Get("a").serving);
  // News shorten the hour.
  std::function<void()> news;
  {
    MutexLock lock(control.mutex);
    news = control.news;
  }
  news();
  control.AwaitAsked(3);
  control.Answer(1 << 20);
}

TEST(WhatIsMissingTest, IsForPeople) {
  EXPECT_EQ(WhatIsMissing("ready\n"), "");
  EXPECT_EQ(WhatIsMissing("not ready: kafka: no broker answers (since 2026-01-01T00:00:00Z)\n"
                          "not ready: registry: not found (since 2026-01-01T00:00:01Z)\n"),
            "kafka: no broker answers; registry: not found");
  EXPECT_EQ(WhatIsMissing("something else"), "something else");
  EXPECT_EQ(WhatIsMissing(""), "an answer on its admin port");
}

// A listener that takes connections and says nothing.
class MuteServer {
 public:
  MuteServer() : socket_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(address);
    EXPECT_EQ(bind(socket_, reinterpret_cast<sockaddr*>(&address), size), 0);
    EXPECT_EQ(listen(socket_, 4), 0);
    getsockname(socket_, reinterpret_cast<sockaddr*>(&address), &size);
    port_ = ntohs(address.sin_port);
  }
  ~MuteServer() { close(socket_); }
  std::string address() const { return Concat("127.0.0.1:", port_); }

 private:
  const int socket_;
  int port_ = 0;
};

TEST(HttpGetTest, EndsInTimeWhateverTheOtherDoes) {
  const MuteServer mute;
  const SteadyTime begun = Clock::Real().SteadyNow();
  EXPECT_THAT(HttpGet(mute.address(), "/readyz"), StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_LT(Clock::Real().SteadyNow() - begun, seconds(5));
  EXPECT_THAT(HttpGet("127.0.0.1:1", "/readyz"), StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_THAT(HttpGet("example.org:80", "/"), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(HttpGet("nonsense", "/"), StatusIs(absl::StatusCode::kInvalidArgument));
}

}  // namespace
}  // namespace tocsin::cli
