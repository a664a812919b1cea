#include "lib/process/process.h"
#include "schema-registry/wiring.h"
#include "tocsin/schema/v1/config.pb.h"

int main(int argc, char** argv) {
  return tocsin::process::Run<tocsin::schema::v1::SchemaRegistryConfig>(
      argc, argv,
      {.name = "schema-registry", .summary = "keeps the schemas of all topics and guards them"},
      [](const auto& config, auto& runtime) { return tocsin::registry::Wire(config, runtime); });
}
