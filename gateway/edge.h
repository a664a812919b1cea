// The public face: finds the method, asks who calls, and turns HTTP exchanges of gRPC and gRPC-Web
// into calls.
#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "gateway/call.h"
#include "lib/base/clock.h"
#include "lib/http/exchange.h"
#include "lib/rpc/access.h"

namespace google::protobuf {
class DescriptorPool;
}  // namespace google::protobuf

namespace tocsin::gateway {

struct EdgeOptions {
  std::size_t max_message_bytes = 4 << 20;
  // Origins of web pages that may call; "*": all.
  std::vector<std::string> cors_origins;
  const Clock* clock = &Clock::Real();
};

// Which handler serves which service; the methods come from the contracts.
class MethodTable {
 public:
  struct Method {
    std::string name;
    bool client_streaming = false;
    bool server_streaming = false;
    std::shared_ptr<CallHandler> handler;
  };

  // INTERNAL: the pool does not know the service.
  absl::Status Add(const google::protobuf::DescriptorPool& pool, const std::string& service,
                   const std::shared_ptr<CallHandler>& handler);
  // `path` as on the wire, with the slash at its beginning.
  const Method* Find(std::string_view path) const;
  // In the order added.
  const std::vector<std::string>& services() const { return services_; }

 private:
  std::map<std::string, Method, std::less<>> methods_;
  std::vector<std::string> services_;
};

// Thread-safe. Outlives the http::Server that it serves. Needs a thread for deadlines, which the
// destructor joins.
class Edge final : public http::Handler {
 public:
  // Every method of `methods` must be in `access`.
  Edge(EdgeOptions options, MethodTable methods, rpc::AccessTable access,
       std::unique_ptr<rpc::Authenticator> authenticator);
  ~Edge() override;

  void Handle(std::shared_ptr<http::Exchange> exchange) override;

  // A stop has begun: ends every call whose answer is a stream, and every one that comes after,
  // with UNAVAILABLE. Others may finish.
  void Drain();

 private:
  class EdgeCall;
  class Deadlines;
  class Streams;

  http::Headers CorsHeaders(const http::RequestHead& request, const http::Headers& exposed) const;
  void Preflight(http::Exchange& exchange) const;
  void Plain(http::Exchange& exchange, int status, std::string_view text,
             const http::Headers& headers = {}) const;

  const EdgeOptions options_;
  const MethodTable methods_;
  const rpc::AccessTable access_;
  const std::unique_ptr<rpc::Authenticator> authenticator_;
  const std::unique_ptr<Streams> streams_;
  const std::unique_ptr<Deadlines> deadlines_;
};

}  // namespace tocsin::gateway
