// A registry over a topic in memory, ready to be asked.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "schema-registry/testing/fake_log.h"

namespace tocsin::registry {

class FakeReplica {
 public:
  explicit FakeReplica(FakeTopic& topic, RegistryOptions options = {}) : log(topic) {
    registry = std::make_unique<Registry>(log, audit, Clock::Real(), options);
    registry->Start();
    FakeLog::WaitUntilReady(*registry);
  }
  ~FakeReplica() { registry->Stop(); }

  Registry* operator->() { return registry.get(); }

  FakeLog log;
  FakeAudit audit;
  std::unique_ptr<Registry> registry;
};

}  // namespace tocsin::registry
