#include "lib/rpc/channel.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>
#include <grpcpp/channel.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/support/channel_arguments.h>
#include <grpcpp/support/client_interceptor.h>

#include <optional>
#include <utility>

#include "lib/base/status.h"
#include "lib/rpc/status.h"
#include "lib/rpc/tls.h"
#include "lib/telemetry/metrics.h"
#include "lib/telemetry/names.h"
#include "lib/telemetry/trace.h"

namespace tocsin::rpc {
namespace {

namespace grpc_experimental = grpc::experimental;

constexpr std::chrono::seconds kCertificateRefresh{5};
// A token may have 8 KiB, an error's text 4 KiB before it is percent-encoded.
constexpr int kMaxMetadata = 32 << 10;

// One call: its span, `traceparent`, duration.
class CallInterceptor final : public grpc_experimental::Interceptor {
 public:
  CallInterceptor(grpc_experimental::ClientRpcInfo* info, std::shared_ptr<const HostPort> peer)
      : method_(std::string_view(info->method()).substr(1)),
        peer_(std::move(peer)),
        parent_(telemetry::CurrentTraceContext()) {}

  void Intercept(grpc_experimental::InterceptorBatchMethods* methods) override {
    using grpc_experimental::InterceptionHookPoints;
    if (methods->QueryInterceptionHookPoint(InterceptionHookPoints::PRE_SEND_INITIAL_METADATA)) {
      Begin(*methods->GetSendInitialMetadata());
    }
    if (methods->QueryInterceptionHookPoint(InterceptionHookPoints::POST_RECV_STATUS)) {
      End(*methods->GetRecvStatus());
    }
    methods->Proceed();
  }

 private:
  void Begin(std::multimap<std::string, std::string>& metadata) {
    started_ = std::chrono::steady_clock::now();
    // Set by rpc::ClientContext or by hand: goes before the thread's current span.
    if (const auto given = metadata.find("traceparent"); given != metadata.end()) {
      const auto state = metadata.find("tracestate");
      parent_ = telemetry::TraceContext::FromTraceparent(
          given->second, state == metadata.end() ? std::string_view() : state->second);
      metadata.erase("traceparent");
      metadata.erase("tracestate");
    }
    span_.emplace(method_, telemetry::SpanOptions{telemetry::SpanKind::kClient, parent_, {}});
    span_->SetAttribute(telemetry::kRpcSystemName, "grpc");
    span_->SetAttribute(telemetry::kRpcMethod, std::string_view(method_));
    span_->SetAttribute(telemetry::kServerAddress, std::string_view(peer_->host));
    span_->SetAttribute(telemetry::kServerPort, std::int64_t{peer_->port});
    metadata.emplace("traceparent", span_->context().ToTraceparent());
    if (const std::string& state = span_->context().tracestate(); !state.empty()) {
      metadata.emplace("tracestate", state);
    }
  }

  void End(const grpc::Status& grpc_status) {
    if (!span_) return;
    const absl::Status status = FromGrpc(grpc_status);
    const std::string code = absl::StatusCodeToString(status.code());
    span_->SetAttribute(telemetry::kRpcStatusCode, std::string_view(code));
    span_->SetStatus(status);
    span_.reset();
    telemetry::GetHistogram("rpc_client_call_duration_seconds", "Calls made, by method and status.",
                            {{"rpc_method", method_}, {"rpc_status_code", code}})
        .Observe(
            std::chrono::duration<double>(std::chrono::steady_clock::now() - started_).count());
  }

  // Copied: of a generic call the name may go before the call does.
  const std::string method_;
  const std::shared_ptr<const HostPort> peer_;
  telemetry::TraceContext parent_;
  std::optional<telemetry::Span> span_;
  std::chrono::steady_clock::time_point started_;
};

class CallInterceptorFactory final : public grpc_experimental::ClientInterceptorFactoryInterface {
 public:
  explicit CallInterceptorFactory(HostPort peer)
      : peer_(std::make_shared<const HostPort>(std::move(peer))) {}
  grpc_experimental::Interceptor* CreateClientInterceptor(
      grpc_experimental::ClientRpcInfo* info) override {
    return new CallInterceptor(info, peer_);
  }

 private:
  const std::shared_ptr<const HostPort> peer_;
};

std::shared_ptr<grpc::Channel> Create(const std::string& target,
                                      const std::shared_ptr<grpc::ChannelCredentials>& credentials,
                                      const std::vector<std::string>& services) {
  grpc::ChannelArguments arguments;
  arguments.SetServiceConfigJSON(ServiceConfigJson(services));
  // Our own policy is the policy: none is looked up in DNS.
  arguments.SetInt(GRPC_ARG_SERVICE_CONFIG_DISABLE_RESOLUTION, 1);
  arguments.SetInt(GRPC_ARG_ENABLE_RETRIES, 1);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 20'000);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 5'000);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 1'000);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 5'000);
  arguments.SetInt(GRPC_ARG_MAX_METADATA_SIZE, kMaxMetadata);
  arguments.SetMaxReceiveMessageSize(64 << 20);
  std::vector<std::unique_ptr<grpc_experimental::ClientInterceptorFactoryInterface>> interceptors;
  std::string_view address = target;
  if (const auto slash = address.rfind('/'); slash != std::string_view::npos) {
    address.remove_prefix(slash + 1);
  }
  interceptors.push_back(std::make_unique<CallInterceptorFactory>(
      ParseHostPort(address).value_or(HostPort{std::string(address), 0})));
  return grpc_experimental::CreateCustomChannelWithInterceptors(target, credentials, arguments,
                                                                std::move(interceptors));
}

}  // namespace

std::string ServiceConfigJson(const std::vector<std::string>& services) {
  std::string names;
  for (const std::string& name : services) {
    const auto* service =
        google::protobuf::DescriptorPool::generated_pool()->FindServiceByName(name);
    if (service == nullptr) continue;
    for (int i = 0; i < service->method_count(); ++i) {
      const auto* method = service->method(i);
      if (method->options().idempotency_level() ==
          google::protobuf::MethodOptions::IDEMPOTENCY_UNKNOWN) {
        continue;
      }
      if (!names.empty()) names.push_back(',');
      names.append(Concat(R"({"service":")", name, R"(","method":")", method->name(), R"("})"));
    }
  }
  std::string config = R"({"loadBalancingConfig":[{"round_robin":{}}])";
  if (!names.empty()) {
    config.append(
        Concat(R"(,"methodConfig":[{"name":[)", names,
               R"(],"retryPolicy":{"maxAttempts":4,"initialBackoff":"0.1s","maxBackoff":"2s",)",
               R"("backoffMultiplier":2,"retryableStatusCodes":["UNAVAILABLE"]}}],)",
               // When most calls fail, retries stop, so that they are not what keeps a server down.
               R"("retryThrottling":{"maxTokens":100,"tokenRatio":0.1})"));
  }
  config.push_back('}');
  return config;
}

absl::StatusOr<std::shared_ptr<grpc::Channel>> MakeChannel(
    const config::v1::PeerConfig& peer, const config::v1::TlsConfig& tls,
    const std::vector<std::string>& services) {
  if (peer.target().empty()) return InvalidArgument("target is not set: host:port of the peer");
  TOCSIN_ASSIGN_OR_RETURN(const auto credentials, MakeChannelCredentials(tls, kCertificateRefresh));
  return Create(peer.target(), credentials, services);
}

absl::StatusOr<std::shared_ptr<grpc::Channel>> MakePublicChannel(
    const std::string& target, const std::string& ca_file,
    const std::vector<std::string>& services) {
  if (target.empty()) return InvalidArgument("the gateway's address is empty: host:port");
  std::shared_ptr<grpc::ChannelCredentials> credentials = grpc::InsecureChannelCredentials();
  if (!ca_file.empty()) {
    TOCSIN_ASSIGN_OR_RETURN(credentials, MakePublicCredentials(ca_file));
  }
  return Create(target, credentials, services);
}

}  // namespace tocsin::rpc
