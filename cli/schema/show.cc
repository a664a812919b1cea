// `tocsin schema ls`, `show`, `diff`: what the registry holds.
#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <charconv>
#include <limits>
#include <optional>
#include <utility>

#include "cli/calls.h"
#include "cli/console.h"
#include "cli/core/exit_code.h"
#include "cli/output.h"
#include "cli/schema/commands.h"
#include "cli/schema/finding_text.h"
#include "cli/schema/registry_versions.h"
#include "lib/base/text.h"
#include "lib/schema/compatibility.h"
#include "tocsin/schema/v1/registry.grpc.pb.h"

namespace tocsin::cli {
namespace {

using schema::v1::SchemaRegistryService;

std::optional<std::int32_t> Number(std::string_view text) {
  std::int32_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (text.empty() || error != std::errc() || end != text.data() + text.size() || number < 1) {
    return std::nullopt;
  }
  return number;
}

// "orders-value/3": a subject may hold slashes, too.
std::pair<std::string, std::int32_t> SplitVersion(const std::string& what) {
  const std::size_t slash = what.rfind('/');
  if (slash == std::string::npos) return {what, 0};
  const std::string_view last = std::string_view(what).substr(slash + 1);
  if (last == "latest") return {what.substr(0, slash), 0};
  const auto number = Number(last);
  return number ? std::pair{what.substr(0, slash), *number} : std::pair{what, 0};
}

std::string Story(const schema::v1::Schema& schema) {
  std::string text = schema.subject().empty() ? Concat("Schema ", schema.id())
                                              : Concat(schema.subject(), " version ",
                                                       schema.version(), ", id ", schema.id());
  if (schema.has_register_time()) {
    text += Concat(", registered ", TimeText(schema.register_time()));
  }
  if (!schema.registered_by().empty()) text += Concat(" by ", schema.registered_by());
  if (schema.deleted()) text += ", deleted";
  return Concat(text, ". GUID ", schema.guid(), ".");
}

// Who registered a schema when is told of versions: an id may stand under several.
absl::Status TellUses(const Session& session, std::int32_t id, const std::string& context) {
  constexpr int kMostTold = 10;
  schema::v1::ListSchemaUsesRequest request;
  request.set_id(id);
  request.set_context(context);
  request.set_deleted(schema::v1::DELETED_INCLUDE);
  TOCSIN_ASSIGN_OR_RETURN(
      const auto response,
      (Call<SchemaRegistryService, schema::v1::ListSchemaUsesResponse>(
          session, &SchemaRegistryService::StubInterface::ListSchemaUses, request)));
  for (int i = 0; i < response.uses_size(); ++i) {
    if (i == kMostTold) {
      Say(Concat("And ", response.uses_size() - kMostTold, " more versions have it."));
      break;
    }
    schema::v1::GetVersionRequest of;
    of.set_subject(response.uses(i).subject());
    of.set_version(response.uses(i).version());
    of.set_deleted(true);
    const auto version = Call<SchemaRegistryService, schema::v1::GetVersionResponse>(
        session, &SchemaRegistryService::StubInterface::GetVersion, of);
    // Deleted for good meanwhile, or not for this caller's eyes.
    if (version.ok()) Say(Story(version->schema()));
  }
  return absl::OkStatus();
}

// An id says nothing of where: the first version that has it and that the caller may read does.
absl::Status FillFirstUse(const Session& session, const std::string& context,
                          schema::v1::Schema& schema) {
  schema::v1::ListSchemaUsesRequest request;
  request.set_id(schema.id());
  request.set_context(context);
  for (const auto deleted : {schema::v1::DELETED_UNSPECIFIED, schema::v1::DELETED_ONLY}) {
    request.set_deleted(deleted);
    TOCSIN_ASSIGN_OR_RETURN(
        const auto uses,
        (Call<SchemaRegistryService, schema::v1::ListSchemaUsesResponse>(
            session, &SchemaRegistryService::StubInterface::ListSchemaUses, request)));
    for (const auto& use : uses.uses()) {
      schema::v1::GetVersionRequest of;
      of.set_subject(use.subject());
      of.set_version(use.version());
      of.set_deleted(true);
      const auto version = Call<SchemaRegistryService, schema::v1::GetVersionResponse>(
          session, &SchemaRegistryService::StubInterface::GetVersion, of);
      if (!version.ok()) continue;
      schema.set_subject(version->schema().subject());
      schema.set_version(version->schema().version());
      *schema.mutable_register_time() = version->schema().register_time();
      schema.set_registered_by(version->schema().registered_by());
      schema.set_deleted(version->schema().deleted());
      return absl::OkStatus();
    }
  }
  return absl::OkStatus();
}

template <typename Response>
int ShowFound(const Session& session, const Response& response) {
  if (session.flags().output != OutputForm::kTable) {
    Print(Concat(Json(response, session.flags().output == OutputForm::kJson), "\n"));
    return kExitOk;
  }
  Say(Story(response.schema()));
  for (int i = 0; i < response.imports_size(); ++i) {
    Say(Concat("Imports ", response.import_paths(i), ": ", response.imports(i).subject(),
               " version ", response.imports(i).version(), "."));
  }
  Print(response.schema().text());
  if (!response.schema().text().ends_with('\n')) Print("\n");
  return kExitOk;
}

}  // namespace

absl::StatusOr<int> ListSchemas(const Session& session, const SchemaListFlags& flags) {
  if (flags.contexts) {
    schema::v1::ListContextsRequest request;
    request.set_prefix(flags.prefix);
    TOCSIN_ASSIGN_OR_RETURN(
        const auto response,
        (Call<SchemaRegistryService, schema::v1::ListContextsResponse>(
            session, &SchemaRegistryService::StubInterface::ListContexts, request)));
    ListPrinter printer(session.flags().output, {"CONTEXT"}, Print);
    for (const std::string& context : response.contexts()) {
      printer.Row(Fields({{"context", context}}),
                  [&]() -> std::vector<std::string> { return {context}; });
    }
    printer.Finish();
    return kExitOk;
  }
  schema::v1::ListSchemasRequest request;
  request.set_prefix(flags.prefix);
  request.set_latest_only(true);
  request.set_all_contexts(flags.all_contexts);
  if (flags.deleted) request.set_deleted(schema::v1::DELETED_INCLUDE);
  TOCSIN_ASSIGN_OR_RETURN(const auto schemas, FetchSchemas(session, std::move(request)));
  std::vector<std::string> columns = {"SUBJECT", "VERSION", "ID", "REGISTERED", "BY"};
  if (flags.deleted) columns.emplace_back("DELETED");
  ListPrinter printer(session.flags().output, columns, Print);
  for (const schema::v1::Schema& schema : schemas) {
    printer.Row(schema, [&]() -> std::vector<std::string> {
      std::vector<std::string> cells = {schema.subject(), std::to_string(schema.version()),
                                        std::to_string(schema.id()),
                                        TimeText(schema.register_time()), schema.registered_by()};
      if (flags.deleted) cells.emplace_back(schema.deleted() ? "yes" : "");
      return cells;
    });
  }
  printer.Finish();
  return kExitOk;
}

absl::StatusOr<int> ShowSchema(const Session& session, const SchemaShowFlags& flags) {
  if (const auto id = Number(flags.what); id && flags.version == 0) {
    schema::v1::GetSchemaRequest request;
    request.set_id(*id);
    if (!flags.context.empty()) request.set_subject(Concat(":", flags.context, ":"));
    TOCSIN_ASSIGN_OR_RETURN(
        auto response, (Call<SchemaRegistryService, schema::v1::GetSchemaResponse>(
                           session, &SchemaRegistryService::StubInterface::GetSchema, request)));
    if (session.flags().output == OutputForm::kTable) {
      TOCSIN_RETURN_IF_ERROR(TellUses(session, *id, flags.context));
    } else {
      TOCSIN_RETURN_IF_ERROR(FillFirstUse(session, flags.context, *response.mutable_schema()));
    }
    return ShowFound(session, response);
  }
  if (!flags.context.empty()) {
    return UsageError(Concat("--context goes with an id; a subject names its own: :", flags.context,
                             ":", flags.what));
  }
  const auto [subject, version] =
      flags.version > 0 ? std::pair{flags.what, flags.version} : SplitVersion(flags.what);
  schema::v1::GetVersionRequest request;
  request.set_subject(subject);
  request.set_version(version);
  request.set_deleted(flags.deleted);
  TOCSIN_ASSIGN_OR_RETURN(
      const auto response,
      (Call<SchemaRegistryService, schema::v1::GetVersionResponse>(
          session, &SchemaRegistryService::StubInterface::GetVersion, request)));
  return ShowFound(session, response);
}

absl::StatusOr<int> DiffSchemas(const Session& session, const SchemaDiffFlags& flags) {
  int from = flags.from;
  int to = flags.to;
  if (from == 0 || to == 0) {
    TOCSIN_ASSIGN_OR_RETURN(const auto versions, FetchVersionNumbers(session, flags.subject));
    if (to == 0 && !versions.empty()) to = versions.back();
    if (from == 0) {
      // The one before.
      const auto after = std::lower_bound(versions.begin(), versions.end(), to);
      if (after == versions.begin()) {
        return FailedPrecondition(
            Concat(flags.subject, " has no version before ", to, " to compare it with"));
      }
      from = *std::prev(after);
    }
  }
  TOCSIN_ASSIGN_OR_RETURN(const RegistryVersion older, FetchVersion(session, flags.subject, from));
  TOCSIN_ASSIGN_OR_RETURN(const RegistryVersion newer, FetchVersion(session, flags.subject, to));
  const auto differences = schema::Differences(*older.compiled, *newer.compiled);
  const bool told = session.flags().output == OutputForm::kTable;
  ListPrinter printer(session.flags().output, {}, Print);
  int breaks = 0;
  for (const schema::Finding& finding : differences) {
    const bool compatible = schema::IsCompatible(finding.kind);
    const bool strict = schema::IsCompatible(finding.kind, /*strict=*/true);
    if (!compatible) ++breaks;
    if (told) {
      Print(Concat(
          compatible ? (strict ? "compatible:\n" : "against STRICT alone:\n")
                     : "against BACKWARD:\n",
          FindingText(finding, {older.name(), *older.compiled}, {newer.name(), *newer.compiled}),
          "\n"));
      continue;
    }
    google::protobuf::Struct row = FindingFields(finding);
    (*row.mutable_fields())["compatible"].set_bool_value(compatible);
    (*row.mutable_fields())["compatibleWithStrict"].set_bool_value(strict);
    printer.Row(row, nullptr);
  }
  printer.Finish();
  if (told) {
    Say(differences.empty()
            ? Concat(older.name(), " and ", newer.name(), " mean the same.")
            : Concat("From ", older.name(), " to ", newer.name(), ": ", differences.size(),
                     differences.size() == 1 ? " difference, " : " differences, ", breaks,
                     " against BACKWARD."));
  }
  return kExitOk;
}

}  // namespace tocsin::cli
