// /config, /mode, /contexts, and what the registry says about itself.
#include <utility>

#include "lib/base/status.h"
#include "schema-registry/rest/call.h"
#include "schema-registry/rest/json_body.h"
#include "schema-registry/rest/openapi.h"

namespace tocsin::registry {
namespace {

// As /config shows it and DELETE /config says what was.
constexpr char kShown[] = "compatibilityLevel";
// As PUT /config takes and repeats it.
constexpr char kSet[] = "compatibility";

std::optional<std::string_view> View(const std::optional<std::string>& text) {
  if (!text) return std::nullopt;
  return *text;
}

}  // namespace

Call::Result Call::GetRoot() { return std::string("{}"); }

Call::Result Call::GetOpenApi() { return std::string(OpenApiDocument()); }

Call::Result Call::GetConfig() {
  TOCSIN_ASSIGN_OR_RETURN(const auto scope, ReadableScope());
  TOCSIN_ASSIGN_OR_RETURN(const SubjectConfig config,
                          registry_.GetConfig(View(scope), Flag("defaultToGlobal")));
  return Dump(ConfigJson(config, kShown));
}

Call::Result Call::SetConfig() {
  TOCSIN_ASSIGN_OR_RETURN(const auto scope, WritableScope());
  TOCSIN_ASSIGN_OR_RETURN(const Json body, Body());
  TOCSIN_ASSIGN_OR_RETURN(const SubjectConfig config, ReadConfig(body));
  if (config.alias && !config.alias->empty()) {
    // Else an alias would lead round the rules for the subject behind it.
    TOCSIN_RETURN_IF_ERROR(access_.MayWrite(principal_, Beside(scope.value_or(""), *config.alias)));
  }
  TOCSIN_RETURN_IF_ERROR(registry_.SetConfig(actor_, View(scope), config).status());
  return Dump(ConfigJson(config, kSet));
}

Call::Result Call::DeleteConfig() {
  TOCSIN_ASSIGN_OR_RETURN(const auto scope, WritableScope());
  TOCSIN_ASSIGN_OR_RETURN(const SubjectConfig config, registry_.DeleteConfig(actor_, View(scope)));
  return Dump(ConfigJson(config, kShown));
}

Call::Result Call::GetMode() {
  TOCSIN_ASSIGN_OR_RETURN(const auto scope, ReadableScope());
  TOCSIN_ASSIGN_OR_RETURN(const Mode mode, registry_.GetMode(View(scope), Flag("defaultToGlobal")));
  return Dump(Json{{"mode", ModeName(mode)}});
}

Call::Result Call::SetMode() {
  TOCSIN_ASSIGN_OR_RETURN(const auto scope, WritableScope());
  TOCSIN_ASSIGN_OR_RETURN(const Json body, Body());
  const Json* name = Given(body, "mode");
  if (name == nullptr || !name->is_string()) {
    return MakeError(ErrorCode::kInvalidMode,
                     "the body has no \"mode\", for example {\"mode\": \"READWRITE\"}");
  }
  auto mode = ParseMode(AsciiUpper(name->get_ref<const std::string&>()));
  if (!mode.ok()) mode = ParseMode(name->get_ref<const std::string&>());
  TOCSIN_RETURN_IF_ERROR(mode.status());
  TOCSIN_ASSIGN_OR_RETURN(const Mode set,
                          registry_.SetMode(actor_, View(scope), *mode, Flag("force")));
  return Dump(Json{{"mode", ModeName(set)}});
}

Call::Result Call::DeleteMode() {
  TOCSIN_ASSIGN_OR_RETURN(const auto scope, WritableScope());
  TOCSIN_ASSIGN_OR_RETURN(const Mode mode,
                          registry_.DeleteMode(actor_, View(scope), Flag("recursive")));
  return Dump(Json{{"mode", ModeName(mode)}});
}

Call::Result Call::ListContexts() {
  TOCSIN_ASSIGN_OR_RETURN(const Page page, PageOf());
  TOCSIN_ASSIGN_OR_RETURN(
      const auto contexts,
      registry_.Contexts(request_.Parameter("contextPrefix").value_or(""), page));
  return Dump(Json(contexts));
}

Call::Result Call::DeleteContext() {
  const std::string context = ContextFromUrl(path_[1]);
  TOCSIN_RETURN_IF_ERROR(access_.MayWrite(principal_, Concat(":", context, ":")));
  TOCSIN_RETURN_IF_ERROR(registry_.DeleteContext(actor_, context));
  return std::nullopt;
}

Call::Result Call::GetClusterId() {
  Json clusters = {{"kafka-cluster", registry_.cluster_id()},
                   {"schema-registry-cluster", "schema-registry"}};
  return Dump(
      Json{{"scope", {{"path", Json::array()}, {"clusters", std::move(clusters)}}}, {"id", ""}});
}

Call::Result Call::GetServerVersion() {
  return Dump(Json{{"version", TOCSIN_VERSION}, {"commitId", ""}});
}

// Words by which clients tell editions of Confluent's registry apart; this is none of them.
Call::Result Call::GetDeployment() { return Dump(Json{{"attributes", Json::array()}}); }

}  // namespace tocsin::registry
