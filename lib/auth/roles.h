// Roles, their names in tokens and configuration, and what holds what:
// viewer ⊂ operator ⊂ rule-author ⊂ admin; schema.read ⊂ schema.write ⊂ schema.admin; admin holds
// all; producer stands alone.
//
// Threads: all functions are pure, RoleSet is a value.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "lib/base/clock.h"
#include "tocsin/auth/v1/access.pb.h"

namespace google::protobuf {
class MethodDescriptor;
}  // namespace google::protobuf

namespace tocsin::auth {

using v1::Role;

// "viewer", "operator", "rule-author", "admin", "producer", "schema.read", "schema.write",
// "schema.admin"; empty for ROLE_UNSPECIFIED.
std::string_view RoleName(Role role);
// INVALID_ARGUMENT quotes the text, names the nearest role and lists them all.
absl::StatusOr<Role> ParseRole(std::string_view name);
// Every role but ROLE_UNSPECIFIED, in the order of the contract.
const std::vector<Role>& AllRoles();

class RoleSet {
 public:
  RoleSet() = default;
  RoleSet(std::initializer_list<Role> roles);

  void Add(Role role);
  // Itself or by inclusion. ROLE_UNSPECIFIED is held by nobody.
  bool Holds(Role role) const;
  bool empty() const { return granted_ == 0; }
  // As granted, not what they include; in the order of the contract.
  std::vector<std::string> Names() const;

  friend bool operator==(const RoleSet&, const RoleSet&) = default;

 private:
  std::uint32_t granted_ = 0;
};

// Who acts: a person or program named by a token, or a process named by its certificate.
struct Principal {
  std::string name;
  RoleSet roles;
  // When the token that says so ends; what no token says does not end.
  WallTime expires = WallTime::max();
};

// The role that a method asks for by its option (tocsin.auth.v1.access). INTERNAL when it has none:
// such a method must not be served.
absl::StatusOr<Role> RequiredRole(const google::protobuf::MethodDescriptor& method);

// PERMISSION_DENIED: "tocsin.report.v1.ReportService/Resolve needs the role operator; maria has
// viewer." Do not retry.
absl::Status CheckAccess(const Principal& principal, Role required, std::string_view method);

}  // namespace tocsin::auth
