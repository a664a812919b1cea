// The JSON that clients are given. Internal to rest/. Pure; thread-safe.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "schema-registry/model.h"
#include "schema-registry/registry.h"

namespace tocsin::registry {

using Json = ::nlohmann::ordered_json;

std::string Dump(const Json& json);

// Type, text, references, metadata, rules and GUID; what is empty is left out, and the type where
// it is AVRO, as clients expect it. `text` is in the form asked for.
void AddSchema(const StoredSchema& schema, std::string text, const std::vector<Reference>& shown,
               Json& json);

// A schema under a subject: {subject, version, id, …, ts, registeredBy, deleted}.
Json VersionJson(const SchemaVersion& version, std::string text,
                 const std::vector<Reference>& shown);

// The answer to a registration: the same, the id first, for clients that look for nothing else.
Json RegisteredJson(const SchemaVersion& version, std::string text);

// {compatibilityLevel | compatibility, …}: the one where it is shown, the other where it is set.
Json ConfigJson(const SubjectConfig& config, const char* level_name);

// The verdict of a check. `messages` are in the form that tools for Confluent's registry take
// apart: {errorType:"…", description:"…"}, and where that registry says nothing, places,
// consequence and repair as additionalInfo; `findings` has the same as JSON.
Json VerdictJson(const CompatibilityVerdict& verdict, bool verbose);

}  // namespace tocsin::registry
