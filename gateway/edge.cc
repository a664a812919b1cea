#include "gateway/edge.h"

#include <google/protobuf/descriptor.h>

#include <algorithm>
#include <map>
#include <optional>
#include <thread>
#include <utility>

#include "gateway/wire/grpc.h"
#include "lib/base/mutex.h"
#include "lib/base/status.h"
#include "lib/base/text.h"
#include "lib/telemetry/log.h"
#include "lib/telemetry/metrics.h"
#include "lib/telemetry/names.h"
#include "lib/telemetry/trace.h"

namespace tocsin::gateway {
namespace {

constexpr std::string_view kAllowedHeaders =
    "content-type, accept, authorization, grpc-timeout, grpc-encoding, grpc-accept-encoding, "
    "x-grpc-web, x-user-agent, traceparent, tracestate, last-event-id, connect-protocol-version, "
    "connect-timeout-ms";
// Chromium takes no more.
constexpr std::string_view kPreflightAge = "7200";

std::string_view StripSlash(std::string_view path) {
  return path.starts_with('/') ? path.substr(1) : path;
}

}  // namespace

absl::Status MethodTable::Add(const google::protobuf::DescriptorPool& pool,
                              const std::string& service,
                              const std::shared_ptr<CallHandler>& handler) {
  const google::protobuf::ServiceDescriptor* descriptor = pool.FindServiceByName(service);
  if (descriptor == nullptr) {
    return Internal(Concat("service ", service, " is served but its contract is not linked in"));
  }
  for (int i = 0; i < descriptor->method_count(); ++i) {
    const google::protobuf::MethodDescriptor& method = *descriptor->method(i);
    const std::string name = Concat(service, "/", method.name());
    methods_[Concat("/", name)] =
        Method{name, method.client_streaming(), method.server_streaming(), handler};
  }
  services_.push_back(service);
  return absl::OkStatus();
}

const MethodTable::Method* MethodTable::Find(std::string_view path) const {
  const auto found = methods_.find(path);
  return found == methods_.end() ? nullptr : &found->second;
}

// The state is touched on the exchange's I/O thread alone; every method posts itself there.
class Edge::EdgeCall final : public Call, public std::enable_shared_from_this<EdgeCall> {
 public:
  EdgeCall(const Edge& edge, std::shared_ptr<http::Exchange> exchange, Protocol request,
           Protocol response, CallInfo info, bool known)
      : edge_(edge),
        exchange_(std::move(exchange)),
        response_(response),
        info_(std::move(info)),
        label_(known ? info_.method : "_OTHER"),
        reader_(edge.options_.max_message_bytes),
        started_(std::chrono::steady_clock::now()) {
    if (request == Protocol::kGrpcWebText) text_.emplace();
    // Health and reflection would only be noise in a trace.
    if (known && info_.method.compare(0, 5, "grpc.") != 0) {
      const http::Headers& headers = exchange_->request().headers;
      span_.emplace(info_.method,
                    telemetry::SpanOptions{telemetry::SpanKind::kServer,
                                           telemetry::TraceContext::FromTraceparent(
                                               headers.Get("traceparent").value_or(""),
                                               headers.Get("tracestate").value_or("")),
                                           {}});
      span_->SetAttribute(telemetry::kRpcSystemName, "grpc");
      span_->SetAttribute(telemetry::kRpcMethod, std::string_view(info_.method));
      span_->SetAttribute(telemetry::kNetworkPeerAddress, std::string_view(info_.peer));
      info_.trace = span_->context();
    }
  }

  // On the I/O thread, before anybody else holds the call.
  void Watch() {
    exchange_->OnCancelled([weak = weak_from_this()] {
      if (const auto self = weak.lock()) {
        self->Cancelled(absl::CancelledError("the client went away"));
      }
    });
  }
  // Before Watch, from the edge itself.
  void Refuse(const absl::Status& status, http::Headers headers = {}) {
    FinishNow(status, std::move(headers));
  }
  // Ends it against the will of who serves it.
  void Abort(absl::Status status) {
    Run([status = std::move(status)](EdgeCall& self) {
      if (self.finished_) return;
      self.FinishNow(status, {});
      self.TellCancelled();
    });
  }

  const CallInfo& info() const override { return info_; }

  void Read(std::function<void(absl::StatusOr<std::optional<http::Slice>>)> done) override {
    Run([done = std::move(done)](EdgeCall& self) mutable {
      self.read_ = std::move(done);
      self.PumpRead();
    });
  }

  void SendHeaders(http::Headers headers) override {
    Run([headers = std::move(headers)](EdgeCall& self) {
      if (!self.finished_) self.SendHead(headers);
    });
  }

  void Write(std::vector<http::Slice> message) override {
    Run([message = std::move(message)](EdgeCall& self) mutable {
      if (self.finished_) return;
      self.SendHead({});
      std::string header = FrameHeader(0, http::TotalSize(message));
      self.WriteFrame(std::move(header), std::move(message));
    });
  }

  void WhenWritable(std::function<void()> done) override {
    exchange_->Post([exchange = exchange_, done = std::move(done)]() mutable {
      exchange->WhenWritable(std::move(done));
    });
  }

  void Finish(absl::Status status, http::Headers trailers) override {
    Run([status = std::move(status), trailers = std::move(trailers)](EdgeCall& self) mutable {
      self.listener_ = nullptr;
      self.FinishNow(status, std::move(trailers));
    });
  }

  void OnCancelled(std::function<void()> listener) override {
    Run([listener = std::move(listener)](EdgeCall& self) mutable {
      if (self.cancelled_) return listener();
      if (!self.finished_) self.listener_ = std::move(listener);
    });
  }

  void Post(std::function<void()> task) override { exchange_->Post(std::move(task)); }

 private:
  template <typename Task>
  void Run(Task task) {
    exchange_->Post([self = shared_from_this(), task = std::move(task)]() mutable { task(*self); });
  }

  void PumpRead() {
    if (!read_) return;
    if (finished_) return Deliver(absl::CancelledError("the call has ended"));
    for (;;) {
      auto next = reader_.Next();
      if (!next.ok()) return Fault(next.status());
      if (!next->has_value()) break;
      if (info_.client_streaming) return Deliver(std::move(next));
      if (single_.has_value() || single_taken_) {
        return Fault(absl::UnimplementedError(
            ToAbsl(Concat(info_.method, " takes one message; the call sent more"))));
      }
      single_ = std::move(*next);
    }
    if (body_ended_) {
      if (reader_.partial()) return Fault(Internal("the request ends within a message"));
      if (info_.client_streaming || single_taken_) return Deliver(std::optional<http::Slice>());
      if (!single_.has_value()) {
        return Fault(absl::UnimplementedError(
            ToAbsl(Concat(info_.method, " takes one message; the call sent none"))));
      }
      single_taken_ = true;
      std::optional<http::Slice> single = std::move(single_);
      single_.reset();
      return Deliver(std::move(single));
    }
    exchange_->Read([self = shared_from_this()](absl::StatusOr<http::BodyPart> part) {
      self->OnBody(std::move(part));
    });
  }

  void OnBody(absl::StatusOr<http::BodyPart> part) {
    if (!part.ok()) {
      if (part.status().code() == absl::StatusCode::kCancelled) {
        Cancelled(part.status());
        return PumpRead();
      }
      return Fault(part.status());
    }
    body_ended_ = part->end;
    if (text_.has_value()) {
      auto bytes = text_->Decode(part->data.view());
      if (bytes.ok() && body_ended_) {
        if (const absl::Status end = text_->End(); !end.ok()) bytes = end;
      }
      if (!bytes.ok()) return Fault(Internal(Message(bytes.status())));
      reader_.Append(http::Slice(*std::move(bytes)));
    } else {
      reader_.Append(std::move(part->data));
    }
    PumpRead();
  }

  void Deliver(absl::StatusOr<std::optional<http::Slice>> message) {
    const auto read = std::move(read_);
    read_ = nullptr;
    read(std::move(message));
  }

  // The request itself is wrong: the client is told, and so is who serves the call.
  void Fault(absl::Status status) {
    const auto read = std::move(read_);
    read_ = nullptr;
    FinishNow(status, {});
    if (read) read(std::move(status));
    TellCancelled();
  }

  void Cancelled(const absl::Status& status) {
    if (finished_) return;
    finished_ = true;
    Account(status);
    TellCancelled();
  }

  void TellCancelled() {
    cancelled_ = true;
    const auto listener = std::move(listener_);
    listener_ = nullptr;
    if (listener) listener();
  }

  void SendHead(const http::Headers& headers) {
    if (head_sent_) return;
    head_sent_ = true;
    exchange_->SendHead(Head(headers));
  }

  http::ResponseHead Head(const http::Headers& own) const {
    http::ResponseHead head;
    head.headers.Add("content-type", ContentType(response_));
    head.headers.Add("grpc-accept-encoding", "identity");
    for (const http::Headers::Field& field : edge_.CorsHeaders(exchange_->request(), own)) {
      head.headers.Add(field.name, field.value);
    }
    for (const http::Headers::Field& field : own) head.headers.Add(field.name, field.value);
    return head;
  }

  void WriteFrame(std::string header, std::vector<http::Slice> payload) {
    payload.insert(payload.begin(), http::Slice(std::move(header)));
    if (response_ == Protocol::kGrpcWebText) payload = {http::Slice(Base64Encode(payload))};
    exchange_->Write(std::move(payload));
  }

  void FinishNow(const absl::Status& status, http::Headers trailers) {
    if (finished_) return;
    finished_ = true;
    AddStatus(status, trailers);
    if (!head_sent_) {
      // A status without a message travels in the headers and nothing else is sent: a body, even an
      // empty trailer frame, would hide it from browsers.
      exchange_->SendHead(Head(trailers), true);
    } else if (response_ == Protocol::kGrpc) {
      exchange_->Finish(std::move(trailers));
    } else {
      WriteFrame(TrailerFrame(trailers), {});
      exchange_->Finish();
    }
    Account(status);
    if (read_) PumpRead();
  }

  void Account(const absl::Status& status) {
    const std::string code = absl::StatusCodeToString(status.code());
    if (absl::IsInternal(status) || absl::IsUnknown(status) || absl::IsDataLoss(status)) {
      telemetry::LogError("call failed", {{"rpc_method", info_.method}, {"error", status}});
    }
    if (span_.has_value()) {
      span_->SetAttribute(telemetry::kRpcStatusCode, std::string_view(code));
      span_->SetStatus(status);
      span_.reset();
    }
    telemetry::GetHistogram("rpc_server_call_duration_seconds",
                            "Calls served, by method and status.",
                            {{"rpc_method", label_}, {"rpc_status_code", code}})
        .Observe(
            std::chrono::duration<double>(std::chrono::steady_clock::now() - started_).count());
  }

  const Edge& edge_;
  const std::shared_ptr<http::Exchange> exchange_;
  const Protocol response_;
  CallInfo info_;
  // Names that only a client knows must not become time series.
  const std::string label_;
  MessageReader reader_;
  std::optional<Base64Decoder> text_;
  bool body_ended_ = false;
  // The message of a method that takes one, until the end of the request has come too.
  std::optional<http::Slice> single_;
  bool single_taken_ = false;
  std::function<void(absl::StatusOr<std::optional<http::Slice>>)> read_;
  bool head_sent_ = false;
  bool finished_ = false;
  bool cancelled_ = false;
  std::function<void()> listener_;
  std::optional<telemetry::Span> span_;
  const std::chrono::steady_clock::time_point started_;
};

namespace {

absl::Status Stopping() {
  return Unavailable("the gateway is stopping; call again, and continue from your last cursor");
}

}  // namespace

// The calls that do not end by themselves.
class Edge::Streams {
 public:
  // False when no more may begin.
  bool Add(std::weak_ptr<EdgeCall> call) {
    MutexLock lock(mutex_);
    if (draining_) return false;
    if (calls_.size() >= sweep_at_) {
      std::erase_if(calls_, [](const auto& weak) { return weak.expired(); });
      sweep_at_ = std::max<std::size_t>(64, 2 * calls_.size());
    }
    calls_.push_back(std::move(call));
    return true;
  }

  void Drain() {
    std::vector<std::weak_ptr<EdgeCall>> calls;
    {
      MutexLock lock(mutex_);
      draining_ = true;
      calls.swap(calls_);
    }
    for (const auto& weak : calls) {
      if (const auto call = weak.lock()) call->Abort(Stopping());
    }
  }

 private:
  Mutex mutex_;
  std::vector<std::weak_ptr<EdgeCall>> calls_ ABSL_GUARDED_BY(mutex_);
  std::size_t sweep_at_ ABSL_GUARDED_BY(mutex_) = 64;
  bool draining_ ABSL_GUARDED_BY(mutex_) = false;
};

// Ends calls whose deadline has passed.
class Edge::Deadlines {
 public:
  explicit Deadlines(const Clock& clock) : clock_(clock), thread_([this] { Run(); }) {}
  ~Deadlines() {
    {
      MutexLock lock(mutex_);
      stopping_ = true;
      changed_.NotifyAll();
    }
    thread_.join();
  }

  void Add(SteadyTime deadline, std::weak_ptr<EdgeCall> call) {
    MutexLock lock(mutex_);
    const bool sooner = calls_.empty() || deadline < calls_.begin()->first;
    calls_.emplace(deadline, std::move(call));
    if (sooner) changed_.NotifyAll();
  }

 private:
  // Calls that have ended stay in the map until their deadline; a look at this interval forgets
  // them.
  static constexpr std::chrono::seconds kSweep{30};

  void Run() {
    SteadyTime swept = clock_.SteadyNow();
    for (;;) {
      std::vector<std::shared_ptr<EdgeCall>> expired;
      {
        MutexLock lock(mutex_);
        if (stopping_) return;
        const SteadyTime now = clock_.SteadyNow();
        while (!calls_.empty() && calls_.begin()->first <= now) {
          if (auto call = calls_.begin()->second.lock()) expired.push_back(std::move(call));
          calls_.erase(calls_.begin());
        }
        if (now - swept > kSweep) {
          swept = now;
          std::erase_if(calls_, [](const auto& entry) { return entry.second.expired(); });
        }
        if (expired.empty()) {
          std::chrono::nanoseconds wait = kSweep;
          if (!calls_.empty()) {
            wait = std::clamp<std::chrono::nanoseconds>(calls_.begin()->first - now,
                                                        std::chrono::milliseconds(1), kSweep);
          }
          changed_.WaitFor(mutex_, wait);
        }
      }
      for (const auto& call : expired) {
        call->Abort(DeadlineExceeded("the deadline of the call has passed"));
      }
    }
  }

  const Clock& clock_;
  Mutex mutex_;
  CondVar changed_;
  std::multimap<SteadyTime, std::weak_ptr<EdgeCall>> calls_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

Edge::Edge(EdgeOptions options, MethodTable methods, rpc::AccessTable access,
           std::unique_ptr<rpc::Authenticator> authenticator)
    : options_(std::move(options)),
      methods_(std::move(methods)),
      access_(std::move(access)),
      authenticator_(std::move(authenticator)),
      streams_(std::make_unique<Streams>()),
      deadlines_(std::make_unique<Deadlines>(*options_.clock)) {}

Edge::~Edge() = default;

void Edge::Drain() { streams_->Drain(); }

http::Headers Edge::CorsHeaders(const http::RequestHead& request,
                                const http::Headers& exposed) const {
  http::Headers headers;
  if (options_.cors_origins.empty()) return headers;
  headers.Add("vary", "Origin");
  const auto origin = request.headers.Get("origin");
  if (!origin.has_value()) return headers;
  const bool allowed =
      std::any_of(options_.cors_origins.begin(), options_.cors_origins.end(),
                  [&](const std::string& allow) { return allow == "*" || allow == *origin; });
  if (!allowed) return headers;
  headers.Add("access-control-allow-origin", *origin);
  // Trailers travel as headers where there is no message, so both kinds of names are needed.
  std::string names = "grpc-status, grpc-message, grpc-status-details-bin, grpc-encoding";
  for (const http::Headers::Field& field : exposed) {
    if (!field.name.starts_with("grpc-")) names += Concat(", ", field.name);
  }
  headers.Add("access-control-expose-headers", names);
  return headers;
}

void Edge::Preflight(http::Exchange& exchange) const {
  http::ResponseHead head{204, CorsHeaders(exchange.request(), {})};
  if (head.headers.Get("access-control-allow-origin").has_value()) {
    head.headers.Add("access-control-allow-methods", "POST");
    head.headers.Add("access-control-allow-headers", kAllowedHeaders);
    head.headers.Add("access-control-max-age", kPreflightAge);
  }
  exchange.SendHead(std::move(head), true);
}

void Edge::Plain(http::Exchange& exchange, int status, std::string_view text,
                 const http::Headers& headers) const {
  http::ResponseHead head{status, CorsHeaders(exchange.request(), {})};
  for (const http::Headers::Field& field : headers) head.headers.Add(field.name, field.value);
  head.headers.Set("content-type", "text/plain; charset=utf-8");
  exchange.SendHead(std::move(head));
  exchange.Write({http::Slice(Concat(text, "\n"))});
  exchange.Finish();
}

void Edge::Handle(std::shared_ptr<http::Exchange> exchange) {
  const http::RequestHead& request = exchange->request();
  const std::string_view path = request.path();
  if (request.method == "OPTIONS" && request.headers.Get("origin").has_value()) {
    return Preflight(*exchange);
  }
  const MethodTable::Method* method = methods_.Find(path);
  const std::optional<Protocol> protocol =
      ParseContentType(request.headers.Get("content-type").value_or(""));
  if (request.method != "POST") {
    if (method != nullptr) {
      return Plain(*exchange, 405, "calls are made by POST", {{"allow", "POST, OPTIONS"}});
    }
    return Plain(*exchange, 404,
                 "nothing here. This port speaks gRPC and gRPC-Web: try `grpcurl -plaintext -H "
                 "\"authorization: Bearer $(tocsin token --role viewer)\" HOST:PORT list`");
  }
  if (!protocol.has_value()) {
    return Plain(*exchange, method == nullptr ? 404 : 415,
                 "a call has the content type application/grpc, application/grpc-web or "
                 "application/grpc-web-text, with messages in Protobuf",
                 {{"accept-post",
                   "application/grpc, application/grpc-web+proto, "
                   "application/grpc-web-text+proto"}});
  }
  if (*protocol == Protocol::kGrpc && request.version != http::Version::kHttp2) {
    return Plain(*exchange, 505,
                 "gRPC needs HTTP/2; over HTTP/1.1 this port speaks gRPC-Web "
                 "(application/grpc-web+proto)");
  }

  rpc::Credentials credentials;
  int authorizations = 0;
  for (const http::Headers::Field& field : request.headers) {
    if (field.name != "authorization") continue;
    credentials.authorization = field.value;
    ++authorizations;
  }
  credentials.ambiguous = authorizations > 1;

  CallInfo info;
  info.method = method == nullptr ? std::string(StripSlash(path)) : method->name;
  info.peer = request.peer;
  std::optional<std::chrono::nanoseconds> timeout;
  absl::Status refusal;
  if (const auto text = request.headers.Get("grpc-timeout")) {
    timeout = ParseTimeout(*text);
    if (timeout.has_value()) {
      info.deadline =
          options_.clock->SteadyNow() + std::chrono::duration_cast<SteadyTime::duration>(*timeout);
    } else {
      refusal = InvalidArgument(
          Concat("grpc-timeout '", *text, "' is not up to eight digits and one of H M S m u n"));
    }
  }
  auto principal = authenticator_->Authorize(access_, path, credentials);
  if (!principal.ok()) {
    refusal = principal.status();
  } else if (method == nullptr) {
    refusal = Internal(Concat("no handler for ", path));
  } else {
    if (refusal.ok()) refusal = CheckEncoding(request.headers.Get("grpc-encoding"));
    info.client_streaming = method->client_streaming;
    info.server_streaming = method->server_streaming;
    info.principal = *std::move(principal);
    if (credentials.authorization.has_value()) info.authorization = *credentials.authorization;
  }

  const Protocol response = ResponseProtocol(*protocol, request.headers.Get("accept").value_or(""));
  const std::optional<SteadyTime> deadline = info.deadline;
  auto call = std::make_shared<EdgeCall>(*this, exchange, *protocol, response, std::move(info),
                                         method != nullptr);
  if (refusal.ok() && method->server_streaming && !streams_->Add(call)) refusal = Stopping();
  if (!refusal.ok()) {
    telemetry::GetCounter("tocsin_rpc_refused_total",
                          "Calls refused before their handler, by method and reason.",
                          {{"rpc_method", method == nullptr ? "_OTHER" : method->name},
                           {"rpc_status_code", absl::StatusCodeToString(refusal.code())}})
        .Increment();
    return call->Refuse(std::move(refusal));
  }
  call->Watch();
  if (deadline.has_value()) deadlines_->Add(*deadline, call);
  method->handler->Handle(std::move(call));
}

}  // namespace tocsin::gateway
