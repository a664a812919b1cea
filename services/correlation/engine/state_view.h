// How the engine sees its state: an ordered map of byte strings. What is read is the committed
// state of one partition with the changes of the running transaction on top; what is written stays
// in memory until that transaction is committed.
//
// Threads: one at a time.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "absl/container/btree_map.h"
#include "absl/status/status.h"

namespace tocsin::correlation {

// Called for each pair in ascending order of keys; false ends the walk. The views live until it
// returns, and it must not change what is walked over.
using StateVisitor = std::function<bool(std::string_view key, std::string_view value)>;

class StateReader {
 public:
  virtual ~StateReader() = default;
  virtual std::optional<std::string> Get(std::string_view key) const = 0;
  // begin <= key < end; an empty `end` has no bound.
  virtual void Range(std::string_view begin, std::string_view end,
                     const StateVisitor& visit) const = 0;
  // Stays an error from the first read that failed on: what was computed since is worthless and
  // must be dropped. (So the engine need not check every read.)
  virtual absl::Status status() const { return absl::OkStatus(); }
};

class StateView : public StateReader {
 public:
  virtual void Put(std::string_view key, std::string_view value) = 0;
  // The same without a copy of the value.
  virtual void PutValue(std::string_view key, std::string value) = 0;
  virtual void Delete(std::string_view key) = 0;
};

// Key → new value, or nullopt where the key is deleted.
using StateChanges = absl::btree_map<std::string, std::optional<std::string>, std::less<>>;

// Changes over a base that they do not touch. The base must outlive it.
class Overlay final : public StateView {
 public:
  explicit Overlay(const StateReader& base) : base_(base), last_(changes_.end()) {}
  Overlay(const Overlay&) = delete;
  Overlay& operator=(const Overlay&) = delete;

  std::optional<std::string> Get(std::string_view key) const override;
  void Range(std::string_view begin, std::string_view end,
             const StateVisitor& visit) const override;
  absl::Status status() const override { return base_.status(); }
  void Put(std::string_view key, std::string_view value) override;
  void PutValue(std::string_view key, std::string value) override;
  void Delete(std::string_view key) override;

  const StateChanges& changes() const { return changes_; }
  bool empty() const { return changes_.empty(); }
  void Clear() {
    changes_.clear();
    last_ = changes_.end();
  }
  // The changes, which are gone from here.
  StateChanges Release() {
    StateChanges released = std::move(changes_);
    Clear();
    return released;
  }

 private:
  void Assign(std::string_view key, std::optional<std::string> value);

  const StateReader& base_;
  StateChanges changes_;
  // What was written last: most is written in the order of the keys.
  StateChanges::iterator last_;
};

// The changes of a transaction under way, over a base that does not have them yet. What is computed
// meanwhile sees the state as it will be. The base must outlive it.
class InFlight final : public StateReader {
 public:
  explicit InFlight(const StateReader& base) : base_(base) {}

  std::optional<std::string> Get(std::string_view key) const override;
  void Range(std::string_view begin, std::string_view end,
             const StateVisitor& visit) const override;
  absl::Status status() const override { return base_.status(); }

  // Null: nothing is under way. They are shared with whoever writes them, and do not change.
  void Set(std::shared_ptr<const StateChanges> changes) { changes_ = std::move(changes); }

 private:
  const StateReader& base_;
  std::shared_ptr<const StateChanges> changes_;
};

// State in memory, for tests and for small tools.
class MemoryState final : public StateReader {
 public:
  std::optional<std::string> Get(std::string_view key) const override;
  void Range(std::string_view begin, std::string_view end,
             const StateVisitor& visit) const override;
  void Apply(const StateChanges& changes);

  const std::map<std::string, std::string, std::less<>>& entries() const { return entries_; }

 private:
  std::map<std::string, std::string, std::less<>> entries_;
};

// The first key that is not prefixed by `prefix`; empty where there is none.
std::string PrefixEnd(std::string_view prefix);

}  // namespace tocsin::correlation
