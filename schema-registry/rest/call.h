// One request of the REST interface, and what the routes do with it. Internal to rest/.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "lib/auth/roles.h"
#include "lib/http/buffered.h"
#include "schema-registry/registry.h"
#include "schema-registry/rest/json_answer.h"
#include "schema-registry/rest/schema_answers.h"
#include "schema-registry/subject_access.h"

namespace tocsin::registry {

// What all calls share. Outlives them.
struct CallContext {
  Registry& registry;
  const SubjectAccess& access;
  SchemaAnswers& answers;
};

// Lives for one request, on one thread; blocks as Registry's methods do. The names of the handlers
// are those of the operations in openapi.json.
class Call {
 public:
  // The body of the answer; nullopt: there is none (204).
  using Result = absl::StatusOr<std::optional<std::string>>;

  // `path`: decoded segments, without the prefix /contexts/{context}, whose context is `context`
  // (empty: none was given).
  Call(const CallContext& shared, const http::Request& request, std::vector<std::string> path,
       std::string context, auth::Principal principal)
      : registry_(shared.registry),
        access_(shared.access),
        answers_(shared.answers),
        request_(request),
        path_(std::move(path)),
        context_(std::move(context)),
        principal_(std::move(principal)),
        actor_{principal_.name, request.peer} {}

  // --- schema_calls.cc
  Result ListTypes();
  Result ListSchemas();
  Result GetSchema();
  Result GetSchemaText();
  Result ListSchemaSubjects();
  Result ListSchemaVersions();
  Result GetSchemaByGuid();
  Result ListGuidIds();
  // --- subject_calls.cc
  Result ListSubjects();
  Result LookUp();
  Result DeleteSubject();
  Result ListVersions();
  Result Register();
  Result GetVersion();
  Result GetVersionText();
  Result ListReferencedBy();
  Result DeleteVersion();
  Result ChangeTags();
  Result FindByMetadata();
  Result CheckVersion();
  Result CheckSubject();
  // --- settings_calls.cc
  Result GetRoot();
  Result GetOpenApi();
  Result GetConfig();
  Result SetConfig();
  Result DeleteConfig();
  Result GetMode();
  Result SetMode();
  Result DeleteMode();
  Result ListContexts();
  Result DeleteContext();
  Result GetClusterId();
  Result GetServerVersion();
  Result GetDeployment();

 private:
  // --- parameters (call.cc)
  bool Flag(std::string_view name) const;
  // kUnprocessable: no number.
  absl::StatusOr<Page> PageOf() const;
  Deleted DeletedOf() const;
  // In the context of the URL's prefix, where the name says none itself.
  std::string Qualified(std::string_view name) const;
  // The name as it stands beside that of the subject: without a context it is of the same one.
  static std::string Beside(std::string_view subject, std::string_view name);
  // Of the path; checked.
  absl::StatusOr<std::string> ReadableSubject(std::size_t segment) const;
  absl::StatusOr<std::string> WritableSubject(std::size_t segment) const;
  // The one that /config and /mode are about; nullopt: everything.
  absl::StatusOr<std::optional<std::string>> Scope() const;
  absl::StatusOr<std::optional<std::string>> ReadableScope() const;
  // Everything and whole contexts need schema.admin.
  absl::StatusOr<std::optional<std::string>> WritableScope() const;
  absl::Status RequireRole(auth::Role role, std::string_view what) const;
  absl::StatusOr<Json> Body() const;
  // kForbidden where one of them may not be read.
  absl::Status CheckImports(std::string_view subject,
                            const std::vector<Reference>& references) const;
  // A draft for this subject; kForbidden where it imports what the caller may not read.
  absl::StatusOr<Draft> ReadBodyDraft(std::string_view subject) const;
  absl::StatusOr<SchemaId> IdOf(std::size_t segment) const;
  absl::StatusOr<schema::SchemaGuid> GuidOf(std::size_t segment) const;
  // nullopt: the latest.
  absl::StatusOr<std::optional<std::int32_t>> VersionOf(std::size_t segment) const;
  SubjectFilter FilterOf() const;

  // --- what is shown
  bool MayRead(std::string_view subject) const { return access_.MayRead(principal_, subject).ok(); }
  // kSchemaNotFound where none of the subjects that have it may be read: as if it were not there.
  absl::Status CheckReadable(SchemaId id, std::string_view subject);
  // In the form that the client asks for; one that is not known is the text.
  absl::StatusOr<std::string> TextOf(const StoredSchema& schema, std::string_view context);
  std::vector<Reference> ReferencesOf(const StoredSchema& schema, std::string_view context) const;
  absl::StatusOr<std::string> Show(const SchemaVersion& version);
  absl::StatusOr<SchemaVersion> VersionAt();
  Result AnswerCheck(const absl::StatusOr<CompatibilityVerdict>& verdict);
  absl::StatusOr<std::vector<SchemaVersion>> Uses();

  Registry& registry_;
  const SubjectAccess& access_;
  SchemaAnswers& answers_;
  const http::Request& request_;
  const std::vector<std::string> path_;
  const std::string context_;
  const auth::Principal principal_;
  const Actor actor_;
};

// The context of a subject as clients write it; "." for what is none.
std::string ContextOf(std::string_view subject);

// ".eu" of what stands for a context in a URL: ".eu", "eu", ":.eu:".
std::string ContextFromUrl(std::string_view given);

template <typename List>
List Cut(List list, const Page& page) {
  const auto size = static_cast<std::int64_t>(list.size());
  const std::int64_t begin = std::clamp<std::int64_t>(page.offset, 0, size);
  const std::int64_t count = page.limit < 0 ? size - begin : std::min(page.limit, size - begin);
  list.erase(list.begin() + begin + count, list.end());
  list.erase(list.begin(), list.begin() + begin);
  return list;
}

}  // namespace tocsin::registry
