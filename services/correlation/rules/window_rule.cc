#include "services/correlation/rules/window_rule.h"

#include <google/protobuf/descriptor.h>

#include <algorithm>
#include <numeric>
#include <set>
#include <string_view>

#include "lib/base/status.h"
#include "lib/base/text.h"
#include "lib/base/time.h"
#include "services/correlation/aggregate/frequencies.h"

namespace tocsin::correlation {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using tocsin::rule::v1::Aggregate;
using tocsin::rule::v1::Rule;
using tocsin::rule::v1::WindowRule;

constexpr microseconds kShortest = milliseconds(1);
constexpr microseconds kLongest = std::chrono::hours(24 * 366);
constexpr microseconds kLongestGrace = std::chrono::hours(24 * 7);
// So many windows that have closed are kept of a key, at most.
constexpr std::int64_t kMostClosedWindows = 1000;
constexpr microseconds kShortestEvery = milliseconds(100);
constexpr microseconds kShortestTtl = std::chrono::seconds(1);
// An event belongs to so many windows, and a window has so many panes, at most.
constexpr std::int64_t kMostWindowsOfEvent = 1000;
constexpr std::int64_t kMostPanes = 1000;
// A sliding window is kept in about so many pieces.
constexpr std::int64_t kSlidingPanes = 16;
constexpr std::int64_t kDefaultMaxKeys = 100'000;
constexpr std::int64_t kMostKeys = 10'000'000;
constexpr int kMostAggregates = 16;
constexpr std::size_t kLongestName = 64;
constexpr int kMostTop = 1000;
// What a pane's aggregates may need together: it has to fit into one Kafka message.
constexpr std::size_t kLargestPane = 900'000;

class WindowChecker {
 public:
  WindowChecker(Rule& spec, Mistakes& mistakes)
      : rule_(spec), spec_(*spec.mutable_window()), mistakes_(mistakes) {}

  CompiledWindow Run() {
    CheckType();
    CheckSpans();
    CheckGrace();
    CheckCorrectWithin();
    CheckEmit();
    CheckKeys();
    CheckAggregates();
    if (!spec_.group_by().empty()) {
      for (int i = 0; i < spec_.group_by_size(); ++i) {
        if (spec_.group_by(i).empty()) {
          mistakes_.AtValue(Concat("window.group_by[", i, "]"), "an empty name is no field");
        }
      }
    }
    return std::move(window_);
  }

 private:
  using Types = std::initializer_list<rule::v1::WindowType>;

  void CheckType() {
    if (spec_.type() == rule::v1::WINDOW_TYPE_UNSPECIFIED) {
      mistakes_.Missing("window.type",
                        "'type' is missing: write tumbling, hopping, sliding or session");
    }
    switch (spec_.type()) {
      case rule::v1::WINDOW_TYPE_HOPPING:
        window_.type = WindowType::kHopping;
        break;
      case rule::v1::WINDOW_TYPE_SLIDING:
        window_.type = WindowType::kSliding;
        break;
      case rule::v1::WINDOW_TYPE_SESSION:
        window_.type = WindowType::kSession;
        break;
      default:
        window_.type = WindowType::kTumbling;
    }
  }

  bool IsOneOf(Types types) const {
    return std::find(types.begin(), types.end(), spec_.type()) != types.end();
  }

  // A duration that some types need and the others do not have.
  microseconds Span(std::string_view key, bool given, const google::protobuf::Duration& value,
                    Types types, std::string_view belongs_to, std::string_view example) {
    const std::string path = Concat("window.", key);
    if (spec_.type() == rule::v1::WINDOW_TYPE_UNSPECIFIED) return microseconds(0);
    if (!IsOneOf(types)) {
      if (mistakes_.Has(path)) {
        mistakes_.AtKey(path, Concat("'", key, "' belongs to ", belongs_to, " windows. Remove it"));
      }
      return microseconds(0);
    }
    if (!given) {
      mistakes_.Missing(path, Concat("'", key, "' is missing: for example ", key, ": ", example));
      return microseconds(0);
    }
    return Whole(path, FromProto(value), kShortest, kLongest);
  }

  microseconds Whole(std::string_view path, microseconds span, microseconds least,
                     microseconds most) {
    mistakes_.CheckSpan(path, span, least, most);
    if (span % milliseconds(1) != microseconds(0)) {
      mistakes_.AtValue(path, Concat("'", path.substr(path.rfind('.') + 1),
                                     "' must be whole milliseconds, not ", FormatDuration(span)));
    }
    return span;
  }

  void CheckSpans() {
    window_.size = Span("size", spec_.has_size(), spec_.size(),
                        {rule::v1::WINDOW_TYPE_TUMBLING, rule::v1::WINDOW_TYPE_HOPPING,
                         rule::v1::WINDOW_TYPE_SLIDING},
                        "tumbling, hopping and sliding", "10s");
    window_.slide = Span("slide", spec_.has_slide(), spec_.slide(), {rule::v1::WINDOW_TYPE_HOPPING},
                         "hopping", "2s");
    window_.gap = Span("gap", spec_.has_gap(), spec_.gap(), {rule::v1::WINDOW_TYPE_SESSION},
                       "session", "10s");
    if (window_.type == WindowType::kTumbling) {
      window_.slide = window_.size;
      window_.pane = window_.size;
    }
    if (window_.type == WindowType::kSliding) {
      const std::int64_t piece =
          std::max<std::int64_t>(window_.size / milliseconds(1) / kSlidingPanes, 1);
      window_.pane = milliseconds(piece);
    }
    if (window_.type == WindowType::kHopping) CheckHops();
  }

  void CheckHops() {
    if (window_.size.count() <= 0 || window_.slide.count() <= 0) return;
    if (window_.slide > window_.size) {
      mistakes_.AtValue("window.slide",
                        Concat("'slide' is longer than 'size' (", FormatDuration(window_.size),
                               "): events between two windows would count nowhere"));
      return;
    }
    window_.pane = microseconds(std::gcd(window_.size.count(), window_.slide.count()));
    if (window_.size / window_.slide > kMostWindowsOfEvent ||
        window_.size / window_.pane > kMostPanes) {
      mistakes_.AtValue("window.slide",
                        Concat("windows of ", FormatDuration(window_.size), " every ",
                               FormatDuration(window_.slide), " are kept in ",
                               window_.size / window_.pane, " pieces; at most ", kMostPanes,
                               " are allowed. Use a longer slide that divides the size"));
    }
  }

  void CheckGrace() {
    const bool event_time = rule_.order() == rule::v1::ORDER_EVENT_TIME;
    const bool sliding = window_.type == WindowType::kSliding;
    if (event_time && !sliding) {
      if (!spec_.has_grace()) {
        mistakes_.Missing(
            "window.grace",
            "'grace' is missing: how long after its end does a window still take late "
            "events? 'grace: 0s' takes none");
        return;
      }
      window_.grace =
          Whole("window.grace", FromProto(spec_.grace()), microseconds(0), kLongestGrace);
    } else if (mistakes_.Has("window.grace")) {
      mistakes_.AtKey("window.grace",
                      sliding ? "'grace' does not belong to sliding windows: they are told at each "
                                "event and do not wait. Remove it"
                              : "'grace' means something with 'order: event_time' only: with "
                                "'arrival' a window closes when a later event comes. Remove it or "
                                "change the order");
    }
  }

  void CheckCorrectWithin() {
    if (!mistakes_.Has("correct_within") || rule_.order() != rule::v1::ORDER_EVENT_TIME) return;
    if (window_.type == WindowType::kSliding) {
      mistakes_.AtKey("correct_within",
                      "'correct_within' does not belong to sliding windows: what they have told at "
                      "one event stands. Remove it");
      return;
    }
    const microseconds within = FromProto(rule_.correct_within());
    if (within <= window_.grace) {
      mistakes_.AtValue("correct_within",
                        Concat("'correct_within' must be longer than 'grace' (",
                               FormatDuration(window_.grace), "): both count from a window's end"));
      return;
    }
    window_.correct_within = Whole("correct_within", within, kShortest, kLongestGrace);
    if (window_.slide.count() > 0 && within / window_.slide > kMostClosedWindows) {
      mistakes_.AtValue("correct_within",
                        Concat("for ", FormatDuration(within), " ", within / window_.slide,
                               " windows of each key would be kept; at most ", kMostClosedWindows,
                               " are allowed. Use a longer slide or a shorter time"));
    }
  }

  void CheckEmit() {
    const bool sliding = window_.type == WindowType::kSliding;
    if (spec_.emit() == rule::v1::EMIT_UNSPECIFIED) {
      spec_.set_emit(sliding ? rule::v1::EMIT_ON_CHANGE : rule::v1::EMIT_ON_CLOSE);
    } else if (sliding && spec_.emit() == rule::v1::EMIT_ON_CLOSE) {
      mistakes_.AtValue("window.emit", "sliding windows do not close: write on_change or every");
    }
    if (spec_.emit() == rule::v1::EMIT_EVERY) {
      window_.emit = Emit::kEvery;
      if (!spec_.has_every()) {
        mistakes_.Missing("window.every",
                          "'every' is missing: how often is what has changed told? For example "
                          "every: 5s");
      } else {
        window_.every = Whole("window.every", FromProto(spec_.every()), kShortestEvery, kLongest);
      }
      return;
    }
    if (spec_.emit() == rule::v1::EMIT_ON_CHANGE) window_.emit = Emit::kOnChange;
    if (mistakes_.Has("window.every")) {
      mistakes_.AtKey("window.every", "'every' belongs to 'emit: every'. Remove it or change emit");
    }
  }

  void CheckKeys() {
    if (mistakes_.Has("window.ttl")) {
      if (rule_.order() == rule::v1::ORDER_EVENT_TIME) {
        mistakes_.AtKey("window.ttl",
                        "'ttl' means something with 'order: arrival' only: with 'event_time' the "
                        "watermark closes every window. Remove it or change the order");
      } else {
        window_.ttl = FromProto(spec_.ttl());
        mistakes_.CheckSpan("window.ttl", *window_.ttl, kShortestTtl, kLongest);
      }
    }
    if (!mistakes_.Has("window.max_keys")) spec_.set_max_keys(kDefaultMaxKeys);
    if (spec_.max_keys() < 1 || spec_.max_keys() > kMostKeys) {
      mistakes_.AtValue("window.max_keys", Concat("'max_keys' must be from 1 to ", kMostKeys,
                                                  ", not ", spec_.max_keys()));
    }
    window_.max_keys = spec_.max_keys();
  }

  void CheckAggregates() {
    if (spec_.aggregates().empty()) {
      mistakes_.Missing("window.aggregates",
                        "'aggregates' is missing: what is computed over each window? For example "
                        "aggregates: [{name: n, function: count}]");
    }
    if (spec_.aggregates_size() > kMostAggregates) {
      mistakes_.AtValue("window.aggregates", Concat("more than ", kMostAggregates, " aggregates"));
      return;
    }
    std::set<std::string> names;
    std::size_t largest = 0;
    for (int i = 0; i < spec_.aggregates_size(); ++i) {
      const Aggregate& aggregate = spec_.aggregates(i);
      const std::string path = Concat("window.aggregates[", i, "]");
      if (aggregate.name().empty()) {
        mistakes_.Missing(Concat(path, ".name"), "'name' is missing: the result is found by it");
      } else if (aggregate.name().size() > kLongestName) {
        mistakes_.AtValue(Concat(path, ".name"),
                          Concat("the name has more than ", kLongestName, " bytes"));
      } else if (!names.insert(aggregate.name()).second) {
        mistakes_.AtValue(Concat(path, ".name"),
                          Concat("two aggregates are named '", aggregate.name(), "'"));
      }
      window_.aggregates.push_back(CheckAggregate(aggregate, path));
      largest += aggregate::LargestState(window_.aggregates.back().spec.function);
    }
    if (largest > kLargestPane) {
      mistakes_.AtValue("window.aggregates",
                        Concat("these aggregates may need ", largest,
                               " bytes for each window, more than fits into one Kafka message. Use "
                               "fewer of top_k and percentile, or several rules"));
    }
  }

  CompiledAggregate CheckAggregate(const Aggregate& aggregate, const std::string& path) {
    using aggregate::Function;
    CompiledAggregate compiled;
    compiled.name = aggregate.name();
    if (aggregate.function() == rule::v1::AGGREGATE_FUNCTION_UNSPECIFIED) {
      mistakes_.Missing(Concat(path, ".function"),
                        "'function' is missing: write count, sum, avg, min, max, stddev, distinct, "
                        "percentile, top_k or rate");
      return compiled;
    }
    // The words of both follow in the same order.
    compiled.spec.function = static_cast<Function>(aggregate.function() - 1);
    const bool needs_field =
        aggregate::InputOf(compiled.spec.function) != aggregate::Input::kNothing;
    if (needs_field && aggregate.field().empty()) {
      mistakes_.Missing(Concat(path, ".field"), "'field' is missing: over which field?");
    }
    if (!needs_field && mistakes_.Has(Concat(path, ".field"))) {
      mistakes_.AtKey(Concat(path, ".field"), "'field' does not belong to count and rate");
    }
    CheckPercentile(aggregate, path);
    CheckTop(aggregate, path);
    compiled.spec.percentile = aggregate.percentile();
    compiled.spec.k = aggregate.k();
    return compiled;
  }

  void CheckPercentile(const Aggregate& aggregate, const std::string& path) {
    const std::string key = Concat(path, ".percentile");
    if (aggregate.function() != rule::v1::AGGREGATE_FUNCTION_PERCENTILE) {
      if (mistakes_.Has(key)) mistakes_.AtKey(key, "'percentile' belongs to that function only");
      return;
    }
    if (!mistakes_.Has(key)) {
      mistakes_.Missing(key, "'percentile' is missing: for example percentile: 99");
    } else if (!(aggregate.percentile() > 0 && aggregate.percentile() <= 100)) {
      mistakes_.AtValue(key, "'percentile' must be above 0 and at most 100");
    }
  }

  void CheckTop(const Aggregate& aggregate, const std::string& path) {
    const std::string key = Concat(path, ".k");
    if (aggregate.function() != rule::v1::AGGREGATE_FUNCTION_TOP_K) {
      if (mistakes_.Has(key)) mistakes_.AtKey(key, "'k' belongs to top_k only");
      return;
    }
    if (!mistakes_.Has(key)) {
      mistakes_.Missing(key, "'k' is missing: how many? For example k: 3");
    } else if (aggregate.k() < 1 || aggregate.k() > kMostTop) {
      mistakes_.AtValue(key, Concat("'k' must be from 1 to ", kMostTop, ", not ", aggregate.k()));
    }
  }

  Rule& rule_;
  WindowRule& spec_;
  Mistakes& mistakes_;
  CompiledWindow window_;
};

}  // namespace

microseconds CompiledWindow::longest_open() const {
  if (type == WindowType::kSession) return gap + grace;
  return size + grace;
}

std::vector<aggregate::Value> CompiledWindow::Values(
    const google::protobuf::Message& message) const {
  std::vector<aggregate::Value> values;
  values.reserve(aggregates.size());
  for (const CompiledAggregate& aggregate : aggregates) {
    aggregate::Value& value = values.emplace_back();
    if (!aggregate.field.has_value()) continue;
    if (aggregate::InputOf(aggregate.spec.function) == aggregate::Input::kNumber) {
      value = aggregate.field->Number(message);
      continue;
    }
    std::optional<std::string> text = aggregate.field->Text(message);
    if (text.has_value()) value = aggregate::BoundedText(*std::move(text));
  }
  return values;
}

CompiledWindow CheckWindow(Rule& spec, Mistakes& mistakes) {
  return WindowChecker(spec, mistakes).Run();
}

void ResolveAggregates(const Rule& spec, const google::protobuf::Descriptor& message,
                       CompiledWindow& window, Mistakes& mistakes) {
  for (std::size_t i = 0; i < window.aggregates.size(); ++i) {
    CompiledAggregate& aggregate = window.aggregates[i];
    const std::string& name = spec.window().aggregates(static_cast<int>(i)).field();
    const aggregate::Input input = aggregate::InputOf(aggregate.spec.function);
    if (name.empty() || input == aggregate::Input::kNothing) continue;
    absl::StatusOr<FieldPath> field = input == aggregate::Input::kNumber
                                          ? FieldPath::ResolveNumber(name, message)
                                          : FieldPath::Resolve(name, message);
    if (!field.ok()) {
      mistakes.AtValue(Concat("window.aggregates[", i, "].field"), tocsin::Message(field.status()));
      continue;
    }
    aggregate.spec.integer = input == aggregate::Input::kNumber && field->whole();
    aggregate.field = *std::move(field);
  }
}

}  // namespace tocsin::correlation
