// For tests that run `tocsin` in their own process: what the person at this machine has chosen (the
// profile of a system that is up, TOCSIN_GATEWAY, …) must not change what they see, nor may they
// send that person's collector their spans.
#pragma once

#include <stdlib.h>

namespace tocsin::cli {

// From here on there is no profile, and no choice in the environment. Once, before other threads
// run: from SetUpTestSuite.
inline void ForgetUserEnvironment() {
  setenv("XDG_CONFIG_HOME", "/nonexistent", /*overwrite=*/1);
  for (const char* name : {"TOCSIN_DATA", "TOCSIN_GATEWAY", "TOCSIN_KAFKA", "TOCSIN_OTLP",
                           "TOCSIN_PACKS", "TOCSIN_PROFILE", "TOCSIN_REGISTRY", "TOCSIN_TOKEN"}) {
    unsetenv(name);
  }
}

}  // namespace tocsin::cli
