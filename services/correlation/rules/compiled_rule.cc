#include "services/correlation/rules/compiled_rule.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <google/protobuf/message.h>

#include <algorithm>
#include <array>
#include <limits>
#include <set>
#include <utility>

#include "lib/base/hash.h"
#include "lib/base/status.h"
#include "lib/base/text.h"
#include "lib/base/time.h"
#include "lib/cel/cel.h"
#include "lib/config/config.h"
#include "services/correlation/rules/field_path.h"

namespace tocsin::correlation {
namespace {

using std::chrono::microseconds;
using tocsin::rule::v1::Condition;
using tocsin::rule::v1::Rule;

constexpr std::size_t kLongestId = 64;
constexpr std::size_t kLongestTitle = 256;
constexpr int kMostFields = 8;
constexpr std::size_t kLongestTopic = 249;
// A detection lists every event of its window, and has to fit into one Kafka message.
constexpr std::int64_t kLargestCount = 5000;
constexpr microseconds kShortestSpan = std::chrono::milliseconds(1);
constexpr microseconds kLongestSpan = std::chrono::hours(24 * 366);
constexpr microseconds kShortestCorrection = std::chrono::milliseconds(1);
constexpr microseconds kLongestDisorder = std::chrono::hours(24 * 7);
constexpr microseconds kDefaultIdle = std::chrono::seconds(10);
// Silence is observed about once a second.
constexpr microseconds kShortestIdle = std::chrono::seconds(1);
constexpr microseconds kLongestIdle = std::chrono::hours(1);

bool IsId(std::string_view id) {
  if (id.empty() || id.size() > kLongestId || id.front() == '-' || id.back() == '-') return false;
  return std::all_of(id.begin(), id.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
  });
}

std::string ContentHash(const Rule& rule) {
  std::string bytes;
  {
    google::protobuf::io::StringOutputStream out(&bytes);
    google::protobuf::io::CodedOutputStream coded(&out);
    coded.SetSerializationDeterministic(true);
    rule.SerializeToCodedStream(&coded);
  }
  const std::array<std::string_view, 2> parts = {"tocsin.rule.v1.Rule", bytes};
  return StableId(parts);
}

class Compiled final : public CompiledRule {
 public:
  const Rule& spec() const override { return spec_; }
  const std::string& content_hash() const override { return content_hash_; }
  const std::string& source() const override { return source_; }
  const google::protobuf::Descriptor* descriptor() const override {
    return enrichment_ ? enrichment_->joined : stream_.descriptor;
  }
  const Enrichment* enrichment() const override { return enrichment_ ? &*enrichment_ : nullptr; }
  RuleOrder order() const override {
    return spec_.order() == rule::v1::ORDER_EVENT_TIME ? RuleOrder::kEventTime
                                                       : RuleOrder::kArrival;
  }
  microseconds max_disorder() const override { return FromProto(spec_.max_disorder()); }
  microseconds idle_timeout() const override { return FromProto(spec_.idle_timeout()); }
  const CompiledWindow* window() const override { return window_ ? &*window_ : nullptr; }
  const CompiledJoin* join() const override { return join_ ? &*join_ : nullptr; }
  RuleType type() const override {
    return spec_.correlation().type() == rule::v1::CORRELATION_TYPE_VALUE_COUNT
               ? RuleType::kValueCount
               : RuleType::kEventCount;
  }
  microseconds timespan() const override { return timespan_; }
  microseconds join_within() const override { return FromProto(spec_.incident().join_within()); }
  const std::string& incident_title() const override { return spec_.incident().title(); }
  bool local() const override { return repartition_topic_.empty(); }
  const std::string& repartition_topic() const override { return repartition_topic_; }

  bool Matches(const google::protobuf::Message& message, absl::Status* error) const override {
    if (where_ == nullptr) return true;
    const absl::StatusOr<bool> result = where_->EvaluateBool(message);
    if (result.ok()) return *result;
    if (error != nullptr) *error = result.status();
    return false;
  }

  std::optional<std::vector<std::string>> GroupKey(
      const google::protobuf::Message& message) const override {
    return Texts(group_by_, message);
  }

  std::optional<std::vector<std::string>> Value(
      const google::protobuf::Message& message) const override {
    return Texts(value_fields_, message);
  }

  const std::vector<schema::FieldPath>& paths() const override { return paths_; }

  bool Matches(const schema::FieldView& fields, absl::Status* error) const override {
    if (where_ == nullptr) return true;
    const absl::StatusOr<bool> result = where_->EvaluateBool(fields);
    if (result.ok()) return *result;
    if (error != nullptr) *error = result.status();
    return false;
  }

  bool JoinedGroupKey(const schema::FieldView& fields, std::string& joined) const override {
    return JoinTexts(group_by_, group_by_at_, fields, joined);
  }

  bool JoinedValue(const schema::FieldView& fields, std::string& joined) const override {
    return JoinTexts(value_fields_, value_fields_at_, fields, joined);
  }

  bool ConditionHolds(std::int64_t value) const override {
    const Condition& c = spec_.correlation().condition();
    return (!c.has_gt() || value > c.gt()) && (!c.has_gte() || value >= c.gte()) &&
           (!c.has_lt() || value < c.lt()) && (!c.has_lte() || value <= c.lte()) &&
           (!c.has_eq() || value == c.eq()) && (!c.has_neq() || value != c.neq());
  }

 private:
  friend class RuleCompiler;

  static std::optional<std::vector<std::string>> Texts(const std::vector<FieldPath>& fields,
                                                       const google::protobuf::Message& message) {
    std::vector<std::string> texts;
    texts.reserve(fields.size());
    for (const FieldPath& field : fields) {
      std::optional<std::string> text = field.Text(message);
      if (!text) return std::nullopt;
      texts.push_back(*std::move(text));
    }
    return texts;
  }

  static bool JoinTexts(const std::vector<FieldPath>& paths, const std::vector<std::size_t>& at,
                        const schema::FieldView& fields, std::string& joined) {
    joined.clear();
    for (std::size_t i = 0; i < paths.size(); ++i) {
      if (i > 0) joined += '|';
      if (!paths[i].AppendText(fields, at[i], paths.size() > 1, joined)) return false;
    }
    return true;
  }

  // Lays out paths(): the expression's first, as it asks for them.
  void ArrangePaths() {
    if (where_ != nullptr) paths_ = where_->paths();
    const auto add = [this](const std::vector<FieldPath>& fields, std::vector<std::size_t>& at) {
      for (const FieldPath& field : fields) {
        at.push_back(paths_.size());
        for (schema::FieldPath& path : field.Paths()) paths_.push_back(std::move(path));
      }
    };
    add(group_by_, group_by_at_);
    add(value_fields_, value_fields_at_);
    if (!enrichment_) return;
    for (Lookup& lookup : enrichment_->lookups) {
      for (Lookup::Output& output : lookup.outputs) {
        output.at = paths_.size();
        for (schema::FieldPath& path : output.path.Paths()) paths_.push_back(std::move(path));
      }
    }
  }

  Rule spec_;
  std::string source_;
  std::string content_hash_;
  StreamInfo stream_;
  // Before what was compiled against its joined type.
  std::optional<Enrichment> enrichment_;
  microseconds timespan_{0};
  std::unique_ptr<cel::Program> where_;
  std::vector<FieldPath> group_by_;
  std::vector<FieldPath> value_fields_;
  std::optional<CompiledWindow> window_;
  std::optional<CompiledJoin> join_;
  std::vector<schema::FieldPath> paths_;
  // Where in paths_ each field begins.
  std::vector<std::size_t> group_by_at_;
  std::vector<std::size_t> value_fields_at_;
  std::string repartition_topic_;
};

// Checks part by part and notes every mistake, so that one reading of the answer mends the rule.
class RuleCompiler {
 public:
  RuleCompiler(std::string_view yaml, std::string_view file_name, const StreamDirectory& streams)
      : yaml_(yaml),
        file_name_(file_name),
        streams_(streams),
        rule_(std::make_shared<Compiled>()),
        spec_(rule_->spec_) {}

  absl::StatusOr<std::shared_ptr<const CompiledRule>> Run() {
    TOCSIN_RETURN_IF_ERROR(config::ParseYaml(yaml_, file_name_, spec_, &mistakes_.positions()));
    CheckNames();
    CheckOrder();
    if (mistakes_.Has("join")) {
      CheckOnlyJoin();
      rule_->join_ = CheckJoin(spec_, mistakes_);
      rule_->timespan_ = rule_->join_->within;
      CheckIncident();
    } else if (spec_.has_window()) {
      CheckOnlyWindow();
      rule_->window_ = CheckWindow(spec_, mistakes_);
    } else {
      CheckCorrelation();
      CheckCondition();
      CheckIncident();
    }
    TOCSIN_RETURN_IF_ERROR(rule_->join_ ? CheckStreams() : CheckStream());
    TOCSIN_RETURN_IF_ERROR(mistakes_.status());
    Finish(*rule_);
    if (right_ != nullptr) {
      right_->spec_ = spec_;
      right_->spec_.set_stream(spec_.join().right().stream());
      right_->timespan_ = rule_->timespan_;
      Finish(*right_);
      rule_->join_->right = right_;
    }
    return std::shared_ptr<const CompiledRule>(rule_);
  }

 private:
  void Finish(Compiled& rule) const {
    rule.ArrangePaths();
    rule.source_ = std::string(yaml_);
    rule.content_hash_ = ContentHash(spec_);
  }
  void Fail(config::Position position, std::string_view reason) { mistakes_.At(position, reason); }
  void FailAtValue(std::string_view path, std::string_view reason) {
    mistakes_.AtValue(path, reason);
  }
  void FailAtKey(std::string_view path, std::string_view reason) { mistakes_.AtKey(path, reason); }
  void Missing(std::string_view path, std::string_view reason) { mistakes_.Missing(path, reason); }
  void CheckSpan(std::string_view path, microseconds span, microseconds least, microseconds most) {
    mistakes_.CheckSpan(path, span, least, most);
  }

  void CheckNames() {
    if (spec_.id().empty()) {
      Missing("id", "'id' is missing: give the rule a name of its own, such as repeat-location");
    } else if (!IsId(spec_.id())) {
      FailAtValue("id", Concat("'", spec_.id().substr(0, kLongestId),
                               "' is not a rule id: write lower-case letters, digits and hyphens "
                               "(not at its ends), at most ",
                               kLongestId, " characters"));
    }
    if (spec_.title().size() > kLongestTitle) {
      FailAtValue("title", Concat("the title has ", spec_.title().size(), " bytes; at most ",
                                  kLongestTitle, " are shown"));
    }
    if (spec_.incident().title().size() > kLongestTitle) {
      FailAtValue("incident.title", Concat("the title has ", spec_.incident().title().size(),
                                           " bytes; at most ", kLongestTitle, " are shown"));
    }
    if (spec_.title().empty()) spec_.set_title(spec_.id());
    if (spec_.severity() == event::v1::SEVERITY_UNSPECIFIED) {
      spec_.set_severity(event::v1::SEVERITY_INFO);
    }
  }

  void CheckOrder() {
    if (spec_.order() == rule::v1::ORDER_UNSPECIFIED) spec_.set_order(rule::v1::ORDER_ARRIVAL);
    if (spec_.order() == rule::v1::ORDER_ARRIVAL) {
      for (const std::string_view key : {"max_disorder", "idle_timeout", "correct_within"}) {
        if (!mistakes_.positions().Has(key)) continue;
        FailAtKey(key, Concat("'", key,
                              "' means something with 'order: event_time' only: with 'arrival' no "
                              "event waits. Remove it or change the order"));
      }
      return;
    }
    if (!spec_.has_max_disorder()) ToProto(microseconds(0), *spec_.mutable_max_disorder());
    CheckSpan("max_disorder", FromProto(spec_.max_disorder()), microseconds(0), kLongestDisorder);
    if (!spec_.has_idle_timeout()) ToProto(kDefaultIdle, *spec_.mutable_idle_timeout());
    CheckSpan("idle_timeout", FromProto(spec_.idle_timeout()), kShortestIdle, kLongestIdle);
    if (spec_.has_correct_within() && !spec_.has_window()) {
      CheckSpan("correct_within", FromProto(spec_.correct_within()), kShortestCorrection,
                kLongestDisorder);
    }
  }

  void CheckOnlyWindow() {
    if (mistakes_.Has("correlation")) {
      FailAtKey(
          "correlation",
          "a rule has either 'correlation', which finds incidents, or 'window', which computes "
          "aggregates. Make two rules of it");
    }
    if (mistakes_.Has("incident")) {
      FailAtKey("incident", "'incident' belongs to 'correlation': windows open no incidents");
    }
  }

  void CheckOnlyJoin() {
    for (const std::string_view key : {"correlation", "window"}) {
      if (!mistakes_.Has(key)) continue;
      FailAtKey(key, Concat("a rule with 'join' has no '", key, "'. Make two rules of it"));
    }
  }

  void CheckCorrelation() {
    auto& correlation = *spec_.mutable_correlation();
    if (!mistakes_.positions().Has("correlation")) {
      Missing(
          "correlation",
          "'correlation' is missing: it says what to count, over which time, for which key. (Or "
          "'window', which computes aggregates, or 'join', which pairs the events of two "
          "streams.)");
      return;
    }
    if (correlation.type() == rule::v1::CORRELATION_TYPE_UNSPECIFIED) {
      Missing("correlation.type", "'type' is missing: write event_count or value_count");
    }
    if (correlation.group_by().empty()) {
      Missing("correlation.group_by",
              "'group-by' is missing: name the fields whose values make a key, for example "
              "group-by: [place]");
    }
    if (!correlation.has_timespan()) {
      Missing("correlation.timespan",
              "'timespan' is missing: how long is the window? For example timespan: 10m");
    } else {
      rule_->timespan_ = FromProto(correlation.timespan());
      CheckSpan("correlation.timespan", rule_->timespan_, kShortestSpan, kLongestSpan);
    }
    if (correlation.after_match() == rule::v1::AFTER_MATCH_UNSPECIFIED) {
      correlation.set_after_match(rule::v1::AFTER_MATCH_SKIP_PAST_LAST_EVENT);
    }
  }

  void CheckCondition() {
    constexpr std::string_view kPath = "correlation.condition";
    if (!mistakes_.positions().Has("correlation")) return;
    const Condition& condition = spec_.correlation().condition();
    const bool compares = condition.has_gt() || condition.has_gte() || condition.has_lt() ||
                          condition.has_lte() || condition.has_eq() || condition.has_neq();
    if (!compares) {
      Missing(kPath, mistakes_.positions().Has(kPath)
                         ? "'condition' compares with nothing: write for example gte: 2"
                         : "'condition' is missing: when does the rule fire? For example "
                           "condition: {gte: 2}");
      return;
    }
    for (const std::string_view key : {"lt", "lte"}) {
      const std::string path = Concat(kPath, ".", key);
      if (!mistakes_.positions().Has(path)) continue;
      FailAtKey(path, Concat("'", key,
                             "' asks for too few events, which is known only when a window ends; "
                             "rules are judged at each event. Use gt, gte, eq or neq"));
    }
    CheckCanHold(condition);
    CheckFields(condition);
  }

  // At an event the window holds at least that event: counts begin at 1.
  void CheckCanHold(const Condition& condition) {
    constexpr std::string_view kPath = "correlation.condition";
    const auto refuse = [&](std::string_view key, std::string_view why) {
      FailAtValue(Concat(kPath, ".", key),
                  Concat("the condition can never hold at an event: ", why));
    };
    if (condition.has_eq() && condition.eq() < 1) {
      refuse("eq", "the event itself is in the window, so the count is at least 1");
      return;
    }
    for (const std::string_view key : {"gt", "gte"}) {
      const bool given = key == "gt" ? condition.has_gt() : condition.has_gte();
      const std::int64_t smallest = key == "gt" ? 0 : 1;
      if (!given || (key == "gt" ? condition.gt() : condition.gte()) >= smallest) continue;
      FailAtValue(Concat(kPath, ".", key),
                  Concat("the condition holds at every event, because a count is at least 1; if "
                         "that is meant, write '",
                         key, ": ", smallest, "'"));
      return;
    }
    std::int64_t least = 1;
    std::string_view limiting = "gte";
    if (condition.has_gte()) least = std::max(least, condition.gte());
    if (condition.has_gt() && condition.gt() >= least) {
      limiting = "gt";
      least = condition.gt() == std::numeric_limits<std::int64_t>::max() ? condition.gt()
                                                                         : condition.gt() + 1;
    }
    if (condition.has_eq()) {
      if (condition.eq() < least) {
        refuse("eq", Concat("it asks for exactly ", condition.eq(), " and for at least ", least));
      } else if (condition.has_neq() && condition.neq() == condition.eq()) {
        refuse("neq", "'eq' and 'neq' name the same number");
      }
      least = std::max(least, condition.eq());
      limiting = condition.eq() == least ? "eq" : limiting;
    }
    if (least > kLargestCount) {
      FailAtValue(Concat(kPath, ".", limiting),
                  Concat("more than ", kLargestCount,
                         " events are asked for; a detection lists each of them and must fit into "
                         "one message. Narrow the key or the timespan"));
    }
  }

  void CheckFields(const Condition& condition) {
    const auto& correlation = spec_.correlation();
    constexpr std::string_view kPath = "correlation.condition.field";
    if (correlation.type() == rule::v1::CORRELATION_TYPE_EVENT_COUNT &&
        !condition.field().empty()) {
      FailAtKey(kPath, "'field' belongs to value_count; event_count counts events");
    }
    if (correlation.type() != rule::v1::CORRELATION_TYPE_VALUE_COUNT) return;
    if (condition.field().empty()) {
      Missing(kPath,
              "'field' is missing: value_count counts the distinct values of a field, for example "
              "condition: {field: agency, gte: 2}");
      return;
    }
    const bool all_in_key =
        std::all_of(condition.field().begin(), condition.field().end(), [&](const auto& field) {
          return std::count(correlation.group_by().begin(), correlation.group_by().end(), field) >
                 0;
        });
    if (all_in_key) {
      FailAtValue(kPath, "the field is part of group-by, so each key has one value of it only");
    }
  }

  void CheckIncident() {
    auto& incident = *spec_.mutable_incident();
    if (incident.title().empty()) incident.set_title(spec_.title());
    if (!incident.has_join_within()) {
      *incident.mutable_join_within() =
          spec_.has_join() ? spec_.join().within() : spec_.correlation().timespan();
    } else {
      CheckSpan("incident.join_within", FromProto(incident.join_within()), microseconds(0),
                kLongestSpan);
    }
  }

  // What needs the stream's schema.
  absl::Status CheckStream() {
    if (spec_.stream().empty()) {
      Missing("stream", Concat("'stream' is missing: which topic does the rule read?",
                               Known(streams_.Names())));
      return absl::OkStatus();
    }
    TOCSIN_ASSIGN_OR_RETURN(const bool found, FindStream("stream", spec_.stream(), *rule_));
    if (!found) return absl::OkStatus();
    if (!spec_.enrich().empty()) {
      TOCSIN_ASSIGN_OR_RETURN(Enrichment enrichment, ResolveEnrichment(
                                                         spec_, *rule_->stream_.descriptor,
                                                         [this](std::string_view topic) {
                                                           return streams_.FindTable(topic);
                                                         },
                                                         streams_.TableNames(), mistakes_));
      // Without the joined type every use of a row would look like a mistake.
      if (enrichment.joined == nullptr) return absl::OkStatus();
      rule_->enrichment_ = std::move(enrichment);
    }
    CompileWhere("where", spec_.where(), *rule_);
    const bool window = spec_.has_window();
    rule_->group_by_ = ResolveAll(window ? "window.group_by" : "correlation.group_by",
                                  rule_->group_by(), *rule_->descriptor());
    if (window) {
      ResolveAggregates(spec_, *rule_->descriptor(), *rule_->window_, mistakes_);
    }
    rule_->value_fields_ =
        ResolveAll("correlation.condition.field", spec_.correlation().condition().field(),
                   *rule_->descriptor());
    ChooseTopic(window ? "window.group_by" : "correlation.group_by");
    return absl::OkStatus();
  }

  // What needs the schemas of a join's streams.
  absl::Status CheckStreams() {
    const auto resolve = [this](std::string_view side, const rule::v1::JoinSide& spec,
                                Compiled& rule) -> absl::StatusOr<bool> {
      if (spec.stream().empty()) return false;
      TOCSIN_ASSIGN_OR_RETURN(const bool found,
                              FindStream(Concat("join.", side, ".stream"), spec.stream(), rule));
      if (!found) return false;
      CompileWhere(Concat("join.", side, ".where"), spec.where(), rule);
      rule.group_by_ = ResolveAll(Concat("join.", side, ".key"), spec.key(), *rule.descriptor());
      return true;
    };
    right_ = std::make_shared<Compiled>();
    TOCSIN_ASSIGN_OR_RETURN(const bool left, resolve("left", spec_.join().left(), *rule_));
    TOCSIN_ASSIGN_OR_RETURN(const bool right, resolve("right", spec_.join().right(), *right_));
    if (!left || !right) return absl::OkStatus();
    ResolvePair(spec_, *rule_->descriptor(), *right_->descriptor(), *rule_->join_, mistakes_);
    ChooseTopic("join.left.key");
    right_->repartition_topic_ = JoinTopic(spec_);
    CheckTopic("join.right.key", right_->repartition_topic_);
    CheckTopic("join.right.stream", rule_->join_->time_topic);
    return absl::OkStatus();
  }

  // False: there is no such stream, which is noted.
  absl::StatusOr<bool> FindStream(std::string_view path, const std::string& topic, Compiled& rule) {
    absl::StatusOr<StreamInfo> stream = streams_.Find(topic);
    if (absl::IsNotFound(stream.status())) {
      const std::vector<std::string> names = streams_.Names();
      const std::string nearest = NearestName(topic, names);
      FailAtValue(
          path, Concat("unknown stream '", topic, "'",
                       nearest.empty() ? Known(names) : Concat("; did you mean '", nearest, "'?")));
      return false;
    }
    if (!stream.ok()) return stream.status();
    rule.stream_ = *std::move(stream);
    return true;
  }

  static std::string Known(const std::vector<std::string>& names) {
    return names.empty() ? std::string("; no stream is known yet")
                         : Concat("; there are: ", Join(names, ", "));
  }

  void CompileWhere(std::string_view path, const std::string& expression, Compiled& rule) {
    if (expression.empty()) return;
    cel::CompileError error;
    auto program = cel::Compile(expression, rule.descriptor(), &error);
    if (program.ok()) {
      rule.where_ = *std::move(program);
      return;
    }
    const std::string_view text = tocsin::Message(program.status());
    const std::size_t picture = text.find('\n');
    Fail(mistakes_.positions().Inside(path, error.offset),
         Concat(path, ": ", error.reason,
                picture == std::string_view::npos ? "" : text.substr(picture)));
  }

  template <typename Names>
  std::vector<FieldPath> ResolveAll(std::string_view path, const Names& names,
                                    const google::protobuf::Descriptor& message) {
    std::vector<FieldPath> fields;
    std::set<std::string> seen;
    if (names.size() > kMostFields) {
      FailAtValue(path, Concat("more than ", kMostFields, " fields"));
      return fields;
    }
    for (int i = 0; i < names.size(); ++i) {
      const std::string place = Concat(path, "[", i, "]");
      if (!seen.insert(names[i]).second) {
        FailAtValue(place, Concat("'", names[i], "' is named twice"));
        continue;
      }
      absl::StatusOr<FieldPath> field = FieldPath::Resolve(names[i], message);
      if (field.ok()) {
        fields.push_back(*std::move(field));
      } else {
        FailAtValue(place, tocsin::Message(field.status()));
      }
    }
    return fields;
  }

  // `path`: of the fields that make the key.
  void ChooseTopic(std::string_view path) {
    const auto& group_by = rule_->group_by();
    const std::string& partition_key = rule_->stream_.partition_key_field;
    if (!partition_key.empty() && std::count(group_by.begin(), group_by.end(), partition_key) > 0) {
      return;
    }
    std::vector<std::string> fields;
    for (const std::string& field : group_by) fields.push_back(TopicPart(spec_, field));
    rule_->repartition_topic_ =
        Concat("correlation-", spec_.stream(), "-by-",
               fields.empty() ? std::string(".all") : Join(fields, "-"), "-repartition");
    CheckTopic(path, rule_->repartition_topic_);
  }

  void CheckTopic(std::string_view path, const std::string& topic) {
    if (topic.size() <= kLongestTopic) return;
    FailAtValue(path, Concat("the topic that sorts events by these fields would have a name of ",
                             topic.size(), " characters; Kafka allows ", kLongestTopic));
  }

  std::string_view yaml_;
  std::string_view file_name_;
  const StreamDirectory& streams_;
  std::shared_ptr<Compiled> rule_;
  Rule& spec_;
  // The right side of a join.
  std::shared_ptr<Compiled> right_;
  Mistakes mistakes_;
};

}  // namespace

absl::StatusOr<TableInfo> StreamDirectory::FindTable(std::string_view topic) const {
  return NotFound(Concat("no table '", topic, "'"));
}

FixedStreams::FixedStreams(std::vector<StreamInfo> streams, std::vector<TableInfo> tables) {
  for (TableInfo& table : tables) {
    std::string topic = table.topic;
    tables_.insert_or_assign(std::move(topic), std::move(table));
  }
  for (StreamInfo& stream : streams) {
    std::string topic = stream.topic;
    streams_.insert_or_assign(std::move(topic), std::move(stream));
  }
}

absl::StatusOr<StreamInfo> FixedStreams::Find(std::string_view topic) const {
  const auto found = streams_.find(topic);
  if (found == streams_.end()) return NotFound(Concat("no stream '", topic, "'"));
  return found->second;
}

std::vector<std::string> FixedStreams::Names() const {
  std::vector<std::string> names;
  for (const auto& [topic, stream] : streams_) names.push_back(topic);
  return names;
}

absl::StatusOr<TableInfo> FixedStreams::FindTable(std::string_view topic) const {
  const auto found = tables_.find(topic);
  if (found == tables_.end()) return StreamDirectory::FindTable(topic);
  return found->second;
}

std::vector<std::string> FixedStreams::TableNames() const {
  std::vector<std::string> names;
  for (const auto& [topic, table] : tables_) names.push_back(topic);
  return names;
}

std::string JoinKey(const std::vector<std::string>& values) {
  if (values.size() == 1) return values.front();
  std::string key;
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (i > 0) key += '|';
    for (const char c : values[i]) {
      if (c == '|' || c == '\\') key += '\\';
      key += c;
    }
  }
  return key;
}

std::vector<std::string> SplitKey(std::string_view joined, std::size_t count) {
  if (count == 1) return {std::string(joined)};
  std::vector<std::string> values(count);
  std::size_t value = 0;
  for (std::size_t i = 0; i < joined.size() && value < count; ++i) {
    if (joined[i] == '|') {
      ++value;
      continue;
    }
    if (joined[i] == '\\' && i + 1 < joined.size()) ++i;
    values[value] += joined[i];
  }
  return values;
}

absl::StatusOr<std::shared_ptr<const CompiledRule>> CompileRule(std::string_view yaml,
                                                                std::string_view file_name,
                                                                const StreamDirectory& streams) {
  return RuleCompiler(yaml, file_name, streams).Run();
}

}  // namespace tocsin::correlation
