// Where `tocsin` finds the system to talk to: profiles in the user's configuration folder, and how
// flag, environment, profile and default go before one another.
//
//   ${XDG_CONFIG_HOME:-~/.config}/tocsin/current                the name of the current profile
//   ${XDG_CONFIG_HOME:-~/.config}/tocsin/profiles/<name>.yaml   tocsin.cli.v1.Profile
//   ${XDG_CONFIG_HOME:-~/.config}/tocsin/profiles/<name>.token  0600
//
// Threads: one at a time.
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "tocsin/cli/v1/profile.pb.h"

namespace tocsin::cli {

using Environment = std::map<std::string, std::string>;

// FAILED_PRECONDITION when neither HOME nor the XDG variable is set.
absl::StatusOr<std::filesystem::path> ConfigDir(const Environment& environment);
absl::StatusOr<std::filesystem::path> DefaultDataDir(const Environment& environment);
absl::StatusOr<std::filesystem::path> CacheDir(const Environment& environment);

class Profiles {
 public:
  explicit Profiles(std::filesystem::path config_dir) : dir_(std::move(config_dir)) {}

  // The profile by name, or the current one when `name` is empty. NOT_FOUND says how to get one.
  absl::StatusOr<v1::Profile> Load(std::string_view name) const;
  // nullopt when none is current.
  std::optional<std::string> CurrentName() const;
  // That SaveCurrent will find a folder it can write, which is made for it; so that a start finds
  // out first and not last. FAILED_PRECONDITION: what stands in the way and what to do.
  absl::Status CheckWritable() const;
  // Writes the profile and its token and makes it the current one. Sets profile.token_file.
  absl::Status SaveCurrent(std::string_view name, v1::Profile profile,
                           std::string_view token) const;
  // Removes the profile, its token, and the mark of the current one when it is this; a profile of
  // another data directory is left alone.
  absl::Status Clear(std::string_view name, const std::filesystem::path& data_dir) const;

 private:
  std::filesystem::path File(std::string_view name, std::string_view ending) const;
  std::filesystem::path dir_;
};

// The name of the profile that `tocsin up` writes.
inline constexpr std::string_view kLocalProfile = "local";

// flag, then environment, then profile, then default: the first that is not empty.
std::string Resolve(std::string_view flag, const Environment& environment, const char* variable,
                    std::string_view profile, std::string_view fallback);

}  // namespace tocsin::cli
