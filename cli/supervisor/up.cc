#include "cli/supervisor/up.h"

#include <fcntl.h>
#include <google/protobuf/util/json_util.h>
#include <grpcpp/grpcpp.h>
#include <openssl/rand.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <optional>
#include <thread>

#include "cli/core/checklist.h"
#include "cli/core/exit_code.h"
#include "cli/output.h"
#include "cli/publish.h"
#include "cli/supervisor/child.h"
#include "cli/supervisor/configs.h"
#include "cli/supervisor/health.h"
#include "cli/supervisor/instance_lock.h"
#include "cli/supervisor/layout.h"
#include "cli/supervisor/ports.h"
#include "cli/supervisor/supervisor.h"
#include "cli/system.h"
#include "cli/watch.h"
#include "lib/auth/keys.h"
#include "lib/base/hex.h"
#include "lib/base/status.h"
#include "lib/base/text.h"
#include "lib/rpc/channel.h"
#include "lib/rpc/client_context.h"
#include "lib/rpc/status.h"
#include "lib/telemetry/telemetry.h"
#include "tocsin/correlation/v1/rules.grpc.pb.h"
#include "tocsin/schema/v1/registry.grpc.pb.h"

namespace tocsin::cli {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr const char* kBroker = "kafka";
constexpr milliseconds kStopPatience{12'000};
constexpr seconds kDemoLength{60};

// Where the story of the start goes: the terminal, or through a pipe to the program that was asked
// to detach, and from then on the supervisor's own log.
class Narrator {
 public:
  explicit Narrator(int file) : file_(file) {}
  void Write(std::string_view text) const {
    while (!text.empty()) {
      const ssize_t written = write(file_, text.data(), text.size());
      if (written < 0 && errno == EINTR) continue;
      if (written <= 0) return;
      text.remove_prefix(static_cast<std::size_t>(written));
    }
  }
  void MoveTo(int file) { file_ = file; }

 private:
  std::atomic<int> file_;
};

struct UpPlan {
  SystemPlan system;
  fs::path bin;
  fs::path broker_files;
  std::string user;
};

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
      return Annotate(parsed.status(), flag);
    }
  }
  const HostPort kafka = ParseHostPort(plan.system.kafka).value();
  if (kafka.host != "127.0.0.1" && kafka.host != "localhost") {
    return InvalidArgument(
        Concat("--kafka ", plan.system.kafka,
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

class System {
 public:
  System(const Session& session, UpPlan plan, Layout layout, Narrator& narrator)
      : session_(session),
        plan_(std::move(plan)),
        layout_(std::move(layout)),
        narrator_(narrator),
        list_(session.stderr_terminal(), session.colour(), Clock::Real(),
              [this](std::string_view text) { narrator_.Write(text); }),
        supervisor_([this](std::string_view text) { list_.Note(text); }, [this] { WriteState(); }) {
  }

  ~System() { Stop(); }

  // Everything up to "ready". On error everything has been stopped.
  absl::Status Start() {
    const SteadyTime begun = Clock::Real().SteadyNow();
    absl::Status status = StartAll();
    if (status.ok()) {
      ready_ = true;
      WriteState();
      supervisor_.health().SetPeriod(milliseconds(1000));
      took_ = Clock::Real().SteadyNow() - begun;
      return status;
    }
    list_.Failed(absl::IsCancelled(status) ? "stopped" : Message(status));
    Stop();
    return status;
  }

  void Tick() { supervisor_.Tick(milliseconds(200)); }
  bool stop_requested() const { return supervisor_.stop_requested(); }
  const std::string& token() const { return token_; }
  const UpPlan& plan() const { return plan_; }

  std::string Summary() const {
    char took[32];
    std::snprintf(took, sizeof(took), "%.1f s", took_.count());
    return Concat("\nTocsin runs (", took, ").\n\n  gateway    ", plan_.system.gateway,
                  "    gRPC, gRPC-Web\n  registry   ", plan_.system.registry,
                  "    REST, Confluent-compatible\n  kafka      ", plan_.system.kafka,
                  "\n  data       ", layout_.data().string(), "    logs in logs/\n\nNext:\n  ",
                  "tocsin incidents list\n  tocsin incidents watch\n  "
                  "tocsin replay --pack public-safety --csv FILE --speed max\n");
  }

  void Stop() {
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
    std::error_code ignored;
    fs::remove(layout_.Run("state.json"), ignored);
    if (const auto dir = ConfigDir(session_.environment()); dir.ok()) {
      const absl::Status cleared = Profiles(*dir).Clear(kLocalProfile, layout_.data());
      if (!cleared.ok()) list_.Note(Message(cleared));
    }
  }

 private:
  absl::Status StartAll() {
    list_.Begin("Keys and configuration");
    TOCSIN_ASSIGN_OR_RETURN(token_, EnsureKeys(layout_, plan_.user, Clock::Real().Now()));
    TOCSIN_RETURN_IF_ERROR(PickPorts(plan_.system));
    for (const std::string& process : ProcessNames()) {
      std::error_code error;
      fs::create_directories(layout_.State(process), error);
      TOCSIN_RETURN_IF_ERROR(
          auth::WriteSecretFile(layout_.Config(Concat(process, ".yaml")).string(),
                                ConfigText(layout_, plan_.system, process)));
    }
    list_.Done();
    TOCSIN_RETURN_IF_ERROR(StartBroker());
    TOCSIN_RETURN_IF_ERROR(ApplyTopics());
    TOCSIN_RETURN_IF_ERROR(StartProcesses({"schema-registry"}));
    TOCSIN_RETURN_IF_ERROR(RegisterSchemas());
    TOCSIN_RETURN_IF_ERROR(
        StartProcesses({"ingest", "correlation", "report", "notification", "gateway"}));
    TOCSIN_RETURN_IF_ERROR(ApplyRules());
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

  // Runs a helper to its end; its output goes to `log`. CANCELLED: a stop was asked for.
  absl::Status RunHelper(const std::vector<std::string>& command, const fs::path& log,
                         std::string_view what) {
    std::error_code ignored;
    fs::remove(log, ignored);
    TOCSIN_ASSIGN_OR_RETURN(const pid_t pid, StartProgram(command, log));
    int status = 0;
    while (waitpid(pid, &status, WNOHANG) == 0) {
      list_.WaitingFor(what);
      supervisor_.Tick(milliseconds(50));
      if (!supervisor_.stop_requested()) continue;
      kill(-pid, SIGTERM);
      waitpid(pid, &status, 0);
      return absl::CancelledError("stopped");
    }
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return absl::OkStatus();
    return FailedPrecondition(
        Concat(what, " failed (", DescribeEnd(status), "):\n", LastLines(log, 15)));
  }

  absl::Status StartBroker() {
    list_.Begin("Kafka broker");
    const auto given = session_.environment().find("TOCSIN_KAFKA_JARS");
    std::string jars = given == session_.environment().end() ? "" : given->second;
    if (jars.empty()) {
      const fs::path out = layout_.Run("broker-fetch.out");
      TOCSIN_RETURN_IF_ERROR(
          RunHelper({(plan_.broker_files / "fetch").string()}, out, "Kafka's jars, by Maven"));
      jars = std::string(Trim(LastLines(out, 1)));
    }
    TOCSIN_ASSIGN_OR_RETURN(const std::string text,
                            auth::ReadFile((plan_.broker_files / "server.properties").string()));
    TOCSIN_ASSIGN_OR_RETURN(const std::string properties,
                            BrokerProperties(text, layout_, plan_.system));
    const std::string file = layout_.Config("kafka.properties").string();
    TOCSIN_RETURN_IF_ERROR(auth::WriteFileAtomically(file, properties));
    const auto find_java = [&]() -> std::string {
      const auto home = session_.environment().find("JAVA_HOME");
      return home == session_.environment().end() || home->second.empty()
                 ? "java"
                 : home->second + "/bin/java";
    };
    const std::string java = find_java();
    const std::string log4j =
        Concat("-Dlog4j2.configurationFile=", (plan_.broker_files / "log4j2.xml").string());
    const std::string class_path = jars + "/*";
    if (!fs::exists(layout_.Broker() / "meta.properties")) {
      absl::Status formatted =
          RunHelper({java, "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", log4j, "-cp",
                     class_path, "kafka.tools.StorageTool", "format", "--ignore-formatted", "-t",
                     ClusterId(), "-c", file},
                    layout_.Log("kafka-format"), "its log folder to be made");
      if (absl::IsNotFound(formatted)) {
        return NotFound(Concat(Message(formatted),
                               ". Kafka needs a JDK 17: apt-get install openjdk-17-jre-headless"));
      }
      TOCSIN_RETURN_IF_ERROR(formatted);
    }
    TOCSIN_RETURN_IF_ERROR(
        supervisor_.Start({kBroker,
                           {java, "-Xms128m", "-Xmx512m", "-XX:+UseSerialGC", log4j,
                            "-Dlog4j2.disable.jmx=true", "-cp", class_path, "kafka.Kafka", file},
                           layout_.Log(kBroker),
                           BrokerProbe(plan_.system.kafka)}));
    TOCSIN_RETURN_IF_ERROR(Serve({kBroker}, seconds(90)));
    list_.Done(plan_.system.kafka);
    return absl::OkStatus();
  }

  absl::Status Serve(const std::vector<std::string>& names, milliseconds timeout) {
    return supervisor_.WaitUntilServing(names, timeout,
                                        [this](std::string_view what) { list_.WaitingFor(what); });
  }

  static std::string ClusterId() {
    for (;;) {
      unsigned char bytes[16];
      RAND_bytes(bytes, sizeof(bytes));
      std::string id = Base64UrlEncode({reinterpret_cast<const char*>(bytes), sizeof(bytes)});
      if (id.front() != '-') return id;
    }
  }

  absl::Status ApplyTopics() {
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

  absl::Status StartProcesses(const std::vector<std::string>& names) {
    const MeshFiles mesh{layout_.CertificateOf("cli").string(), layout_.KeyOf("cli").string(),
                         layout_.Authority().string()};
    for (const std::string& name : names) {
      TOCSIN_RETURN_IF_ERROR(supervisor_.Start(
          {name,
           {(plan_.bin / Concat("tocsin-", name)).string(), "--config",
            layout_.Config(Concat(name, ".yaml")).string()},
           layout_.Log(name),
           GrpcHealthProbe(AddressOf(plan_.system, name), AdminAddressOf(plan_.system, name),
                           name == "gateway" ? nullptr : &mesh)}));
    }
    for (const std::string& name : names) {
      list_.Begin(name);
      TOCSIN_RETURN_IF_ERROR(Serve({name}, seconds(60)));
      list_.Done(name == "gateway"           ? plan_.system.gateway
                 : name == "schema-registry" ? plan_.system.registry
                                             : "");
    }
    return absl::OkStatus();
  }

  absl::Status RegisterSchemas() {
    using schema::v1::SchemaRegistryService;
    list_.Begin("Schemas");
    config::v1::PeerConfig peer;
    peer.set_target(AddressOf(plan_.system, "schema-registry"));
    config::v1::TlsConfig tls;
    tls.set_certificate_file(layout_.CertificateOf("cli").string());
    tls.set_key_file(layout_.KeyOf("cli").string());
    tls.set_ca_file(layout_.Authority().string());
    TOCSIN_ASSIGN_OR_RETURN(const auto channel,
                            (rpc::MakeChannel<SchemaRegistryService>(peer, tls)));
    const auto stub = SchemaRegistryService::NewStub(channel);
    std::vector<std::string> subjects;
    for (const LoadedPack& pack : plan_.system.packs) {
      for (const auto& stream : pack.pack.streams()) {
        TOCSIN_ASSIGN_OR_RETURN(const StreamSchema schema, LoadStreamSchema(pack, stream));
        schema::v1::RegisterSchemaRequest request;
        request.set_subject(Concat(stream.topic(), "-value"));
        request.set_text(schema.text);
        subjects.push_back(request.subject());
        rpc::ClientContext context(seconds(20));
        schema::v1::RegisterSchemaResponse response;
        list_.WaitingFor(request.subject());
        const absl::Status status =
            rpc::FromGrpc(stub->RegisterSchema(&context, request, &response));
        if (!status.ok()) return Annotate(status, Concat("registering ", request.subject()));
      }
    }
    list_.Done(Join(subjects, ", "));
    return absl::OkStatus();
  }

  absl::Status ApplyRules() {
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

  void WriteState() {
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
      process.set_status(program.serving    ? "serving"
                         : program.pid == 0 ? "restarting"
                         : program.waiting_for.empty()
                             ? "starting"
                             : Concat("waiting for ", program.waiting_for));
      const bool ours = plan_.system.ports.contains(program.name);
      process.set_address(ours ? AddressOf(plan_.system, program.name) : plan_.system.kafka);
      if (ours) process.set_admin(AdminAddressOf(plan_.system, program.name));
      process.set_log_file(layout_.Log(program.name).string());
      process.set_restarts(program.restarts);
    }
    const absl::Status written =
        auth::WriteFileAtomically(layout_.Run("state.json").string(), Json(state, true));
    if (!written.ok()) narrator_.Write(Concat(Message(written), "\n"));
  }

  const Session& session_;
  UpPlan plan_;
  const Layout layout_;
  Narrator& narrator_;
  Checklist list_;
  std::string token_;
  bool ready_ = false;
  bool stopped_ = false;
  std::chrono::duration<double> took_{};
  Supervisor supervisor_;
};

// The demo and the live view, each on a thread of its own, until `stop`.
class Extras {
 public:
  ~Extras() {
    g_stop_signal = SIGTERM;
    if (demo_.joinable()) demo_.join();
    if (watch_.joinable()) watch_.join();
  }

  void PlayDemo(const UpPlan& plan, const std::string& token, const fs::path& played,
                Narrator& narrator) {
    std::vector<ReplayJob> jobs;
    std::string titles;
    for (const LoadedPack& pack : plan.system.packs) {
      for (const auto& scenario : pack.pack.scenarios()) {
        ReplayJob& job = jobs.emplace_back();
        job.gateway = plan.system.gateway;
        job.token = token;
        job.pack = pack;
        job.csv = pack.folder / scenario.csv_file();
        job.mapping = scenario.csv_mapping();
        job.options.patience = std::chrono::hours(1);
        job.options.within = kDemoLength;
        titles += Concat(titles.empty() ? "" : ", ", scenario.title());
      }
    }
    if (jobs.empty()) return;
    narrator.Write(Concat("\nPlaying for about a minute: ", titles, ".\n"));
    demo_ = std::thread([jobs, played, &narrator] {
      const ReplayEvents events{[] { return g_stop_signal != 0; }, [](const ReplayProgress&) {},
                                [](const RefusedRow&) {}};
      for (const ReplayJob& job : jobs) {
        const auto result = RunReplay(job, events);
        if (absl::IsCancelled(result.status())) return;
        if (!result.ok()) {
          narrator.Write(Concat("The demo stopped: ", Message(result.status()), "\n"));
          return;
        }
      }
      const absl::Status marked = auth::WriteFileAtomically(played.string(), "played\n");
      narrator.Write(marked.ok() ? "The demo has been played.\n" : Concat(Message(marked), "\n"));
    });
  }

  void FollowIncidents(const UpPlan& plan, const std::string& token, Narrator& narrator) {
    watch_ = std::thread([gateway = plan.system.gateway, token, &narrator] {
      live::v1::SubscribeRequest request;
      request.add_kinds(live::v1::KIND_INCIDENT);
      request.add_kinds(live::v1::KIND_ACTIVITY);
      request.set_from(live::v1::FROM_LATEST);
      const absl::Status status = Watch(
          gateway, token, request,
          [](const live::v1::SubscribeResponse& response) {
            if (response.change_case() != live::v1::SubscribeResponse::kHeartbeat) {
              Print(ChangeText(response));
            }
            return true;
          },
          [](const absl::Status&) {}, [] { return g_stop_signal != 0; });
      if (!status.ok() && !absl::IsCancelled(status)) {
        narrator.Write(Concat("Incidents are no longer followed: ", Message(status), "\n"));
      }
    });
  }

 private:
  std::thread demo_;
  std::thread watch_;
};

// The supervisor's whole life. `ready`: called once with the exit code that a detached start
// reports.
int RunSystem(const Session& session, const UpFlags& flags, UpPlan plan, const Layout& layout,
              Narrator& narrator, const std::function<void(int)>& ready) {
  auto lock = InstanceLock::Acquire(layout.Run("lock"));
  if (!lock.ok()) {
    narrator.Write(Concat(Message(lock.status()), ": ", layout.data().string(), "\n"));
    ready(kExitConflict);
    return kExitConflict;
  }
  Supervisor::BlockSignals();
  System system(session, std::move(plan), layout, narrator);
  if (const absl::Status started = system.Start(); !started.ok()) {
    const int code = absl::IsCancelled(started) ? kExitInterrupted : kExitFailure;
    ready(code);
    return code;
  }
  narrator.Write(system.Summary());
  if (flags.detach) {
    narrator.Write(Concat("\nIt goes on running; `tocsin down",
                          flags.data.empty() ? "" : " --data ", flags.data, "` stops it.\n"));
  }
  {
    Extras extras;
    const fs::path played = layout.Run("demo-played");
    if (!flags.detach) {
      narrator.Write("\nIncidents as they happen; Ctrl-C ends everything.\n");
      extras.FollowIncidents(system.plan(), system.token(), narrator);
    }
    if (!flags.no_demo && !fs::exists(played)) {
      extras.PlayDemo(system.plan(), system.token(), played, narrator);
    } else if (!flags.no_demo) {
      narrator.Write("The demo was played at an earlier start; its incidents are kept.\n");
    }
    ready(kExitOk);
    while (!system.stop_requested()) system.Tick();
  }
  system.Stop();
  return kExitOk;
}

// Lets a child run the system without this terminal, shows its story, and returns its exit code
// once it is ready or has given up.
int Detach(const std::function<int(Narrator&, const std::function<void(int)>&)>& run,
           const fs::path& log) {
  int story[2];
  int result[2];
  if (pipe2(story, O_CLOEXEC) != 0 || pipe2(result, O_CLOEXEC) != 0) {
    Say(Concat("cannot make a pipe: ", std::strerror(errno)));
    return kExitFailure;
  }
  const pid_t pid = fork();
  if (pid < 0) {
    Say(Concat("cannot start in the background: ", std::strerror(errno)));
    return kExitFailure;
  }
  if (pid == 0) {
    close(story[0]);
    close(result[0]);
    setsid();
    RotateLog(log);
    const int out = open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    const int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    dup2(null, STDIN_FILENO);
    dup2(out, STDOUT_FILENO);
    dup2(out, STDERR_FILENO);
    Narrator narrator(story[1]);
    const int code = run(narrator, [&](int exit_code) {
      narrator.MoveTo(STDERR_FILENO);
      const auto byte = static_cast<unsigned char>(exit_code);
      [[maybe_unused]] const ssize_t written = write(result[1], &byte, 1);
      close(result[1]);
      close(story[1]);
    });
    _exit(code);
  }
  close(story[1]);
  close(result[1]);
  const Narrator narrator(STDERR_FILENO);
  bool told = false;
  for (char buffer[4096];;) {
    const ssize_t got = read(story[0], buffer, sizeof(buffer));
    if (got < 0 && errno == EINTR) {
      if (g_stop_signal != 0 && !told) kill(pid, SIGTERM);
      told = told || g_stop_signal != 0;
      continue;
    }
    if (got <= 0) break;
    narrator.Write({buffer, static_cast<std::size_t>(got)});
  }
  unsigned char code = kExitFailure;
  ssize_t got = -1;
  do {
    got = read(result[0], &code, 1);
  } while (got < 0 && errno == EINTR);
  // One that has given up is gone when this returns, and its lock with it.
  if (got != 1 || code != kExitOk) {
    while (waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
    }
  }
  if (got != 1) {
    Say(Concat("the supervisor ended without a word; see ", log.string()));
    return kExitFailure;
  }
  return code;
}

absl::StatusOr<v1::SystemState> ReadState(const Layout& layout) {
  TOCSIN_ASSIGN_OR_RETURN(const std::string text,
                          auth::ReadFile(layout.Run("state.json").string()));
  v1::SystemState state;
  if (!google::protobuf::util::JsonStringToMessage(text, &state).ok()) {
    return DataLoss("state.json cannot be read");
  }
  return state;
}

}  // namespace

Outcome Up(const Session& session, const UpFlags& flags) {
  std::string data = Resolve(flags.data, session.environment(), "TOCSIN_DATA", "", "");
  if (data.empty()) {
    TOCSIN_ASSIGN_OR_RETURN(const fs::path fallback, DefaultDataDir(session.environment()));
    data = fallback.string();
  }
  TOCSIN_ASSIGN_OR_RETURN(const fs::path folder, session.DataDir(data));
  const Layout layout(folder);
  if (const auto holder = InstanceLock::Holder(layout.Run("lock"))) {
    const auto state = ReadState(layout);
    const bool ready = state.ok() && state->ready();
    Say(Concat(
        "Tocsin already runs on ", folder.string(), " (supervisor pid ", *holder, ")",
        ready ? Concat(": gateway ", state->gateway(), ", registry ", state->registry(), ", kafka ",
                       state->kafka(), ".")
              : ", and is still starting.",
        "\n`tocsin status` shows it, `tocsin incidents watch` follows it, `tocsin down --data ",
        folder.string(), "` stops it."));
    return ready && flags.detach ? kExitOk : kExitConflict;
  }
  TOCSIN_ASSIGN_OR_RETURN(UpPlan plan, MakePlan(session, flags));
  TOCSIN_RETURN_IF_ERROR(CheckPorts(plan.system));
  TOCSIN_RETURN_IF_ERROR(layout.MakeFolders());
  if (!flags.detach) {
    Narrator narrator(STDERR_FILENO);
    return RunSystem(session, flags, std::move(plan), layout, narrator, [](int) {});
  }
  return Detach(
      [&](Narrator& narrator, const std::function<void(int)>& ready) {
        return RunSystem(session, flags, std::move(plan), layout, narrator, ready);
      },
      layout.Log("supervisor"));
}

Outcome Down(const Session& session, const SystemFlags& flags) {
  TOCSIN_ASSIGN_OR_RETURN(const fs::path folder, session.DataDir(flags.data));
  const Layout layout(folder);
  const auto holder = InstanceLock::Holder(layout.Run("lock"));
  if (holder.has_value()) {
    Say(Concat("Ending what runs on ", folder.string(), " …"));
    kill(*holder, SIGTERM);
    const SteadyTime deadline = Clock::Real().SteadyNow() + seconds(120);
    while (InstanceLock::Holder(layout.Run("lock")) == holder) {
      if (Clock::Real().SteadyNow() > deadline) {
        return DeadlineExceeded(Concat("the supervisor (pid ", *holder,
                                       ") has not ended after 120 s; see ",
                                       layout.Log("supervisor").string()));
      }
      std::this_thread::sleep_for(milliseconds(50));
    }
    Say("Everything has ended. The data is kept.");
  } else {
    Say(Concat("Nothing runs on ", folder.string(), "."));
  }
  TOCSIN_ASSIGN_OR_RETURN(const fs::path dir, ConfigDir(session.environment()));
  TOCSIN_RETURN_IF_ERROR(Profiles(dir).Clear(kLocalProfile, folder));
  return kExitOk;
}

Outcome ShowStatus(const Session& session, const SystemFlags& flags) {
  TOCSIN_ASSIGN_OR_RETURN(const fs::path folder, session.DataDir(flags.data));
  const Layout layout(folder);
  const auto holder = InstanceLock::Holder(layout.Run("lock"));
  const auto state = ReadState(layout);
  if (!holder.has_value() || !state.ok()) {
    return NotFound(Concat("nothing runs on ", folder.string(),
                           ". `tocsin up` starts a system; --data names another folder."));
  }
  if (session.flags().output != OutputForm::kTable) {
    Print(Concat(Json(*state, session.flags().output == OutputForm::kJson), "\n"));
  } else {
    std::vector<std::vector<std::string>> rows;
    for (const auto& process : state->processes()) {
      rows.push_back({process.name(), process.pid() == 0 ? "-" : std::to_string(process.pid()),
                      std::to_string(process.restarts()), process.address(), process.status()});
    }
    Print(FormatTable({"PROCESS", "PID", "RESTARTS", "ADDRESS", "STATUS"}, rows));
  }
  return kExitOk;
}

}  // namespace tocsin::cli
