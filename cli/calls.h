// The shape of a unary call to the gateway, once.
#pragma once

#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "cli/session.h"
#include "cli/stop_request.h"
#include "lib/base/status.h"
#include "lib/rpc/client_context.h"
#include "lib/rpc/status.h"

namespace tocsin::cli {

// Service: a generated service class; method: its stub's member. With the profile's token, the
// flags' timeout, and errors explained. A stop ends it at once: CANCELLED.
//
//   Call<ReportService, GetIncidentResponse>(session, &ReportService::StubInterface::GetIncident,
//                                            request)
template <typename Service, typename Response, typename Request>
absl::StatusOr<Response> Call(const Session& session,
                              grpc::Status (Service::StubInterface::*method)(grpc::ClientContext*,
                                                                             const Request&,
                                                                             Response*),
                              const Request& request) {
  TOCSIN_ASSIGN_OR_RETURN(const auto channel, session.Gateway<Service>());
  TOCSIN_ASSIGN_OR_RETURN(const std::string token, session.Token());
  const auto stub = Service::NewStub(channel);
  rpc::ClientContext context(session.flags().timeout);
  context.SetToken(token);
  Response response;
  const OnStop cancel(ProcessStop(), [&context] { context.TryCancel(); });
  const absl::Status status = rpc::FromGrpc((stub.get()->*method)(&context, request, &response));
  if (!status.ok()) return session.Explain(status, rpc::ServerSaid(context));
  return response;
}

}  // namespace tocsin::cli
