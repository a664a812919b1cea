#include "schema-registry/registry_service.h"

#include "schema-registry/registry_service_rights.h"

namespace tocsin::registry {

std::string NameBeside(std::string_view subject, std::string_view name) {
  if (name.substr(0, 2) == ":.") return std::string(name);
  const auto parsed = ParseSubject(subject);
  if (!parsed.ok()) return std::string(name);
  return FormatSubject({parsed->context, std::string(name)});
}

absl::Status RegistryService::Rights::MayImport(
    std::string_view subject,
    const google::protobuf::RepeatedPtrField<v1::Reference>& references) const {
  if (!service_.access_.restricts_reading()) return absl::OkStatus();
  for (const v1::Reference& reference : references) {
    TOCSIN_RETURN_IF_ERROR(MayRead(NameBeside(subject, reference.subject())));
  }
  return absl::OkStatus();
}

absl::Status RegistryService::Rights::MaySet(std::string_view subject) const {
  TOCSIN_ASSIGN_OR_RETURN(const SubjectName name, ParseSubject(subject));
  if (name.subject.empty()) {
    TOCSIN_RETURN_IF_ERROR(IsAdmin(Concat(
        method_, subject.empty() ? " of everything" : Concat(" of the context ", name.context))));
  }
  return MayWrite(subject);
}

absl::Status RegistryService::Rights::Tell(absl::Status status) const {
  // The rules say kForbidden, roles the bare code; a name that is none is no lack of rights.
  if (absl::IsPermissionDenied(status)) {
    service_.registry_.TellDenied(actor(), method_, target_, status);
  }
  return status;
}

void RegistryService::TellDenied(const rpc::Denial& denial) {
  constexpr std::string_view kService = v1::SchemaRegistryService::service_full_name();
  const std::string_view method = denial.method;
  if (!method.starts_with(kService)) return;
  registry_.TellDenied({denial.caller, denial.peer}, method.substr(method.rfind('/') + 1), "",
                       denial.refusal);
}

RegistryWatch::Reactor* RegistryService::Watch(grpc::CallbackServerContext* context,
                                               const v1::WatchRequest* request) {
  return watch_.Open(rpc::Caller(*context).principal(), *request);
}

}  // namespace tocsin::registry
