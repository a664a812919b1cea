#include "services/correlation/rules_service.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "lib/base/status.h"
#include "lib/rpc/caller.h"
#include "lib/rpc/status.h"

namespace tocsin::correlation {
namespace {

using std::chrono::milliseconds;

// So that an answer about an unfinished change still reaches the caller in time.
constexpr milliseconds kForTheAnswer{250};

SteadyTime DeadlineOf(const grpc::ServerContext& context) {
  const milliseconds left = std::min(rpc::Caller(context).TimeLeft(), milliseconds(60'000));
  return std::chrono::steady_clock::now() + std::max(left - kForTheAnswer, left / 2);
}

}  // namespace

grpc::Status RulesService::ApplyRule(grpc::ServerContext* context,
                                     const v1::ApplyRuleRequest* request,
                                     v1::ApplyRuleResponse* response) {
  absl::StatusOr<AppliedRule> applied =
      keeper_.Apply(request->source(), request->file_name(), DeadlineOf(*context));
  if (!applied.ok()) return rpc::ToGrpc(applied.status());
  *response->mutable_rule() = std::move(applied->version);
  response->set_changed(applied->changed);
  return grpc::Status::OK;
}

grpc::Status RulesService::ValidateRule(grpc::ServerContext*,
                                        const v1::ValidateRuleRequest* request,
                                        v1::ValidateRuleResponse* response) {
  const auto rule = keeper_.Compile(request->source(), request->file_name());
  if (!rule.ok()) return rpc::ToGrpc(rule.status());
  *response->mutable_rule() = (*rule)->spec();
  return grpc::Status::OK;
}

grpc::Status RulesService::ListRules(grpc::ServerContext*, const v1::ListRulesRequest*,
                                     v1::ListRulesResponse* response) {
  for (tocsin::rule::v1::RuleVersion& version : keeper_.List()) {
    *response->add_rules() = std::move(version);
  }
  return grpc::Status::OK;
}

grpc::Status RulesService::DeleteRule(grpc::ServerContext* context,
                                      const v1::DeleteRuleRequest* request,
                                      v1::DeleteRuleResponse*) {
  if (request->id().empty()) return rpc::ToGrpc(InvalidArgument("id: is missing"));
  return rpc::ToGrpc(keeper_.Delete(request->id(), DeadlineOf(*context)));
}

}  // namespace tocsin::correlation
