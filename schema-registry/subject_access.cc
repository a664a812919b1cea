#include "schema-registry/subject_access.h"

#include <algorithm>
#include <utility>

#include "lib/base/status.h"
#include "lib/base/text.h"

namespace tocsin::registry {
namespace {

absl::StatusOr<std::set<std::string, std::less<>>> Names(
    const google::protobuf::RepeatedPtrField<std::string>& names, std::string_view key) {
  std::set<std::string, std::less<>> set;
  for (const std::string& name : names) {
    if (name.find_first_not_of(' ') == std::string::npos) {
      return InvalidArgument(Concat(key,
                                    " has an entry without a name; give the names of "
                                    "principals, as they stand in their tokens"));
    }
    set.insert(name);
  }
  return set;
}

absl::Status Refused(const auth::Principal& principal, std::string_view subject,
                     std::string_view prefix, std::string_view what) {
  return MakeError(
      ErrorCode::kForbidden,
      Concat("'", principal.name, "' may not ", what, " ",
             subject.empty() ? "the settings of everything" : Concat("'", subject, "'"), ": for ",
             prefix.empty() ? "all that has no rule of its own"
                            : Concat("subjects that begin with '", prefix, "'"),
             " subject_access in the registry's configuration names who may; ",
             "ask whoever keeps that to add you"));
}

}  // namespace

absl::StatusOr<SubjectAccess> SubjectAccess::Create(const Rules& rules) {
  SubjectAccess access;
  for (int i = 0; i < rules.size(); ++i) {
    const std::string key = Concat("subject_access[", i, "]");
    Rule rule;
    rule.as_given = rules[i].subject_prefix();
    rule.any_context = rule.as_given.empty();
    auto prefix = ParseSubject(rule.as_given);
    if (!prefix.ok()) {
      return InvalidArgument(Concat(key, ".subject_prefix: ", Message(prefix.status())));
    }
    rule.prefix = *std::move(prefix);
    TOCSIN_ASSIGN_OR_RETURN(rule.writers, Names(rules[i].writers(), Concat(key, ".writers")));
    TOCSIN_ASSIGN_OR_RETURN(rule.readers, Names(rules[i].readers(), Concat(key, ".readers")));
    if (rule.writers.empty() && rule.readers.empty()) {
      return InvalidArgument(Concat(key,
                                    " names neither writers nor readers; give at least one "
                                    "name, or leave the entry out"));
    }
    for (const Rule& other : access.rules_) {
      if (other.any_context == rule.any_context && other.prefix == rule.prefix) {
        return InvalidArgument(Concat(key, ".subject_prefix: '", rule.as_given,
                                      "' is there twice; put all names into one entry"));
      }
    }
    access.restricts_reading_ = access.restricts_reading_ || !rule.readers.empty();
    access.rules_.push_back(std::move(rule));
  }
  std::stable_sort(access.rules_.begin(), access.rules_.end(), [](const Rule& a, const Rule& b) {
    if (a.any_context != b.any_context) return b.any_context;
    return a.prefix.subject.size() > b.prefix.subject.size();
  });
  return access;
}

const SubjectAccess::Rule* SubjectAccess::Find(const SubjectName& name) const {
  for (const Rule& rule : rules_) {
    if (rule.any_context) return &rule;
    if (rule.prefix.context == name.context && name.subject.starts_with(rule.prefix.subject)) {
      return &rule;
    }
  }
  return nullptr;
}

absl::Status SubjectAccess::MayRead(const auth::Principal& principal,
                                    std::string_view subject) const {
  if (!restricts_reading_) return absl::OkStatus();
  TOCSIN_ASSIGN_OR_RETURN(const SubjectName name, ParseSubject(subject));
  const Rule* rule = Find(name);
  if (rule == nullptr || rule->readers.empty() || rule->readers.contains(principal.name) ||
      rule->writers.contains(principal.name)) {
    return absl::OkStatus();
  }
  return Refused(principal, FormatSubject(name), rule->as_given, "read");
}

absl::Status SubjectAccess::MayWrite(const auth::Principal& principal,
                                     std::string_view subject) const {
  if (rules_.empty()) return absl::OkStatus();
  TOCSIN_ASSIGN_OR_RETURN(const SubjectName name, ParseSubject(subject));
  const Rule* rule = Find(name);
  if (rule == nullptr || rule->writers.contains(principal.name)) return absl::OkStatus();
  return Refused(principal, FormatSubject(name), rule->as_given, "change");
}

}  // namespace tocsin::registry
