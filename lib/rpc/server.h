// The gRPC server of every process in the mesh: mutual TLS, access by the option of each method,
// truthful health, reflection, deadlines, spans and metrics.
//
// No call reaches a handler without the access check: it is made on the server's credentials, below
// all services, over a table built from the contracts. Start refuses a service that has a method
// without the option (tocsin.auth.v1.access). A token is looked at first; a call without one acts
// under the name in the peer's certificate, by AuthConfig.mesh_roles. Health is open to every peer.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "lib/base/clock.h"
#include "lib/rpc/health.h"
#include "lib/rpc/limits.h"
#include "tocsin/config/v1/process.pb.h"

namespace grpc {
class Service;
}  // namespace grpc

namespace tocsin::rpc {

struct ServerOptions {
  // host:port; port 0 takes a free one.
  std::string listen;
  // All three files are required; they are read again when they change.
  config::v1::TlsConfig tls;
  config::v1::AuthConfig auth;

  // For a unary call that comes without a deadline (Caller::deadline).
  std::chrono::milliseconds default_deadline{30'000};
  // Of one message, received.
  std::size_t max_message_bytes = kLargestMessage;
  // Handlers that run at once; beyond it a call is refused with RESOURCE_EXHAUSTED.
  int max_threads = 256;
  // How often the TLS files are looked at.
  std::chrono::seconds certificate_refresh{5};
};

// A call that was refused because the caller has not the role that its method asks for.
struct Denial {
  std::string caller;
  // The names in the certificate of the peer that sent it; its address is not known so early.
  std::string peer;
  // "tocsin.ingest.v1.IngestService/Publish"
  std::string method;
  absl::Status refusal;
};

// Threads: AddService, OnDenied and Start from one; the rest from any.
class Server {
 public:
  explicit Server(ServerOptions options);
  // Stops with a deadline of one second if Stop was not called.
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // Before Start. `service` must outlive Stop. Synchronous and callback services both work.
  //   server.AddService<ingest::v1::IngestService>(service);
  // `callback_methods`: of a service that has them beside synchronous ones, which gRPC does not
  // tell apart; the others keep their span as their thread's current one.
  template <typename Contract>
  void AddService(typename Contract::Service& service,
                  std::vector<std::string> callback_methods = {}) {
    AddService(Contract::service_full_name(), service, std::move(callback_methods));
  }

  // Before Start; replaces the listener before. Called on threads of gRPC: must not block. Calls
  // without a good token or certificate are nobody's and not told.
  void OnDenied(std::function<void(const Denial&)> listener);

  // Listens; health says NOT_SERVING until told otherwise. INVALID_ARGUMENT: options, naming the
  // key; FAILED_PRECONDITION: the address cannot be listened on; INTERNAL: a service has a method
  // without access option.
  absl::Status Start();
  // The port in fact listened on; 0 before Start.
  std::uint16_t port() const;

  // Health of all services and of the server as a whole, or of one service.
  void SetServing(bool serving);
  void SetServing(std::string_view service, bool serving);
  HealthBoard& health();

  // Not serving, no new calls; running ones may finish until the deadline and are then cancelled.
  // Blocks at most until the deadline plus the time in which handlers notice. Idempotent.
  void Stop(SteadyTime deadline);

 private:
  void AddService(std::string_view full_name, grpc::Service& service,
                  std::vector<std::string> callback_methods);

  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace tocsin::rpc
