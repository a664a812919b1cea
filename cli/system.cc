// token, topics, status, version: the machine's side of things; none of these asks the gateway.
#include <pwd.h>
#include <unistd.h>

#include "cli/commands.h"
#include "cli/console.h"
#include "cli/core/exit_code.h"
#include "cli/core/pack.h"
#include "cli/core/topics.h"
#include "cli/output.h"
#include "cli/supervisor/layout.h"
#include "cli/system.h"
#include "lib/auth/token.h"
#include "lib/base/status.h"
#include "lib/base/text.h"
#include "lib/base/time.h"

namespace tocsin::cli {
namespace {

std::string_view KindText(TopicChange::Kind kind) {
  switch (kind) {
    case TopicChange::Kind::kCreate:
      return "create";
    case TopicChange::Kind::kGrow:
      return "add-partitions";
    case TopicChange::Kind::kConfigure:
      return "configure";
    case TopicChange::Kind::kCannot:
      return "cannot";
  }
  return "";
}

}  // namespace

std::string UserName(const Environment& environment) {
  if (const passwd* const user = getpwuid(getuid()); user != nullptr) return user->pw_name;
  const auto found = environment.find("USER");
  return found == environment.end() || found->second.empty() ? "operator" : found->second;
}

Outcome MakeToken(const Session& session, const TokenFlags& flags) {
  auth::Principal principal;
  principal.name = flags.name.empty() ? UserName(session.environment()) : flags.name;
  for (const std::string& name : flags.roles) {
    const auto role = auth::ParseRole(name);
    if (!role.ok()) return UsageError(role.status(), "--role");
    principal.roles.Add(*role);
  }
  const auto lifetime = ParseDuration(flags.lifetime);
  if (!lifetime.ok()) return UsageError(lifetime.status(), "--lifetime");
  TOCSIN_ASSIGN_OR_RETURN(const auto data, session.DataDir(flags.data));
  const Layout layout(data);
  auto signer = auth::TokenSigner::Create(layout.TokenKey().string(), kIssuer, kAudience);
  if (absl::IsNotFound(signer.status())) {
    return NotFound(Concat("there is no signing key in ", data.string(),
                           ": `tocsin up` makes one; --data names another folder"));
  }
  TOCSIN_RETURN_IF_ERROR(signer.status());
  TOCSIN_ASSIGN_OR_RETURN(
      const std::string token,
      (*signer)->Sign(principal, Clock::Real().Now(),
                      std::chrono::duration_cast<std::chrono::seconds>(*lifetime)));
  const bool table = session.flags().output == OutputForm::kTable;
  Print(Concat(table ? token : Json(Fields({{"token", token}}), false), "\n"));
  return kExitOk;
}

absl::Status ApplyTopicChanges(kafka::Admin& admin, const std::vector<TopicChange>& changes) {
  constexpr std::chrono::seconds kTimeout{30};
  std::vector<kafka::TopicSpec> create;
  for (const TopicChange& change : changes) {
    if (change.kind == TopicChange::Kind::kCreate) create.push_back(change.wanted);
  }
  if (!create.empty()) TOCSIN_RETURN_IF_ERROR(admin.CreateTopics(create, kTimeout));
  for (const TopicChange& change : changes) {
    const kafka::TopicSpec& topic = change.wanted;
    if (change.kind == TopicChange::Kind::kGrow) {
      TOCSIN_RETURN_IF_ERROR(admin.AddPartitions(topic.name, topic.partitions, kTimeout));
    } else if (change.kind == TopicChange::Kind::kConfigure) {
      TOCSIN_RETURN_IF_ERROR(admin.SetTopicConfigs(topic.name, topic.configs, kTimeout));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<TopicChange>> FindTopicChanges(kafka::Admin& admin,
                                                          const std::vector<LoadedPack>& packs,
                                                          int replication) {
  std::vector<pack::v1::Pack> contents;
  for (const LoadedPack& pack : packs) contents.push_back(pack.pack);
  const auto wanted = WantedTopics(contents, replication);
  std::vector<std::string> names;
  for (const auto& topic : wanted) names.push_back(topic.name);
  TOCSIN_ASSIGN_OR_RETURN(const auto present,
                          admin.DescribeTopics(names, std::chrono::seconds(15)));
  return TopicDifference(wanted, present);
}

Outcome ApplyTopics(const Session& session, const TopicsFlags& flags) {
  std::vector<LoadedPack> packs;
  for (const std::string& name : flags.packs) {
    TOCSIN_ASSIGN_OR_RETURN(auto pack, LoadPack(name, session.packs_dir()));
    packs.push_back(std::move(pack));
  }
  const auto profile = session.profile();
  const std::string kafka = Resolve(flags.kafka, session.environment(), "TOCSIN_KAFKA",
                                    profile.ok() ? profile->kafka() : "", "");
  if (kafka.empty()) return UsageError("name the brokers: --kafka host:port");
  kafka::Connection connection;
  connection.bootstrap_servers = kafka;
  connection.client_id = "tocsin-cli";
  connection.log = [](kafka::LogLevel, std::string_view) {};
  TOCSIN_ASSIGN_OR_RETURN(const auto admin, kafka::MakeAdmin(std::move(connection)));
  const auto changes = FindTopicChanges(*admin, packs, flags.replication);
  if (absl::IsUnavailable(changes.status()) || absl::IsDeadlineExceeded(changes.status())) {
    return Unavailable(Concat("no broker answers at ", kafka, ": ", Message(changes.status()),
                              "\nIs it running? --kafka names another address."));
  }
  TOCSIN_RETURN_IF_ERROR(changes.status());
  bool impossible = false;
  const bool table = session.flags().output == OutputForm::kTable;
  ListPrinter printer(session.flags().output, {}, Print);
  for (const TopicChange& change : *changes) {
    if (table) {
      Print(Concat(change.text, "\n"));
    } else {
      printer.Row(Fields({{"topic", change.wanted.name},
                          {"change", KindText(change.kind)},
                          {"text", change.text}}),
                  nullptr);
    }
    impossible = impossible || change.kind == TopicChange::Kind::kCannot;
  }
  printer.Finish();
  if (changes->empty()) Say("Every topic is as declared.");
  if (!flags.dry_run) TOCSIN_RETURN_IF_ERROR(ApplyTopicChanges(*admin, *changes));
  if (flags.dry_run && !changes->empty()) Say("Nothing was changed (--dry-run).");
  return impossible ? kExitPartial : kExitOk;
}

Outcome ShowVersion(const Session& session) {
  if (session.flags().output == OutputForm::kTable) {
    Print(Concat("tocsin ", TOCSIN_VERSION, "\n"));
  } else {
    Print(Concat(Json(Fields({{"version", TOCSIN_VERSION}}), false), "\n"));
  }
  return kExitOk;
}

}  // namespace tocsin::cli
