// The mesh's certificates as gRPC credentials. For the files of this folder, and for test programs.
#pragma once

#include <grpcpp/security/credentials.h>
#include <grpcpp/security/server_credentials.h>

#include <chrono>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "tocsin/config/v1/process.pb.h"

namespace tocsin::rpc {

// All three files are set, can be read, and the key belongs to the certificate. INVALID_ARGUMENT
// names the key of the configuration and the file.
absl::Status CheckTlsFiles(const config::v1::TlsConfig& tls);

// Files are looked at every `refresh`; connections made before keep what they began with.
absl::StatusOr<std::shared_ptr<grpc::ServerCredentials>> MakeServerCredentials(
    const config::v1::TlsConfig& tls, std::chrono::seconds refresh);
absl::StatusOr<std::shared_ptr<grpc::ChannelCredentials>> MakeChannelCredentials(
    const config::v1::TlsConfig& tls, std::chrono::seconds refresh);
// Trusts one authority and shows no certificate.
absl::StatusOr<std::shared_ptr<grpc::ChannelCredentials>> MakePublicCredentials(
    const std::string& ca_file);

}  // namespace tocsin::rpc
