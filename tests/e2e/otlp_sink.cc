// Receives spans over OTLP/gRPC on a free loopback port and prints them, one JSON object a line,
// until its standard input ends. The first line is {"port": N}.
#include <grpcpp/grpcpp.h>

#include <iostream>
#include <string>

#include "lib/base/hex.h"
#include "lib/base/mutex.h"
#include "nlohmann/json.hpp"
#include "tests/e2e/proto/otlp.grpc.pb.h"

namespace {
namespace otlp = opentelemetry::proto::collector::trace::v1;

class Sink final : public otlp::TraceService::Service {
 public:
  grpc::Status Export(grpc::ServerContext* /*context*/,
                      const otlp::ExportTraceServiceRequest* request,
                      otlp::ExportTraceServiceResponse* /*response*/) override {
    const tocsin::MutexLock lock(mutex_);
    for (const otlp::ResourceSpans& resource : request->resource_spans()) {
      std::string service;
      for (const otlp::KeyValue& attribute : resource.resource().attributes()) {
        if (attribute.key() == "service.name") service = attribute.value().string_value();
      }
      for (const otlp::ScopeSpans& scope : resource.scope_spans()) {
        for (const otlp::Span& span : scope.spans()) Print(service, span);
      }
    }
    std::cout.flush();
    return grpc::Status::OK;
  }

 private:
  static void Print(const std::string& service, const otlp::Span& span) {
    nlohmann::json line = {{"service", service},
                           {"trace", tocsin::HexEncode(span.trace_id())},
                           {"span", tocsin::HexEncode(span.span_id())},
                           {"parent", tocsin::HexEncode(span.parent_span_id())},
                           {"name", span.name()},
                           {"kind", span.kind()},
                           {"links", nlohmann::json::array()},
                           {"attributes", nlohmann::json::object()}};
    for (const otlp::Link& link : span.links()) {
      line["links"].push_back(tocsin::HexEncode(link.span_id()));
    }
    for (const otlp::KeyValue& attribute : span.attributes()) {
      const otlp::AnyValue& value = attribute.value();
      line["attributes"][attribute.key()] =
          value.has_int_value() ? std::to_string(value.int_value()) : value.string_value();
    }
    std::cout << line.dump() << '\n';
  }

  tocsin::Mutex mutex_;
};
}  // namespace

int main() {
  Sink sink;
  int port = 0;
  grpc::ServerBuilder builder;
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
  builder.RegisterService(&sink);
  const std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  if (server == nullptr) return 1;
  std::cout << nlohmann::json{{"port", port}}.dump() << std::endl;
  std::string line;
  while (std::getline(std::cin, line)) {
  }
  server->Shutdown(std::chrono::system_clock::now() + std::chrono::seconds(2));
  return 0;
}
