#include "gateway/mesh.h"

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/client_callback.h>
#include <grpcpp/support/slice.h>

#include <set>
#include <utility>
#include <vector>

#include "gateway/wire/grpc.h"
#include "lib/base/mutex.h"
#include "lib/base/status.h"
#include "lib/base/text.h"
#include "lib/rpc/status.h"

namespace tocsin::gateway {
namespace {

constexpr std::chrono::seconds kUnaryDeadline{30};

grpc::ByteBuffer ToByteBuffer(const http::Slice& message) {
  // gRPC copies slices of a few bytes anyway.
  constexpr std::size_t kCopyBelow = 512;
  if (message.size() < kCopyBelow) {
    const grpc::Slice slice(message.view().data(), message.size());
    return grpc::ByteBuffer(&slice, 1);
  }
  auto* owner = new http::Slice(message);
  const grpc::Slice slice(
      const_cast<char*>(owner->view().data()), owner->size(),
      [](void* held) { delete static_cast<http::Slice*>(held); }, owner);
  return grpc::ByteBuffer(&slice, 1);
}

std::vector<http::Slice> FromByteBuffer(const grpc::ByteBuffer& buffer) {
  std::vector<http::Slice> message;
  auto slices = std::make_shared<std::vector<grpc::Slice>>();
  if (!buffer.Dump(slices.get()).ok()) return message;
  message.reserve(slices->size());
  for (const grpc::Slice& slice : *slices) {
    message.emplace_back(
        slices, std::string_view(reinterpret_cast<const char*>(slice.begin()), slice.size()));
  }
  return message;
}

http::Headers FromMetadata(const std::multimap<grpc::string_ref, grpc::string_ref>& metadata) {
  http::Headers headers;
  for (const auto& [name_ref, value_ref] : metadata) {
    const std::string_view name(name_ref.data(), name_ref.size());
    const std::string_view value(value_ref.data(), value_ref.size());
    // What concerns the hop behind the gateway stays there; the status is written anew.
    if (name.starts_with(':') || name == "content-type" || name == "user-agent" ||
        name == "grpc-status" || name == "grpc-message" || name == "grpc-accept-encoding" ||
        name == "grpc-encoding" || name == "date" || name == "server") {
      continue;
    }
    headers.Add(name, name.ends_with("-bin") ? Base64EncodeUnpadded(value) : std::string(value));
  }
  return headers;
}

class MeshCall;

// The calls under way. gRPC 1.51 frees twice when the last reference to a channel is let go on one
// of its own callback threads, so the handler outwaits them before it lets go of its own.
class CallsUnderWay {
 public:
  void Begin(MeshCall* call) {
    MutexLock lock(mutex_);
    ++count_;
    calls_.insert(call);
  }
  // The call is about to go; what it holds of the channel is still there.
  void Forget(MeshCall* call) {
    MutexLock lock(mutex_);
    calls_.erase(call);
  }
  void End() {
    MutexLock lock(mutex_);
    --count_;
    ended_.NotifyAll();
  }
  // Blocks until all have ended: the time that gRPC's threads need for it. The clients' side has
  // stopped and calls nobody back.
  void AbandonAndWait();

 private:
  Mutex mutex_;
  CondVar ended_;
  int count_ ABSL_GUARDED_BY(mutex_) = 0;
  std::set<MeshCall*> calls_ ABSL_GUARDED_BY(mutex_);
};

// Two things keep the call behind open: our reading of its answers and our writing of its messages.
// Each is a hold of the reactor, given up when that side is done. Callbacks of the client's side
// know the call weakly: it lives until OnDone, and a client's side that has stopped never lets go
// of them.
class MeshCall final : public grpc::ClientBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>,
                       public std::enable_shared_from_this<MeshCall> {
 public:
  MeshCall(std::shared_ptr<Call> call, std::shared_ptr<CallsUnderWay> calls)
      : ending_{std::move(calls)}, call_(std::move(call)) {
    ending_.calls->Begin(this);
  }
  ~MeshCall() override { ending_.calls->Forget(this); }

  void Start(grpc::GenericStub& stub) {
    self_ = shared_from_this();
    const CallInfo& info = call_->info();
    if (!info.authorization.empty()) context_.AddMetadata("authorization", info.authorization);
    if (info.trace.valid()) {
      // The channel's interceptor takes it as the parent of the client's span.
      context_.AddMetadata("traceparent", info.trace.ToTraceparent());
      if (!info.trace.tracestate().empty()) {
        context_.AddMetadata("tracestate", info.trace.tracestate());
      }
    }
    if (info.deadline.has_value()) {
      context_.set_deadline(std::chrono::system_clock::now() +
                            std::chrono::duration_cast<std::chrono::system_clock::duration>(
                                *info.deadline - std::chrono::steady_clock::now()));
    } else if (!info.client_streaming && !info.server_streaming) {
      context_.set_deadline(std::chrono::system_clock::now() + kUnaryDeadline);
    }
    stub.PrepareBidiStreamingCall(&context_, "/" + info.method, {}, this);
    AddMultipleHolds(2);
    StartCall();
    call_->OnCancelled([weak = weak_from_this()] {
      if (const auto self = weak.lock()) self->context_.TryCancel();
    });
    ReadNext();
  }

  void OnReadInitialMetadataDone(bool ok) override {
    // A unary answer may still turn out to be an error alone, which needs the headers.
    if (ok && call_->info().server_streaming) SendHeaders();
    // Not before: gRPC would call OnReadDone on another thread while this one runs, and the first
    // message, which needs the headers, would meet them half received.
    StartRead(&incoming_);
  }

  void OnReadDone(bool ok) override {
    if (!ok) {
      RemoveHold();
      return GiveUpWriting();
    }
    SendHeaders();
    call_->Write(FromByteBuffer(incoming_));
    incoming_.Clear();
    {
      MutexLock lock(mutex_);
      if (abandoned_) return RemoveHold();
      waits_for_client_ = true;
    }
    call_->WhenWritable([weak = weak_from_this()] {
      if (const auto self = weak.lock()) self->ReadOn();
    });
  }

  void OnWriteDone(bool ok) override {
    {
      MutexLock lock(mutex_);
      writing_ = false;
      if (!ok || server_done_ || abandoned_) {
        if (std::exchange(write_side_, false)) RemoveHold();
        return;
      }
    }
    if (call_->info().client_streaming) {
      ReadNext();
    } else {
      MutexLock lock(mutex_);
      if (std::exchange(write_side_, false)) RemoveHold();
    }
  }

  void OnDone(const grpc::Status& status) override {
    http::Headers trailers = FromMetadata(context_.GetServerTrailingMetadata());
    call_->Finish(rpc::FromGrpc(status), std::move(trailers));
    // Frees the call, unless a callback of the client's side runs.
    const auto self = std::move(self_);
  }

  // Nothing comes from the client's side any more, not even that it has ended.
  void Abandon() {
    context_.TryCancel();
    MutexLock lock(mutex_);
    abandoned_ = true;
    if (std::exchange(waits_for_client_, false)) RemoveHold();
    if (!writing_ && std::exchange(write_side_, false)) RemoveHold();
  }

 private:
  void ReadOn() {
    {
      MutexLock lock(mutex_);
      if (!std::exchange(waits_for_client_, false)) return;
    }
    StartRead(&incoming_);
  }

  void SendHeaders() {
    if (std::exchange(headers_sent_, true)) return;
    call_->SendHeaders(FromMetadata(context_.GetServerInitialMetadata()));
  }

  void ReadNext() {
    call_->Read([weak = weak_from_this()](absl::StatusOr<std::optional<http::Slice>> message) {
      if (const auto self = weak.lock()) self->OnMessage(std::move(message));
    });
  }

  void OnMessage(absl::StatusOr<std::optional<http::Slice>> message) {
    MutexLock lock(mutex_);
    if (!write_side_) return;
    if (!message.ok()) {
      // The call has ended on the client's side.
      context_.TryCancel();
      write_side_ = false;
      return RemoveHold();
    }
    if (!message->has_value()) {
      StartWritesDone();
      write_side_ = false;
      return RemoveHold();
    }
    outgoing_ = ToByteBuffer(**message);
    writing_ = true;
    if (call_->info().client_streaming) {
      StartWrite(&outgoing_);
    } else {
      StartWriteLast(&outgoing_, grpc::WriteOptions());
    }
  }

  // The server has said its last: what the client would still send is of no use.
  void GiveUpWriting() {
    MutexLock lock(mutex_);
    server_done_ = true;
    if (!writing_ && std::exchange(write_side_, false)) RemoveHold();
  }

  struct Ending {
    ~Ending() { calls->End(); }
    const std::shared_ptr<CallsUnderWay> calls;
  };

  // The first member, so that it goes after the context, which holds the channel.
  const Ending ending_;
  const std::shared_ptr<Call> call_;
  grpc::ClientContext context_;
  grpc::ByteBuffer incoming_;
  grpc::ByteBuffer outgoing_;
  bool headers_sent_ = false;
  std::shared_ptr<MeshCall> self_;
  Mutex mutex_;
  // We still hold the writing side.
  bool write_side_ ABSL_GUARDED_BY(mutex_) = true;
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool server_done_ ABSL_GUARDED_BY(mutex_) = false;
  // Our side of the reading hold: the client has to take what it was sent.
  bool waits_for_client_ ABSL_GUARDED_BY(mutex_) = false;
  bool abandoned_ ABSL_GUARDED_BY(mutex_) = false;
};

void CallsUnderWay::AbandonAndWait() {
  MutexLock lock(mutex_);
  for (MeshCall* call : calls_) call->Abandon();
  while (count_ > 0) ended_.Wait(mutex_);
}

class MeshHandler final : public CallHandler {
 public:
  explicit MeshHandler(std::shared_ptr<grpc::Channel> channel) : stub_(std::move(channel)) {}
  ~MeshHandler() override { calls_->AbandonAndWait(); }
  void Handle(std::shared_ptr<Call> call) override {
    std::make_shared<MeshCall>(std::move(call), calls_)->Start(stub_);
  }

 private:
  const std::shared_ptr<CallsUnderWay> calls_ = std::make_shared<CallsUnderWay>();
  grpc::GenericStub stub_;
};

}  // namespace

std::shared_ptr<CallHandler> MakeMeshHandler(std::shared_ptr<grpc::Channel> channel) {
  return std::make_shared<MeshHandler>(std::move(channel));
}

}  // namespace tocsin::gateway
