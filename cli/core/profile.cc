#include "cli/core/profile.h"

#include <unistd.h>

#include "lib/auth/keys.h"
#include "lib/base/status.h"
#include "lib/base/text.h"
#include "lib/config/config.h"

namespace tocsin::cli {
namespace {

namespace fs = std::filesystem;

absl::StatusOr<fs::path> XdgDir(const Environment& environment, const char* variable,
                                const char* below_home) {
  // The specification: a relative path in the variable is to be ignored.
  if (const auto found = environment.find(variable);
      found != environment.end() && !found->second.empty() && found->second.front() == '/') {
    return fs::path(found->second) / "tocsin";
  }
  const auto home = environment.find("HOME");
  if (home == environment.end() || home->second.empty()) {
    return FailedPrecondition(Concat("neither ", variable, " nor HOME is set: say in ", variable,
                                     " where to keep files"));
  }
  return fs::path(home->second) / below_home / "tocsin";
}

absl::Status CheckName(std::string_view name) {
  if (name.empty() || name.front() == '.' || name.find('/') != std::string_view::npos) {
    return InvalidArgument(Concat("'", name, "' is not the name of a profile"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<fs::path> ConfigDir(const Environment& environment) {
  return XdgDir(environment, "XDG_CONFIG_HOME", ".config");
}
absl::StatusOr<fs::path> DefaultDataDir(const Environment& environment) {
  return XdgDir(environment, "XDG_DATA_HOME", ".local/share");
}
absl::StatusOr<fs::path> CacheDir(const Environment& environment) {
  return XdgDir(environment, "XDG_CACHE_HOME", ".cache");
}

fs::path Profiles::File(std::string_view name, std::string_view ending) const {
  return dir_ / "profiles" / Concat(name, ending);
}

std::optional<std::string> Profiles::CurrentName() const {
  const auto text = auth::ReadFile((dir_ / "current").string(), 4096);
  if (!text.ok() || Trim(*text).empty()) return std::nullopt;
  return std::string(Trim(*text));
}

absl::StatusOr<v1::Profile> Profiles::Load(std::string_view name) const {
  const std::string chosen = name.empty() ? CurrentName().value_or("") : std::string(name);
  if (chosen.empty()) {
    return NotFound(
        "there is no current profile, so it is not known where the system is. Start one on this "
        "machine with `tocsin up`, or name one with --gateway and --token-file.");
  }
  TOCSIN_RETURN_IF_ERROR(CheckName(chosen));
  auto profile = config::LoadFile<v1::Profile>(File(chosen, ".yaml").string());
  if (absl::IsNotFound(profile.status())) {
    return NotFound(Concat("there is no profile '", chosen, "' (", File(chosen, ".yaml").string(),
                           "). `tocsin up` writes the profile ", kLocalProfile, "."));
  }
  return profile;
}

absl::Status Profiles::CheckWritable() const {
  constexpr const char* kInstead =
      ". Commands find the system by the profile that is kept there. Make room for it, or name "
      "another folder in XDG_CONFIG_HOME.";
  const fs::path folder = dir_ / "profiles";
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) {
    return FailedPrecondition(
        Concat("cannot make the folder ", folder.string(), ": ", error.message(), kInstead));
  }
  // What a write would say, by a write: rights are one reason of several.
  for (const fs::path& where : {dir_, folder}) {
    const fs::path probe = where / Concat(".can-write-", getpid());
    const absl::Status written = auth::WriteSecretFile(probe.string(), "\n");
    fs::remove(probe, error);
    if (!written.ok()) {
      return FailedPrecondition(Concat("cannot write into the folder ", where.string(), ": ",
                                       Message(written), kInstead));
    }
  }
  return absl::OkStatus();
}

absl::Status Profiles::SaveCurrent(std::string_view name, v1::Profile profile,
                                   std::string_view token) const {
  TOCSIN_RETURN_IF_ERROR(CheckName(name));
  TOCSIN_RETURN_IF_ERROR(CheckWritable());
  profile.set_token_file(File(name, ".token").string());
  TOCSIN_RETURN_IF_ERROR(auth::WriteSecretFile(profile.token_file(), Concat(token, "\n")));
  TOCSIN_RETURN_IF_ERROR(
      auth::WriteFileAtomically(File(name, ".yaml").string(), config::Dump(profile)));
  return auth::WriteFileAtomically((dir_ / "current").string(), Concat(name, "\n"));
}

absl::Status Profiles::Clear(std::string_view name, const fs::path& data_dir) const {
  const auto profile = Load(name);
  if (absl::IsNotFound(profile.status())) return absl::OkStatus();
  TOCSIN_RETURN_IF_ERROR(profile.status());
  if (fs::path(profile->data_dir()) != data_dir) return absl::OkStatus();
  std::error_code ignored;
  if (CurrentName() == std::string(name)) fs::remove(dir_ / "current", ignored);
  fs::remove(File(name, ".token"), ignored);
  fs::remove(File(name, ".yaml"), ignored);
  return absl::OkStatus();
}

std::string Resolve(std::string_view flag, const Environment& environment, const char* variable,
                    std::string_view profile, std::string_view fallback) {
  if (!flag.empty()) return std::string(flag);
  if (const auto found = environment.find(variable);
      found != environment.end() && !found->second.empty()) {
    return found->second;
  }
  return std::string(profile.empty() ? fallback : profile);
}

}  // namespace tocsin::cli
