// tocsin status: what runs here.
#include <string>
#include <utility>
#include <vector>

#include "cli/console.h"
#include "cli/core/exit_code.h"
#include "cli/output.h"
#include "cli/supervisor/health_sources.h"
#include "cli/supervisor/instance_lock.h"
#include "cli/supervisor/layout.h"
#include "cli/supervisor/system_state.h"
#include "cli/supervisor/up.h"
#include "lib/base/status.h"
#include "lib/base/text.h"

namespace tocsin::cli {
namespace {

namespace fs = std::filesystem;

std::unique_ptr<HealthSource> SourceOf(const Layout& layout, const v1::ProcessState& process) {
  // The broker is not one of ours and has no admin port.
  if (process.admin().empty()) return MakeBrokerHealth(process.address());
  const MeshFiles mesh{layout.CertificateOf("cli").string(), layout.KeyOf("cli").string(),
                       layout.Authority().string()};
  return MakeGrpcHealth(process.address(), process.admin(),
                        process.name() == "gateway" ? nullptr : &mesh);
}

void PrintState(const Session& session, const v1::SystemState& state) {
  if (session.flags().output != OutputForm::kTable) {
    Print(Concat(Json(state, session.flags().output == OutputForm::kJson), "\n"));
    return;
  }
  const bool asked = !state.asked_because().empty();
  std::vector<std::vector<std::string>> rows;
  for (const auto& process : state.processes()) {
    rows.push_back({process.name(),
                    asked                ? "?"
                    : process.pid() == 0 ? "-"
                                         : std::to_string(process.pid()),
                    asked ? "?" : std::to_string(process.restarts()), process.address(),
                    process.status()});
  }
  Print(FormatTable({"PROCESS", "PID", "RESTARTS", "ADDRESS", "STATUS"}, rows));
}

}  // namespace

Outcome ShowStatus(const Session& session, const SystemFlags& flags) {
  TOCSIN_ASSIGN_OR_RETURN(const fs::path folder, session.DataDir(flags.data));
  const Layout layout(folder);
  const auto holder = InstanceLock::Holder(layout.Run("lock"));
  if (!holder.has_value()) {
    return NotFound(Concat("nothing runs on ", folder.string(),
                           ". `tocsin up` starts a system; --data names another folder."));
  }
  if (const auto state = ReadSystemState(layout, *holder); state.ok()) {
    PrintState(session, *state);
    return kExitOk;
  }
  const std::string why = Concat("the supervisor (pid ", *holder, ") cannot write down in ",
                                 layout.Run("").string(), " what happens: ", WhyNotWritten(layout));
  auto former = ReadFormerSystemState(layout, *holder);
  if (!former.ok()) {
    return Unavailable(Concat(
        "a supervisor (pid ", *holder, ") runs on ", folder.string(),
        ", and the state of its processes cannot be known. Either it has only just begun (look "
        "again in a few seconds), or it cannot write it down: ",
        WhyNotWritten(layout), "."));
  }
  PrintState(session, AskSystemState(*std::move(former), why, [&](const v1::ProcessState& process) {
               return SourceOf(layout, process);
             }));
  Say(Concat("Asked the processes themselves, for ", why,
             ". Process numbers and restarts are not known. Make room; it tries again by itself."));
  return kExitPartial;
}

}  // namespace tocsin::cli
