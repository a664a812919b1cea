#include "services/correlation/engine/enricher.h"

#include <google/protobuf/message.h>
#include <google/protobuf/util/time_util.h>

#include <algorithm>
#include <memory>
#include <utility>

#include "lib/base/time.h"
#include "services/correlation/engine/keys.h"
#include "tocsin/correlation/v1/state.pb.h"

namespace tocsin::correlation {
namespace {

constexpr std::size_t kNone = static_cast<std::size_t>(-1);

void AppendVarint(std::size_t value, std::string& out) {
  for (; value >= 0x80; value >>= 7) out.push_back(static_cast<char>((value & 0x7f) | 0x80));
  out.push_back(static_cast<char>(value));
}

TableRow FromProto(const v1::TableRow& row) {
  return {row.partition(), row.offset(), FromMicros(row.time_us()),
          std::make_shared<const std::string>(row.value())};
}

}  // namespace

void Enricher::Begin(schema::ProjectedMessage* messages, std::string_view payload, WallTime time,
                     std::optional<std::string_view> brought) {
  messages_ = messages;
  payload_ = payload;
  time_ = time;
  found_.clear();
  brought_.Clear();
  // What cannot be read is as if it were not there: the rows are looked up.
  if (brought.has_value() &&
      !brought_.ParseFromArray(brought->data(), static_cast<int>(brought->size()))) {
    brought_.Clear();
  }
}

Enricher::OfRule& Enricher::Of(const PlannedRule& rule) {
  if (rules_.size() <= rule.number) rules_.resize(rule.number + 1);
  return rules_[rule.number];
}

std::size_t Enricher::Find(std::string_view table) {
  for (std::size_t i = 0; i < found_.size(); ++i) {
    if (found_[i].table == table && found_[i].key == key_) return i;
  }
  std::optional<TableRow> row;
  bool known = false;
  for (const v1::TableRow& brought : brought_.rows()) {
    if (brought.table() != table || brought.key() != key_) continue;
    known = true;
    if (brought.has_value()) row = FromProto(brought);
  }
  if (!known && tables_ != nullptr) row = tables_->Find(table, key_, time_);
  found_.push_back({table, key_, std::move(row)});
  return found_.size() - 1;
}

std::string_view Enricher::Clean(const PlannedRule& rule, const std::vector<Lookup>& lookups) {
  // A sender who knows the numbers could add fields of his own to the row. For numbers so large
  // there are no two ways to write a tag whose first four bytes differ.
  const auto suspicious = [this](const Lookup& lookup) {
    return payload_.find(std::string_view(lookup.tag).substr(0, 4)) != std::string_view::npos;
  };
  if (std::none_of(lookups.begin(), lookups.end(), suspicious)) return payload_;
  const google::protobuf::Message& own = messages_[rule.own_message].message();
  const std::unique_ptr<google::protobuf::Message> known(own.New());
  known->CopyFrom(own);
  known->DiscardUnknownFields();
  cleaned_.clear();
  known->AppendPartialToString(&cleaned_);
  return cleaned_;
}

Enricher::LookedUp Enricher::Enrich(const PlannedRule& rule) {
  const std::vector<Lookup>& lookups = rule.enrichment->lookups;
  const schema::FieldView own(messages_[rule.own_message], rule.key_slots.data());
  OfRule& of = Of(rule);
  of.rows.assign(lookups.size(), kNone);
  of.readable = true;
  const std::string_view event = Clean(rule, lookups);
  of.bytes.assign(event);
  LookedUp result;
  for (std::size_t i = 0; i < lookups.size(); ++i) {
    const Lookup& lookup = lookups[i];
    key_.clear();
    if (lookup.key.AppendText(own, lookup.key_at, false, key_)) of.rows[i] = Find(lookup.table);
    const bool has_row = of.rows[i] != kNone && found_[of.rows[i]].row.has_value();
    if (!has_row) {
      result.complete = result.complete && !lookup.required;
      ++result.absent;
      continue;
    }
    ++result.found;
    const std::string& row = *found_[of.rows[i]].row->value;
    of.bytes += lookup.tag;
    AppendVarint(row.size(), of.bytes);
    of.bytes += row;
  }
  schema::ProjectedMessage& message = messages_[rule.message];
  of.readable = message.Read(of.bytes);
  if (!of.readable) {
    // The rows are no messages of their tables' types.
    of.bytes.assign(event);
    result.complete = message.Read(of.bytes) &&
                      std::none_of(lookups.begin(), lookups.end(),
                                   [](const Lookup& lookup) { return lookup.required; });
    result.unreadable = std::exchange(result.found, 0);
  }
  return result;
}

void Enricher::Describe(const PlannedRule& rule, v1::TableRows& rows) const {
  if (rule.number >= rules_.size()) return;
  for (const std::size_t at : rules_[rule.number].rows) {
    if (at == kNone) continue;
    const Found& found = found_[at];
    const bool known = std::any_of(rows.rows().begin(), rows.rows().end(), [&](const auto& row) {
      return row.table() == found.table && row.key() == found.key;
    });
    if (known) continue;
    v1::TableRow& row = *rows.add_rows();
    row.set_table(std::string(found.table));
    row.set_key(found.key);
    if (!found.row.has_value()) continue;
    row.set_value(*found.row->value);
    row.set_partition(found.row->partition);
    row.set_offset(found.row->offset);
    row.set_time_us(Micros(found.row->time));
  }
}

std::string_view Enricher::Evidence(const PlannedRule& rule) {
  const std::vector<Lookup>& lookups = rule.enrichment->lookups;
  const OfRule& of = Of(rule);
  const schema::FieldView fields(messages_[rule.message], rule.slots.data());
  v1::StoredEvent event;
  for (std::size_t i = 0; i < lookups.size() && of.readable; ++i) {
    if (of.rows[i] == kNone || !found_[of.rows[i]].row.has_value()) continue;
    const Found& found = found_[of.rows[i]];
    v1::Enrichment& enrichment = *event.add_enrichment();
    enrichment.set_as(lookups[i].as);
    enrichment.set_table(lookups[i].table);
    enrichment.set_key(found.key);
    enrichment.set_partition(found.row->partition);
    enrichment.set_offset(found.row->offset);
    *enrichment.mutable_time() =
        google::protobuf::util::TimeUtil::MicrosecondsToTimestamp(Micros(found.row->time));
    for (const Lookup::Output& output : lookups[i].outputs) {
      std::string value;
      if (!output.path.AppendText(fields, output.at, false, value)) continue;
      v1::EnrichmentField& field = *enrichment.add_fields();
      field.set_name(output.name);
      field.set_value(std::move(value));
    }
  }
  evidence_.clear();
  event.AppendToString(&evidence_);
  return evidence_;
}

}  // namespace tocsin::correlation
