// Spans to a collector over OTLP/gRPC, and to one that is not there.
#include <gmock/gmock.h>
#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/grpcpp.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "lib/base/mutex.h"
#include "lib/base/testing/status_matchers.h"
#include "lib/base/text.h"
#include "lib/telemetry/metrics.h"
#include "lib/telemetry/telemetry.h"
#include "lib/telemetry/trace.h"

namespace tocsin::telemetry {
namespace {

using ::testing::AllOf;
using ::testing::Each;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

// Takes any call, keeps its bytes and answers with an empty message: the collector's protocol needs
// no more, and its contract is not linked in here.
class Collector final : public grpc::CallbackGenericService {
 public:
  Collector() {
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port_);
    builder.RegisterCallbackGenericService(this);
    server_ = builder.BuildAndStart();
  }
  ~Collector() override { server_->Shutdown(); }

  std::string address() const { return Concat("127.0.0.1:", port_); }
  std::vector<std::string> requests() {
    MutexLock lock(mutex_);
    return requests_;
  }

 private:
  class Call final : public grpc::ServerGenericBidiReactor {
   public:
    Call(Collector& collector, std::string method)
        : collector_(collector), method_(std::move(method)) {
      StartRead(&request_);
    }
    void OnReadDone(bool ok) override {
      if (!ok) return Finish(grpc::Status::CANCELLED);
      grpc::Slice whole;
      request_.DumpToSingleSlice(&whole);
      {
        MutexLock lock(collector_.mutex_);
        collector_.requests_.push_back(Concat(
            method_, " ", std::string(reinterpret_cast<const char*>(whole.begin()), whole.size())));
      }
      StartWriteAndFinish(&response_, grpc::WriteOptions(), grpc::Status::OK);
    }
    void OnDone() override { delete this; }

   private:
    Collector& collector_;
    const std::string method_;
    grpc::ByteBuffer request_;
    const grpc::Slice empty_;
    grpc::ByteBuffer response_{&empty_, 1};
  };

  grpc::ServerGenericBidiReactor* CreateReactor(
      grpc::GenericCallbackServerContext* context) override {
    return new Call(*this, context->method());
  }

  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;
  Mutex mutex_;
  std::vector<std::string> requests_ ABSL_GUARDED_BY(mutex_);
};

Options To(const std::string& endpoint) {
  Options options;
  options.process = "ingest";
  options.version = "1.2.3";
  options.otlp_endpoint = endpoint;
  options.otlp_insecure = true;
  return options;
}

TEST(Export, SendsWhatWaitsAtShutdown) {
  Collector collector;
  const double before =
      GetCounter("otel_sdk_spans_exported_total", "Spans that the collector took.").value();
  ASSERT_THAT(Start(To(collector.address())), IsOk());
  Span("send alerts.raw", {.kind = SpanKind::kProducer, .parent = TraceContext()}).End();
  Span("process alerts.raw", {.kind = SpanKind::kConsumer, .parent = TraceContext()}).End();
  Shutdown(std::chrono::seconds(5));
  Span("too late", {.parent = TraceContext()}).End();

  const auto requests = collector.requests();
  ASSERT_THAT(requests, Not(IsEmpty()));
  EXPECT_THAT(requests,
              Each(HasSubstr("/opentelemetry.proto.collector.trace.v1.TraceService/Export ")));
  const std::string all = Join(requests, " ");
  EXPECT_THAT(all, AllOf(HasSubstr("send alerts.raw"), HasSubstr("process alerts.raw"),
                         HasSubstr("ingest"), HasSubstr("1.2.3"), Not(HasSubstr("too late"))));
  EXPECT_EQ(GetCounter("otel_sdk_spans_exported_total", "Spans that the collector took.").value(),
            before + 2);
}

TEST(Export, ACollectorThatIsNotThereHoldsNothingUpAndIsCounted) {
  std::string address;
  {
    const Collector gone;
    address = gone.address();
  }
  const Counter lost =
      GetCounter("otel_sdk_spans_lost_total",
                 "Spans dropped: the queue was full or the collector did not take them.");
  const double before = lost.value();
  ASSERT_THAT(Start(To(address)), IsOk());
  constexpr int kSpans = 20'000;
  const auto begin = std::chrono::steady_clock::now();
  for (int i = 0; i < kSpans; ++i) Span("s", {.parent = TraceContext()}).End();
  const auto made = std::chrono::steady_clock::now();
  EXPECT_LT(made - begin, std::chrono::seconds(5));
  Shutdown(std::chrono::milliseconds(500));
  EXPECT_LT(std::chrono::steady_clock::now() - made, std::chrono::seconds(5));
  EXPECT_EQ(lost.value(), before + kSpans);
}

// Accepts connections, as the kernel does by itself, and never says a word.
class SilentPort {
 public:
  SilentPort() {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(address);
    EXPECT_EQ(::bind(fd_, reinterpret_cast<const sockaddr*>(&address), size), 0);
    EXPECT_EQ(::listen(fd_, 8), 0);
    EXPECT_EQ(::getsockname(fd_, reinterpret_cast<sockaddr*>(&address), &size), 0);
    port_ = ntohs(address.sin_port);
  }
  ~SilentPort() { ::close(fd_); }
  std::string address() const { return Concat("127.0.0.1:", port_); }

 private:
  const int fd_ = ::socket(AF_INET, SOCK_STREAM, 0);
  int port_ = 0;
};

TEST(Export, AShortCommandDoesNotWaitForACollector) {
  std::string gone;
  {
    const Collector collector;
    gone = collector.address();
  }
  const SilentPort silent;
  for (const std::string& address : {gone, silent.address()}) {
    Options options = To(address);
    options.export_timeout = std::chrono::milliseconds(100);
    ASSERT_THAT(Start(options), IsOk());
    Span("command", {.parent = TraceContext()}).End();
    const auto begin = std::chrono::steady_clock::now();
    Shutdown(std::chrono::milliseconds(100));
    // Not the seconds that a channel takes between two tries to connect.
    EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::milliseconds(800)) << address;
  }
}

TEST(Start, NamesTheOptionThatIsWrong) {
  Options options = To("nowhere");
  EXPECT_THAT(Start(options),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("telemetry.otlp_endpoint")));
  options.log_level = "loud";
  EXPECT_THAT(Start(options),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("telemetry.log_level")));
}

}  // namespace
}  // namespace tocsin::telemetry
