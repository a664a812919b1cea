#include "gateway/local.h"

#include <string>
#include <utility>

#include "grpc/health/v1/health.pb.h"
#include "lib/base/status.h"
#include "lib/base/text.h"
#include "lib/rpc/unreadable.h"

namespace tocsin::gateway {
namespace {

using ::grpc::health::v1::HealthCheckRequest;
using ::grpc::health::v1::HealthCheckResponse;
using Message = std::optional<http::Slice>;

template <typename Proto>
bool Parse(const http::Slice& bytes, Proto& into) {
  return into.ParseFromArray(bytes.view().data(), static_cast<int>(bytes.size()));
}

template <typename Proto>
std::vector<http::Slice> Serialize(const Proto& message) {
  return {http::Slice(message.SerializeAsString())};
}

std::vector<http::Slice> HealthMessage(std::optional<rpc::HealthBoard::State> state) {
  HealthCheckResponse response;
  response.set_status(!state.has_value() ? HealthCheckResponse::SERVICE_UNKNOWN
                      : *state == rpc::HealthBoard::State::kServing
                          ? HealthCheckResponse::SERVING
                          : HealthCheckResponse::NOT_SERVING);
  return Serialize(response);
}

class HealthHandler final : public CallHandler {
 public:
  explicit HealthHandler(rpc::HealthBoard& board) : board_(board) {}

  void Handle(std::shared_ptr<Call> call) override {
    Call& reading = *call;
    reading.Read([this, call = std::move(call)](absl::StatusOr<Message> message) {
      if (!message.ok() || !message->has_value()) return;
      HealthCheckRequest request;
      if (!Parse(**message, request)) {
        return call->Finish(rpc::Unreadable(*request.GetDescriptor()));
      }
      if (call->info().server_streaming) return Watch(call, request.service());
      const auto state = board_.Get(request.service());
      if (!state.has_value()) {
        return call->Finish(NotFound(Concat("there is no service '", request.service(), "' here")));
      }
      call->Write(HealthMessage(state));
      call->Finish(absl::OkStatus());
    });
  }

 private:
  void Watch(const std::shared_ptr<Call>& call, const std::string& service) {
    call->SendHeaders({});
    const std::uint64_t watch =
        board_.Watch(service, [call](std::optional<rpc::HealthBoard::State> state) {
          call->Write(HealthMessage(state));
        });
    call->OnCancelled([this, watch] { board_.Unwatch(watch); });
  }

  rpc::HealthBoard& board_;
};

class ReflectionHandler final : public CallHandler {
 public:
  explicit ReflectionHandler(std::shared_ptr<const rpc::Reflection> reflection)
      : reflection_(std::move(reflection)) {}

  void Handle(std::shared_ptr<Call> call) override {
    call->SendHeaders({});
    Next(reflection_, std::move(call));
  }

 private:
  static void Next(const std::shared_ptr<const rpc::Reflection>& reflection,
                   std::shared_ptr<Call> call) {
    Call& reading = *call;
    reading.Read([reflection, call = std::move(call)](absl::StatusOr<Message> message) {
      if (!message.ok()) return;
      if (!message->has_value()) return call->Finish(absl::OkStatus());
      ::grpc::reflection::v1::ServerReflectionRequest request;
      if (!Parse(**message, request)) {
        return call->Finish(rpc::Unreadable(*request.GetDescriptor()));
      }
      call->Write(Serialize(reflection->Answer(request)));
      call->WhenWritable([reflection, call] { Next(reflection, call); });
    });
  }

  const std::shared_ptr<const rpc::Reflection> reflection_;
};

}  // namespace

std::shared_ptr<CallHandler> MakeHealthHandler(rpc::HealthBoard& board) {
  return std::make_shared<HealthHandler>(board);
}

std::shared_ptr<CallHandler> MakeReflectionHandler(
    std::shared_ptr<const rpc::Reflection> reflection) {
  return std::make_shared<ReflectionHandler>(std::move(reflection));
}

}  // namespace tocsin::gateway
