// How the registry follows its log. Decisions are in registry_writes.cc and registry_checks.cc, the
// way of a decision into the log is in registry_commit.cc, answers are in registry_reads.cc.
#include "schema-registry/registry.h"

#include <algorithm>
#include <utility>

#include "lib/base/status.h"
#include "lib/telemetry/log.h"
#include "lib/telemetry/metrics.h"

namespace tocsin::registry {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kPollTimeout{250};
// How often the broker is asked for the end of the topic while nobody else asks.
constexpr milliseconds kProbeInterval{1'000};
constexpr milliseconds kPauseAfterError{200};
// Schemas compiled in a row, in the background.
constexpr std::size_t kLearnAtOnce = 50;

const telemetry::Counter& Malformed() {
  static const telemetry::Counter counter = telemetry::GetCounter(
      "tocsin_schema_registry_malformed_records_total",
      "Records of the topic of the schemas that were not understood and skipped.");
  return counter;
}

}  // namespace

Registry::Registry(RegistryLog& log, AuditLog& audit, const Clock& clock, RegistryOptions options)
    : log_(log),
      audit_(audit),
      denials_(clock),
      clock_(clock),
      options_(options),
      compiler_(options.limits, options.max_compiled_bytes),
      turns_(options.turns, options.memory_freed),
      state_(StateOptions{.node = options.node, .max_changes = options.max_changes}),
      status_(Unavailable("the topic of the schemas has not been read yet")) {}

Registry::~Registry() { Stop(); }

void Registry::Start(std::function<void(const absl::Status&)> on_status) {
  on_status_ = std::move(on_status);
  reader_ = std::thread([this] { Read(); });
  committer_ = std::thread([this] { Commits(); });
  learner_ = std::thread([this] { LearnContents(); });
}

void Registry::Stop() {
  {
    MutexLock lock(mutex_);
    stopped_ = true;
    changed_.NotifyAll();
  }
  {
    MutexLock lock(queue_mutex_);
    queue_closed_ = true;
    queue_changed_.NotifyAll();
  }
  for (std::thread* thread : {&committer_, &reader_, &learner_}) {
    if (thread->joinable()) thread->join();
  }
}

absl::Status Registry::Ready() const {
  MutexLock lock(mutex_);
  return status_;
}

void Registry::SetStatus(absl::Status status) {
  bool tell = false;
  {
    MutexLock lock(mutex_);
    if (status_.code() == absl::StatusCode::kFailedPrecondition) return;
    tell = status.code() != status_.code();
    loaded_ |= status.ok();
    status_ = status;
    changed_.NotifyAll();
  }
  if (tell && on_status_) on_status_(status);
}

void Registry::Apply(const LogRecord& record) {
  if (state_.Apply(record) != Applied::kMalformed) return;
  malformed_.fetch_add(1, std::memory_order_relaxed);
  Malformed().Increment();
  telemetry::LogWarning(
      "a record of the topic of the schemas was not understood and skipped",
      {{"offset", record.offset}, {"key", Shorten(record.key.value_or("(none)"), 200)}});
}

void Registry::Read() {
  // What must have been read before the state is complete.
  std::optional<std::int64_t> load_to;
  SteadyTime probe_at = clock_.SteadyNow();
  for (;;) {
    std::int64_t position = 0;
    {
      MutexLock lock(mutex_);
      if (stopped_) return;
      position = state_.position();
    }
    auto chunk = log_.Poll(kPollTimeout);
    absl::Status failure = chunk.status();
    if (chunk.ok()) {
      MutexLock lock(mutex_);
      state_.superseded().SetNow(clock_.SteadyNow());
      for (const LogRecord& record : chunk->records) Apply(record);
      if (chunk->end) state_.ReachedEnd(*chunk->end);
      if (state_.position() != position) changed_.NotifyAll();
      position = state_.position();
    }
    if (failure.ok() && clock_.SteadyNow() >= probe_at) {
      probe_at = clock_.SteadyNow() + kProbeInterval;
      const auto end = log_.EndOffset(kProbeInterval);
      failure = end.status();
      if (end.ok() && !load_to) load_to = *end;
      if (end.ok() && *end < position) {
        failure = FailedPrecondition(
            Concat("the topic of the schemas ends at offset ", *end, ", but ", position,
                   " records of it were read before: it was deleted, or its data were lost. "
                   "Restart the registry to read it anew"));
      }
    }
    if (failure.ok() && load_to) {
      SetStatus(position >= *load_to
                    ? absl::OkStatus()
                    : Unavailable(Concat("reading the topic of the schemas: at offset ", position,
                                         " of ", *load_to)));
    }
    if (!failure.ok()) {
      SetStatus(failure);
      MutexLock lock(mutex_);
      if (!stopped_) changed_.WaitFor(mutex_, kPauseAfterError);
    }
  }
}

milliseconds Registry::Left(SteadyTime deadline) const {
  return std::max(std::chrono::duration_cast<milliseconds>(deadline - clock_.SteadyNow()),
                  milliseconds(1));
}

absl::Status Registry::TooSlow(std::string_view what) const {
  return MakeError(ErrorCode::kTimeout,
                   Concat(what, " took too long: Kafka does not answer in time. Try again"));
}

absl::Status Registry::WaitFor(std::int64_t position, SteadyTime deadline) {
  MutexLock lock(mutex_);
  while (state_.position() < position) {
    if (stopped_) return MakeError(ErrorCode::kStore, "the registry is stopping; try another");
    const auto left = deadline - clock_.SteadyNow();
    if (left <= SteadyTime::duration::zero()) return TooSlow("reading the topic of the schemas");
    changed_.WaitFor(mutex_, left);
  }
  return absl::OkStatus();
}

absl::Status Registry::CatchUp(SteadyTime deadline) {
  Probe probe;
  {
    MutexLock lock(mutex_);
    // A question that begins from now on sees all that was acknowledged until now.
    const std::uint64_t wanted = probes_begun_ + 1;
    while (last_probe_.number < wanted) {
      if (stopped_) return MakeError(ErrorCode::kStore, "the registry is stopping; try another");
      const auto left = deadline - clock_.SteadyNow();
      if (left <= SteadyTime::duration::zero()) return TooSlow("asking for the newest schemas");
      if (probing_) {
        changed_.WaitFor(mutex_, left);
        continue;
      }
      probing_ = true;
      probe.number = ++probes_begun_;
      mutex_.Unlock();
      const auto end = log_.EndOffset(Left(deadline));
      mutex_.Lock();
      probing_ = false;
      probe.status = end.status();
      probe.end = end.ok() ? *end : 0;
      last_probe_ = probe;
      changed_.NotifyAll();
    }
    probe = last_probe_;
    // FAILED_PRECONDITION: what was read is not what the topic holds.
    if (status_.code() == absl::StatusCode::kFailedPrecondition) {
      return MakeError(ErrorCode::kStore, Message(status_));
    }
  }
  if (!probe.status.ok()) {
    return MakeError(ErrorCode::kStore,
                     Concat("Kafka does not answer, so the newest schemas are not known; try "
                            "again: ",
                            Message(probe.status)));
  }
  return WaitFor(probe.end, deadline);
}

void Registry::LearnContents() {
  for (;;) {
    std::vector<std::pair<RegistryState::Unknown, std::vector<Import>>> unknown;
    {
      MutexLock lock(mutex_);
      while (!stopped_ && !(loaded_ && state_.has_unknown())) changed_.Wait(mutex_);
      if (stopped_) return;
      for (auto& each : state_.TakeUnknown(kLearnAtOnce)) {
        auto imports = state_.ResolveImports(each.context, each.schema->references);
        if (imports.ok()) unknown.emplace_back(std::move(each), *std::move(imports));
      }
    }
    for (const auto& [each, imports] : unknown) {
      const auto key = compiler_.KeyOf(each.context, *each.schema, imports, /*normalize=*/false);
      // What another registry took and this one cannot read is compared with nothing.
      if (!key.ok()) continue;
      MutexLock lock(mutex_);
      if (stopped_) return;
      state_.SetContentKey(each.context, each.schema->id, *key);
    }
  }
}

}  // namespace tocsin::registry
