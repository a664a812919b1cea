#include "lib/process/process.h"
#include "services/ingest/wiring.h"
#include "tocsin/ingest/v1/config.pb.h"

int main(int argc, char** argv) {
  return tocsin::process::Run<tocsin::ingest::v1::IngestConfig>(
      argc, argv,
      {.name = "ingest",
       .summary = "The way in: takes events, checks them, and keeps "
                  "them in Kafka."},
      [](const auto& config, auto& runtime) { return tocsin::ingest::Wire(config, runtime); });
}
