#include "lib/process/readiness.h"

#include <algorithm>
#include <utility>

#include "lib/base/text.h"
#include "lib/base/time.h"
#include "lib/telemetry/log.h"

namespace tocsin::process {
namespace {

constexpr std::chrono::seconds kLogNewReasonAfter{10};
constexpr std::chrono::seconds kLogAgainAfter{60};

}  // namespace

Readiness::Readiness(const Clock& clock) : clock_(clock) {}

bool Readiness::ReadyLocked() const {
  return !stopping_ && std::all_of(entries_.begin(), entries_.end(),
                                   [](const auto& entry) { return entry.second.met; });
}

bool Readiness::ready() const {
  MutexLock lock(mutex_);
  return ReadyLocked();
}

void Readiness::Declare(std::string_view condition, std::string_view reason) {
  {
    MutexLock lock(mutex_);
    Entry entry;
    entry.reason = std::string(reason);
    entry.since = clock_.Now();
    if (!entries_.emplace(condition, std::move(entry)).second) return;
  }
  Tell();
}

void Readiness::Met(std::string_view condition) {
  {
    MutexLock lock(mutex_);
    const auto [it, added] = entries_.try_emplace(std::string(condition));
    Entry& entry = it->second;
    if (entry.met) return;
    const WallTime now = clock_.Now();
    const auto waited = added ? std::chrono::microseconds(0) : now - entry.since;
    entry.met = true;
    entry.reason.clear();
    entry.since = now;
    telemetry::LogInfo("condition met",
                       {{"condition", condition},
                        {"after_seconds", std::chrono::duration<double>(waited).count()}});
  }
  Tell();
}

void Readiness::NotMet(std::string_view condition, std::string_view reason) {
  {
    MutexLock lock(mutex_);
    const auto [it, added] = entries_.try_emplace(std::string(condition));
    Entry& entry = it->second;
    const SteadyTime now = clock_.SteadyNow();
    if (added || entry.met) {
      entry.since = clock_.Now();
      entry.logged.reset();
    }
    entry.met = false;
    entry.reason = std::string(reason);
    if (!entry.logged ||
        now - *entry.logged >=
            (reason == entry.logged_reason ? kLogAgainAfter : kLogNewReasonAfter)) {
      entry.logged = now;
      entry.logged_reason = entry.reason;
      telemetry::LogWarning("condition not met", {{"condition", condition}, {"reason", reason}});
    }
  }
  Tell();
}

void Readiness::Stopping() {
  {
    MutexLock lock(mutex_);
    if (stopping_) return;
    stopping_ = true;
  }
  Tell();
}

std::vector<Readiness::Condition> Readiness::conditions() const {
  MutexLock lock(mutex_);
  std::vector<Condition> conditions;
  for (const auto& [name, entry] : entries_) {
    conditions.push_back({name, entry.met, entry.reason, entry.since});
  }
  return conditions;
}

std::string Readiness::Describe() const {
  std::string text;
  {
    MutexLock lock(mutex_);
    if (stopping_) return "not ready: the process stops\n";
  }
  for (const Condition& condition : conditions()) {
    if (condition.met) continue;
    text.append(Concat("not ready: ", condition.name, ": ", condition.reason, " (since ",
                       FormatTime(condition.since), ")\n"));
  }
  return text.empty() ? "ready\n" : text;
}

void Readiness::OnChange(std::function<void(bool)> told) {
  MutexLock telling(telling_);
  told_ = std::move(told);
  told_ready_ = ready();
  told_(told_ready_);
}

void Readiness::Tell() {
  MutexLock telling(telling_);
  const bool now = ready();
  if (!told_ || now == told_ready_) return;
  told_ready_ = now;
  told_(now);
}

}  // namespace tocsin::process
