// Joins the event at hand with rows of tables: lays the rows' bytes behind the event's own, as
// fields of the rule's joined message (rules/enrichment.h).
//
// For one event a row is looked up once, whatever rules ask for it. An event that another task has
// forwarded brings its rows with it, so that it is judged with those that chose its way.
//
// Threads: one at a time. One for each event at hand, and for one plan.
#pragma once

#include <cstddef>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/clock.h"
#include "lib/schema/wire_projection.h"
#include "services/correlation/engine/rule_plan.h"
#include "services/correlation/engine/tables.h"
#include "tocsin/correlation/v1/repartition.pb.h"

namespace tocsin::correlation {

// Names the rows that a forwarded event was judged with (v1.TableRows).
inline constexpr std::string_view kRowsHeader = "tocsin.rows";

class Enricher {
 public:
  // What became of a rule's look-ups.
  struct LookedUp {
    // The rule's message can be judged; otherwise the rule requires a row that is missing.
    bool complete = true;
    int found = 0;
    int absent = 0;
    // The rows found are no messages of their tables' types, and are left out.
    int unreadable = 0;
  };

  // `tables` may be null: no table has a row then. It must outlive this.
  explicit Enricher(const Tables* tables) : tables_(tables) {}

  // An event, whose own messages have been read from `payload`. `messages`: one for each of the
  // plan's, by PlannedRule::message. Both must live until the next. `brought`: kRowsHeader of a
  // forwarded event.
  void Begin(schema::ProjectedMessage* messages, std::string_view payload, WallTime time,
             std::optional<std::string_view> brought);
  // Reads the rule's message: the event with its rows.
  LookedUp Enrich(const PlannedRule& rule);
  // Adds what the rule's look-ups gave, as far as `rows` does not have it.
  void Describe(const PlannedRule& rule, v1::TableRows& rows) const;
  // What is kept of the rows of the event that Enrich has read for the rule: the wire bytes of
  // v1.StoredEvent.enrichment. Good until the next call.
  std::string_view Evidence(const PlannedRule& rule);

 private:
  struct Found {
    std::string_view table;
    std::string key;
    std::optional<TableRow> row;
  };
  struct OfRule {
    // What its message was read from.
    std::string bytes;
    // For each look-up where in found_ it is; kNone: the event has no key for it.
    std::vector<std::size_t> rows;
    bool readable = true;
  };

  OfRule& Of(const PlannedRule& rule);
  std::size_t Find(std::string_view table);
  // The event's bytes without anything that could pass for a row.
  std::string_view Clean(const PlannedRule& rule, const std::vector<Lookup>& lookups);

  const Tables* const tables_;
  schema::ProjectedMessage* messages_ = nullptr;
  std::string_view payload_;
  WallTime time_{};
  v1::TableRows brought_;
  std::vector<Found> found_;
  // By the rule's number. They stay where they are: messages point into their bytes.
  std::deque<OfRule> rules_;
  // Used again for the next.
  std::string key_;
  std::string cleaned_;
  std::string evidence_;
};

}  // namespace tocsin::correlation
