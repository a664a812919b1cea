// The gRPC edge of the rules.
#pragma once

#include "services/correlation/rule_keeper/rule_keeper.h"
#include "tocsin/correlation/v1/rules.grpc.pb.h"

namespace tocsin::correlation {

// Thread-safe. `keeper` must outlive it.
class RulesService final : public v1::RuleService::Service {
 public:
  explicit RulesService(RuleKeeper& keeper) : keeper_(keeper) {}

  grpc::Status ApplyRule(grpc::ServerContext* context, const v1::ApplyRuleRequest* request,
                         v1::ApplyRuleResponse* response) override;
  grpc::Status ValidateRule(grpc::ServerContext* context, const v1::ValidateRuleRequest* request,
                            v1::ValidateRuleResponse* response) override;
  grpc::Status ListRules(grpc::ServerContext* context, const v1::ListRulesRequest* request,
                         v1::ListRulesResponse* response) override;
  grpc::Status DeleteRule(grpc::ServerContext* context, const v1::DeleteRuleRequest* request,
                          v1::DeleteRuleResponse* response) override;

 private:
  RuleKeeper& keeper_;
};

}  // namespace tocsin::correlation
