#include "lib/process/process.h"
#include "services/correlation/wiring.h"
#include "tocsin/correlation/v1/config.pb.h"

int main(int argc, char** argv) {
  return tocsin::process::Run<tocsin::correlation::v1::CorrelationConfig>(
      argc, argv,
      {.name = "correlation",
       .summary = "Finds what matters in streams of events: detections and incidents, exactly "
                  "once."},
      [](const auto& config, auto& runtime) { return tocsin::correlation::Wire(config, runtime); });
}
