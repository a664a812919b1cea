#include "lib/auth/roles.h"

#include <google/protobuf/descriptor.h>

#include <array>
#include <utility>

#include "lib/base/status.h"
#include "lib/base/text.h"

namespace tocsin::auth {
namespace {

constexpr std::uint32_t Bit(Role role) { return 1U << static_cast<unsigned>(role); }

const std::array<std::pair<Role, std::string_view>, 8>& Names() {
  static constexpr std::array<std::pair<Role, std::string_view>, 8> kNames{{
      {v1::ROLE_VIEWER, "viewer"},
      {v1::ROLE_OPERATOR, "operator"},
      {v1::ROLE_RULE_AUTHOR, "rule-author"},
      {v1::ROLE_ADMIN, "admin"},
      {v1::ROLE_PRODUCER, "producer"},
      {v1::ROLE_SCHEMA_READ, "schema.read"},
      {v1::ROLE_SCHEMA_WRITE, "schema.write"},
      {v1::ROLE_SCHEMA_ADMIN, "schema.admin"},
  }};
  return kNames;
}

// The roles whose holder also holds `role`, as bits.
std::uint32_t Holders(Role role) {
  constexpr std::uint32_t kAdmin = Bit(v1::ROLE_ADMIN);
  switch (role) {
    case v1::ROLE_VIEWER:
      return kAdmin | Bit(v1::ROLE_RULE_AUTHOR) | Bit(v1::ROLE_OPERATOR) | Bit(v1::ROLE_VIEWER);
    case v1::ROLE_OPERATOR:
      return kAdmin | Bit(v1::ROLE_RULE_AUTHOR) | Bit(v1::ROLE_OPERATOR);
    case v1::ROLE_RULE_AUTHOR:
      return kAdmin | Bit(v1::ROLE_RULE_AUTHOR);
    case v1::ROLE_ADMIN:
      return kAdmin;
    case v1::ROLE_PRODUCER:
      return kAdmin | Bit(v1::ROLE_PRODUCER);
    case v1::ROLE_SCHEMA_READ:
      return kAdmin | Bit(v1::ROLE_SCHEMA_ADMIN) | Bit(v1::ROLE_SCHEMA_WRITE) |
             Bit(v1::ROLE_SCHEMA_READ);
    case v1::ROLE_SCHEMA_WRITE:
      return kAdmin | Bit(v1::ROLE_SCHEMA_ADMIN) | Bit(v1::ROLE_SCHEMA_WRITE);
    case v1::ROLE_SCHEMA_ADMIN:
      return kAdmin | Bit(v1::ROLE_SCHEMA_ADMIN);
    default:
      return 0;
  }
}

}  // namespace

std::string_view RoleName(Role role) {
  for (const auto& [known, name] : Names()) {
    if (known == role) return name;
  }
  return {};
}

absl::StatusOr<Role> ParseRole(std::string_view name) {
  std::vector<std::string> names;
  for (const auto& [role, known] : Names()) {
    if (known == name) return role;
    names.emplace_back(known);
  }
  return InvalidArgument(Concat("there is no role '", name, "'", DidYouMean(name, names),
                                " The roles are ", Join(names, ", "), "."));
}

const std::vector<Role>& AllRoles() {
  static const auto* const all = [] {
    auto* roles = new std::vector<Role>();
    for (const auto& [role, name] : Names()) roles->push_back(role);
    return roles;
  }();
  return *all;
}

RoleSet::RoleSet(std::initializer_list<Role> roles) {
  for (const Role role : roles) Add(role);
}

void RoleSet::Add(Role role) {
  if (!RoleName(role).empty()) granted_ |= Bit(role);
}

bool RoleSet::Holds(Role role) const { return (granted_ & Holders(role)) != 0; }

std::vector<std::string> RoleSet::Names() const {
  std::vector<std::string> names;
  for (const Role role : AllRoles()) {
    if ((granted_ & Bit(role)) != 0) names.emplace_back(RoleName(role));
  }
  return names;
}

absl::StatusOr<Role> RequiredRole(const google::protobuf::MethodDescriptor& method) {
  const Role role = method.options().GetExtension(v1::access).role();
  if (RoleName(role).empty()) {
    return Internal(Concat("the method ", method.full_name(),
                           " has no option (tocsin.auth.v1.access) and cannot be served: say in "
                           "its .proto file which role it needs"));
  }
  return role;
}

absl::Status CheckAccess(const Principal& principal, Role required, std::string_view method) {
  if (principal.roles.Holds(required)) return absl::OkStatus();
  const std::vector<std::string> names = principal.roles.Names();
  return PermissionDenied(Concat(method, " needs the role ", RoleName(required), "; ",
                                 principal.name, " has ",
                                 names.empty() ? "none" : Join(names, ", "), "."));
}

}  // namespace tocsin::auth
