// What each process is started with.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "cli/core/pack.h"
#include "cli/supervisor/layout.h"

namespace tocsin::cli {

struct ProcessPorts {
  std::uint16_t grpc = 0;
  std::uint16_t admin = 0;
};

struct SystemPlan {
  // host:port of the three public addresses.
  std::string gateway;
  std::string registry;
  std::string kafka;
  std::string otlp;
  std::string webhook;
  std::uint16_t kafka_controller_port = 0;
  // By process, inside the mesh.
  std::map<std::string, ProcessPorts> ports;
  std::vector<LoadedPack> packs;
};

// The processes in the order in which they start; the broker is not one of ours and not in it.
const std::vector<std::string>& ProcessNames();

// "127.0.0.1:20001": the gRPC server, or for the gateway its public port.
std::string AddressOf(const SystemPlan& plan, std::string_view process);
std::string AdminAddressOf(const SystemPlan& plan, std::string_view process);

// YAML of the process's configuration message.
std::string ConfigText(const Layout& layout, const SystemPlan& plan, std::string_view process);

// server.properties of the broker: the template with its three names filled in. INVALID_ARGUMENT
// when one of them is not in the template.
absl::StatusOr<std::string> BrokerProperties(std::string_view text, const Layout& layout,
                                             const SystemPlan& plan);

}  // namespace tocsin::cli
