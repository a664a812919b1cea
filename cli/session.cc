#include "cli/session.h"

#include <unistd.h>

#include "cli/core/pack.h"
#include "lib/auth/keys.h"
#include "lib/base/status.h"
#include "lib/base/text.h"
#include "lib/rpc/channel.h"

namespace tocsin::cli {

Session::Session(GlobalFlags flags, Environment environment, std::filesystem::path executable)
    : flags_(std::move(flags)),
      environment_(std::move(environment)),
      executable_(std::move(executable)),
      stdout_terminal_(isatty(STDOUT_FILENO) == 1),
      stderr_terminal_(isatty(STDERR_FILENO) == 1) {
  const auto no_colour = environment_.find("NO_COLOR");
  colour_ = stderr_terminal_ && (no_colour == environment_.end() || no_colour->second.empty());
}

std::filesystem::path Session::packs_dir() const {
  const std::string chosen = Resolve(flags_.packs_dir, environment_, "TOCSIN_PACKS", "", "");
  return chosen.empty() ? DefaultPacksDir(executable_) : std::filesystem::path(chosen);
}

absl::StatusOr<v1::Profile> Session::profile() const {
  TOCSIN_ASSIGN_OR_RETURN(const std::filesystem::path dir, ConfigDir(environment_));
  return Profiles(dir).Load(Resolve(flags_.profile, environment_, "TOCSIN_PROFILE", "", ""));
}

absl::StatusOr<std::string> Session::GatewayAddress() const {
  const std::string given = Resolve(flags_.gateway, environment_, "TOCSIN_GATEWAY", "", "");
  if (!given.empty()) return given;
  TOCSIN_ASSIGN_OR_RETURN(const v1::Profile found, profile());
  if (found.gateway().empty()) {
    return NotFound("the profile names no gateway: give one with --gateway host:port");
  }
  return found.gateway();
}

absl::StatusOr<std::string> Session::Token() const {
  std::string file = flags_.token_file;
  if (file.empty()) {
    const auto variable = environment_.find("TOCSIN_TOKEN");
    if (variable != environment_.end() && !variable->second.empty()) {
      return std::string(Trim(variable->second));
    }
    TOCSIN_ASSIGN_OR_RETURN(const v1::Profile found, profile());
    file = found.token_file();
  }
  if (file.empty()) {
    return Unauthenticated("no token: give one with --token-file FILE or in TOCSIN_TOKEN");
  }
  auto text = auth::ReadFile(file);
  if (!text.ok()) return Annotate(text.status(), "the token file");
  if (Trim(*text).empty()) {
    return Unauthenticated(
        Concat("the token file ", file, " is empty; `tocsin token --role ROLE` prints a token"));
  }
  return std::string(Trim(*text));
}

absl::StatusOr<std::filesystem::path> Session::DataDir(std::string_view flag) const {
  const auto found = profile();
  std::string chosen =
      Resolve(flag, environment_, "TOCSIN_DATA", found.ok() ? found->data_dir() : "", "");
  if (chosen.empty()) {
    TOCSIN_ASSIGN_OR_RETURN(const std::filesystem::path fallback, DefaultDataDir(environment_));
    chosen = fallback.string();
  }
  std::error_code error;
  const auto absolute = std::filesystem::absolute(chosen, error);
  if (error) return InvalidArgument(Concat("--data ", chosen, ": ", error.message()));
  auto normal = absolute.lexically_normal();
  return normal.has_filename() ? normal : normal.parent_path();
}

absl::StatusOr<std::shared_ptr<grpc::Channel>> Session::Gateway(
    const std::vector<std::string>& services) const {
  TOCSIN_ASSIGN_OR_RETURN(const std::string address, GatewayAddress());
  return rpc::MakePublicChannel(address, "", services);
}

absl::Status Session::Explain(const absl::Status& status, bool server_said) const {
  const std::string address = GatewayAddress().value_or("the gateway");
  switch (status.code()) {
    case absl::StatusCode::kUnavailable:
      if (server_said) {
        return Unavailable(
            Concat(Message(status), "\n`tocsin status` shows what is not ready on this machine."));
      }
      return Unavailable(Concat("the system behind ", address,
                                " does not answer: ", Message(status),
                                "\nIs it running? `tocsin status` shows what runs on this machine; "
                                "`tocsin up` starts it."));
    case absl::StatusCode::kDeadlineExceeded:
      if (server_said) return status;
      return DeadlineExceeded(Concat(address, " did not answer within ",
                                     flags_.timeout.count() / 1000,
                                     " s. `tocsin status` shows what is not ready; --timeout gives "
                                     "it longer."));
    case absl::StatusCode::kUnauthenticated:
      return Unauthenticated(
          Concat(Message(status),
                 "\nThe token of the current profile is used unless --token-file "
                 "or TOCSIN_TOKEN names another; `tocsin token` makes one."));
    case absl::StatusCode::kPermissionDenied:
      return PermissionDenied(Concat(Message(status),
                                     "\nOn the machine that runs the system, `tocsin token --role "
                                     "ROLE` prints a token with another role."));
    default:
      return status;
  }
}

}  // namespace tocsin::cli
