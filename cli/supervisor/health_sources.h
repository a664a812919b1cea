// How the processes of a system are asked for their health.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "cli/supervisor/health.h"

namespace tocsin::cli {

// Of the mesh: who may ask.
struct MeshFiles {
  std::string certificate;
  std::string key;
  std::string authority;
};

// grpc.health.v1 at `address` (host:port): Check, and Watch for news. What the process waits for
// comes from /readyz of `admin`. With `certificates` by mutual TLS; without, plain text (the
// gateway's public port).
std::unique_ptr<HealthSource> MakeGrpcHealth(const std::string& address, const std::string& admin,
                                             const MeshFiles* certificates);

// A broker that answers is a healthy one.
std::unique_ptr<HealthSource> MakeBrokerHealth(const std::string& kafka);

// What /readyz says, for people: "kafka: no broker answers; registry: not found". Empty when it is
// ready.
std::string WhatIsMissing(std::string_view readyz);

// The body of http://<address><path>; UNAVAILABLE. For the admin ports of this machine: at most
// 500 ms and 64 KiB.
absl::StatusOr<std::string> HttpGet(const std::string& address, std::string_view path);

}  // namespace tocsin::cli
