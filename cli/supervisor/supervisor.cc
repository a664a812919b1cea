#include "cli/supervisor/supervisor.h"

#include <sys/wait.h>

#include <algorithm>
#include <cerrno>
#include <ctime>

#include "cli/supervisor/child.h"
#include "lib/base/status.h"
#include "lib/base/text.h"

namespace tocsin::cli {
namespace {

constexpr std::chrono::milliseconds kStartingPeriod{100};
constexpr std::chrono::milliseconds kTick{100};
constexpr int kWrongConfiguration = 2;
constexpr int kMostFailures = 3;

sigset_t HandledSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int number : {SIGCHLD, SIGINT, SIGTERM, SIGHUP}) sigaddset(&signals, number);
  return signals;
}

SteadyTime Now() { return Clock::Real().SteadyNow(); }

}  // namespace

Supervisor::Supervisor(std::function<void(std::string_view)> say, std::function<void()> on_change)
    : say_(std::move(say)), on_change_(std::move(on_change)), health_(kStartingPeriod) {}

Supervisor::~Supervisor() {
  StopAll(std::chrono::seconds(12), [](std::string_view) {});
}

void Supervisor::BlockSignals() {
  const sigset_t signals = HandledSignals();
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  signal(SIGPIPE, SIG_IGN);
}

absl::Status Supervisor::Start(Program program) {
  RotateLog(program.log);
  Entry& entry = entries_.emplace_back();
  entry.program = std::move(program);
  if (absl::Status status = Launch(entry); !status.ok()) {
    entries_.pop_back();
    return status;
  }
  health_.Add(entry.program.name, entry.program.probe);
  return absl::OkStatus();
}

absl::Status Supervisor::Launch(Entry& entry) {
  TOCSIN_ASSIGN_OR_RETURN(entry.pid, StartProgram(entry.program.command, entry.program.log));
  entry.started = Now();
  entry.told_serving = false;
  health_.Forget(entry.program.name);
  on_change_();
  return absl::OkStatus();
}

void Supervisor::TakeSignal(int number) {
  if (number == SIGCHLD) return;
  if (number == SIGINT) ++interrupts_;
  stop_requested_ = true;
}

void Supervisor::Tick(std::chrono::milliseconds timeout) {
  SteadyTime until = Now() + timeout;
  for (const Entry& entry : entries_) {
    if (entry.pid == 0 && !entry.hopeless && !stopping_) until = std::min(until, entry.due);
  }
  const auto wait = std::max(std::chrono::duration_cast<std::chrono::nanoseconds>(until - Now()),
                             std::chrono::nanoseconds(0));
  const timespec limit{static_cast<std::time_t>(wait.count() / 1'000'000'000),
                       static_cast<long>(wait.count() % 1'000'000'000)};
  const sigset_t signals = HandledSignals();
  const int number = sigtimedwait(&signals, nullptr, &limit);
  if (number > 0) TakeSignal(number);
  Reap();
  if (!stopping_ && !stop_requested_) RestartDue();
  for (Entry& entry : entries_) {
    if (entry.told_serving != health_.Get(entry.program.name).serving) {
      entry.told_serving = !entry.told_serving;
      on_change_();
    }
  }
}

void Supervisor::Reap() {
  for (Entry& entry : entries_) {
    int status = 0;
    if (entry.pid == 0 || waitpid(entry.pid, &status, WNOHANG) != entry.pid) continue;
    // Whatever it left behind in its process group goes with it.
    kill(-entry.pid, SIGKILL);
    entry.pid = 0;
    entry.last_end = DescribeEnd(status);
    health_.Forget(entry.program.name);
    const auto uptime =
        std::chrono::duration_cast<std::chrono::milliseconds>(Now() - entry.started);
    const auto delay = entry.policy.OnExit(uptime);
    entry.due = Now() + delay;
    entry.hopeless = WIFEXITED(status) && WEXITSTATUS(status) == kWrongConfiguration;
    if (!stopping_ && !stop_requested_) {
      say_(entry.hopeless
               ? Concat(entry.program.name, " refuses its configuration (", entry.last_end,
                        ") and is not started again; see ", entry.program.log.string())
               : Concat(entry.program.name, " ended (", entry.last_end, "); starting it again in ",
                        delay.count(), " ms"));
    }
    on_change_();
  }
}

void Supervisor::RestartDue() {
  for (Entry& entry : entries_) {
    if (entry.pid != 0 || entry.hopeless || Now() < entry.due) continue;
    ++entry.restarts;
    if (const absl::Status status = Launch(entry); !status.ok()) {
      say_(Message(status));
      entry.due = Now() + entry.policy.OnExit(std::chrono::milliseconds(0));
    }
  }
}

Supervisor::Entry* Supervisor::Find(std::string_view name) {
  const auto found = std::find_if(entries_.begin(), entries_.end(),
                                  [&](const Entry& entry) { return entry.program.name == name; });
  return found == entries_.end() ? nullptr : &*found;
}

absl::Status Supervisor::Culprit(const Entry& entry, std::string_view what) const {
  const std::string lines = LastLines(entry.program.log, 15);
  return FailedPrecondition(Concat(entry.program.name, " ", what, ". ",
                                   lines.empty() ? "Its log is empty: " : "The end of its log, ",
                                   entry.program.log.string(), lines.empty() ? "" : ":\n", lines));
}

absl::Status Supervisor::WaitUntilServing(const std::vector<std::string>& names,
                                          std::chrono::milliseconds timeout,
                                          const std::function<void(std::string_view)>& waiting) {
  const SteadyTime deadline = Now() + timeout;
  for (;;) {
    const Entry* missing = nullptr;
    std::string reason;
    for (const std::string& name : names) {
      const Entry* const entry = Find(name);
      if (entry == nullptr) return Internal(Concat("nobody has started ", name));
      const Health health = health_.Get(name);
      if (health.serving && entry->pid != 0) continue;
      if (entry->hopeless) return Culprit(*entry, "refuses its configuration");
      if (entry->policy.failures() >= kMostFailures) {
        return Culprit(*entry, Concat("ended ", entry->policy.failures(),
                                      " times soon after its start, last with ", entry->last_end));
      }
      missing = entry;
      reason = health.reason;
    }
    if (missing == nullptr) return absl::OkStatus();
    waiting(names.size() == 1 ? reason : Concat(missing->program.name, ": ", reason));
    if (stop_requested_) return absl::CancelledError("stopped");
    if (Now() > deadline) {
      return Culprit(*missing,
                     Concat("is not ready after ",
                            std::chrono::duration_cast<std::chrono::seconds>(timeout).count(),
                            " s; it waits for ", reason));
    }
    Tick(kTick);
  }
}

std::vector<ProgramState> Supervisor::states() const {
  std::vector<ProgramState> states;
  for (const Entry& entry : entries_) {
    const Health health = health_.Get(entry.program.name);
    states.push_back({entry.program.name, entry.pid, health.serving && entry.pid != 0,
                      health.serving ? "" : health.reason, entry.restarts, entry.last_end});
  }
  return states;
}

void Supervisor::StopAll(std::chrono::milliseconds patience,
                         const std::function<void(std::string_view)>& ending) {
  stopping_ = true;
  const int interrupts = interrupts_;
  for (auto entry = entries_.rbegin(); entry != entries_.rend(); ++entry) {
    if (entry->pid == 0) continue;
    ending(entry->program.name);
    kill(entry->pid, SIGTERM);
    const SteadyTime deadline = Now() + patience;
    while (entry->pid != 0) {
      // An impatient second Ctrl-C, or a program that does not end.
      if (interrupts_ > interrupts || Now() > deadline) kill(-entry->pid, SIGKILL);
      Tick(std::chrono::milliseconds(20));
    }
  }
  entries_.clear();
}

}  // namespace tocsin::cli
