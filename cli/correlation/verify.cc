// `tocsin verify`: do the outputs of correlation hold whole transactions, each once and in order?
#include <grpcpp/grpcpp.h>

#include <optional>

#include "cli/calls.h"
#include "cli/console.h"
#include "cli/core/columns.h"
#include "cli/core/exit_code.h"
#include "cli/correlation/commands.h"
#include "cli/output.h"
#include "lib/base/status.h"
#include "lib/base/text.h"
#include "lib/base/time.h"
#include "tocsin/correlation/v1/state_service.grpc.pb.h"

namespace tocsin::cli {
namespace {

using correlation::v1::StateService;
using correlation::v1::VerifyResponse;
using correlation::v1::VerifySummary;

absl::Status SetTime(std::string_view flag, const std::string& text,
                     google::protobuf::Timestamp* time) {
  const auto parsed = ParseTime(text);
  if (!parsed.ok()) return UsageError(parsed.status(), flag);
  const auto since = parsed->time_since_epoch();
  const auto seconds = std::chrono::floor<std::chrono::seconds>(since);
  time->set_seconds(seconds.count());
  time->set_nanos(static_cast<std::int32_t>((since - seconds).count() * 1000));
  return absl::OkStatus();
}

void TellSummary(const VerifySummary& summary) {
  std::int64_t violations = 0;
  for (const auto& [kind, count] : summary.violations()) violations += count;
  std::string text =
      Concat("From ", TimeText(summary.from_time()), " to ", TimeText(summary.to_time()), ": ",
             summary.outputs(), " outputs of correlation in ", summary.records(), " records of ",
             summary.topics_size(), " topics.\n");
  if (violations == 0) {
    text += "No transaction is torn, lost, repeated or out of order.\n";
  } else {
    text += Concat("EXACTLY-ONCE IS VIOLATED ", violations, violations == 1 ? " time:" : " times:");
    for (const auto& [kind, count] : summary.violations()) text += Concat(" ", kind, " ", count);
    text += "\n";
  }
  Print(text);
  if (TimeText(summary.whole_from_time()) != TimeText(summary.from_time())) {
    Say(Concat("Before ", TimeText(summary.whole_from_time()),
               " outputs may be gone by retention or compaction: there only repetitions and order "
               "are judged, not what is missing."));
  }
}

}  // namespace

absl::StatusOr<int> Verify(const Session& session, const VerifyFlags& flags) {
  correlation::v1::VerifyRequest request;
  if (!flags.from.empty()) {
    TOCSIN_RETURN_IF_ERROR(SetTime("--from", flags.from, request.mutable_from_time()));
  }
  if (!flags.to.empty()) {
    TOCSIN_RETURN_IF_ERROR(SetTime("--to", flags.to, request.mutable_to_time()));
  }
  TOCSIN_ASSIGN_OR_RETURN(const auto channel, session.Gateway<StateService>());
  TOCSIN_ASSIGN_OR_RETURN(const std::string token, session.Token());
  const auto stub = StateService::NewStub(channel);
  rpc::StreamContext context(token);
  const OnStop cancel(ProcessStop(), [&context] { context.TryCancel(); });
  const auto reader = stub->Verify(&context, request);

  const bool told = session.flags().output == OutputForm::kTable;
  StatusLine line(session.stderr_terminal());
  // For programs: the findings, the summary last.
  ListPrinter printer(session.flags().output, {}, Print);
  std::optional<VerifySummary> summary;
  VerifyResponse response;
  while (reader->Read(&response)) {
    switch (response.event_case()) {
      case VerifyResponse::kProgress:
        line.Show(Concat("verified ", response.progress().records(), " of about ",
                         response.progress().records_in_all(), " records"));
        break;
      case VerifyResponse::kFinding:
        line.Clear();
        if (told) {
          Print(Concat(response.finding().kind(), "  ", OneLine(response.finding().what()), "\n"));
        } else {
          printer.Row(response, nullptr);
        }
        break;
      case VerifyResponse::kSummary:
        summary = response.summary();
        if (!told) printer.Row(response, nullptr);
        break;
      default:
        break;
    }
  }
  line.Clear();
  const absl::Status ended = rpc::FromGrpc(reader->Finish());
  if (!ended.ok()) return session.Explain(ended, rpc::ServerSaid(context));
  if (!summary.has_value()) return DataLoss("the answer ended before its summary: try again");
  if (told) {
    TellSummary(*summary);
  } else {
    printer.Finish();
  }
  return summary->violations().empty() ? kExitOk : kExitFailure;
}

}  // namespace tocsin::cli
