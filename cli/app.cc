#include "cli/app.h"

#include <signal.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <functional>
#include <optional>

#include "cli/commands.h"
#include "cli/core/exit_code.h"
#include "cli/session.h"
#include "cli/supervisor/up.h"
#include "lib/base/status.h"
#include "lib/base/text.h"
#include "lib/base/time.h"
#include "lib/config/config.h"
#include "lib/telemetry/log.h"
#include "lib/telemetry/telemetry.h"

namespace tocsin::cli {
namespace {

// Everything that flags fill, and which command was chosen.
struct Choice {
  GlobalFlags global;
  std::string output = "table";
  std::string timeout = "15s";
  std::string patience = "5m";
  UpFlags up;
  SystemFlags system;
  TokenFlags token;
  PublishFlags publish;
  ReplayFlags replay;
  ListFlags list;
  IncidentFlags incident;
  WatchFlags watch;
  RulesFlags rules;
  SchemaFlags schema;
  TopicsFlags topics;
  std::function<Outcome(const Session&)> run;
  // The supervisor makes no spans and forks: it must not have telemetry's threads.
  bool supervises = false;
};

using Action = std::function<Outcome(const Session&)>;

CLI::App* Command(CLI::App* parent, const char* name, const char* summary, Choice& choice,
                  Action action) {
  CLI::App* const command = parent->add_subcommand(name, summary);
  command->fallthrough();
  command->callback([&choice, action = std::move(action)] { choice.run = action; });
  return command;
}

CLI::App* Group(CLI::App& app, const char* name, const char* summary) {
  CLI::App* const group = app.add_subcommand(name, summary);
  group->fallthrough();
  group->require_subcommand(1);
  return group;
}

void AddSystem(CLI::App& app, Choice& choice) {
  CLI::App* const up =
      Command(&app, "up", "Start a whole system on this machine and follow its incidents", choice,
              [&](const Session& session) { return Up(session, choice.up); });
  up->add_flag("--detach,-d", choice.up.detach,
               "Return as soon as everything is ready, and leave it running");
  up->add_flag("--no-demo", choice.up.no_demo, "Do not play the pack's made-up scenario");
  up->add_option("--data", choice.up.data,
                 "Folder for all state (default: $XDG_DATA_HOME/tocsin or ~/.local/share/tocsin)");
  up->add_option("--registry", choice.up.registry,
                 "host:port of the registry's REST interface (default 127.0.0.1:8081)");
  up->add_option("--kafka", choice.up.kafka, "host:port of the broker (default 127.0.0.1:9092)");
  up->add_option("--webhook", choice.up.webhook, "Tell this URL of each new incident");
  up->add_option("--pack", choice.up.packs, "Packs to load (default public-safety)");
  up->parse_complete_callback([&choice] { choice.supervises = true; });
  up->footer("--gateway host:port (default 127.0.0.1:8080) and --otlp host:port count here too.");

  CLI::App* const down =
      Command(&app, "down", "Stop what `up --detach` left running; the data is kept", choice,
              [&](const Session& session) { return Down(session, choice.system); });
  down->add_option("--data", choice.system.data, "Folder of the system (default: the profile's)");

  CLI::App* const status =
      Command(&app, "status", "Show what runs on this machine", choice,
              [&](const Session& session) { return ShowStatus(session, choice.system); });
  status->add_option("--data", choice.system.data, "Folder of the system (default: the profile's)");

  CLI::App* const token =
      Command(&app, "token", "Print a token signed by this machine's system", choice,
              [&](const Session& session) { return MakeToken(session, choice.token); });
  token
      ->add_option("--role", choice.token.roles,
                   "viewer, operator, rule-author, admin, producer, schema.read, schema.write, "
                   "schema.admin; may be given more than once")
      ->required();
  token->add_option("--name", choice.token.name, "Whom it names (default: you)");
  token->add_option("--lifetime", choice.token.lifetime, "How long it is good (default 24h)");
  token->add_option("--data", choice.token.data, "Folder of the system (default: the profile's)");

  CLI::App* const topics = Group(app, "topics", "Kafka topics");
  CLI::App* const apply =
      Command(topics, "apply", "Make the topics what packs and system ask for", choice,
              [&](const Session& session) { return ApplyTopics(session, choice.topics); });
  apply->add_option("--pack", choice.topics.packs, "Packs whose streams are wanted")->required();
  apply->add_option("--kafka", choice.topics.kafka,
                    "host:port of brokers (default: the profile's)");
  apply->add_option("--replication", choice.topics.replication, "Copies of each partition")
      ->check(CLI::Range(1, 32767));
  apply->add_flag("--dry-run", choice.topics.dry_run, "Show the difference and change nothing");

  Command(&app, "version", "Print the version", choice,
          [](const Session& session) { return ShowVersion(session); });
}

void AddEvents(CLI::App& app, Choice& choice) {
  CLI::App* const publish =
      Command(&app, "publish", "Publish one event, or one for each line of standard input", choice,
              [&](const Session& session) { return Publish(session, choice.publish); });
  publish->add_option("--stream", choice.publish.stream, "The topic: alerts.raw")->required();
  publish
      ->add_option("--data", choice.publish.data,
                   "The message as JSON, @FILE, or - for JSON lines on standard input")
      ->required();
  publish->add_option("--id", choice.publish.id, "ce_id (default: a random one)");
  publish->add_option("--source", choice.publish.source, "ce_source (default /tocsin-cli)");
  publish->add_option("--time", choice.publish.time, "Event time, RFC 3339 (default: now)");
  publish->add_option("--subject", choice.publish.subject, "ce_subject");
  publish->add_option("--key", choice.publish.key,
                      "Partition key (default: by the stream's field)");
  publish->add_option("--severity", choice.publish.severity, "info, low, medium, high, critical");
  publish->add_option("--sequence", choice.publish.sequence, "ce_sequence: order at one instant");
  publish->add_flag("--dead-letter", choice.publish.dead_letter,
                    "Keep it in <stream>.dlq when it is refused");

  CLI::App* const replay =
      Command(&app, "replay", "Send the rows of a CSV file as events, each exactly once", choice,
              [&](const Session& session) { return Replay(session, choice.replay); });
  replay->add_option("--pack", choice.replay.pack, "The pack that knows the file's columns")
      ->required();
  replay->add_option("--csv", choice.replay.csv, "The file")->required();
  replay->add_option("--mapping", choice.replay.mapping, "The mapping (default: by the header)");
  replay->add_option("--source", choice.replay.source, "ce_source (default: the mapping's)");
  replay->add_option("--speed", choice.replay.speed,
                     "max (the default), or how many times faster than the events' own times");
  replay->add_option("--chunk", choice.replay.chunk, "Events in one call (default 500)")
      ->check(CLI::Range(1, 10'000));
  replay->add_option("--patience", choice.patience,
                     "Give up after so long without any acknowledgement (default 5m)");
}

void AddListFlags(CLI::App* command, Choice& choice) {
  command->add_option("--limit", choice.list.limit, "At most so many (default: all)")
      ->check(CLI::PositiveNumber);
}

void AddFindings(CLI::App& app, Choice& choice) {
  CLI::App* const incidents = Group(app, "incidents", "What people act on");
  CLI::App* const list =
      Command(incidents, "list", "List incidents, the newest first", choice,
              [&](const Session& session) { return ListIncidents(session, choice.list); });
  list->add_option("--rule", choice.list.rule, "Of this rule only");
  list->add_option("--state", choice.list.states, "open, acknowledged, resolved");
  list->add_option("--min-severity", choice.list.min_severity, "info, low, medium, high, critical");
  list->add_option("--from", choice.list.from, "Not before this time, RFC 3339");
  list->add_option("--to", choice.list.to, "Before this time, RFC 3339");
  AddListFlags(list, choice);
  CLI::App* const get =
      Command(incidents, "get", "Show one with its detections and activities", choice,
              [&](const Session& session) { return GetIncident(session, choice.incident); });
  get->add_option("id", choice.incident.id, "The incident's id")->required();
  CLI::App* const ack = Command(
      incidents, "ack", "Acknowledge one", choice,
      [&](const Session& session) { return AcknowledgeIncident(session, choice.incident); });
  CLI::App* const resolve =
      Command(incidents, "resolve", "Resolve one", choice,
              [&](const Session& session) { return ResolveIncident(session, choice.incident); });
  for (CLI::App* const command : {ack, resolve}) {
    command->add_option("id", choice.incident.id, "The incident's id")->required();
    command->add_option("--note", choice.incident.note, "Why, for the others");
    command->add_option("--etag", choice.incident.etag, "Only when this is still its etag");
  }
  CLI::App* const watch =
      Command(incidents, "watch", "Follow incidents as they happen", choice,
              [&](const Session& session) { return WatchIncidents(session, choice.watch); });
  watch->add_option("--rule", choice.watch.rules, "Of these rules only");
  watch->add_option("--min-severity", choice.watch.min_severity,
                    "info, low, medium, high, critical");
  watch->add_option("--from", choice.watch.from, "latest (the default) or earliest")
      ->check(CLI::IsMember({"latest", "earliest"}));
  watch->add_option("--cursor", choice.watch.cursor, "Go on behind this change");
  watch->add_option("--count", choice.watch.count, "End after so many changes")
      ->check(CLI::PositiveNumber);

  CLI::App* const detections = Group(app, "detections", "Each firing of a rule, with its evidence");
  CLI::App* const list_detections =
      Command(detections, "list", "List detections, the newest first", choice,
              [&](const Session& session) { return ListDetections(session, choice.list); });
  list_detections->add_option("--rule", choice.list.rule, "Of this rule only");
  list_detections->add_option("--incident", choice.list.incident, "Of this incident only");
  list_detections->add_option("--from", choice.list.from, "Not before this time, RFC 3339");
  list_detections->add_option("--to", choice.list.to, "Before this time, RFC 3339");
  AddListFlags(list_detections, choice);

  CLI::App* const notifications = Group(app, "notifications", "Who was told what");
  CLI::App* const list_notifications =
      Command(notifications, "list", "List attempts, the newest first", choice,
              [&](const Session& session) { return ListNotifications(session, choice.list); });
  list_notifications->add_option("--incident", choice.list.incident, "Of this incident only");
  AddListFlags(list_notifications, choice);
}

void AddRulesAndSchemas(CLI::App& app, Choice& choice) {
  CLI::App* const rules = Group(app, "rules", "What the system looks for");
  CLI::App* const apply =
      Command(rules, "apply", "Make rules run", choice,
              [&](const Session& session) { return ApplyRules(session, choice.rules); });
  CLI::App* const validate =
      Command(rules, "validate", "Check rules without running them", choice,
              [&](const Session& session) { return ValidateRules(session, choice.rules); });
  for (CLI::App* const command : {apply, validate}) {
    command->add_option("files", choice.rules.files, "Rule files, YAML");
    command->add_option("--pack", choice.rules.pack, "The rules of a pack");
  }
  Command(rules, "list", "List the rules that run", choice,
          [](const Session& session) { return ListRules(session); });
  CLI::App* const remove =
      Command(rules, "delete", "Stop a rule", choice,
              [&](const Session& session) { return DeleteRule(session, choice.rules); });
  remove->add_option("id", choice.rules.id, "The rule's id")->required();

  CLI::App* const schema = Group(app, "schema", "The shape of events");
  CLI::App* const add =
      Command(schema, "register", "Register a schema, or those of a pack", choice,
              [&](const Session& session) { return RegisterSchema(session, choice.schema); });
  add->add_option("--subject", choice.schema.subject, "<topic>-value");
  add->add_option("file", choice.schema.file, "The .proto file");
  add->add_option("--pack", choice.schema.pack, "The schemas of a pack");
  Command(schema, "list", "List subjects with their latest version", choice,
          [](const Session& session) { return ListSchemas(session); });
  CLI::App* const get =
      Command(schema, "get", "Print a schema", choice,
              [&](const Session& session) { return GetSchema(session, choice.schema); });
  get->add_option("subject", choice.schema.subject, "<topic>-value")->required();
  get->add_option("--version", choice.schema.version, "Default: the latest");
}

// The deepest command that was recognised.
const CLI::App* Deepest(const CLI::App& app) {
  const CLI::App* at = &app;
  while (!at->get_subcommands().empty()) at = at->get_subcommands().front();
  return at;
}

// What a word that nobody knows probably meant.
std::string Hint(const CLI::App& app) {
  const CLI::App* const at = Deepest(app);
  for (const std::string& word : app.remaining(true)) {
    std::vector<std::string> names;
    if (word.starts_with("-")) {
      for (const CLI::App* one : {at, &app}) {
        for (const CLI::Option* option : one->get_options()) {
          for (const std::string& name : option->get_lnames()) names.push_back(Concat("--", name));
        }
      }
    } else {
      for (const CLI::App* command : at->get_subcommands([](const CLI::App*) { return true; })) {
        names.push_back(command->get_name());
      }
    }
    const std::string nearest = NearestName(word.substr(0, word.find('=')), names);
    return Concat("unknown: '", word, "'",
                  nearest.empty() ? "." : Concat("; did you mean '", nearest, "'?"));
  }
  return {};
}

std::string CommandPath(const CLI::App& app) {
  std::string path = "tocsin";
  for (const CLI::App* at = &app; !at->get_subcommands().empty();) {
    at = at->get_subcommands().front();
    path += Concat(" ", at->get_name());
  }
  return path;
}

int UsageError(const CLI::App& app, const CLI::ParseError& error) {
  std::string reason = Hint(app);
  if (reason.empty()) reason = error.what();
  Say(Concat("tocsin: ", reason, "\n`", CommandPath(app), " --help` shows what there is."));
  return kExitUsage;
}

absl::StatusOr<OutputForm> ParseOutput(const std::string& text) {
  if (text == "table") return OutputForm::kTable;
  if (text == "json") return OutputForm::kJson;
  if (text == "jsonl") return OutputForm::kJsonl;
  return InvalidArgument(Concat("-o ", text, ": give table, json or jsonl"));
}

void OnStopSignal(int number) { g_stop_signal = number; }

void HandleSignals() {
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
  return ExitCodeFor(status.code());
}

absl::Status ParseDurations(Choice& choice) {
  TOCSIN_ASSIGN_OR_RETURN(choice.global.output, ParseOutput(choice.output));
  const auto timeout = ParseDuration(choice.timeout);
  if (!timeout.ok()) return Annotate(timeout.status(), "--timeout");
  const auto patience = ParseDuration(choice.patience);
  if (!patience.ok()) return Annotate(patience.status(), "--patience");
  choice.global.timeout = std::chrono::duration_cast<std::chrono::milliseconds>(*timeout);
  choice.replay.patience = std::chrono::duration_cast<std::chrono::milliseconds>(*patience);
  return absl::OkStatus();
}

int RunChosen(Choice& choice) {
  if (const absl::Status status = ParseDurations(choice); !status.ok()) {
    Say(Concat("tocsin: ", Message(status)));
    return kExitUsage;
  }
  choice.up.gateway = choice.global.gateway;
  choice.up.otlp = choice.global.otlp;
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
    if (const absl::Status status = telemetry::Start(options); !status.ok()) return Fail(status);
  }
  const Outcome outcome = choice.run(session);
  if (!choice.supervises) telemetry::Shutdown(std::chrono::seconds(2));
  return outcome.ok() ? *outcome : Fail(outcome.status());
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
  Choice choice;
  app.require_subcommand(1);
  app.set_help_all_flag("--help-all", "The help of every command");
  app.add_option("-o,--output", choice.output, "table (the default), json or jsonl");
  app.add_option("--profile", choice.global.profile, "Another profile than the current one");
  app.add_option("--gateway", choice.global.gateway, "host:port (default: the profile's)");
  app.add_option("--token-file", choice.global.token_file,
                 "File with the token (default: $TOCSIN_TOKEN, then the profile's)");
  app.add_option("--timeout", choice.timeout, "Of one call (default 15s)");
  app.add_option("--packs", choice.global.packs_dir, "Folder with the packs");
  app.add_option("--otlp", choice.global.otlp, "host:port of an OTLP/gRPC collector for spans");
  app.set_version_flag("--version", Concat("tocsin ", TOCSIN_VERSION));
  app.footer(
      "Exit codes: 0 ok, 1 failed, 2 wrong usage, 3 not found, 4 partly done, 5 unavailable,\n"
      "6 no right, 7 conflict, 124 timed out, 130 interrupted.");
  AddSystem(app, choice);
  AddEvents(app, choice);
  AddFindings(app, choice);
  AddRulesAndSchemas(app, choice);
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
