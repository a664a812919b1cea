#include "lib/rpc/server.h"

#include <arpa/inet.h>
#include <google/protobuf/descriptor.h>
#include <grpc/grpc_security_constants.h>
#include <grpc/support/log.h>
#include <grpcpp/resource_quota.h>
#include <grpcpp/security/auth_metadata_processor.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>
#include <grpcpp/support/server_interceptor.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <functional>
#include <optional>
#include <set>
#include <thread>
#include <utility>
#include <vector>

#include "lib/auth/keys.h"
#include "lib/base/mutex.h"
#include "lib/base/status.h"
#include "lib/base/text.h"
#include "lib/rpc/access.h"
#include "lib/rpc/calls.h"
#include "lib/rpc/health_service.h"
#include "lib/rpc/reflection.h"
#include "lib/rpc/reflection_service.h"
#include "lib/rpc/status.h"
#include "lib/rpc/tls.h"
#include "lib/rpc/unreadable.h"
#include "lib/telemetry/log.h"
#include "lib/telemetry/metrics.h"
#include "lib/telemetry/names.h"
#include "lib/telemetry/trace.h"

namespace tocsin::rpc {
namespace {

namespace grpc_experimental = grpc::experimental;

constexpr int kMaxMetadata = 32 << 10;

std::string_view View(const grpc::string_ref& text) { return {text.data(), text.size()}; }

using Metadata = std::multimap<grpc::string_ref, grpc::string_ref>;

std::string_view FindOne(const Metadata& metadata, const char* key) {
  const auto it = metadata.find(key);
  return it == metadata.end() ? std::string_view() : View(it->second);
}

Credentials ReadCredentials(const Metadata& metadata, const grpc::AuthContext* peer) {
  Credentials credentials;
  const auto [begin, end] = metadata.equal_range("authorization");
  if (begin != end) {
    credentials.authorization = View(begin->second);
    credentials.ambiguous = std::next(begin) != end;
  }
  if (peer != nullptr && peer->IsPeerAuthenticated()) {
    for (const grpc::string_ref& name : peer->FindPropertyValues(GRPC_X509_SAN_PROPERTY_NAME)) {
      credentials.certificate_names.emplace_back(name.data(), name.size());
    }
  }
  return credentials;
}

// What the credentials' check and the interceptors share; immutable after Start.
struct Access {
  AccessTable table;
  std::unique_ptr<Authenticator> authenticator;
  std::chrono::milliseconds default_deadline{0};
  std::function<void(const Denial&)> on_denied;
  // Handlers of these run on threads of gRPC that change between callbacks: services, and single
  // methods ("service/method").
  std::set<std::string, std::less<>> callbacks;

  bool IsCallback(std::string_view method) const {
    return callbacks.contains(method.substr(0, method.find('/'))) || callbacks.contains(method);
  }
};

// Below all services, in gRPC's own filter: what it refuses never becomes a call.
class AccessCheck final : public grpc::AuthMetadataProcessor {
 public:
  explicit AccessCheck(std::shared_ptr<const Access> access) : access_(std::move(access)) {}

  // Verifying a token costs less than a change of threads.
  bool IsBlocking() const override { return false; }

  grpc::Status Process(const InputMetadata& metadata, grpc::AuthContext* peer,
                       OutputMetadata* /*consumed*/, OutputMetadata* /*response*/) override {
    const std::string_view path = FindOne(metadata, ":path");
    const Credentials credentials = ReadCredentials(metadata, peer);
    const auto principal = access_->authenticator->Authorize(access_->table, path, credentials);
    if (principal.ok()) return grpc::Status::OK;
    const AccessTable::Entry* entry = access_->table.Find(path);
    const std::string code = absl::StatusCodeToString(principal.status().code());
    telemetry::GetCounter(
        "tocsin_rpc_refused_total", "Calls refused before their handler, by method and reason.",
        {{"rpc_method", entry == nullptr ? "_OTHER" : entry->method}, {"rpc_status_code", code}})
        .Increment();
    telemetry::LogInfo("call refused", {{"reason", principal.status()}});
    if (absl::IsPermissionDenied(principal.status()) && access_->on_denied) {
      Tell(credentials, entry->method, principal.status());
    }
    return ToGrpc(principal.status());
  }

 private:
  void Tell(const Credentials& credentials, std::string_view method, const absl::Status& refusal) {
    // From its cache: it was asked a moment ago.
    const auto caller = access_->authenticator->Authenticate(credentials);
    if (!caller.ok()) return;
    access_->on_denied(
        {caller->name, Join(credentials.certificate_names, ", "), std::string(method), refusal});
  }

  std::shared_ptr<const Access> access_;
};

// One call from its metadata to its status: who calls, its span, its duration.
class CallInterceptor final : public grpc_experimental::Interceptor {
 public:
  CallInterceptor(grpc_experimental::ServerRpcInfo* info, std::shared_ptr<const Access> access)
      : info_(info),
        access_(std::move(access)),
        context_(info->server_context()),
        method_(std::string_view(info->method()).substr(1)) {}

  ~CallInterceptor() override { RunningCalls::Get().Erase(context_, this); }

  void Intercept(grpc_experimental::InterceptorBatchMethods* methods) override {
    using grpc_experimental::InterceptionHookPoints;
    if (methods->QueryInterceptionHookPoint(InterceptionHookPoints::POST_RECV_INITIAL_METADATA)) {
      Begin(*methods->GetRecvInitialMetadata());
    }
    // Of a stream of messages this also comes at its end: those are for ReadMessage.
    if (methods->QueryInterceptionHookPoint(InterceptionHookPoints::POST_RECV_MESSAGE) &&
        TakesOneMessage() && methods->GetRecvMessage() == nullptr) {
      unreadable_ = true;
    }
    if (methods->QueryInterceptionHookPoint(InterceptionHookPoints::PRE_SEND_STATUS)) {
      grpc::Status status = methods->GetSendStatus();
      // Here and not in the gateway, which passes messages on unread: so it holds for every service
      // and for every way to it. A status with words is another's: the server may be out of
      // threads.
      const auto* const expected = unreadable_ ? RequestType() : nullptr;
      if (expected != nullptr && status.error_message().empty()) {
        status = ToGrpc(Unreadable(*expected));
        methods->ModifySendStatus(status);
      }
      End(status);
    }
    methods->Proceed();
  }

 private:
  void Begin(const Metadata& metadata) {
    started_ = std::chrono::steady_clock::now();
    const AccessTable::Entry* entry = access_->table.Find(info_->method());
    CallFacts facts;
    facts.deadline = context_->deadline();
    const bool unary = info_->type() == grpc_experimental::ServerRpcInfo::Type::UNARY;
    if (unary && facts.deadline == std::chrono::system_clock::time_point::max()) {
      facts.deadline = std::chrono::system_clock::now() + access_->default_deadline;
    }
    if (entry != nullptr && entry->role) {
      const Credentials credentials = ReadCredentials(metadata, context_->auth_context().get());
      // AccessCheck has let the call in a moment ago; this gives the same answer, from its cache.
      if (auto principal = access_->authenticator->Authenticate(credentials); principal.ok()) {
        facts.principal = *std::move(principal);
      }
      constexpr std::size_t kScheme = std::string_view("Bearer ").size();
      if (credentials.authorization && credentials.authorization->size() > kScheme) {
        facts.token = std::string(credentials.authorization->substr(kScheme));
      }
      // Health and reflection would only be noise in a trace.
      if (method_.compare(0, 5, "grpc.") != 0) {
        span_.emplace(method_, telemetry::SpanOptions{telemetry::SpanKind::kServer,
                                                      telemetry::TraceContext::FromTraceparent(
                                                          FindOne(metadata, "traceparent"),
                                                          FindOne(metadata, "tracestate")),
                                                      {}});
        span_->SetAttribute(telemetry::kRpcSystemName, "grpc");
        span_->SetAttribute(telemetry::kRpcMethod, std::string_view(method_));
        facts.trace = span_->context();
      }
    }
    // A synchronous handler runs on this thread, to its end.
    if (span_ && !access_->IsCallback(method_)) {
      thread_ = std::this_thread::get_id();
      current_.emplace(*span_);
    }
    RunningCalls::Get().Insert(context_, this, std::move(facts));
  }

  bool TakesOneMessage() const {
    using Type = grpc_experimental::ServerRpcInfo::Type;
    return info_->type() == Type::UNARY || info_->type() == Type::SERVER_STREAMING;
  }

  // By the contract, which AccessTable has found for every method that is served.
  const google::protobuf::Descriptor* RequestType() const {
    std::string name = method_;
    std::replace(name.begin(), name.end(), '/', '.');
    const auto* const method =
        google::protobuf::DescriptorPool::generated_pool()->FindMethodByName(name);
    return method == nullptr ? nullptr : method->input_type();
  }

  void End(const grpc::Status& grpc_status) {
    const absl::Status status = FromGrpc(grpc_status);
    const std::string code = absl::StatusCodeToString(status.code());
    if (absl::IsInternal(status) || status.code() == absl::StatusCode::kUnknown ||
        absl::IsDataLoss(status)) {
      telemetry::LogError("call failed", {{"rpc_method", method_}, {"error", status}});
    } else {
      telemetry::LogDebug("call ended", {{"rpc_method", method_}, {"status", status}});
    }
    if (current_ && thread_ == std::this_thread::get_id()) current_.reset();
    if (span_) {
      span_->SetAttribute(telemetry::kRpcStatusCode, std::string_view(code));
      span_->SetStatus(status);
      span_->End();
    }
    telemetry::GetHistogram("rpc_server_call_duration_seconds",
                            "Calls served, by method and status.",
                            {{"rpc_method", method_}, {"rpc_status_code", code}})
        .Observe(
            std::chrono::duration<double>(std::chrono::steady_clock::now() - started_).count());
  }

  grpc_experimental::ServerRpcInfo* const info_;
  const std::shared_ptr<const Access> access_;
  const grpc::ServerContextBase* const context_;
  const std::string method_;
  std::optional<telemetry::Span> span_;
  std::optional<telemetry::ScopedCurrent> current_;
  std::thread::id thread_;
  std::chrono::steady_clock::time_point started_;
  // The request was there and could not be parsed.
  bool unreadable_ = false;
};

class CallInterceptorFactory final : public grpc_experimental::ServerInterceptorFactoryInterface {
 public:
  explicit CallInterceptorFactory(std::shared_ptr<const Access> access)
      : access_(std::move(access)) {}
  grpc_experimental::Interceptor* CreateServerInterceptor(
      grpc_experimental::ServerRpcInfo* info) override {
    return new CallInterceptor(info, access_);
  }

 private:
  std::shared_ptr<const Access> access_;
};

// gRPC's own complaints, as lines of our log.
void RouteGrpcLog() {
  gpr_set_log_function([](gpr_log_func_args* line) {
    const std::string_view message = line->message == nullptr ? "" : line->message;
    if (line->severity == GPR_LOG_SEVERITY_ERROR) {
      telemetry::LogWarning("grpc", {{"detail", message}});
    } else {
      telemetry::LogDebug("grpc", {{"detail", message}});
    }
  });
}

// gRPC only says that it cannot listen; the reason is found by trying.
std::string WhyNotListen(const HostPort& address) {
  sockaddr_in v4{};
  v4.sin_family = AF_INET;
  v4.sin_port = htons(address.port);
  if (inet_pton(AF_INET, address.host == "localhost" ? "127.0.0.1" : address.host.c_str(),
                &v4.sin_addr) != 1) {
    return "the address is not this machine's, or the port is in use";
  }
  const int probe = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (probe < 0) return std::strerror(errno);
  const int on = 1;
  setsockopt(probe, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  sockaddr generic{};
  std::memcpy(&generic, &v4, sizeof(generic));
  std::string reason = "the port is in use";
  if (bind(probe, &generic, sizeof(v4)) != 0) reason = std::strerror(errno);
  close(probe);
  return reason;
}

}  // namespace

struct Server::State {
  explicit State(ServerOptions o) : options(std::move(o)), health_service(health) {}

  ServerOptions options;
  struct Registered {
    std::string name;
    grpc::Service* service = nullptr;
    std::vector<std::string> callback_methods;
  };
  std::vector<Registered> services;
  std::function<void(const Denial&)> on_denied;
  HealthBoard health;
  HealthService health_service;
  std::optional<Reflection> reflection;
  std::optional<ReflectionService> reflection_service;
  std::optional<ReflectionAlphaService> reflection_alpha_service;
  std::unique_ptr<grpc::Server> server;
  int port = 0;
  std::optional<telemetry::Collector> certificate_collector;
  Mutex stop_mutex;
  bool stopped ABSL_GUARDED_BY(stop_mutex) = false;
};

Server::Server(ServerOptions options) : state_(std::make_unique<State>(std::move(options))) {}

Server::~Server() { Stop(std::chrono::steady_clock::now() + std::chrono::seconds(1)); }

void Server::AddService(std::string_view full_name, grpc::Service& service,
                        std::vector<std::string> callback_methods) {
  state_->services.push_back({std::string(full_name), &service, std::move(callback_methods)});
}

void Server::OnDenied(std::function<void(const Denial&)> listener) {
  state_->on_denied = std::move(listener);
}

absl::Status Server::Start() {
  State& state = *state_;
  auto address = ParseHostPort(state.options.listen);
  if (!address.ok()) return Annotate(address.status(), "listen");

  std::vector<std::string> names;
  auto access = std::make_shared<Access>();
  for (const auto& [name, service, callback_methods] : state.services) {
    names.push_back(name);
    state.health.Add(name);
    for (const std::string& method : callback_methods) {
      access->callbacks.insert(Concat(name, "/", method));
    }
    if (callback_methods.empty() && service->has_callback_methods()) access->callbacks.insert(name);
  }
  for (const char* name : {grpc::health::v1::Health::service_full_name(),
                           grpc::reflection::v1::ServerReflection::service_full_name(),
                           grpc::reflection::v1alpha::ServerReflection::service_full_name()}) {
    names.emplace_back(name);
  }
  const auto& pool = *google::protobuf::DescriptorPool::generated_pool();
  TOCSIN_ASSIGN_OR_RETURN(access->table, AccessTable::Create(pool, names));
  TOCSIN_ASSIGN_OR_RETURN(access->authenticator, Authenticator::Create(state.options.auth));
  access->default_deadline = state.options.default_deadline;
  access->on_denied = state.on_denied;
  state.reflection.emplace(pool, names);
  state.reflection_service.emplace(*state.reflection);
  state.reflection_alpha_service.emplace(*state.reflection);

  RouteGrpcLog();
  TOCSIN_ASSIGN_OR_RETURN(
      const auto credentials,
      MakeServerCredentials(state.options.tls, state.options.certificate_refresh));
  credentials->SetAuthMetadataProcessor(std::make_shared<AccessCheck>(access));

  grpc::ServerBuilder builder;
  builder.AddListeningPort(state.options.listen, credentials, &state.port);
  for (const auto& each : state.services) builder.RegisterService(each.service);
  builder.RegisterService(&state.health_service);
  builder.RegisterService(&*state.reflection_service);
  builder.RegisterService(&*state.reflection_alpha_service);
  std::vector<std::unique_ptr<grpc_experimental::ServerInterceptorFactoryInterface>> interceptors;
  interceptors.push_back(std::make_unique<CallInterceptorFactory>(access));
  builder.experimental().SetInterceptorCreators(std::move(interceptors));
  builder.SetMaxReceiveMessageSize(static_cast<int>(state.options.max_message_bytes));
  builder.SetResourceQuota(grpc::ResourceQuota("server").SetMaxThreads(state.options.max_threads));
  // Two processes on one port would each get some of the calls.
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  builder.AddChannelArgument(GRPC_ARG_MAX_METADATA_SIZE, kMaxMetadata);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, 100);
  // Our channels ping every 20 s, also without calls.
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 10'000);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, 30'000);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 10'000);
  state.server = builder.BuildAndStart();
  if (state.server == nullptr || state.port == 0) {
    state.server.reset();
    return FailedPrecondition(Concat("cannot listen on ", state.options.listen, ": ",
                                     WhyNotListen(*address),
                                     "; stop what has the port, or set another `listen`"));
  }
  state.certificate_collector.emplace([file = state.options.tls.certificate_file()] {
    static const telemetry::Gauge expiry = telemetry::GetGauge(
        "tocsin_certificate_expiry_timestamp_seconds", "When the mesh certificate ends.");
    const auto pem = auth::ReadFile(file);
    if (!pem.ok()) return;
    if (const auto end = auth::CertificateExpiry(*pem); end.ok()) {
      expiry.Set(std::chrono::duration<double>(end->time_since_epoch()).count());
    }
  });
  return absl::OkStatus();
}

std::uint16_t Server::port() const { return static_cast<std::uint16_t>(state_->port); }

void Server::SetServing(bool serving) {
  state_->health.SetAll(serving ? HealthBoard::State::kServing : HealthBoard::State::kNotServing);
}

void Server::SetServing(std::string_view service, bool serving) {
  state_->health.Set(service,
                     serving ? HealthBoard::State::kServing : HealthBoard::State::kNotServing);
}

HealthBoard& Server::health() { return state_->health; }

void Server::Stop(SteadyTime deadline) {
  State& state = *state_;
  MutexLock lock(state.stop_mutex);
  if (state.stopped || state.server == nullptr) return;
  state.stopped = true;
  SetServing(false);
  state.health_service.Drain();
  state.server->Shutdown(std::chrono::system_clock::now() +
                         std::chrono::duration_cast<std::chrono::microseconds>(
                             deadline - std::chrono::steady_clock::now()));
  state.server->Wait();
}

}  // namespace tocsin::rpc
