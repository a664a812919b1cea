#include "cli/supervisor/system_state.h"

#include <google/protobuf/util/json_util.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>
#include <thread>
#include <vector>

#include "cli/output.h"
#include "lib/auth/keys.h"
#include "lib/base/status.h"
#include "lib/base/text.h"

namespace tocsin::cli {
namespace {

namespace fs = std::filesystem;

fs::path File(const Layout& layout) { return layout.Run("state.json"); }
fs::path FormerFile(const Layout& layout) { return layout.Run("state.former.json"); }

bool ReadOnly(const Layout& layout) {
  return access(layout.Run("").c_str(), W_OK) != 0 && errno == EROFS;
}

absl::StatusOr<v1::SystemState> Read(const fs::path& file, pid_t holder) {
  TOCSIN_ASSIGN_OR_RETURN(const std::string text, auth::ReadFile(file.string()));
  v1::SystemState state;
  if (!google::protobuf::util::JsonStringToMessage(text, &state).ok()) {
    return DataLoss(Concat(file.string(), " cannot be parsed"));
  }
  if (state.supervisor_pid() != holder) {
    return NotFound(Concat(file.string(), " was left behind by an earlier supervisor (pid ",
                           state.supervisor_pid(), ")"));
  }
  return state;
}

}  // namespace

absl::Status WriteSystemState(const Layout& layout, const v1::SystemState& state) {
  absl::Status written = auth::WriteFileAtomically(File(layout).string(), Json(state, true));
  std::error_code error;
  if (written.ok()) {
    fs::remove(FormerFile(layout), error);
    return written;
  }
  if (fs::exists(File(layout), error)) {
    fs::rename(File(layout), FormerFile(layout), error);
    if (error) fs::remove(File(layout), error);
  }
  return written;
}

absl::StatusOr<v1::SystemState> ReadSystemState(const Layout& layout, pid_t holder) {
  auto state = Read(File(layout), holder);
  if (state.ok() && ReadOnly(layout)) {
    return Unavailable(
        Concat(File(layout).string(), " may be of the past: ", WhyNotWritten(layout)));
  }
  return state;
}

absl::StatusOr<v1::SystemState> ReadFormerSystemState(const Layout& layout, pid_t holder) {
  return Read(ReadOnly(layout) ? File(layout) : FormerFile(layout), holder);
}

void RemoveSystemState(const Layout& layout) {
  std::error_code ignored;
  fs::remove(File(layout), ignored);
  fs::remove(FormerFile(layout), ignored);
}

std::string WhyNotWritten(const Layout& layout) {
  if (ReadOnly(layout)) return "its file system is read-only";
  constexpr std::uint64_t kScarce = std::uint64_t{1} << 20;
  struct statvfs disk {};
  if (statvfs(layout.Run("").c_str(), &disk) == 0) {
    const std::uint64_t left = std::uint64_t{disk.f_bavail} * disk.f_frsize;
    if (left < kScarce) return Concat("its disk is full (", left, " bytes left)");
    if (disk.f_files > 0 && disk.f_favail == 0) return "its disk has no room for another file";
  }
  return Concat(layout.Log("supervisor").string(), " says why");
}

v1::SystemState AskSystemState(
    v1::SystemState former, std::string_view why,
    const std::function<std::unique_ptr<HealthSource>(const v1::ProcessState&)>& source) {
  std::vector<std::thread> asking;
  for (v1::ProcessState& process : *former.mutable_processes()) {
    process.set_pid(0);
    process.set_restarts(0);
    asking.emplace_back([&process, &source] {
      const auto one = source(process);
      one->OnNews([] {});
      const absl::Status status = one->Ask();
      process.set_ready(status.ok());
      process.set_status(status.ok() ? "serving" : Concat("waiting for ", Message(status)));
    });
  }
  bool ready = former.ready();
  for (std::thread& one : asking) one.join();
  for (const v1::ProcessState& process : former.processes()) ready = ready && process.ready();
  former.set_ready(ready);
  former.set_asked_because(std::string(why));
  return former;
}

}  // namespace tocsin::cli
