// rules: what the system looks for.
#include <grpcpp/grpcpp.h>

#include "cli/calls.h"
#include "cli/commands.h"
#include "cli/console.h"
#include "cli/core/exit_code.h"
#include "cli/core/pack.h"
#include "cli/output.h"
#include "lib/auth/keys.h"
#include "lib/base/text.h"
#include "tocsin/correlation/v1/rules.grpc.pb.h"

namespace tocsin::cli {
namespace {

using correlation::v1::RuleService;

// Files named one by one, and those of a pack.
absl::StatusOr<std::vector<std::string>> RuleFiles(const Session& session,
                                                   const RulesFlags& flags) {
  std::vector<std::string> files = flags.files;
  if (!flags.pack.empty()) {
    TOCSIN_ASSIGN_OR_RETURN(const LoadedPack pack, LoadPack(flags.pack, session.packs_dir()));
    for (const std::string& rule : pack.pack.rules()) {
      files.push_back((pack.folder / rule).string());
    }
  }
  if (files.empty()) return UsageError("name rule files, or a pack with --pack");
  return files;
}

}  // namespace

Outcome ApplyRules(const Session& session, const RulesFlags& flags) {
  TOCSIN_ASSIGN_OR_RETURN(const auto files, RuleFiles(session, flags));
  ListPrinter printer(session.flags().output, {"RULE", "VERSION", "CHANGED"}, Print);
  for (const std::string& file : files) {
    correlation::v1::ApplyRuleRequest request;
    TOCSIN_ASSIGN_OR_RETURN(*request.mutable_source(), auth::ReadFile(file));
    request.set_file_name(file);
    TOCSIN_ASSIGN_OR_RETURN(const auto response,
                            (Call<RuleService, correlation::v1::ApplyRuleResponse>(
                                session, &RuleService::StubInterface::ApplyRule, request)));
    printer.Row(response, [&]() -> std::vector<std::string> {
      return {response.rule().rule().id(), std::to_string(response.rule().version()),
              response.changed() ? "yes" : "no"};
    });
  }
  printer.Finish();
  return kExitOk;
}

Outcome ValidateRules(const Session& session, const RulesFlags& flags) {
  TOCSIN_ASSIGN_OR_RETURN(const auto files, RuleFiles(session, flags));
  int exit_code = kExitOk;
  // For people it is a story; for programs a list.
  const bool told = session.flags().output == OutputForm::kTable;
  ListPrinter printer(session.flags().output, {}, Print);
  const auto verdict = [&](std::string_view file, std::string_view rule, std::string_view error) {
    if (told) return Say(error.empty() ? Concat(file, ": good (", rule, ")") : std::string(error));
    printer.Row(Fields({{"file", file}, {"rule", rule}, {"error", error}}), nullptr);
  };
  for (const std::string& file : files) {
    correlation::v1::ValidateRuleRequest request;
    TOCSIN_ASSIGN_OR_RETURN(*request.mutable_source(), auth::ReadFile(file));
    request.set_file_name(file);
    const auto response = Call<RuleService, correlation::v1::ValidateRuleResponse>(
        session, &RuleService::StubInterface::ValidateRule, request);
    if (response.ok()) {
      verdict(file, response->rule().id(), "");
    } else if (absl::IsInvalidArgument(response.status())) {
      verdict(file, "", Message(response.status()));
      exit_code = kExitFailure;
    } else {
      return response.status();
    }
  }
  printer.Finish();
  return exit_code;
}

Outcome ListRules(const Session& session) {
  TOCSIN_ASSIGN_OR_RETURN(
      const auto response,
      (Call<RuleService, correlation::v1::ListRulesResponse>(
          session, &RuleService::StubInterface::ListRules, correlation::v1::ListRulesRequest())));
  ListPrinter printer(session.flags().output, {"RULE", "VERSION", "SEVERITY", "STREAM", "TITLE"},
                      Print);
  for (const auto& rule : response.rules()) {
    printer.Row(rule, [&]() -> std::vector<std::string> {
      return {rule.rule().id(), std::to_string(rule.version()),
              SeverityText(rule.rule().severity()), rule.rule().stream(), rule.rule().title()};
    });
  }
  printer.Finish();
  return kExitOk;
}

Outcome DeleteRule(const Session& session, const RulesFlags& flags) {
  correlation::v1::DeleteRuleRequest request;
  request.set_id(flags.id);
  TOCSIN_RETURN_IF_ERROR((Call<RuleService, correlation::v1::DeleteRuleResponse>(
                              session, &RuleService::StubInterface::DeleteRule, request))
                             .status());
  Say(Concat("The rule ", flags.id, " no longer runs."));
  return kExitOk;
}

}  // namespace tocsin::cli
