// Calls that the gateway answers itself and that are not live: health and reflection.
#pragma once

#include <memory>

#include "gateway/call.h"
#include "lib/rpc/health.h"
#include "lib/rpc/reflection.h"

namespace tocsin::gateway {

// grpc.health.v1.Health: Check and Watch. `board` outlives the handler.
std::shared_ptr<CallHandler> MakeHealthHandler(rpc::HealthBoard& board);

// grpc.reflection.v1 and v1alpha ServerReflection: the same bytes under two names.
std::shared_ptr<CallHandler> MakeReflectionHandler(
    std::shared_ptr<const rpc::Reflection> reflection);

}  // namespace tocsin::gateway
