// tocsin down: the end of what runs here.
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <optional>

#include "cli/console.h"
#include "cli/core/exit_code.h"
#include "cli/stop_request.h"
#include "cli/supervisor/instance_lock.h"
#include "cli/supervisor/layout.h"
#include "cli/supervisor/up.h"
#include "lib/base/status.h"
#include "lib/base/text.h"

namespace tocsin::cli {
namespace {

namespace fs = std::filesystem;

constexpr std::chrono::seconds kPatience{120};

// The process itself and not its number, which may be another's by the time it is signalled.
class ProcessHandle {
 public:
  explicit ProcessHandle(pid_t pid) : file_(static_cast<int>(syscall(SYS_pidfd_open, pid, 0))) {}
  ~ProcessHandle() {
    if (file_ >= 0) close(file_);
  }
  ProcessHandle(const ProcessHandle&) = delete;
  ProcessHandle& operator=(const ProcessHandle&) = delete;

  // False when it has ended, or may not be signalled.
  bool Signal(int number) const {
    return file_ >= 0 && syscall(SYS_pidfd_send_signal, file_, number, nullptr, 0) == 0;
  }
  int file() const { return file_; }

 private:
  const int file_;
};

// Asks the supervisor to end, and waits until it has. Whoever holds the lock by then was started
// since and is left alone.
absl::Status End(pid_t holder, const Layout& layout) {
  const ProcessHandle supervisor(holder);
  if (InstanceLock::Holder(layout.Run("lock")) != holder) return absl::OkStatus();
  if (!supervisor.Signal(SIGTERM)) {
    if (errno == ESRCH) return absl::OkStatus();
    return PermissionDenied(
        Concat("the supervisor (pid ", holder, ") belongs to another user, who has to stop it"));
  }
  const SteadyTime deadline = Clock::Real().SteadyNow() + kPatience;
  pollfd either[2] = {{supervisor.file(), POLLIN, 0}, {ProcessStop().event(), POLLIN, 0}};
  for (;;) {
    const auto left =
        std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::Real().SteadyNow());
    if (left.count() <= 0) {
      return DeadlineExceeded(Concat("the supervisor (pid ", holder, ") has not ended after ",
                                     kPatience.count(), " s; see ",
                                     layout.Log("supervisor").string()));
    }
    poll(either, 2, static_cast<int>(left.count()));
    if ((either[0].revents & POLLIN) != 0) return absl::OkStatus();
    if (ProcessStop().made()) {
      return absl::CancelledError("no longer waiting; the system goes on ending");
    }
  }
}

}  // namespace

Outcome Down(const Session& session, const SystemFlags& flags) {
  TOCSIN_ASSIGN_OR_RETURN(const fs::path folder, session.DataDir(flags.data));
  const Layout layout(folder);
  if (const auto holder = InstanceLock::Holder(layout.Run("lock"))) {
    Say(Concat("Ending what runs on ", folder.string(), " …"));
    TOCSIN_RETURN_IF_ERROR(End(*holder, layout));
    Say("Everything has ended. The data is kept.");
  } else {
    Say(Concat("Nothing runs on ", folder.string(), "."));
  }
  TOCSIN_ASSIGN_OR_RETURN(const fs::path dir, ConfigDir(session.environment()));
  TOCSIN_RETURN_IF_ERROR(Profiles(dir).Clear(kLocalProfile, folder));
  return kExitOk;
}

}  // namespace tocsin::cli
