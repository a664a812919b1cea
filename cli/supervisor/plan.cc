#include "cli/supervisor/plan.h"

#include <unistd.h>

#include <map>
#include <tuple>
#include <utility>
#include <vector>

#include "cli/core/exit_code.h"
#include "cli/core/pack.h"
#include "cli/core/profile.h"
#include "cli/supervisor/ports.h"
#include "cli/system.h"
#include "lib/base/status.h"
#include "lib/base/text.h"

namespace tocsin::cli {

namespace fs = std::filesystem;

absl::StatusOr<UpPlan> MakePlan(const Session& session, const UpFlags& flags) {
  const Environment& environment = session.environment();
  UpPlan plan;
  plan.system.gateway = Resolve(flags.gateway, environment, "TOCSIN_GATEWAY", "", "127.0.0.1:8080");
  plan.system.registry =
      Resolve(flags.registry, environment, "TOCSIN_REGISTRY", "", "127.0.0.1:8081");
  plan.system.kafka = Resolve(flags.kafka, environment, "TOCSIN_KAFKA", "", "127.0.0.1:9092");
  plan.system.otlp = Resolve(flags.otlp, environment, "TOCSIN_OTLP", "", "");
  plan.system.webhook = Resolve(flags.webhook, environment, "TOCSIN_WEBHOOK", "", "");
  for (const auto& [flag, address] : {std::pair{"--gateway", plan.system.gateway},
                                      {"--registry", plan.system.registry},
                                      {"--kafka", plan.system.kafka}}) {
    if (const auto parsed = ParseHostPort(address); !parsed.ok()) {
      return UsageError(parsed.status(), flag);
    }
  }
  const HostPort kafka = ParseHostPort(plan.system.kafka).value();
  if (kafka.host != "127.0.0.1" && kafka.host != "localhost") {
    return UsageError(Concat("--kafka ", plan.system.kafka,
                             ": the broker that `up` starts listens on this machine alone; give "
                             "127.0.0.1 and a port"));
  }
  for (const std::string& name : flags.packs) {
    TOCSIN_ASSIGN_OR_RETURN(auto pack, LoadPack(name, session.packs_dir()));
    plan.system.packs.push_back(std::move(pack));
  }
  plan.bin = session.executable().parent_path();
  for (const std::string& process : ProcessNames()) {
    const fs::path binary = plan.bin / Concat("tocsin-", process);
    if (access(binary.c_str(), X_OK) != 0) {
      return NotFound(
          Concat("there is no program ", binary.string(), ". Build all of them: ./dev build"));
    }
  }
  for (const fs::path& candidate :
       {plan.bin / "../../../cli/broker", plan.bin / "../share/tocsin/broker"}) {
    std::error_code ignored;
    if (fs::exists(candidate / "server.properties", ignored)) {
      plan.broker_files = candidate.lexically_normal();
    }
  }
  if (plan.broker_files.empty()) {
    return NotFound(
        Concat("the broker's files (cli/broker) are not found beside ", plan.bin.string()));
  }
  plan.user = UserName(environment);
  return plan;
}

absl::Status CheckPorts(const SystemPlan& plan) {
  std::vector<std::string> problems;
  std::map<std::string, std::string, std::less<>> taken;
  for (const auto& [flag, what, address] : {std::tuple{"--gateway", "the gateway", plan.gateway},
                                            {"--registry", "the schema registry", plan.registry},
                                            {"--kafka", "Kafka", plan.kafka}}) {
    const auto [first, is_new] = taken.try_emplace(std::string(address), what);
    if (!is_new) {
      problems.push_back(Concat(address, " is given to ", first->second, " and to ", what,
                                ". Choose another with ", flag, " host:port."));
    } else if (const absl::Status status = CheckFree(address); !status.ok()) {
      problems.push_back(Concat(Message(status), "; ", what, " needs it. Choose another with ",
                                flag, " host:port."));
    }
  }
  if (problems.empty()) return absl::OkStatus();
  return AlreadyExists(Concat(Join(problems, "\n"), "\nNothing was started."));
}

absl::Status PickPorts(SystemPlan& plan) {
  TOCSIN_ASSIGN_OR_RETURN(const auto ports, PickFreePorts(2 * ProcessNames().size() + 1));
  std::size_t next = 0;
  plan.kafka_controller_port = ports[next++];
  for (const std::string& process : ProcessNames()) {
    plan.ports[process] = {ports[next], ports[next + 1]};
    next += 2;
  }
  return absl::OkStatus();
}

}  // namespace tocsin::cli
