// `tocsin state show`: what correlation holds for one group key of one rule.
#include <grpcpp/grpcpp.h>

#include "cli/calls.h"
#include "cli/console.h"
#include "cli/core/columns.h"
#include "cli/core/exit_code.h"
#include "cli/correlation/commands.h"
#include "cli/output.h"
#include "lib/base/text.h"
#include "tocsin/correlation/v1/state_service.grpc.pb.h"

namespace tocsin::cli {
namespace {

using correlation::v1::AggregateValue;
using correlation::v1::HeldStateEvent;
using correlation::v1::OpenPane;
using correlation::v1::ShowStateResponse;
using correlation::v1::StateService;

std::string Or(std::string text, std::string_view otherwise) {
  return text.empty() ? std::string(otherwise) : text;
}

std::string ValueText(const AggregateValue& value) {
  switch (value.value_case()) {
    case AggregateValue::kInteger:
      return std::to_string(value.integer());
    case AggregateValue::kNumber:
      return Concat(value.number());
    case AggregateValue::kTop: {
      std::vector<std::string> entries;
      for (const auto& entry : value.top().entries()) {
        entries.push_back(Concat(entry.value(), ":", entry.count()));
      }
      return Join(entries, " ");
    }
    case AggregateValue::VALUE_NOT_SET:
      return value.error().empty() ? "-" : value.error();
  }
  return "-";
}

void PrintEvents(std::string_view title,
                 const google::protobuf::RepeatedPtrField<HeldStateEvent>& events) {
  if (events.empty()) return;
  Print(Concat("\n", title, ": ", events.size(), events.size() == 1 ? " event\n" : " events\n"));
  std::vector<std::vector<std::string>> rows;
  for (const HeldStateEvent& event : events) {
    const auto& reference = event.reference();
    rows.push_back({TimeText(reference.time()), Or(reference.id(), "-"),
                    Concat(reference.topic(), "[", reference.partition(), "]"),
                    std::to_string(reference.offset()),
                    Join({event.values().begin(), event.values().end()}, " / ")});
  }
  Print(FormatTable({"TIME", "ID", "PARTITION", "OFFSET", "VALUES"}, rows));
}

void PrintPanes(const ShowStateResponse& state) {
  if (state.panes().empty()) return;
  Print(Concat("\nopen windows: ", state.panes_size(),
               state.panes_size() == 1 ? " piece of time" : " pieces of time",
               ", the next window closes at ", Or(TimeText(state.next_close()), "-"), "\n"));
  std::vector<std::string> columns{"FROM", "TO", "EVENTS"};
  for (const AggregateValue& value : state.panes(0).aggregates()) columns.push_back(value.name());
  std::vector<std::vector<std::string>> rows;
  for (const OpenPane& pane : state.panes()) {
    std::vector<std::string> row{TimeText(pane.start()), TimeText(pane.end()),
                                 std::to_string(pane.events())};
    for (const AggregateValue& value : pane.aggregates()) row.push_back(ValueText(value));
    rows.push_back(std::move(row));
  }
  Print(FormatTable(columns, rows));
}

void PrintHead(const ShowStateResponse& state) {
  std::vector<std::string> key;
  for (int i = 0; i < state.group_key_size() && i < state.group_by_size(); ++i) {
    key.push_back(Concat(state.group_by(i), "=", OneLine(state.group_key(i))));
  }
  const bool store = state.source() == ShowStateResponse::SOURCE_STORE;
  std::string text = Concat(
      "rule       ", state.rule_id(), " version ", state.rule_version(), "\nkey        ",
      key.empty() ? "(all events)" : Join(key, " "), "\npartition  ", state.stream(), "[",
      state.partition(), "]\nread from  ",
      store ? Concat("the store of ", state.worker(), ", which stands at ") : "the changelog, to ",
      state.changelog(), "[", state.partition(), "] ", state.changelog_position());
  for (const auto& input : state.inputs()) {
    text += Concat("\nreads on   ", input.topic(), "[", state.partition(), "] at ",
                   input.next_offset());
  }
  text += Concat("\nhighest    ", Or(TimeText(state.highest_time()), "no event seen yet"),
                 "\nwatermark  ", Or(TimeText(state.watermark()), "none"));
  for (const auto& upstream : state.upstream()) {
    text +=
        Concat("\nupstream   ", Or(upstream.stream(), state.stream()), "[", upstream.partition(),
               "] has come to ", Or(TimeText(upstream.highest_time()), "no event yet"));
  }
  Print(Concat(text, "\n"));
}

void PrintForPeople(const ShowStateResponse& state) {
  PrintHead(state);
  if (state.empty()) Print("\nNothing is held for this key.\n");
  PrintEvents("in the window", state.events());
  if (state.has_incident()) {
    const auto& incident = state.incident();
    Print(Concat("\nincident   ", incident.id(), " revision ", incident.revision(), "\nopened     ",
                 TimeText(incident.opened_time()), "\nlast       ",
                 TimeText(incident.last_detection_time()),
                 ", detections: ", incident.detection_count(), "\n"));
  }
  PrintPanes(state);
  PrintEvents("waiting for the watermark", state.waiting());
  if (state.cut_short()) {
    Say("There is more than an answer may hold: what is shown is a part.");
  }
}

}  // namespace

absl::StatusOr<int> ShowState(const Session& session, const StateFlags& flags) {
  correlation::v1::ShowStateRequest request;
  request.set_rule_id(flags.rule);
  for (const std::string& value : flags.key) request.add_group_key(value);
  if (flags.partition.has_value()) request.set_partition(*flags.partition);
  TOCSIN_ASSIGN_OR_RETURN(const auto state,
                          (Call<StateService, ShowStateResponse>(
                              session, &StateService::StubInterface::ShowState, request)));
  if (session.flags().output == OutputForm::kTable) {
    PrintForPeople(state);
  } else {
    Print(Concat(Json(state, session.flags().output == OutputForm::kJson), "\n"));
  }
  return kExitOk;
}

}  // namespace tocsin::cli
