// Who may do what to which subjects, beyond the roles in tokens (SubjectAccess in
// tocsin/schema/v1/config.proto). Asked by both faces of the registry, after the role and before
// the registry itself.
#pragma once

#include <google/protobuf/repeated_ptr_field.h>

#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "lib/auth/roles.h"
#include "schema-registry/model.h"
#include "tocsin/schema/v1/config.pb.h"

namespace tocsin::registry {

// The rule with the longest prefix decides, and it alone: "orders-eu-" and not "orders-". A prefix
// is of the name within its context: "orders-" is about the default context, ":.eu:orders-" about
// .eu, ":.eu:" about all of .eu, and "" about every subject of every context.
//
// Writers may read, too. No role goes round a rule, schema.admin neither: who is meant to is named.
// Where `writers` is empty, nobody may write. Names are those of principals, in full.
//
// A schema may be read wherever one of the subjects that have it may be, with everything that it
// imports. An alias is followed with the rights of the name that was asked for; that is why setting
// one needs the right to write to the subject that it leads to.
//
// Immutable: thread-safe. Pure.
class SubjectAccess {
 public:
  using Rules = google::protobuf::RepeatedPtrField<tocsin::schema::v1::SubjectAccess>;

  // Everything is left to the roles.
  SubjectAccess() = default;
  // INVALID_ARGUMENT names the entry: a prefix that no subject can have, or that came before; a
  // blank name; a rule that names nobody.
  static absl::StatusOr<SubjectAccess> Create(const Rules& rules);

  // `subject` as clients write it. kForbidden says which rule, and who may; kInvalidSubject.
  absl::Status MayRead(const auth::Principal& principal, std::string_view subject) const;
  absl::Status MayWrite(const auth::Principal& principal, std::string_view subject) const;

  // False: whoever has the role reads everything, and nobody need look up which subjects have a
  // schema before giving it out.
  bool restricts_reading() const { return restricts_reading_; }

 private:
  struct Rule {
    // ":.eu:orders-"
    std::string as_given;
    bool any_context = false;
    SubjectName prefix;
    std::set<std::string, std::less<>> writers;
    std::set<std::string, std::less<>> readers;
  };
  const Rule* Find(const SubjectName& name) const;

  // Longest prefix first.
  std::vector<Rule> rules_;
  bool restricts_reading_ = false;
};

}  // namespace tocsin::registry
