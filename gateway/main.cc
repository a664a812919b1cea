#include "gateway/wiring.h"
#include "lib/process/process.h"

int main(int argc, char** argv) {
  return tocsin::process::Run<tocsin::gateway::v1::GatewayConfig>(
      argc, argv,
      {.name = "gateway",
       .summary = "the one public port: gRPC and gRPC-Web, and what happens live"},
      tocsin::gateway::Wire);
}
