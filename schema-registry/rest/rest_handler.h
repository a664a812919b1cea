// The REST interface as a handler of lib/http: what lies ready in memory is answered on the I/O
// thread, all else by workers, which may block.
#pragma once

#include <cstddef>
#include <memory>

#include "lib/base/clock.h"
#include "lib/http/exchange.h"
#include "schema-registry/rest/answer_memory.h"
#include "schema-registry/rest/rest_api.h"

namespace tocsin::registry {

struct RestHandlerOptions {
  // A longer body is answered with kTooLarge.
  std::size_t max_body = std::size_t{3} << 20;
  int worker_threads = 8;
  // Requests that wait for a worker; further ones are answered with kBusy.
  std::size_t max_queue = 1024;
  // An answer for which there is no room is refused with kBusy.
  AnswerMemory::Options answers = {};
};

// `api` and `clock` must outlive the handler. Each request is a span and part of the metric
// tocsin_schema_registry_rest_seconds; what is answered from memory is a span where the client
// brought a trace.
std::shared_ptr<http::Handler> MakeRestHandler(const RestApi& api, const Clock& clock,
                                               RestHandlerOptions options = {});

}  // namespace tocsin::registry
