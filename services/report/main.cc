#include "lib/process/process.h"
#include "services/report/wiring.h"
#include "tocsin/report/v1/config.pb.h"

int main(int argc, char** argv) {
  return tocsin::process::Run<tocsin::report::v1::ReportConfig>(
      argc, argv,
      {.name = "report",
       .summary = "The memory: keeps detections and incidents, and what people did with them."},
      [](const auto& config, auto& runtime) { return tocsin::report::Wire(config, runtime); });
}
