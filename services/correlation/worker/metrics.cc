#include "services/correlation/worker/metrics.h"

#include <string>

#include "lib/telemetry/metrics.h"

namespace tocsin::correlation {
namespace {

void Add(std::string_view name, std::string_view help, telemetry::Labels labels,
         std::int64_t count) {
  if (count == 0) return;
  telemetry::GetCounter(name, help, labels).Increment(static_cast<double>(count));
}

}  // namespace

void CountCommitted(std::string_view stream, const Counts& counts) {
  const auto of_stream = [&](const char* outcome, std::int64_t count) {
    Add("tocsin_correlation_events_total", "Events read from a stream, by what became of them.",
        {{"stream", std::string(stream)}, {"outcome", outcome}}, count);
  };
  Add("tocsin_correlation_in_total", "Events read from a stream.",
      {{"stream", std::string(stream)}}, counts.in);
  of_stream("invalid", counts.invalid);
  of_stream("duplicate", counts.duplicate);
  of_stream("accepted", counts.accepted);
  Add("tocsin_correlation_forwarded_total", "Events written to repartition topics.",
      {{"stream", std::string(stream)}}, counts.forwarded);
  Add("tocsin_correlation_refused_total",
      "Records of repartition topics that correlation has not written so.",
      {{"stream", std::string(stream)}}, counts.refused);
  Add("tocsin_correlation_late_records_total", "Records written to the topic of late events.",
      {{"stream", std::string(stream)}}, counts.kept_late);
  Add("tocsin_correlation_unreconciled_total",
      "Transactions whose counts do not add up. Anything but 0 is a fault of the program.",
      {{"stream", std::string(stream)}}, Unreconciled(counts).empty() ? 0 : 1);
  for (const auto& [rule, of_rule] : counts.rules) {
    const auto add = [&, &id = rule](const char* outcome, std::int64_t count) {
      Add("tocsin_correlation_rule_events_total",
          "Accepted events of a rule's stream, by whether they take part in the rule.",
          {{"rule", id}, {"stream", std::string(stream)}, {"outcome", outcome}}, count);
    };
    add("filtered", of_rule.filtered);
    add("missing_key", of_rule.missing_key);
    add("late", of_rule.late);
    add("taken", of_rule.taken);
    if (of_rule.undecided != 0) {
      telemetry::GetGauge("tocsin_correlation_rule_undecided_events",
                          "Accepted events of which it is not decided yet whether they are late, "
                          "less those that were undecided before this process began.",
                          {{"rule", rule}, {"stream", std::string(stream)}})
          .Add(static_cast<double>(of_rule.undecided));
    }
    Add("tocsin_correlation_corrections_total",
        "Late events that have corrected what a rule had told.", {{"rule", rule}},
        of_rule.corrections);
    Add("tocsin_correlation_where_errors_total",
        "Events for which a rule's `where` could not be evaluated; they count as filtered.",
        {{"rule", rule}}, of_rule.where_errors);
    const auto looked_up = [&, &id = rule](const char* outcome, std::int64_t count) {
      Add("tocsin_correlation_lookups_total",
          "What a rule's look-ups in tables found: a row, none, or one that is no message of the "
          "table's type.",
          {{"rule", id}, {"outcome", outcome}}, count);
    };
    looked_up("found", of_rule.found_rows);
    looked_up("absent", of_rule.absent_rows);
    looked_up("unreadable", of_rule.unreadable_rows);
    Add("tocsin_correlation_detections_total", "Detections of a rule.", {{"rule", rule}},
        of_rule.detections);
    Add("tocsin_correlation_incidents_total", "Incidents opened by a rule.", {{"rule", rule}},
        of_rule.incidents);
    Add("tocsin_correlation_results_total", "Results of a window rule.", {{"rule", rule}},
        of_rule.results);
    for (const auto& [reason, count] : of_rule.dropped) {
      Add("tocsin_correlation_dropped_total",
          "What was dropped of what a rule had taken: events (max_keys, window_full, too_old, "
          "rule_changed, not_corrected), keys (ttl); of what is kept for corrections "
          "(history_full, incident_gone).",
          {{"rule", rule}, {"reason", reason}}, count);
    }
  }
}

void CountTransaction(std::string_view outcome, double seconds) {
  Add("tocsin_correlation_transactions_total", "Kafka transactions, by how they ended.",
      {{"outcome", std::string(outcome)}}, 1);
  static const telemetry::Histogram histogram = telemetry::GetHistogram(
      "tocsin_correlation_transaction_seconds", "From the begin of a transaction to its end.");
  histogram.Observe(seconds);
}

void CountPositionReset(std::string_view topic, std::string_view cause) {
  Add("tocsin_correlation_position_resets_total",
      "How often a position was not in the log any more and reading went on at its beginning.",
      {{"topic", std::string(topic)}, {"cause", std::string(cause)}}, 1);
}

}  // namespace tocsin::correlation
