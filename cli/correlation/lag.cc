// `tocsin lag`: how far correlation is behind.
#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <cstdio>

#include "cli/calls.h"
#include "cli/console.h"
#include "cli/core/columns.h"
#include "cli/core/exit_code.h"
#include "cli/correlation/commands.h"
#include "cli/output.h"
#include "lib/base/status.h"
#include "lib/base/text.h"
#include "tocsin/correlation/v1/state_service.grpc.pb.h"

namespace tocsin::cli {
namespace {

using correlation::v1::GetLagResponse;
using correlation::v1::PartitionLag;
using correlation::v1::StateService;

std::string SecondsText(double seconds) {
  char text[32];
  std::snprintf(text, sizeof(text), "%.1f", seconds);
  return text;
}

// What the table cannot say.
void TellRest(const GetLagResponse& lag) {
  std::int64_t records = 0;
  double seconds = 0;
  int unread = 0;
  for (const PartitionLag& partition : lag.partitions()) {
    records += partition.records_behind();
    seconds = std::max(seconds, partition.seconds_behind());
    if (partition.owner().empty()) ++unread;
    if (partition.problem().empty()) continue;
    Say(Concat(OneLine(partition.topic()), "[", partition.partition(),
               "]: ", OneLine(partition.problem())));
  }
  Say(records == 0 ? Concat("Nothing is left to be read by the group ", lag.group(), ".")
                   : Concat(records, records == 1 ? " record is" : " records are",
                            " not handled yet; the first is ", SecondsText(seconds), " s old."));
  if (unread > 0) {
    Say(Concat(unread, unread == 1 ? " partition is" : " partitions are",
               " read by no worker now: see `tocsin status` and /readyz of correlation."));
  }
}

void PrintOnce(const Session& session, const GetLagResponse& lag) {
  ListPrinter printer(session.flags().output,
                      {"TOPIC", "PARTITION", "COMMITTED", "END", "RECORDS", "SECONDS", "WORKER"},
                      Print);
  for (const PartitionLag& partition : lag.partitions()) {
    printer.Row(partition, [&]() -> std::vector<std::string> {
      const bool known = partition.problem().empty();
      return {partition.topic(),
              std::to_string(partition.partition()),
              partition.has_committed() ? std::to_string(partition.committed()) : "-",
              known ? std::to_string(partition.end()) : "?",
              known ? std::to_string(partition.records_behind()) : "?",
              known ? SecondsText(partition.seconds_behind()) : "?",
              partition.owner().empty() ? "-" : partition.owner()};
    });
  }
  printer.Finish();
  if (session.flags().output == OutputForm::kTable) TellRest(lag);
}

}  // namespace

absl::StatusOr<int> ShowLag(const Session& session, const LagFlags& flags) {
  for (;;) {
    TOCSIN_ASSIGN_OR_RETURN(const auto lag, (Call<StateService, GetLagResponse>(
                                                session, &StateService::StubInterface::GetLag,
                                                correlation::v1::GetLagRequest())));
    const bool redrawn =
        flags.watch && session.stdout_terminal() && session.flags().output == OutputForm::kTable;
    // To the top of an empty screen.
    if (redrawn) Print("\x1b[H\x1b[2J");
    PrintOnce(session, lag);
    if (!flags.watch) return kExitOk;
    if (ProcessStop().WaitFor(flags.every)) return absl::CancelledError("stopped");
  }
}

}  // namespace tocsin::cli
