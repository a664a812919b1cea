#include "lib/process/process.h"
#include "services/notification/wiring.h"
#include "tocsin/notification/v1/config.pb.h"

int main(int argc, char** argv) {
  return tocsin::process::Run<tocsin::notification::v1::NotificationConfig>(
      argc, argv, {.name = "notification", .summary = "Tells people of incidents, by webhook."},
      [](const auto& config, auto& runtime) {
        return tocsin::notification::Wire(config, runtime);
      });
}
