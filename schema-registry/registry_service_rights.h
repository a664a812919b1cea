// What the handlers of RegistryService ask before they act. For registry_service_*.cc.
#pragma once

#include <google/protobuf/repeated_ptr_field.h>

#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "lib/base/status.h"
#include "lib/base/text.h"
#include "lib/rpc/caller.h"
#include "lib/rpc/status.h"
#include "schema-registry/registry_service.h"

// The handlers give gRPC's status and the rest of the product absl's.
#define TOCSIN_GRPC_RETURN_IF_ERROR(expression)                           \
  do {                                                                    \
    if (absl::Status tocsin_status_ = (expression); !tocsin_status_.ok()) \
      return rpc::ToGrpc(tocsin_status_);                                 \
  } while (false)

namespace tocsin::registry {

// What a call may do. What it may not is told to the audit log by all but Shows.
class RegistryService::Rights {
 public:
  // `method` is its name alone; `target` as in AuditEntry. Both must outlive this.
  Rights(const RegistryService& service, const grpc::ServerContext& context,
         std::string_view method, std::string target = {})
      : service_(service),
        caller_(context),
        origin_(context.peer()),
        method_(method),
        target_(std::move(target)) {}

  const auth::Principal& principal() const { return caller_.principal(); }
  // Of the gateway, where the call came through it.
  Actor actor() const { return {principal().name, origin_}; }

  // In a list.
  bool Shows(std::string_view subject) const {
    return service_.access_.MayRead(principal(), subject).ok();
  }
  absl::Status MayRead(std::string_view subject) const {
    return Tell(service_.access_.MayRead(principal(), subject));
  }
  absl::Status MayWrite(std::string_view subject) const {
    return Tell(service_.access_.MayWrite(principal(), subject));
  }
  // A draft is compiled with what it imports: whoever brings it must be allowed to see that.
  absl::Status MayImport(std::string_view subject,
                         const google::protobuf::RepeatedPtrField<v1::Reference>& references) const;
  // `what` cannot be undone, or is about more than one subject.
  absl::Status IsAdmin(std::string_view what) const {
    return Tell(auth::CheckAccess(principal(), auth::v1::ROLE_SCHEMA_ADMIN, what));
  }
  // To set what holds for a subject, a context or everything.
  absl::Status MaySet(std::string_view subject) const;

 private:
  absl::Status Tell(absl::Status status) const;

  const RegistryService& service_;
  const rpc::Caller caller_;
  const std::string origin_;
  const std::string_view method_;
  const std::string target_;
};

// The target of what is about a version; 0 is the latest.
inline std::string TargetOf(std::string_view subject, std::int32_t version) {
  return Concat(subject, "/", version == 0 ? "latest" : Concat(version));
}

// The name as it stands beside that of the subject: without a context it is of the same one.
std::string NameBeside(std::string_view subject, std::string_view name);

// 0 is the latest. kInvalidVersion.
inline absl::StatusOr<std::optional<std::int32_t>> VersionOf(std::int32_t version) {
  if (version < 0) {
    return MakeError(
        ErrorCode::kInvalidVersion,
        Concat("version ", version, " is none: give 0 (the latest) or the number of a version"));
  }
  if (version == 0) return std::nullopt;
  return version;
}

inline std::optional<std::string_view> SubjectOrAll(const std::string& subject) {
  if (subject.empty()) return std::nullopt;
  return subject;
}

}  // namespace tocsin::registry
