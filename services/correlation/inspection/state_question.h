// What one group key of one rule holds: which part of a task's state that is, and how that part is
// taken out of a whole state or out of a changelog.
//
// All functions are pure; threads: one at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "services/correlation/engine/state_view.h"
#include "services/correlation/worker/io.h"

namespace tocsin::correlation {

class StateQuestion {
 public:
  // NOT_FOUND: no such rule runs. INVALID_ARGUMENT: its key has another number of values.
  static absl::StatusOr<StateQuestion> Make(const RuleSet& rules, std::string_view rule_id,
                                            std::vector<std::string> group_key);

  const RulePlan& plan() const { return *plan_; }
  const PlannedRule& rule() const { return *rule_; }
  // nullptr: the rule is evaluated where its events lie.
  const Repartition* repartition() const { return repartition_; }
  const std::vector<std::string>& group_key() const { return group_key_; }
  const std::string& joined() const { return joined_; }

  // The partition whose task holds the key. `stream_key`: the field that the stream's records are
  // keyed by. nullopt: that field is not part of the rule's key.
  std::optional<std::int32_t> Partition(std::string_view stream_key) const;

  // Does this entry belong to it?
  bool Concerns(std::string_view key, std::string_view value) const;
  // The ranges of keys in which such entries lie: from the first to before the second.
  const std::vector<std::pair<std::string, std::string>>& ranges() const { return ranges_; }

 private:
  StateQuestion() = default;

  std::shared_ptr<const RulePlan> plan_;
  const PlannedRule* rule_ = nullptr;
  const Repartition* repartition_ = nullptr;
  std::vector<std::string> group_key_;
  std::string joined_;
  std::vector<std::pair<std::string, std::string>> ranges_;
  std::string held_prefix_;
};

// The part of a state that a question is about.
class StateExcerpt {
 public:
  // Beyond so much the rest is left out.
  static constexpr std::size_t kMostBytes = std::size_t{16} << 20;
  static constexpr std::size_t kMostEntries = 20'000;
  // So many entries that may belong to it are looked at in a whole state.
  static constexpr std::size_t kMostLookedAt = 200'000;

  explicit StateExcerpt(std::shared_ptr<const StateQuestion> question)
      : question_(std::move(question)) {}

  // From a whole state.
  void Take(const StateReader& state);
  // From a changelog, record by record: nullopt deletes.
  void Apply(std::string_view key, const std::optional<std::string_view>& value);

  const StateReader& state() const { return state_; }
  const StateQuestion& question() const { return *question_; }
  // There was more than it may hold.
  bool cut_short() const { return cut_short_; }

 private:
  // The entries themselves, as a reader.
  class Entries final : public StateReader {
   public:
    std::optional<std::string> Get(std::string_view key) const override;
    void Range(std::string_view begin, std::string_view end,
               const StateVisitor& visit) const override;
    std::map<std::string, std::string, std::less<>> entries;
  };

  std::shared_ptr<const StateQuestion> question_;
  Entries state_;
  std::size_t bytes_ = 0;
  bool cut_short_ = false;
};

}  // namespace tocsin::correlation
