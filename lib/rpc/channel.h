// Channels into the mesh: mutual TLS (files are read again when they change), round robin over what
// the name resolves to, keepalive, a client span, `traceparent` and the histogram
// rpc_client_call_duration_seconds for each call. Methods whose contract says IDEMPOTENT or
// NO_SIDE_EFFECTS are tried up to 4 times on UNAVAILABLE, within the call's deadline.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "tocsin/config/v1/process.pb.h"

namespace grpc {
class Channel;
}  // namespace grpc

namespace tocsin::rpc {

// `services`: full names of those that will be called, for the retry policy. Never blocks: the
// connection is made by the first call and again whenever it is lost. INVALID_ARGUMENT: no target,
// or a TLS file that cannot be used; names the key.
absl::StatusOr<std::shared_ptr<grpc::Channel>> MakeChannel(
    const config::v1::PeerConfig& peer, const config::v1::TlsConfig& tls,
    const std::vector<std::string>& services);

// rpc::MakeChannel<schema::v1::SchemaRegistryService>(config.registry(), config.process().tls())
template <typename... Contracts>
absl::StatusOr<std::shared_ptr<grpc::Channel>> MakeChannel(const config::v1::PeerConfig& peer,
                                                           const config::v1::TlsConfig& tls) {
  return MakeChannel(peer, tls, std::vector<std::string>{Contracts::service_full_name()...});
}

// To the gateway's public port from outside the mesh. The same but for TLS: with `ca_file`, TLS
// that trusts it; empty, plain text, which is for loopback and for a TLS proxy in front. A token is
// set per call (ClientContext::SetToken).
absl::StatusOr<std::shared_ptr<grpc::Channel>> MakePublicChannel(
    const std::string& target, const std::string& ca_file,
    const std::vector<std::string>& services);

// The JSON that tells gRPC the above; for tests.
std::string ServiceConfigJson(const std::vector<std::string>& services);

}  // namespace tocsin::rpc
