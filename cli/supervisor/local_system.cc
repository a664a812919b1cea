#include "cli/supervisor/local_system.h"

#include <grpcpp/grpcpp.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <utility>

#include "cli/output.h"
#include "cli/supervisor/child.h"
#include "cli/supervisor/configs.h"
#include "cli/supervisor/health_sources.h"
#include "cli/supervisor/system_state.h"
#include "cli/system.h"
#include "lib/auth/keys.h"
#include "lib/base/status.h"
#include "lib/base/text.h"
#include "lib/rpc/channel.h"
#include "lib/rpc/client_context.h"
#include "lib/rpc/status.h"
#include "tocsin/correlation/v1/rules.grpc.pb.h"
#include "tocsin/schema/v1/registry.grpc.pb.h"

namespace tocsin::cli {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr const char* kBroker = "kafka";
constexpr milliseconds kStopPatience{12'000};
constexpr seconds kStateRetry{2};

}  // namespace

LocalSystem::LocalSystem(const Session& session, UpPlan plan, Layout layout, Narrator& narrator)
    : session_(session),
      plan_(std::move(plan)),
      layout_(std::move(layout)),
      narrator_(narrator),
      list_(
          session.stderr_terminal(), session.colour(), Clock::Real(),
          [this](std::string_view text) { narrator_.Write(text); },
          [this] { return narrator_.Columns(); }),
      supervisor_([this](std::string_view text) { list_.Note(text); }, [this] { WriteState(); }) {}

LocalSystem::~LocalSystem() { Stop(); }

absl::Status LocalSystem::Start() {
  const SteadyTime begun = Clock::Real().SteadyNow();
  absl::Status status = StartAll();
  if (status.ok()) {
    ready_ = true;
    WriteState();
    took_ = Clock::Real().SteadyNow() - begun;
    return status;
  }
  list_.Failed(absl::IsCancelled(status) ? "stopped" : Message(status));
  Stop();
  return status;
}

void LocalSystem::Run() {
  // What happens wakes it: signals, a change of health, a restart that is due.
  while (!supervisor_.stop_requested()) {
    // But no event tells that there is room on the disk again.
    supervisor_.Tick(state_written_ ? std::chrono::hours(1) : kStateRetry);
    if (!state_written_) WriteState();
  }
}

std::string LocalSystem::Summary() const {
  char took[32];
  std::snprintf(took, sizeof(took), "%.1f s", took_.count());
  return Concat("\nTocsin runs (", took, ").\n\n  gateway    ", plan_.system.gateway,
                "    gRPC, gRPC-Web\n  registry   ", plan_.system.registry,
                "    REST, Confluent-compatible\n  kafka      ", plan_.system.kafka,
                "\n  data       ", layout_.data().string(), "    logs in logs/\n\nNext:\n  ",
                "tocsin incidents list\n  tocsin incidents watch\n  "
                "tocsin replay --pack public-safety --csv FILE --speed max\n");
}

void LocalSystem::Stop() {
  if (stopped_) return;
  stopped_ = true;
  ready_ = false;
  bool any = false;
  supervisor_.StopAll(kStopPatience, [&](std::string_view name) {
    if (!any) list_.Begin("Ending");
    any = true;
    list_.WaitingFor(name);
  });
  if (any) list_.Done("everything has ended");
  RemoveSystemState(layout_);
  if (const auto dir = ConfigDir(session_.environment()); dir.ok()) {
    const absl::Status cleared = Profiles(*dir).Clear(kLocalProfile, layout_.data());
    if (!cleared.ok()) list_.Note(Message(cleared));
  }
}

absl::Status LocalSystem::StartAll() {
  TOCSIN_RETURN_IF_ERROR(MakeConfiguration());
  TOCSIN_RETURN_IF_ERROR(StartBroker());
  TOCSIN_RETURN_IF_ERROR(ApplyTopics());
  TOCSIN_RETURN_IF_ERROR(StartProcesses({"schema-registry"}));
  TOCSIN_RETURN_IF_ERROR(RegisterSchemas());
  TOCSIN_RETURN_IF_ERROR(
      StartProcesses({"ingest", "correlation", "report", "notification", "gateway"}));
  TOCSIN_RETURN_IF_ERROR(ApplyRules());
  return SaveProfile();
}

absl::Status LocalSystem::MakeConfiguration() {
  list_.Begin("Keys and configuration");
  TOCSIN_ASSIGN_OR_RETURN(token_, EnsureKeys(layout_, plan_.user, Clock::Real().Now()));
  TOCSIN_RETURN_IF_ERROR(PickPorts(plan_.system));
  for (const std::string& process : ProcessNames()) {
    std::error_code error;
    fs::create_directories(layout_.State(process), error);
    TOCSIN_RETURN_IF_ERROR(auth::WriteSecretFile(layout_.Config(Concat(process, ".yaml")).string(),
                                                 ConfigText(layout_, plan_.system, process)));
  }
  list_.Done();
  return absl::OkStatus();
}

absl::Status LocalSystem::SaveProfile() {
  list_.Begin("Profile");
  TOCSIN_ASSIGN_OR_RETURN(const fs::path dir, ConfigDir(session_.environment()));
  v1::Profile profile;
  profile.set_gateway(plan_.system.gateway);
  profile.set_registry(plan_.system.registry);
  profile.set_kafka(plan_.system.kafka);
  profile.set_otlp(plan_.system.otlp);
  profile.set_data_dir(layout_.data().string());
  TOCSIN_RETURN_IF_ERROR(Profiles(dir).SaveCurrent(kLocalProfile, profile, token_));
  list_.Done(dir.string());
  return absl::OkStatus();
}

absl::Status LocalSystem::RunToEnd(const std::vector<std::string>& command, const fs::path& log,
                                   std::string_view what) {
  TOCSIN_ASSIGN_OR_RETURN(const pid_t pid, StartProgram(command, log));
  int status = 0;
  while (waitpid(pid, &status, WNOHANG) == 0) {
    list_.WaitingFor(what);
    // Its end wakes this; the time is for the seconds that are shown.
    supervisor_.Tick(milliseconds(250));
    if (!supervisor_.stop_requested()) continue;
    kill(-pid, SIGTERM);
    waitpid(pid, &status, 0);
    return absl::CancelledError("stopped");
  }
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return absl::OkStatus();
  return FailedPrecondition(
      Concat(what, " failed (", DescribeEnd(status), "):\n", LastLines(log, 15)));
}

absl::StatusOr<BrokerFiles> LocalSystem::PrepareBroker() {
  BrokerFiles files;
  files.java = JavaProgram(session_.environment());
  files.log4j = plan_.broker_files / "log4j2.xml";
  files.properties = layout_.Config("kafka.properties");
  const auto given = session_.environment().find("TOCSIN_KAFKA_JARS");
  if (given != session_.environment().end()) files.jars = given->second;
  if (files.jars.empty()) {
    const fs::path out = layout_.Run("broker-fetch.out");
    TOCSIN_RETURN_IF_ERROR(
        RunToEnd({(plan_.broker_files / "fetch").string()}, out, "Kafka's jars, by Maven"));
    files.jars = std::string(Trim(LastLines(out, 1)));
  }
  TOCSIN_ASSIGN_OR_RETURN(const std::string text,
                          auth::ReadFile((plan_.broker_files / "server.properties").string()));
  TOCSIN_ASSIGN_OR_RETURN(const std::string properties,
                          BrokerProperties(text, layout_, plan_.system));
  TOCSIN_RETURN_IF_ERROR(auth::WriteFileAtomically(files.properties.string(), properties));
  if (fs::exists(layout_.Broker() / "meta.properties")) return files;
  const absl::Status formatted =
      RunToEnd(FormatCommand(files), layout_.Log("kafka-format"), "its log folder to be made");
  if (absl::IsNotFound(formatted)) {
    return NotFound(Concat(Message(formatted),
                           ". Kafka needs a JDK 17: apt-get install openjdk-17-jre-headless"));
  }
  TOCSIN_RETURN_IF_ERROR(formatted);
  return files;
}

absl::Status LocalSystem::StartBroker() {
  list_.Begin("Kafka broker");
  TOCSIN_ASSIGN_OR_RETURN(const BrokerFiles files, PrepareBroker());
  TOCSIN_RETURN_IF_ERROR(supervisor_.Start(
      {kBroker, BrokerCommand(files), layout_.Log(kBroker), MakeBrokerHealth(plan_.system.kafka)}));
  TOCSIN_RETURN_IF_ERROR(AwaitServing(kBroker, seconds(90)));
  list_.Done(plan_.system.kafka);
  return absl::OkStatus();
}

absl::Status LocalSystem::AwaitServing(const std::string& name, milliseconds timeout) {
  return supervisor_.WaitUntilServing({name}, timeout,
                                      [this](std::string_view what) { list_.WaitingFor(what); });
}

absl::Status LocalSystem::ApplyTopics() {
  list_.Begin("Topics");
  kafka::Connection connection;
  connection.bootstrap_servers = plan_.system.kafka;
  connection.client_id = "tocsin-supervisor";
  connection.log = [](kafka::LogLevel, std::string_view) {};
  TOCSIN_ASSIGN_OR_RETURN(const auto admin, kafka::MakeAdmin(std::move(connection)));
  TOCSIN_ASSIGN_OR_RETURN(const auto changes, FindTopicChanges(*admin, plan_.system.packs, 1));
  for (const TopicChange& change : changes) {
    if (change.kind == TopicChange::Kind::kCannot) list_.Note(change.text);
  }
  TOCSIN_RETURN_IF_ERROR(ApplyTopicChanges(*admin, changes));
  list_.Done(changes.empty() ? "as declared" : Concat(changes.size(), " changed"));
  return absl::OkStatus();
}

absl::Status LocalSystem::StartProcesses(const std::vector<std::string>& names) {
  const MeshFiles mesh{layout_.CertificateOf("cli").string(), layout_.KeyOf("cli").string(),
                       layout_.Authority().string()};
  for (const std::string& name : names) {
    TOCSIN_RETURN_IF_ERROR(supervisor_.Start(
        {name,
         {(plan_.bin / Concat("tocsin-", name)).string(), "--config",
          layout_.Config(Concat(name, ".yaml")).string()},
         layout_.Log(name),
         MakeGrpcHealth(AddressOf(plan_.system, name), AdminAddressOf(plan_.system, name),
                        name == "gateway" ? nullptr : &mesh)}));
  }
  for (const std::string& name : names) {
    list_.Begin(name);
    TOCSIN_RETURN_IF_ERROR(AwaitServing(name, seconds(60)));
    list_.Done(name == "gateway"           ? plan_.system.gateway
               : name == "schema-registry" ? plan_.system.registry
                                           : "");
  }
  return absl::OkStatus();
}

absl::Status LocalSystem::RegisterSchemas() {
  using schema::v1::SchemaRegistryService;
  list_.Begin("Schemas");
  config::v1::PeerConfig peer;
  peer.set_target(AddressOf(plan_.system, "schema-registry"));
  config::v1::TlsConfig tls;
  tls.set_certificate_file(layout_.CertificateOf("cli").string());
  tls.set_key_file(layout_.KeyOf("cli").string());
  tls.set_ca_file(layout_.Authority().string());
  TOCSIN_ASSIGN_OR_RETURN(const auto channel, (rpc::MakeChannel<SchemaRegistryService>(peer, tls)));
  const auto stub = SchemaRegistryService::NewStub(channel);
  std::vector<std::string> subjects;
  for (const LoadedPack& pack : plan_.system.packs) {
    std::vector<std::pair<std::string, std::string>> texts;
    for (const auto& stream : pack.pack.streams()) {
      TOCSIN_ASSIGN_OR_RETURN(StreamSchema schema, LoadStreamSchema(pack, stream));
      texts.emplace_back(Concat(stream.topic(), "-value"), std::move(schema.text));
    }
    for (const auto& table : pack.pack.tables()) {
      TOCSIN_ASSIGN_OR_RETURN(StreamSchema schema, LoadTableSchema(pack, table));
      texts.emplace_back(Concat(table.topic(), "-value"), std::move(schema.text));
    }
    for (auto& [subject, text] : texts) {
      schema::v1::RegisterSchemaRequest request;
      request.set_subject(subject);
      request.set_text(std::move(text));
      subjects.push_back(request.subject());
      rpc::ClientContext context(seconds(20));
      schema::v1::RegisterSchemaResponse response;
      list_.WaitingFor(request.subject());
      const absl::Status status = rpc::FromGrpc(stub->RegisterSchema(&context, request, &response));
      if (!status.ok()) return Annotate(status, Concat("registering ", request.subject()));
    }
  }
  list_.Done(Join(subjects, ", "));
  return absl::OkStatus();
}

absl::Status LocalSystem::ApplyRules() {
  using correlation::v1::RuleService;
  list_.Begin("Rules");
  TOCSIN_ASSIGN_OR_RETURN(
      const auto channel,
      rpc::MakePublicChannel(plan_.system.gateway, "", {RuleService::service_full_name()}));
  const auto stub = RuleService::NewStub(channel);
  std::vector<std::string> ids;
  for (const LoadedPack& pack : plan_.system.packs) {
    for (const std::string& rule : pack.pack.rules()) {
      const std::string file = (pack.folder / rule).string();
      correlation::v1::ApplyRuleRequest request;
      TOCSIN_ASSIGN_OR_RETURN(*request.mutable_source(), auth::ReadFile(file));
      request.set_file_name(file);
      list_.WaitingFor(rule);
      rpc::ClientContext context(seconds(20));
      context.SetToken(token_);
      correlation::v1::ApplyRuleResponse response;
      const absl::Status status = rpc::FromGrpc(stub->ApplyRule(&context, request, &response));
      if (!status.ok()) return Annotate(status, Concat("applying ", rule));
      ids.push_back(response.rule().rule().id());
    }
  }
  list_.Done(Join(ids, ", "));
  return absl::OkStatus();
}

void LocalSystem::WriteState() {
  if (stopped_) return;
  v1::SystemState state;
  state.set_supervisor_pid(getpid());
  state.set_data_dir(layout_.data().string());
  state.set_gateway(plan_.system.gateway);
  state.set_registry(plan_.system.registry);
  state.set_kafka(plan_.system.kafka);
  state.set_ready(ready_);
  for (const ProgramState& program : supervisor_.states()) {
    auto& process = *state.add_processes();
    process.set_name(program.name);
    process.set_pid(program.pid);
    process.set_ready(program.serving);
    process.set_status(program.serving               ? "serving"
                       : program.pid == 0            ? "restarting"
                       : program.waiting_for.empty() ? "starting"
                                                     : Concat("waiting for ", program.waiting_for));
    const bool ours = plan_.system.ports.contains(program.name);
    process.set_address(ours ? AddressOf(plan_.system, program.name) : plan_.system.kafka);
    if (ours) process.set_admin(AdminAddressOf(plan_.system, program.name));
    process.set_log_file(layout_.Log(program.name).string());
    process.set_restarts(program.restarts);
  }
  const absl::Status written = WriteSystemState(layout_, state);
  if (written.ok() == state_written_) return;
  state_written_ = written.ok();
  list_.Note(written.ok() ? "The state of the system is written down again."
                          : Concat("The state of the system cannot be written down, and is tried "
                                   "again every ",
                                   kStateRetry.count(), " s; until then `tocsin status` asks the ",
                                   "processes themselves: ", Message(written)));
}

}  // namespace tocsin::cli
