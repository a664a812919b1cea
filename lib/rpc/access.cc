#include "lib/rpc/access.h"

#include <google/protobuf/descriptor.h>

#include <algorithm>
#include <array>
#include <utility>

#include "lib/base/hash.h"
#include "lib/base/status.h"

namespace tocsin::rpc {
namespace {

constexpr std::size_t kMaxVerified = 1024;
constexpr std::chrono::seconds kVerifiedFor{5};

// The protocols of others, which carry no option of ours.
constexpr std::string_view kHealth = "grpc.health.v1.Health";
constexpr std::array<std::string_view, 2> kReflection{"grpc.reflection.v1.ServerReflection",
                                                      "grpc.reflection.v1alpha.ServerReflection"};

std::string HowToGet(std::string_view role) {
  return Concat("Get a token with `tocsin token --role ", role,
                "` and send it as metadata `authorization: Bearer <token>`.");
}

}  // namespace

absl::StatusOr<AccessTable> AccessTable::Create(const google::protobuf::DescriptorPool& pool,
                                                const std::vector<std::string>& services) {
  AccessTable table;
  for (const std::string& name : services) {
    const google::protobuf::ServiceDescriptor* service = pool.FindServiceByName(name);
    if (service == nullptr) {
      return Internal(Concat("service ", name, " is served but its contract is not linked in"));
    }
    for (int i = 0; i < service->method_count(); ++i) {
      const google::protobuf::MethodDescriptor& method = *service->method(i);
      Entry entry;
      entry.method = Concat(name, "/", method.name());
      entry.streaming = method.client_streaming() || method.server_streaming();
      if (std::find(kReflection.begin(), kReflection.end(), name) != kReflection.end()) {
        entry.role = auth::Role::ROLE_VIEWER;
      } else if (name != kHealth) {
        TOCSIN_ASSIGN_OR_RETURN(entry.role, auth::RequiredRole(method));
      }
      table.entries_.emplace(Concat("/", entry.method), entry);
    }
  }
  return table;
}

const AccessTable::Entry* AccessTable::Find(std::string_view path) const {
  const auto it = entries_.find(path);
  return it == entries_.end() ? nullptr : &it->second;
}

absl::StatusOr<std::unique_ptr<Authenticator>> Authenticator::Create(
    const config::v1::AuthConfig& config, const Clock& clock) {
  // Every certificate of the mesh carries this name beside its own.
  if (config.mesh_roles().contains("localhost")) {
    return InvalidArgument(
        "auth.mesh_roles: 'localhost' stands in every certificate and can have no roles; use the "
        "process's own name");
  }
  TOCSIN_ASSIGN_OR_RETURN(auto verifier, auth::TokenVerifier::Create(config));
  TOCSIN_ASSIGN_OR_RETURN(auto mesh, auth::MeshRoles::Create(config));
  return std::make_unique<Authenticator>(std::move(verifier), std::move(mesh), clock);
}

Authenticator::Authenticator(std::unique_ptr<auth::TokenVerifier> verifier, auth::MeshRoles mesh,
                             const Clock& clock)
    : verifier_(std::move(verifier)), mesh_(std::move(mesh)), clock_(clock) {}

absl::StatusOr<auth::Principal> Authenticator::Authenticate(const Credentials& credentials) {
  if (credentials.ambiguous) {
    return Unauthenticated("the call has more than one `authorization`; send one");
  }
  if (credentials.authorization) {
    const std::string_view header = *credentials.authorization;
    const std::string key = StableId(std::array{header});
    const SteadyTime now = clock_.SteadyNow();
    {
      MutexLock lock(mutex_);
      if (const auto it = verified_.find(key); it != verified_.end() && now < it->second.until) {
        return it->second.principal;
      }
    }
    TOCSIN_ASSIGN_OR_RETURN(auto principal, verifier_->VerifyBearer(header, clock_.Now()));
    MutexLock lock(mutex_);
    if (verified_.size() >= kMaxVerified) {
      for (auto it = verified_.begin(); it != verified_.end();) {
        it = it->second.until <= now ? verified_.erase(it) : std::next(it);
      }
      if (verified_.size() >= kMaxVerified) verified_.clear();
    }
    verified_.insert_or_assign(key, Verified{principal, now + kVerifiedFor});
    return principal;
  }
  auth::Principal first;
  for (const std::string& name : credentials.certificate_names) {
    if (name == "localhost") continue;
    auth::Principal principal = mesh_.For(name);
    if (!principal.roles.empty()) return principal;
    if (first.name.empty()) first = std::move(principal);
  }
  return first;
}

absl::StatusOr<auth::Principal> Authenticator::Authorize(const AccessTable& table,
                                                         std::string_view path,
                                                         const Credentials& credentials) {
  const AccessTable::Entry* entry = table.Find(path);
  if (entry == nullptr) {
    return absl::UnimplementedError(
        ToAbsl(Concat("this server has no method ", path, "; list its services by reflection")));
  }
  if (!entry->role) return auth::Principal{};
  const std::string_view role = auth::RoleName(*entry->role);
  auto principal = Authenticate(credentials);
  if (!principal.ok()) {
    return Unauthenticated(
        Concat(entry->method, ": ", Message(principal.status()), ". ", HowToGet(role)));
  }
  if (principal->roles.empty() && !credentials.authorization) {
    const std::string who = principal->name.empty()
                                ? std::string("no token and no certificate with a name")
                                : Concat("no token, and the certificate '", principal->name,
                                         "' has no roles in auth.mesh_roles");
    return Unauthenticated(Concat(entry->method, " needs the role ", role, "; the call shows ", who,
                                  ". ", HowToGet(role)));
  }
  if (absl::Status status = auth::CheckAccess(*principal, *entry->role, entry->method);
      !status.ok()) {
    return PermissionDenied(Concat(Message(status), " ", HowToGet(role)));
  }
  return principal;
}

}  // namespace tocsin::rpc
