// A whole system on this machine: keys and configuration, a broker, every process, and what they
// need of topics, schemas and rules.
#pragma once

#include <chrono>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "cli/core/checklist.h"
#include "cli/session.h"
#include "cli/supervisor/background.h"
#include "cli/supervisor/broker.h"
#include "cli/supervisor/layout.h"
#include "cli/supervisor/plan.h"
#include "cli/supervisor/supervisor.h"

namespace tocsin::cli {

// On the main thread, under the instance lock, after Supervisor::BlockSignals. What it borrows must
// outlive it.
class LocalSystem {
 public:
  LocalSystem(const Session& session, UpPlan plan, Layout layout, Narrator& narrator);
  ~LocalSystem();
  LocalSystem(const LocalSystem&) = delete;
  LocalSystem& operator=(const LocalSystem&) = delete;

  // Everything up to "ready", told as a checklist. On error everything has been stopped. CANCELLED:
  // a stop was asked for. Blocks for minutes at most, each step with a limit of its own.
  absl::Status Start();
  // Supervises until a stop is asked for.
  void Run();
  // Ends everything in reverse order; within about 12 s for each process that does not end.
  void Stop();

  // Where everything is and what to do next.
  std::string Summary() const;
  const std::string& token() const { return token_; }
  const UpPlan& plan() const { return plan_; }

 private:
  absl::Status StartAll();
  absl::Status MakeConfiguration();
  absl::Status StartBroker();
  absl::StatusOr<BrokerFiles> PrepareBroker();
  absl::Status ApplyTopics();
  absl::Status StartProcesses(const std::vector<std::string>& names);
  absl::Status RegisterSchemas();
  absl::Status ApplyRules();
  absl::Status SaveProfile();
  // Runs a program to its end; its output goes to `log`. CANCELLED: a stop was asked for.
  absl::Status RunToEnd(const std::vector<std::string>& command, const std::filesystem::path& log,
                        std::string_view what);
  absl::Status AwaitServing(const std::string& name, std::chrono::milliseconds timeout);
  void WriteState();

  const Session& session_;
  UpPlan plan_;
  const Layout layout_;
  Narrator& narrator_;
  Checklist list_;
  std::string token_;
  bool ready_ = false;
  bool stopped_ = false;
  // What WriteState wrote last is what there is.
  bool state_written_ = true;
  std::chrono::duration<double> took_{};
  Supervisor supervisor_;
};

}  // namespace tocsin::cli
