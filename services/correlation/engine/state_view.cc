#include "services/correlation/engine/state_view.h"

#include <iterator>
#include <utility>

namespace tocsin::correlation {

namespace {

void RangeOver(const StateChanges& changes, const StateReader& base, std::string_view begin,
               std::string_view end, const StateVisitor& visit) {
  auto change = changes.lower_bound(begin);
  const auto in_range = [&] {
    return change != changes.end() && (end.empty() || std::string_view(change->first) < end);
  };
  bool stopped = false;
  base.Range(begin, end, [&](std::string_view key, std::string_view value) {
    for (; in_range() && std::string_view(change->first) < key; ++change) {
      if (change->second.has_value() && !visit(change->first, *change->second)) {
        stopped = true;
        return false;
      }
    }
    bool go_on = true;
    if (in_range() && std::string_view(change->first) == key) {
      if (change->second.has_value()) go_on = visit(change->first, *change->second);
      ++change;
    } else {
      go_on = visit(key, value);
    }
    stopped = !go_on;
    return go_on;
  });
  for (; !stopped && in_range(); ++change) {
    if (change->second.has_value() && !visit(change->first, *change->second)) return;
  }
}

}  // namespace

std::optional<std::string> Overlay::Get(std::string_view key) const {
  const auto found = changes_.find(key);
  if (found != changes_.end()) return found->second;
  return base_.Get(key);
}

void Overlay::Range(std::string_view begin, std::string_view end, const StateVisitor& visit) const {
  RangeOver(changes_, base_, begin, end, visit);
}

void Overlay::Put(std::string_view key, std::string_view value) { Assign(key, std::string(value)); }

void Overlay::PutValue(std::string_view key, std::string value) { Assign(key, std::move(value)); }

void Overlay::Delete(std::string_view key) { Assign(key, std::nullopt); }

void Overlay::Assign(std::string_view key, std::optional<std::string> value) {
  const auto hint = last_ == changes_.end() ? last_ : std::next(last_);
  last_ = changes_.insert_or_assign(hint, std::string(key), std::move(value));
}

std::optional<std::string> InFlight::Get(std::string_view key) const {
  if (changes_ != nullptr) {
    const auto found = changes_->find(key);
    if (found != changes_->end()) return found->second;
  }
  return base_.Get(key);
}

void InFlight::Range(std::string_view begin, std::string_view end,
                     const StateVisitor& visit) const {
  if (changes_ == nullptr) {
    base_.Range(begin, end, visit);
  } else {
    RangeOver(*changes_, base_, begin, end, visit);
  }
}

std::optional<std::string> MemoryState::Get(std::string_view key) const {
  const auto found = entries_.find(key);
  if (found == entries_.end()) return std::nullopt;
  return found->second;
}

void MemoryState::Range(std::string_view begin, std::string_view end,
                        const StateVisitor& visit) const {
  for (auto it = entries_.lower_bound(begin); it != entries_.end(); ++it) {
    if (!end.empty() && std::string_view(it->first) >= end) return;
    if (!visit(it->first, it->second)) return;
  }
}

void MemoryState::Apply(const StateChanges& changes) {
  for (const auto& [key, value] : changes) {
    if (value.has_value()) {
      entries_.insert_or_assign(key, *value);
    } else {
      entries_.erase(key);
    }
  }
}

std::string PrefixEnd(std::string_view prefix) {
  std::string end(prefix);
  while (!end.empty() && static_cast<unsigned char>(end.back()) == 0xff) end.pop_back();
  if (!end.empty()) end.back() = static_cast<char>(static_cast<unsigned char>(end.back()) + 1);
  return end;
}

}  // namespace tocsin::correlation
