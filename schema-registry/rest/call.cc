// What the calls have in common: parameters, rights, and the forms of a schema's text.
#include "schema-registry/rest/call.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "lib/base/hex.h"
#include "lib/base/status.h"
#include "lib/schema/compiled_schema.h"
#include "schema-registry/registry_errors.h"
#include "schema-registry/rest/json_body.h"

namespace tocsin::registry {
namespace {

template <typename Number>
std::optional<Number> ParseNumber(std::string_view text) {
  Number number{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

bool NamesContext(std::string_view subject) { return subject.substr(0, 2) == ":."; }

}  // namespace

std::string ContextOf(std::string_view subject) {
  auto name = ParseSubject(subject);
  return name.ok() ? std::move(name->context) : std::string(kDefaultContext);
}

std::string ContextFromUrl(std::string_view given) {
  if (!given.empty() && given.front() == ':') given.remove_prefix(1);
  if (!given.empty() && given.back() == ':') given.remove_suffix(1);
  return !given.empty() && given.front() == '.' ? std::string(given) : Concat(".", given);
}

// --- parameters -------------------------------------------------------------------------------

bool Call::Flag(std::string_view name) const {
  return AsciiLower(request_.Parameter(name).value_or("")) == "true";
}

absl::StatusOr<Page> Call::PageOf() const {
  Page page;
  const auto read = [&](std::string_view name, std::int64_t& number) {
    const auto text = request_.Parameter(name);
    if (!text || text->empty()) return absl::OkStatus();
    const auto parsed = ParseNumber<std::int64_t>(*text);
    if (!parsed) {
      return MakeError(
          ErrorCode::kUnprocessable,
          Concat("the parameter ", name, " is not a number: '", Shorten(*text, 40), "'"));
    }
    number = *parsed;
    return absl::OkStatus();
  };
  TOCSIN_RETURN_IF_ERROR(read("offset", page.offset));
  TOCSIN_RETURN_IF_ERROR(read("limit", page.limit));
  return page;
}

Deleted Call::DeletedOf() const {
  if (Flag("deletedOnly")) return Deleted::kOnly;
  return Flag("deleted") ? Deleted::kInclude : Deleted::kExclude;
}

std::string Call::Qualified(std::string_view name) const {
  if (context_.empty() || NamesContext(name)) return std::string(name);
  return FormatSubject({context_, std::string(name)});
}

std::string Call::Beside(std::string_view subject, std::string_view name) {
  if (NamesContext(name)) return std::string(name);
  return FormatSubject({ContextOf(subject), std::string(name)});
}

absl::StatusOr<std::string> Call::ReadableSubject(std::size_t segment) const {
  std::string name = Qualified(path_[segment]);
  TOCSIN_RETURN_IF_ERROR(ParseSubject(name).status());
  TOCSIN_RETURN_IF_ERROR(access_.MayRead(principal_, name));
  return name;
}

absl::StatusOr<std::string> Call::WritableSubject(std::size_t segment) const {
  std::string name = Qualified(path_[segment]);
  TOCSIN_RETURN_IF_ERROR(ParseSubject(name).status());
  TOCSIN_RETURN_IF_ERROR(access_.MayWrite(principal_, name));
  return name;
}

absl::StatusOr<std::optional<std::string>> Call::Scope() const {
  std::string name = Qualified(path_.size() < 2 ? std::string_view() : path_[1]);
  TOCSIN_ASSIGN_OR_RETURN(const SubjectName parsed, ParseSubject(name));
  if (parsed.subject.empty() && parsed.context == kDefaultContext) return std::nullopt;
  return name;
}

absl::StatusOr<std::optional<std::string>> Call::ReadableScope() const {
  TOCSIN_ASSIGN_OR_RETURN(auto scope, Scope());
  TOCSIN_RETURN_IF_ERROR(access_.MayRead(principal_, scope.value_or("")));
  return scope;
}

absl::StatusOr<std::optional<std::string>> Call::WritableScope() const {
  TOCSIN_ASSIGN_OR_RETURN(auto scope, Scope());
  if (!scope || scope->back() == ':') {
    TOCSIN_RETURN_IF_ERROR(RequireRole(auth::Role::ROLE_SCHEMA_ADMIN,
                                       "changing the settings of everything or of a context"));
  }
  TOCSIN_RETURN_IF_ERROR(access_.MayWrite(principal_, scope.value_or("")));
  return scope;
}

absl::Status Call::RequireRole(auth::Role role, std::string_view what) const {
  const absl::Status status = auth::CheckAccess(principal_, role, what);
  return status.ok() ? status : MakeError(ErrorCode::kForbidden, Message(status));
}

absl::StatusOr<Json> Call::Body() const { return ParseBody(request_.body); }

absl::Status Call::CheckImports(std::string_view subject,
                                const std::vector<Reference>& references) const {
  if (!access_.restricts_reading()) return absl::OkStatus();
  for (const Reference& reference : references) {
    TOCSIN_RETURN_IF_ERROR(access_.MayRead(principal_, Beside(subject, reference.subject)));
  }
  return absl::OkStatus();
}

absl::StatusOr<Draft> Call::ReadBodyDraft(std::string_view subject) const {
  TOCSIN_ASSIGN_OR_RETURN(const Json body, Body());
  TOCSIN_ASSIGN_OR_RETURN(Draft draft, ReadDraft(body));
  // What is said of the draft says something of what it imports.
  TOCSIN_RETURN_IF_ERROR(CheckImports(subject, draft.references));
  return draft;
}

absl::StatusOr<SchemaId> Call::IdOf(std::size_t segment) const {
  const auto id = ParseNumber<std::int32_t>(path_[segment]);
  if (!id || *id < 1) {
    return MakeError(ErrorCode::kNotFound,
                     Concat("'", Shorten(path_[segment], 40), "' is not the id of a schema"));
  }
  return SchemaId(*id);
}

absl::StatusOr<schema::SchemaGuid> Call::GuidOf(std::size_t segment) const {
  auto guid = schema::ParseGuid(path_[segment]);
  if (guid.ok()) return guid;
  return MakeError(ErrorCode::kSchemaNotFound,
                   Concat("'", Shorten(path_[segment], 40), "' is not the GUID of a schema"));
}

absl::StatusOr<std::optional<std::int32_t>> Call::VersionOf(std::size_t segment) const {
  const std::string& text = path_[segment];
  if (text == "latest" || text == "-1") return std::optional<std::int32_t>();
  const auto version = ParseNumber<std::int32_t>(text);
  if (!version || *version < 1) {
    return MakeError(ErrorCode::kInvalidVersion,
                     Concat("'", Shorten(text, 40),
                            "' is not a version: give a number from 1 to 2147483647, or 'latest'"));
  }
  return version;
}

SubjectFilter Call::FilterOf() const {
  std::string_view prefix = request_.Parameter("subjectPrefix").value_or("");
  SubjectFilter filter;
  filter.deleted = DeletedOf();
  filter.all_contexts = prefix.substr(0, 3) == ":*:";
  if (filter.all_contexts) {
    filter.prefix = prefix.substr(3);
  } else {
    filter.prefix = Qualified(prefix);
  }
  return filter;
}

// --- what is shown ----------------------------------------------------------------------------

absl::Status Call::CheckReadable(SchemaId id, std::string_view subject) {
  if (!access_.restricts_reading()) return absl::OkStatus();
  TOCSIN_ASSIGN_OR_RETURN(const auto uses, registry_.UsesOf(id, subject, Deleted::kInclude));
  const bool readable = std::any_of(uses.begin(), uses.end(),
                                    [&](const SchemaVersion& use) { return MayRead(use.subject); });
  return readable ? absl::OkStatus() : NoSchema(id);
}

absl::StatusOr<std::string> Call::TextOf(const StoredSchema& schema, std::string_view context) {
  const TextFormat format = ParseTextFormat(request_.Parameter("format").value_or(""));
  if (format == TextFormat::kText || schema.type != kProtobuf) return *schema.text;
  const bool ignore_extensions = format == TextFormat::kIgnoreExtensions;
  TOCSIN_ASSIGN_OR_RETURN(const std::string bytes,
                          registry_.Serialized(schema, context, ignore_extensions));
  if (!ignore_extensions) return Base64Encode(bytes);
  TOCSIN_ASSIGN_OR_RETURN(const auto imports, registry_.ImportsOf(schema, context));
  std::vector<schema::SourceFile> files;
  files.reserve(imports.size());
  for (const Import& import : imports) files.push_back({import.name, *import.schema->text});
  return schema::TextOfSerialized(bytes, files);
}

std::vector<Reference> Call::ReferencesOf(const StoredSchema& schema,
                                          std::string_view context) const {
  std::vector<Reference> references = schema.references;
  // One client writes the parameter with an underscore.
  const bool qualified = request_.Parameter("referenceFormat") == "qualified" ||
                         request_.Parameter("reference_format") == "qualified";
  if (!qualified) return references;
  for (Reference& reference : references) {
    if (NamesContext(reference.subject)) continue;
    reference.subject = FormatSubject({std::string(context), reference.subject});
  }
  return references;
}

absl::StatusOr<std::string> Call::Show(const SchemaVersion& version) {
  const std::string context = ContextOf(version.subject);
  TOCSIN_ASSIGN_OR_RETURN(std::string text, TextOf(*version.schema, context));
  return Dump(VersionJson(version, std::move(text), ReferencesOf(*version.schema, context)));
}

}  // namespace tocsin::registry
