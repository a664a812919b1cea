// The words of `tocsin`, their flags and their help. What the commands do is elsewhere.
#pragma once

#include <functional>
#include <string>

#include "absl/status/status.h"
#include "cli/commands.h"
#include "cli/correlation/commands.h"
#include "cli/schema/commands.h"
#include "cli/session.h"
#include "cli/supervisor/up.h"

namespace CLI {
class App;
}  // namespace CLI

namespace tocsin::cli {

// Everything that flags fill, and which command was chosen.
struct Choice {
  GlobalFlags global;
  std::string output = "table";
  std::string timeout = "15s";
  std::string patience = "5m";
  std::string every = "2s";
  UpFlags up;
  SystemFlags system;
  TokenFlags token;
  PublishFlags publish;
  ReplayFlags replay;
  ListFlags list;
  IncidentFlags incident;
  WatchFlags watch;
  RulesFlags rules;
  LagFlags lag;
  StateFlags state;
  VerifyFlags verify;
  SchemaListFlags schema_list;
  SchemaShowFlags schema_show;
  SchemaPushFlags schema_push;
  SchemaCheckFlags schema_check;
  SchemaDiffFlags schema_diff;
  SchemaWatchFlags schema_watch;
  SchemaExportFlags schema_export;
  TopicsFlags topics;
  std::function<Outcome(const Session&)> run;
  // The supervisor makes no spans and forks: it must not have telemetry's threads.
  bool supervises = false;
};

// Adds every command to `app`; parsing fills `choice`, which must outlive it.
void AddCommands(CLI::App& app, Choice& choice);

// What flags give as text and commands want otherwise. INVALID_ARGUMENT names the flag.
absl::Status ReadTexts(Choice& choice);

// What a person probably meant who wrote a word or flag that is not there: "unknown: 'lits'; did
// you mean 'list'?". Empty when every word is known.
std::string UnknownWord(const CLI::App& app);

// The command as far as it was recognised: "tocsin incidents list".
std::string CommandPath(const CLI::App& app);

}  // namespace tocsin::cli
