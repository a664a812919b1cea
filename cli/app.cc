#include "cli/app.h"

#include <signal.h>
#include <unistd.h>

#include <CLI/CLI.hpp>

#include "cli/command_line.h"
#include "cli/console.h"
#include "cli/core/exit_code.h"
#include "cli/stop_request.h"
#include "lib/base/status.h"
#include "lib/base/text.h"
#include "lib/config/config.h"
#include "lib/telemetry/log.h"
#include "lib/telemetry/telemetry.h"

namespace tocsin::cli {
namespace {

void OnStopSignal(int number) { ProcessStop().Make(number); }

void HandleSignals() {
  ProcessStop();  // made before a signal can come
  struct sigaction action {};
  action.sa_handler = OnStopSignal;
  // Without SA_RESTART: a blocking read ends, and the loop around it looks.
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  signal(SIGPIPE, SIG_IGN);
}

std::filesystem::path Executable() {
  std::error_code error;
  auto path = std::filesystem::read_symlink("/proc/self/exe", error);
  return error ? std::filesystem::path("tocsin") : path;
}

int Fail(const absl::Status& status) {
  Say(Concat("tocsin: ", Message(status)));
  return ExitCodeFor(status);
}

int UsageError(const CLI::App& app, const CLI::ParseError& error) {
  std::string reason = UnknownWord(app);
  if (reason.empty()) reason = error.what();
  Say(Concat("tocsin: ", reason, "\n`", CommandPath(app), " --help` shows what there is."));
  return kExitUsage;
}

// The last word on a command: what the shell sees, and what is still to be said.
int Conclude(const Outcome& outcome) {
  const absl::Status printed = PrintedSoFar();
  // Who closes the pipe has seen enough: `| head`.
  if (absl::IsCancelled(printed)) return kExitClosedOutput;
  if (!printed.ok()) return Fail(printed);
  if (absl::IsCancelled(outcome.status()) && ProcessStop().made()) {
    Say("Stopped.");
    return kExitInterrupted;
  }
  return outcome.ok() ? *outcome : Fail(outcome.status());
}

// What a command's trace is worth: nobody waits longer for a collector that does not answer.
constexpr std::chrono::milliseconds kTraceTimeout{120};

int RunChosen(Choice& choice) {
  if (const absl::Status status = ReadTexts(choice); !status.ok()) {
    Say(Concat("tocsin: ", Message(status)));
    return kExitUsage;
  }
  HandleSignals();
  const Session session(choice.global, config::CurrentEnvironment(), Executable());
  if (!choice.supervises) {
    telemetry::SetLogLevel(telemetry::LogLevel::kError);
    const auto profile = session.profile();
    telemetry::Options options;
    options.process = "tocsin";
    options.version = TOCSIN_VERSION;
    options.log_level = "error";
    options.otlp_endpoint = Resolve(choice.global.otlp, session.environment(), "TOCSIN_OTLP",
                                    profile.ok() ? profile->otlp() : "", "");
    options.otlp_insecure = true;
    options.export_timeout = kTraceTimeout;
    if (const absl::Status status = telemetry::Start(options); !status.ok()) return Fail(status);
  }
  const Outcome outcome = choice.run(session);
  if (!choice.supervises) telemetry::Shutdown(kTraceTimeout);
  return Conclude(outcome);
}

}  // namespace

int Run(int argc, char** argv) {
  // gRPC moves a lost connection on only while a thread waits in a call. Here are no other threads
  // than those that wait, and they pause between two tries: so it must look by itself, and often,
  // or finding a restarted gateway takes half a minute.
  setenv("GRPC_CLIENT_CHANNEL_BACKUP_POLL_INTERVAL_MS", "100", /*overwrite=*/0);
  CLI::App app(
      "Tocsin turns streams of events into incidents that people act on.\n"
      "Commands talk to the system of the current profile, which `tocsin up` writes.",
      "tocsin");
  app.set_version_flag("--version", Concat("tocsin ", TOCSIN_VERSION));
  Choice choice;
  AddCommands(app, choice);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& help) {  // --help, --version
    return app.exit(help);
  } catch (const CLI::ParseError& error) {
    return UsageError(app, error);
  }
  return RunChosen(choice);
}

}  // namespace tocsin::cli
