#include "cli/supervisor/up.h"

#include <unistd.h>

#include <optional>
#include <utility>

#include "cli/console.h"
#include "cli/core/exit_code.h"
#include "cli/supervisor/background.h"
#include "cli/supervisor/demo.h"
#include "cli/supervisor/instance_lock.h"
#include "cli/supervisor/layout.h"
#include "cli/supervisor/local_system.h"
#include "cli/supervisor/plan.h"
#include "cli/supervisor/system_state.h"
#include "lib/base/status.h"
#include "lib/base/text.h"

namespace tocsin::cli {
namespace {

namespace fs = std::filesystem;

struct Running {
  std::string text;
  bool ready = false;
};

// What is to be said of the system that runs on this folder already.
Running DescribeRunning(const Layout& layout, std::optional<pid_t> holder) {
  const pid_t pid = holder.value_or(0);
  const auto state = ReadSystemState(layout, pid);
  Running running;
  running.ready = holder.has_value() && state.ok() && state->ready();
  const bool unknown = !state.ok() && ReadFormerSystemState(layout, pid).ok();
  running.text = Concat(
      "Tocsin already runs on ", layout.data().string(),
      holder.has_value() ? Concat(" (supervisor pid ", *holder, ")") : "",
      running.ready ? Concat(": gateway ", state->gateway(), ", registry ", state->registry(),
                             ", kafka ", state->kafka(), ".")
      : unknown     ? Concat(", and cannot write down how it is: ", WhyNotWritten(layout), ".")
                    : ", and is still starting.",
      "\n`tocsin status` shows it, `tocsin incidents watch` follows it, `tocsin down --data ",
      layout.data().string(), "` stops it.");
  return running;
}

// The supervisor's whole life.
int RunSystem(const Session& session, const UpFlags& flags, UpPlan plan, const Layout& layout,
              Narrator& narrator, const Foreground& foreground) {
  const auto give_up = [&](std::string_view why, int code) {
    if (!why.empty()) narrator.Write(Concat(why, "\n"));
    foreground.ready(code);
    return code;
  };
  // Before anything of this folder is touched: another may have begun since it was looked at.
  const auto lock = InstanceLock::Acquire(layout.Run("lock"));
  if (absl::IsAlreadyExists(lock.status())) {
    return give_up(DescribeRunning(layout, InstanceLock::Holder(layout.Run("lock"))).text,
                   kExitConflict);
  }
  if (!lock.ok()) return give_up(Message(lock.status()), ExitCodeFor(lock.status()));
  if (const absl::Status begun = foreground.begun(); !begun.ok()) {
    return give_up(Message(begun), ExitCodeFor(begun));
  }
  // An earlier one's, that did not come to its end.
  RemoveSystemState(layout);
  Supervisor::BlockSignals();
  LocalSystem system(session, std::move(plan), layout, narrator);
  if (const absl::Status started = system.Start(); !started.ok()) {
    return give_up("", absl::IsCancelled(started) ? kExitInterrupted : kExitFailure);
  }
  narrator.Write(system.Summary());
  if (flags.detach) {
    narrator.Write(Concat("\nIt goes on running; `tocsin down",
                          flags.data.empty() ? "" : " --data ", flags.data, "` stops it.\n"));
  }
  {
    Demo demo(system.plan().system, system.token(), narrator);
    const fs::path played = layout.Run("demo-played");
    if (!flags.detach) {
      narrator.Write("\nIncidents as they happen; Ctrl-C ends everything.\n");
      demo.FollowIncidents();
    }
    if (!flags.no_demo && !fs::exists(played)) {
      demo.Play(played);
    } else if (!flags.no_demo) {
      narrator.Write("The demo was played at an earlier start; its incidents are kept.\n");
    }
    foreground.ready(kExitOk);
    system.Run();
  }
  system.Stop();
  return kExitOk;
}

}  // namespace

Outcome Up(const Session& session, const UpFlags& flags) {
  // What was asked for is judged first: a mistake in it stays one whatever runs.
  TOCSIN_ASSIGN_OR_RETURN(UpPlan plan, MakePlan(session, flags));
  std::string data = Resolve(flags.data, session.environment(), "TOCSIN_DATA", "", "");
  if (data.empty()) {
    TOCSIN_ASSIGN_OR_RETURN(const fs::path fallback, DefaultDataDir(session.environment()));
    data = fallback.string();
  }
  TOCSIN_ASSIGN_OR_RETURN(const fs::path folder, session.DataDir(data));
  const Layout layout(folder);
  if (const auto holder = InstanceLock::Holder(layout.Run("lock"))) {
    const Running running = DescribeRunning(layout, holder);
    Say(running.text);
    return running.ready && flags.detach ? kExitOk : kExitConflict;
  }
  TOCSIN_ASSIGN_OR_RETURN(const fs::path profiles, ConfigDir(session.environment()));
  if (const absl::Status usable = Profiles(profiles).CheckWritable(); !usable.ok()) {
    return FailedPrecondition(Concat(Message(usable), "\nNothing was started."));
  }
  TOCSIN_RETURN_IF_ERROR(CheckPorts(plan.system));
  TOCSIN_RETURN_IF_ERROR(layout.MakeFolders());
  const bool on_terminal = session.stderr_terminal();
  if (!flags.detach) {
    Narrator narrator(STDERR_FILENO, on_terminal ? STDERR_FILENO : -1);
    return RunSystem(session, flags, std::move(plan), layout, narrator,
                     {[] { return absl::OkStatus(); }, [](int) {}});
  }
  return RunInBackground(
      [&](Narrator& narrator, const Foreground& foreground) {
        return RunSystem(session, flags, std::move(plan), layout, narrator, foreground);
      },
      layout.Log("supervisor"), on_terminal);
}

}  // namespace tocsin::cli
