#include "cli/command_line.h"

#include <CLI/CLI.hpp>
#include <array>
#include <charconv>
#include <initializer_list>
#include <limits>
#include <string_view>
#include <utility>
#include <vector>

#include "lib/base/status.h"
#include "lib/base/text.h"
#include "lib/base/time.h"

namespace tocsin::cli {
namespace {

using Action = std::function<Outcome(const Session&)>;

// `example`: one or more lines as they are typed, without "tocsin".
CLI::App* Command(CLI::App* parent, const char* name, const char* summary,
                  std::initializer_list<std::string_view> examples, Choice& choice, Action action,
                  std::string_view more = {}) {
  CLI::App* const command = parent->add_subcommand(name, summary);
  command->fallthrough();
  command->callback([&choice, action = std::move(action)] { choice.run = action; });
  std::string footer = examples.size() == 1 ? "Example:" : "Examples:";
  for (const std::string_view example : examples) footer += Concat("\n  ", example);
  if (!more.empty()) footer += Concat("\n\n", more);
  command->footer(Concat(footer,
                         "\n\nFlags of every command (-o json, --gateway, --token-file, "
                         "--timeout …) and exit codes: tocsin --help"));
  return command;
}

// CLI11's own say what is allowed as the limits of a type, in hundreds of digits.
CLI::Validator WholeNumber(std::int64_t least,
                           std::int64_t most = std::numeric_limits<std::int64_t>::max()) {
  const std::string allowed = most == std::numeric_limits<std::int64_t>::max()
                                  ? Concat(least, " or more")
                                  : Concat(least, " to ", most);
  return CLI::Validator(
      [=](const std::string& text) {
        std::int64_t number = 0;
        const char* const end = text.data() + text.size();
        const auto [last, error] = std::from_chars(text.data(), end, number);
        const bool good = error == std::errc() && last == end && number >= least && number <= most;
        return good ? std::string()
                    : Concat("'", text, "' is not what it takes: give a whole number, ", allowed);
      },
      Concat("(", allowed, ")"));
}

CLI::App* Group(CLI::App& app, const char* name, const char* summary) {
  CLI::App* const group = app.add_subcommand(name, summary);
  group->fallthrough();
  group->require_subcommand(1);
  group->footer(Concat("What each does: tocsin ", name, " COMMAND --help"));
  return group;
}

void AddSystem(CLI::App& app, Choice& choice) {
  CLI::App* const up = Command(
      &app, "up", "Start a whole system on this machine and follow its incidents",
      {"tocsin up", "tocsin up --detach --no-demo --data /srv/tocsin --gateway 127.0.0.1:9080"},
      choice, [&](const Session& session) { return Up(session, choice.up); },
      "--gateway host:port (default 127.0.0.1:8080) and --otlp host:port count here too.\n"
      "Ctrl-C ends everything; the data is kept. Logs: logs/ in the data folder, at most "
      "256 MiB for each process.");
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

  CLI::App* const down =
      Command(&app, "down", "Stop what `up --detach` left running; the data is kept",
              {"tocsin down --data /srv/tocsin"}, choice,
              [&](const Session& session) { return Down(session, choice.system); });
  down->add_option("--data", choice.system.data, "Folder of the system (default: the profile's)");

  CLI::App* const status = Command(
      &app, "status", "Show what runs on this machine", {"tocsin status", "tocsin status -o json"},
      choice, [&](const Session& session) { return ShowStatus(session, choice.system); });
  status->add_option("--data", choice.system.data, "Folder of the system (default: the profile's)");

  CLI::App* const token =
      Command(&app, "token", "Print a token signed by this machine's system",
              {"tocsin token --role viewer",
               "tocsin token --role producer --role schema.read --name feed-7 --lifetime 720h"},
              choice, [&](const Session& session) { return MakeToken(session, choice.token); });
  token
      ->add_option("--role", choice.token.roles,
                   "viewer, operator, rule-author, admin, producer, schema.read|write|admin")
      ->required();
  token->add_option("--name", choice.token.name, "Whom it names (default: you)");
  token->add_option("--lifetime", choice.token.lifetime, "How long it is good (default 24h)");
  token->add_option("--data", choice.token.data, "Folder of the system (default: the profile's)");

  CLI::App* const topics = Group(app, "topics", "Kafka topics");
  CLI::App* const apply =
      Command(topics, "apply", "Make the topics what packs and system ask for",
              {"tocsin topics apply --pack public-safety --dry-run",
               "tocsin topics apply --pack public-safety --kafka broker-1:9092 --replication 3"},
              choice, [&](const Session& session) { return ApplyTopics(session, choice.topics); });
  apply->add_option("--pack", choice.topics.packs, "Packs whose streams are wanted")->required();
  apply->add_option("--kafka", choice.topics.kafka,
                    "host:port of brokers (default: the profile's)");
  apply->add_option("--replication", choice.topics.replication, "Copies of each partition")
      ->check(WholeNumber(1, 32'767));
  apply->add_flag("--dry-run", choice.topics.dry_run, "Show the difference and change nothing");

  Command(&app, "version", "Print the version", {"tocsin version"}, choice,
          [](const Session& session) { return ShowVersion(session); });
}

void AddEvents(CLI::App& app, Choice& choice) {
  CLI::App* const publish = Command(
      &app, "publish", "Publish one event, or one for each line of standard input",
      {"tocsin publish --stream alerts.raw --data '{\"township\": \"NORTH\"}' --severity high",
       "tail -F events.jsonl | tocsin publish --stream alerts.raw --data -"},
      choice, [&](const Session& session) { return Publish(session, choice.publish); },
      "An event that is not acknowledged is sent again under the same id until --timeout, "
      "and counts once.\nOne event may have 1 MiB, unless max_event_bytes of ingest says "
      "otherwise.");
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

  CLI::App* const replay = Command(
      &app, "replay", "Send the rows of a CSV file as events, each exactly once",
      {"tocsin replay --pack public-safety --csv 911.csv",
       "tocsin replay --pack public-safety --csv 911.csv --speed 3600"},
      choice, [&](const Session& session) { return Replay(session, choice.replay); },
      "Acknowledged means kept, and no more: a rule in event time leaves out rows that come "
      "later than its\ngrace. How many is counted by correlation, at /metrics of its admin "
      "address (tocsin status -o json):\n"
      "tocsin_correlation_rule_events_total{outcome=\"late\"}.");
  replay->add_option("--pack", choice.replay.pack, "The pack that knows the file's columns")
      ->required();
  replay->add_option("--csv", choice.replay.csv, "The file")->required();
  replay->add_option("--mapping", choice.replay.mapping, "The mapping (default: by the header)");
  replay->add_option("--source", choice.replay.source, "ce_source (default: the mapping's)");
  replay->add_option("--speed", choice.replay.speed,
                     "max (the default), or how many times faster than the events' own times");
  replay->add_option("--chunk", choice.replay.chunk, "Events in one call (default 500)")
      ->check(WholeNumber(1, 10'000));
  replay->add_option("--patience", choice.patience,
                     "Give up after so long without any acknowledgement (default 5m)");
}

void AddListFlags(CLI::App* command, Choice& choice) {
  command->add_option("--limit", choice.list.limit, "At most so many (default: all)")
      ->check(WholeNumber(1));
}

void AddFindings(CLI::App& app, Choice& choice) {
  CLI::App* const incidents = Group(app, "incidents", "What people act on");
  CLI::App* const list =
      Command(incidents, "list", "List incidents, the newest first",
              {"tocsin incidents list --state open --min-severity high",
               "tocsin incidents list --rule area-surge --from 2016-01-15T00:00:00Z -o json"},
              choice, [&](const Session& session) { return ListIncidents(session, choice.list); });
  list->add_option("--rule", choice.list.rule, "Of this rule only");
  list->add_option("--state", choice.list.states, "open, acknowledged, resolved");
  list->add_option("--min-severity", choice.list.min_severity, "info, low, medium, high, critical");
  list->add_option("--from", choice.list.from, "Not before this time, RFC 3339");
  list->add_option("--to", choice.list.to, "Before this time, RFC 3339");
  AddListFlags(list, choice);
  CLI::App* const get =
      Command(incidents, "get", "Show one with its detections and activities",
              {"tocsin incidents get 0195c4f2-6d1e-7a30-8f4e-2b7c5d9e1a60"}, choice,
              [&](const Session& session) { return GetIncident(session, choice.incident); });
  get->add_option("id", choice.incident.id, "The incident's id")->required();
  CLI::App* const ack = Command(
      incidents, "ack", "Acknowledge one",
      {"tocsin incidents ack ID --note \"crew 12 is on its way\""}, choice,
      [&](const Session& session) { return AcknowledgeIncident(session, choice.incident); });
  CLI::App* const resolve = Command(
      incidents, "resolve", "Resolve one", {"tocsin incidents resolve ID --note \"false alarm\""},
      choice, [&](const Session& session) { return ResolveIncident(session, choice.incident); });
  for (CLI::App* const command : {ack, resolve}) {
    command->add_option("id", choice.incident.id, "The incident's id")->required();
    command->add_option("--note", choice.incident.note, "Why, for the others");
    command->add_option("--etag", choice.incident.etag, "Only when this is still its etag");
  }
  CLI::App* const watch = Command(
      incidents, "watch", "Follow incidents as they happen",
      {"tocsin incidents watch --min-severity high",
       "tocsin incidents watch --from earliest --count 10 -o jsonl"},
      choice, [&](const Session& session) { return WatchIncidents(session, choice.watch); },
      "Ctrl-C ends it and says from where to go on. A lost connection is made again, and "
      "nothing is missed\nor shown twice.");
  watch->add_option("--rule", choice.watch.rules, "Of these rules only");
  watch->add_option("--min-severity", choice.watch.min_severity,
                    "info, low, medium, high, critical");
  watch->add_option("--from", choice.watch.from, "latest (the default) or earliest")
      ->check(CLI::IsMember({"latest", "earliest"}));
  watch->add_option("--cursor", choice.watch.cursor, "Go on behind this change");
  watch->add_option("--count", choice.watch.count, "End after so many changes")
      ->check(WholeNumber(1));

  CLI::App* const detections = Group(app, "detections", "Each firing of a rule, with its evidence");
  CLI::App* const list_detections =
      Command(detections, "list", "List detections, the newest first",
              {"tocsin detections list --rule repeat-location -o json"}, choice,
              [&](const Session& session) { return ListDetections(session, choice.list); });
  list_detections->add_option("--rule", choice.list.rule, "Of this rule only");
  list_detections->add_option("--incident", choice.list.incident, "Of this incident only");
  list_detections->add_option("--from", choice.list.from, "Not before this time, RFC 3339");
  list_detections->add_option("--to", choice.list.to, "Before this time, RFC 3339");
  AddListFlags(list_detections, choice);

  CLI::App* const notifications = Group(app, "notifications", "Who was told what");
  CLI::App* const list_notifications =
      Command(notifications, "list", "List attempts, the newest first",
              {"tocsin notifications list --incident ID"}, choice,
              [&](const Session& session) { return ListNotifications(session, choice.list); });
  list_notifications->add_option("--incident", choice.list.incident, "Of this incident only");
  AddListFlags(list_notifications, choice);
}

void AddRules(CLI::App& app, Choice& choice) {
  CLI::App* const rules = Group(app, "rules", "What the system looks for");
  CLI::App* const apply =
      Command(rules, "apply", "Make rules run",
              {"tocsin rules apply my-rule.yaml", "tocsin rules apply --pack public-safety"},
              choice, [&](const Session& session) { return ApplyRules(session, choice.rules); });
  CLI::App* const validate =
      Command(rules, "validate", "Check rules without running them",
              {"tocsin rules validate packs/public-safety/rules/*.yaml"}, choice,
              [&](const Session& session) { return ValidateRules(session, choice.rules); });
  for (CLI::App* const command : {apply, validate}) {
    command->add_option("files", choice.rules.files, "Rule files, YAML");
    command->add_option("--pack", choice.rules.pack, "The rules of a pack");
  }
  Command(rules, "list", "List the rules that run", {"tocsin rules list"}, choice,
          [](const Session& session) { return ListRules(session); });
  CLI::App* const remove =
      Command(rules, "delete", "Stop a rule", {"tocsin rules delete repeat-location"}, choice,
              [&](const Session& session) { return DeleteRule(session, choice.rules); });
  remove->add_option("id", choice.rules.id, "The rule's id")->required();
}

void AddSchemaReads(CLI::App* schema, Choice& choice) {
  constexpr std::int64_t kLargest = std::numeric_limits<int>::max();
  CLI::App* const list = Command(
      schema, "ls", "List subjects with their latest version",
      {"tocsin schema ls", "tocsin schema ls orders- --deleted",
       "tocsin schema ls --all-contexts -o json"},
      choice, [&](const Session& session) { return ListSchemas(session, choice.schema_list); });
  list->alias("list");
  list->add_option("prefix", choice.schema_list.prefix, "Of the subject: orders-, :.eu:");
  list->add_flag("--deleted", choice.schema_list.deleted, "Soft-deleted versions, too");
  list->add_flag("--all-contexts", choice.schema_list.all_contexts, "Not the default one alone");
  list->add_flag("--contexts", choice.schema_list.contexts, "List contexts, not subjects");

  CLI::App* const show = Command(
      schema, "show", "Print a schema, and say who registered it when",
      {"tocsin schema show alerts.raw-value", "tocsin schema show alerts.raw-value/3",
       "tocsin schema show 7 -o json"},
      choice, [&](const Session& session) { return ShowSchema(session, choice.schema_show); });
  show->alias("get");
  show->add_option("what", choice.schema_show.what, "SUBJECT, SUBJECT/VERSION, or an id")
      ->required();
  show->add_option("--version", choice.schema_show.version, "Default: the latest")
      ->check(WholeNumber(1, kLargest));
  show->add_option("--context", choice.schema_show.context, "Of an id (default: .)");
  show->add_flag("--deleted", choice.schema_show.deleted, "A soft-deleted version, too");

  CLI::App* const diff = Command(
      schema, "diff", "Show every difference between two versions, compatible ones, too",
      {"tocsin schema diff alerts.raw-value", "tocsin schema diff alerts.raw-value 3 5"}, choice,
      [&](const Session& session) { return DiffSchemas(session, choice.schema_diff); });
  diff->add_option("subject", choice.schema_diff.subject, "<topic>-value")->required();
  diff->add_option("from", choice.schema_diff.from, "Default: the version before")
      ->check(WholeNumber(1, kLargest));
  diff->add_option("to", choice.schema_diff.to, "Default: the latest")
      ->check(WholeNumber(1, kLargest));

  CLI::App* const watch = Command(
      schema, "watch", "Follow every change of schemas, configuration and modes",
      {"tocsin schema watch", "tocsin schema watch orders- --after 120 -o jsonl"}, choice,
      [&](const Session& session) { return WatchSchemas(session, choice.schema_watch); },
      "Begins with the oldest change that is kept. Ctrl-C ends it and says from where to go on.\n"
      "A lost connection is made again, and nothing is missed or shown twice.");
  watch->add_option("prefix", choice.schema_watch.prefix, "Of the subject");
  watch->add_option("--after", choice.schema_watch.after, "Go on behind this revision")
      ->check(WholeNumber(0));
  watch->add_option("--count", choice.schema_watch.count, "End after so many changes")
      ->check(WholeNumber(1));
}

void AddSchemas(CLI::App& app, Choice& choice) {
  CLI::App* const schema = Group(app, "schema", "The shape of events");
  CLI::App* const check = Command(
      schema, "check", "Would the registry take these .proto files? Changes nothing",
      {"tocsin schema check proto --against git:main",
       "tocsin schema check alert.proto --subject alerts.raw-value",
       "tocsin schema check new/alert.proto --against old/alert.proto --level full"},
      choice, [&](const Session& session) { return CheckSchemas(session, choice.schema_check); },
      "Works without a registry, unless it is asked to check against one, and by the same rules.\n"
      "Exit code 1: something breaks.");
  check->add_option("path", choice.schema_check.path, "A .proto file, or a folder of them")
      ->required();
  check->add_option("--against", choice.schema_check.against,
                    "git:REVISION (default git:HEAD), a file, a folder, or registry");
  check->add_option("--subject", choice.schema_check.subject,
                    "Check one file against this subject of the registry");
  check->add_option("--level", choice.schema_check.level,
                    "backward (default), forward, full, strict; …-transitive; none");
  check->add_option("--root", choice.schema_check.root,
                    "Folder that imports are looked up from (default: the folder, or the file's)");

  CLI::App* const push = Command(
      schema, "push", "Register .proto files, what is imported first",
      {"tocsin schema push alert.proto --subject alerts.raw-value",
       "tocsin schema push proto --dry-run", "tocsin schema push --pack public-safety"},
      choice, [&](const Session& session) { return PushSchemas(session, choice.schema_push); },
      "A file without --subject or --as becomes the subject that is named as it is imported.");
  push->alias("register");
  push->add_option("path", choice.schema_push.path, "A .proto file, or a folder of them");
  push->add_option("--subject", choice.schema_push.subject, "<topic>-value, of one file");
  push->add_option("--as", choice.schema_push.as, "FILE=SUBJECT, for a file or an import");
  push->add_option("--root", choice.schema_push.root,
                   "Folder that imports are looked up from (default: the folder, or the file's)");
  push->add_option("--pack", choice.schema_push.pack, "The schemas of a pack");
  push->add_flag("--normalize", choice.schema_push.normalize, "Store the normal form");
  push->add_flag("--dry-run", choice.schema_push.dry_run, "Say what it would do, and do nothing");

  AddSchemaReads(schema, choice);

  CLI::App* const exported = Command(
      schema, "export", "Write everything in the shapes of Confluent's topic _schemas",
      {"tocsin schema export --kafka broker:9092 --topic _schemas_for_confluent",
       "tocsin schema export | kafka-console-producer.sh --topic _schemas --bootstrap-server "
       "broker:9092 \\\n      --property parse.key=true"},
      choice, [&](const Session& session) { return ExportSchemas(session, choice.schema_export); },
      "To standard output: key, tab, value. The topic must not exist yet; it is made, compacted.");
  exported->add_option("--kafka", choice.schema_export.kafka,
                       "host:port of brokers (default: the profile's)");
  exported->add_option("--topic", choice.schema_export.topic, "A new topic to write");
}

void AddCorrelation(CLI::App& app, Choice& choice) {
  CLI::App* const lag = Command(
      &app, "lag", "Show how far correlation is behind, in records and seconds",
      {"tocsin lag", "tocsin lag --watch --every 5s", "tocsin lag -o json"}, choice,
      [&](const Session& session) { return ShowLag(session, choice.lag); },
      "RECORDS: not handled yet, markers of transactions between them counted too. SECONDS: the "
      "age of the first of them.\nThe exit code is 0 however large they are.");
  lag->add_flag("--watch,-w", choice.lag.watch, "Look again and again until Ctrl-C");
  lag->add_option("--every", choice.every, "With --watch: the pause between (default 2s)");
}

void AddVerify(CLI::App& app, Choice& choice) {
  CLI::App* const verify = Command(
      &app, "verify", "Check that what correlation wrote is whole, each output once and in order",
      {"tocsin verify", "tocsin verify --from 2026-03-01T00:00:00Z --to 2026-03-02T00:00:00Z"},
      choice, [&](const Session& session) { return Verify(session, choice.verify); },
      "Reads all outputs of that time and checks the stamps that each transaction gives them: none "
      "torn, lost,\nrepeated or out of order. The exit code is 1 when one is.");
  verify->add_option("--from", choice.verify.from,
                     "Outputs sent at this time or later, RFC 3339 (default: an hour before --to)");
  verify->add_option("--to", choice.verify.to, "And before this one (default: now)");
}

void AddState(CLI::App& app, Choice& choice) {
  CLI::App* const state = Group(app, "state", "What correlation holds");
  CLI::App* const show = Command(
      state, "show", "Show what is held for one group key of one rule",
      {"tocsin state show --rule area-surge --key \"LOWER MERION\"",
       "tocsin state show --rule by-user --key anna --key EUR -o json"},
      choice, [&](const Session& session) { return ShowState(session, choice.state); },
      "The events of its window, the incident that is open, what waits for the watermark.\n"
      "--key once for each group-by field of the rule, in its order.");
  show->add_option("--rule", choice.state.rule, "The rule's id")->required();
  show->add_option("--key", choice.state.key, "Value of a group-by field")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  show->add_option("--partition", choice.state.partition,
                   "Of the stream (default: the one that the key's hash gives)")
      ->check(WholeNumber(0));
}

// The deepest command that was recognised.
const CLI::App* Deepest(const CLI::App& app) {
  const CLI::App* at = &app;
  while (!at->get_subcommands().empty()) at = at->get_subcommands().front();
  return at;
}

std::vector<std::string> Flags(const CLI::App& app, const CLI::App& command) {
  std::vector<std::string> names;
  for (const CLI::App* one : {&command, &app}) {
    for (const CLI::Option* option : one->get_options()) {
      for (const std::string& name : option->get_lnames()) names.push_back(Concat("--", name));
    }
  }
  return names;
}

std::vector<std::string> Words(const CLI::App& command) {
  std::vector<std::string> names;
  for (const CLI::App* one : command.get_subcommands([](const CLI::App*) { return true; })) {
    names.push_back(one->get_name());
  }
  return names;
}

// What other programs call it, where the letters are not alike. Of several, the first that is
// there.
std::string Synonym(std::string_view word, const std::vector<std::string>& names) {
  struct Meaning {
    std::string_view word;
    std::string_view meant;
  };
  constexpr std::array kMeanings{
      Meaning{"show", "get"},       Meaning{"describe", "get"},  Meaning{"view", "get"},
      Meaning{"cat", "get"},        Meaning{"read", "get"},      Meaning{"ls", "list"},
      Meaning{"all", "list"},       Meaning{"rm", "delete"},     Meaning{"remove", "delete"},
      Meaning{"stop", "delete"},    Meaning{"stop", "down"},     Meaning{"follow", "watch"},
      Meaning{"tail", "watch"},     Meaning{"live", "watch"},    Meaning{"start", "up"},
      Meaning{"run", "up"},         Meaning{"kill", "down"},     Meaning{"ps", "status"},
      Meaning{"health", "status"},  Meaning{"send", "publish"},  Meaning{"produce", "publish"},
      Meaning{"import", "replay"},  Meaning{"load", "replay"},   Meaning{"acknowledge", "ack"},
      Meaning{"close", "resolve"},  Meaning{"create", "apply"},  Meaning{"create", "register"},
      Meaning{"add", "apply"},      Meaning{"add", "push"},      Meaning{"update", "apply"},
      Meaning{"check", "validate"}, Meaning{"lint", "validate"}, Meaning{"alerts", "incidents"},
      Meaning{"schemas", "schema"}, Meaning{"login", "token"},   Meaning{"auth", "token"}};
  for (const Meaning& meaning : kMeanings) {
    if (meaning.word != word) continue;
    for (const std::string& name : names) {
      if (name == meaning.meant) return name;
    }
  }
  return {};
}

}  // namespace

void AddCommands(CLI::App& app, Choice& choice) {
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
  app.footer(
      "Example:\n  tocsin up --detach && tocsin incidents watch\n\n"
      "Exit codes: 0 ok, 1 failed, 2 wrong usage, 3 not found, 4 partly done, 5 unavailable,\n"
      "6 no right, 7 conflict, 124 timed out, 130 interrupted, 141 standard output was closed.");
  AddSystem(app, choice);
  AddEvents(app, choice);
  AddFindings(app, choice);
  AddRules(app, choice);
  AddCorrelation(app, choice);
  AddState(app, choice);
  AddVerify(app, choice);
  AddSchemas(app, choice);
}

absl::Status ReadTexts(Choice& choice) {
  if (choice.output == "table") {
    choice.global.output = OutputForm::kTable;
  } else if (choice.output == "json") {
    choice.global.output = OutputForm::kJson;
  } else if (choice.output == "jsonl") {
    choice.global.output = OutputForm::kJsonl;
  } else {
    return InvalidArgument(Concat("-o ", choice.output, ": give table, json or jsonl"));
  }
  const auto timeout = ParseDuration(choice.timeout);
  if (!timeout.ok()) return Annotate(timeout.status(), "--timeout");
  const auto patience = ParseDuration(choice.patience);
  if (!patience.ok()) return Annotate(patience.status(), "--patience");
  const auto every = ParseDuration(choice.every);
  if (!every.ok()) return Annotate(every.status(), "--every");
  if (*every < std::chrono::milliseconds(100)) {
    return InvalidArgument("--every: give 100ms or more");
  }
  choice.lag.every = std::chrono::duration_cast<std::chrono::milliseconds>(*every);
  choice.global.timeout = std::chrono::duration_cast<std::chrono::milliseconds>(*timeout);
  choice.replay.patience = std::chrono::duration_cast<std::chrono::milliseconds>(*patience);
  choice.up.gateway = choice.global.gateway;
  choice.up.otlp = choice.global.otlp;
  return absl::OkStatus();
}

std::string UnknownWord(const CLI::App& app) {
  const CLI::App* const at = Deepest(app);
  for (const std::string& word : app.remaining(true)) {
    const bool flag = word.starts_with("-");
    const std::vector<std::string> names = flag ? Flags(app, *at) : Words(*at);
    const std::string synonym = flag ? "" : Synonym(word, names);
    return Concat("unknown: '", word, "'",
                  synonym.empty() ? DidYouMean(word.substr(0, word.find('=')), names)
                                  : Concat("; did you mean '", synonym, "'?"));
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

}  // namespace tocsin::cli
