#include "cli/supervisor/supervisor.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <ctime>

#include "cli/supervisor/child.h"
#include "lib/base/status.h"
#include "lib/base/text.h"

namespace tocsin::cli {
namespace {

// While something is awaited, so that the seconds shown beside it go on.
constexpr std::chrono::milliseconds kShown{250};
// For what is still in the pipe of a program that has ended.
constexpr std::chrono::milliseconds kLastWords{1000};
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
    : say_(std::move(say)),
      on_change_(std::move(on_change)),
      signals_([] {
        const sigset_t signals = HandledSignals();
        return signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
      }()),
      health_changed_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      health_([event = health_changed_] {
        const std::uint64_t one = 1;
        [[maybe_unused]] const ssize_t written = write(event, &one, sizeof(one));
      }) {}

Supervisor::~Supervisor() {
  StopAll(std::chrono::seconds(12), [](std::string_view) {});
  // Its threads write to the event until they have ended.
  health_.Stop();
  close(signals_);
  close(health_changed_);
}

void Supervisor::BlockSignals() {
  const sigset_t signals = HandledSignals();
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  signal(SIGPIPE, SIG_IGN);
}

absl::Status Supervisor::Start(Program program) {
  RotateLog(program.log, program.log_limits.kept_files);
  Entry& entry = entries_.emplace_back();
  entry.program = std::move(program);
  if (absl::Status status = Launch(entry); !status.ok()) {
    entries_.pop_back();
    return status;
  }
  health_.Add(entry.program.name, std::move(entry.program.health));
  return absl::OkStatus();
}

absl::Status Supervisor::Launch(Entry& entry) {
  TOCSIN_ASSIGN_OR_RETURN(entry.log, LogWriter::Start(entry.program.log, entry.program.log_limits));
  auto pid = StartProgram(entry.program.command, entry.log->input());
  entry.log->CloseInput();
  if (!pid.ok()) {
    entry.log->Finish(kLastWords);
    entry.log.reset();
    return pid.status();
  }
  entry.pid = *pid;
  entry.started = Now();
  health_.Forget(entry.program.name);
  on_change_();
  return absl::OkStatus();
}

void Supervisor::TakeSignal(int number) {
  if (number == SIGCHLD) return;
  if (number == SIGINT) ++interrupts_;
  stop_requested_ = true;
}

void Supervisor::Await(std::chrono::nanoseconds timeout) {
  const auto wait = std::max(timeout, std::chrono::nanoseconds(0));
  const timespec limit{static_cast<std::time_t>(wait.count() / 1'000'000'000),
                       static_cast<long>(wait.count() % 1'000'000'000)};
  pollfd events[2] = {{signals_, POLLIN, 0}, {health_changed_, POLLIN, 0}};
  ppoll(events, 2, &limit, nullptr);
  for (signalfd_siginfo signal{};
       read(signals_, &signal, sizeof(signal)) == static_cast<ssize_t>(sizeof(signal));) {
    TakeSignal(static_cast<int>(signal.ssi_signo));
  }
  std::uint64_t count = 0;
  if (read(health_changed_, &count, sizeof(count)) > 0) on_change_();
}

void Supervisor::Tick(std::chrono::milliseconds timeout) {
  SteadyTime until = Now() + timeout;
  for (const Entry& entry : entries_) {
    if (entry.pid == 0 && !entry.hopeless && !stopping_) until = std::min(until, entry.due);
  }
  Await(until - Now());
  Reap();
  if (!stopping_ && !stop_requested_) RestartDue();
}

void Supervisor::Reap() {
  for (Entry& entry : entries_) {
    if (entry.log == nullptr) continue;
    int status = 0;
    if (waitpid(entry.pid, &status, WNOHANG) == entry.pid) {
      TakeNoteOfEnd(entry, status);
    } else if (const absl::Status mended = entry.log->Mend(); !mended.ok()) {
      say_(Message(mended));
    }
  }
}

void Supervisor::TakeNoteOfEnd(Entry& entry, int status) {
  // Whatever it left behind in its process group goes with it.
  kill(-entry.pid, SIGKILL);
  entry.pid = 0;
  entry.log->Finish(kLastWords);
  entry.log.reset();
  entry.last_end = DescribeEnd(status);
  health_.Forget(entry.program.name);
  const auto uptime = std::chrono::duration_cast<std::chrono::milliseconds>(Now() - entry.started);
  const auto delay = entry.policy.OnExit(uptime);
  entry.due = Now() + delay;
  entry.hopeless = WIFEXITED(status) && WEXITSTATUS(status) == kWrongConfiguration;
  if (!stopping_ && !stop_requested_) {
    say_(entry.hopeless ? Concat(entry.program.name, " refuses its configuration (", entry.last_end,
                                 ") and is not started again; see ", entry.program.log.string())
                        : Concat(entry.program.name, " ended (", entry.last_end,
                                 "); starting it again in ", delay.count(), " ms"));
  }
  on_change_();
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
    if (Now() >= deadline) {
      return Culprit(*missing,
                     Concat("is not ready after ",
                            std::chrono::duration_cast<std::chrono::seconds>(timeout).count(),
                            " s; it waits for ", reason));
    }
    Tick(std::min(kShown, std::chrono::ceil<std::chrono::milliseconds>(deadline - Now())));
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
      const bool at_once = interrupts_ > interrupts || Now() >= deadline;
      if (at_once) kill(-entry->pid, SIGKILL);
      Tick(at_once ? kShown : std::chrono::ceil<std::chrono::milliseconds>(deadline - Now()));
    }
  }
  entries_.clear();
}

}  // namespace tocsin::cli
