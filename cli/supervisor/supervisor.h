// Keeps a set of programs running: starts them in order, starts again what dies, ends them in
// reverse order. Knows nothing of what they are.
#pragma once

#include <signal.h>
#include <sys/types.h>

#include <chrono>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "cli/core/restart_policy.h"
#include "cli/supervisor/health.h"
#include "cli/supervisor/log_writer.h"
#include "lib/base/clock.h"

namespace tocsin::cli {

struct Program {
  std::string name;
  std::vector<std::string> command;
  std::filesystem::path log;
  std::unique_ptr<HealthSource> health;
  LogLimits log_limits = {};
};

struct ProgramState {
  std::string name;
  // 0 while it does not run.
  pid_t pid = 0;
  bool serving = false;
  std::string waiting_for;
  int restarts = 0;
  // How it ended last.
  std::string last_end;
};

// All on the main thread (child.h says why), which must have blocked SIGCHLD, SIGINT, SIGTERM and
// SIGHUP before any other thread was made: BlockSignals.
class Supervisor {
 public:
  // `say`: one line of narration. `on_change`: a pid or a health has changed.
  Supervisor(std::function<void(std::string_view)> say, std::function<void()> on_change);
  // Ends what still runs, as StopAll.
  ~Supervisor();
  Supervisor(const Supervisor&) = delete;
  Supervisor& operator=(const Supervisor&) = delete;

  static void BlockSignals();

  // Rotates its log and starts it. NOT_FOUND, FAILED_PRECONDITION: it cannot be started.
  absl::Status Start(Program program);

  // Waits at most `timeout` for a signal or a change of health and handles it: takes note of who
  // died, starts again whose time has come.
  void Tick(std::chrono::milliseconds timeout);

  // Ticks until each of `names` serves. `waiting` hears what is missing. CANCELLED: a stop was
  // asked for. FAILED_PRECONDITION: one of them ended three times in a row, said that its
  // configuration is wrong (exit code 2), or did not serve in time; with the last lines of its log.
  absl::Status WaitUntilServing(const std::vector<std::string>& names,
                                std::chrono::milliseconds timeout,
                                const std::function<void(std::string_view)>& waiting);

  // SIGINT, SIGTERM or SIGHUP has come.
  bool stop_requested() const { return stop_requested_; }
  std::vector<ProgramState> states() const;

  // In reverse order of start, one after the other: SIGTERM, after `patience` SIGKILL. A second
  // SIGINT kills at once. `ending` hears each name.
  void StopAll(std::chrono::milliseconds patience,
               const std::function<void(std::string_view)>& ending);

 private:
  struct Entry {
    Program program;
    RestartPolicy policy;
    // While it runs.
    std::unique_ptr<LogWriter> log;
    pid_t pid = 0;
    SteadyTime started{};
    // When to start it again, while it does not run.
    SteadyTime due{};
    int restarts = 0;
    bool hopeless = false;
    std::string last_end;
  };
  absl::Status Launch(Entry& entry);
  // Until a signal has come, health has changed, or `timeout` has passed.
  void Await(std::chrono::nanoseconds timeout);
  void Reap();
  void TakeNoteOfEnd(Entry& entry, int status);
  void RestartDue();
  void TakeSignal(int number);
  Entry* Find(std::string_view name);
  absl::Status Culprit(const Entry& entry, std::string_view what) const;

  const std::function<void(std::string_view)> say_;
  const std::function<void()> on_change_;
  // What Await waits for.
  const int signals_;
  const int health_changed_;
  HealthMonitor health_;
  // In the order of start.
  std::vector<Entry> entries_;
  bool stop_requested_ = false;
  bool stopping_ = false;
  int interrupts_ = 0;
};

}  // namespace tocsin::cli
