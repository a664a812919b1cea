// How commands reach the world: the profile, the gateway, the token.
#pragma once

#include <chrono>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "cli/core/profile.h"

namespace grpc {
class Channel;
}  // namespace grpc

namespace tocsin::cli {

enum class OutputForm { kTable, kJson, kJsonl };

// What every command accepts.
struct GlobalFlags {
  std::string profile;
  std::string gateway;
  std::string token_file;
  std::string otlp;
  OutputForm output = OutputForm::kTable;
  // Of one call.
  std::chrono::milliseconds timeout{15'000};
  std::string packs_dir;
};

// One per run of the program. Threads: any, once made.
class Session {
 public:
  Session(GlobalFlags flags, Environment environment, std::filesystem::path executable);

  const GlobalFlags& flags() const { return flags_; }
  const Environment& environment() const { return environment_; }
  const std::filesystem::path& executable() const { return executable_; }
  std::filesystem::path packs_dir() const;

  // The profile in use; an empty one where there is none and `gateway` is given in another way.
  absl::StatusOr<v1::Profile> profile() const;
  // flag, TOCSIN_GATEWAY, profile.
  absl::StatusOr<std::string> GatewayAddress() const;
  // --token-file, TOCSIN_TOKEN, the profile's.
  absl::StatusOr<std::string> Token() const;
  // --data, TOCSIN_DATA, the profile's, the default.
  absl::StatusOr<std::filesystem::path> DataDir(std::string_view flag) const;

  // A channel to the gateway for these services. Never blocks.
  absl::StatusOr<std::shared_ptr<grpc::Channel>> Gateway(
      const std::vector<std::string>& services) const;
  template <typename... Services>
  absl::StatusOr<std::shared_ptr<grpc::Channel>> Gateway() const {
    return Gateway(std::vector<std::string>{Services::service_full_name()...});
  }

  // Puts what is missing for a person to an error of a call to the gateway: where it went, what to
  // do next. `server_said`: as rpc::ServerSaid.
  absl::Status Explain(const absl::Status& status, bool server_said) const;

  bool stdout_terminal() const { return stdout_terminal_; }
  bool stderr_terminal() const { return stderr_terminal_; }
  bool colour() const { return colour_; }

 private:
  const GlobalFlags flags_;
  const Environment environment_;
  const std::filesystem::path executable_;
  bool stdout_terminal_;
  bool stderr_terminal_;
  bool colour_;
};

}  // namespace tocsin::cli
