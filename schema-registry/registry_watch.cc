#include "schema-registry/registry_watch.h"

#include <algorithm>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lib/base/status.h"
#include "lib/base/text.h"
#include "lib/rpc/status.h"
#include "schema-registry/registry_messages.h"

namespace tocsin::registry {
namespace {

// Taken from the history at once.
constexpr std::size_t kBatch = 100;
constexpr std::chrono::milliseconds kLook{500};

absl::Status Stopping() {
  return Unavailable(
      "the registry stops; watch again from the last revision seen, another replica has the same");
}

}  // namespace

// Owns itself until OnDone. Lock order: RegistryWatch, Watcher, Registry.
class RegistryWatch::Watcher final : public Reactor {
 public:
  Watcher(RegistryWatch& watch, const auth::Principal& principal,
          const tocsin::schema::v1::WatchRequest& request)
      : watch_(watch),
        principal_(principal),
        prefix_(request.subject_prefix().starts_with(":.:") ? request.subject_prefix().substr(3)
                                                            : request.subject_prefix()),
        position_(request.after_revision()),
        last_write_(watch.clock_.SteadyNow()) {}

  void End(const absl::Status& status) {
    MutexLock lock(mutex_);
    if (!end_) end_ = status;
    Step();
  }
  // Something may have changed, or time has passed.
  void Look() {
    MutexLock lock(mutex_);
    Step();
  }

  void OnWriteDone(bool ok) override {
    MutexLock lock(mutex_);
    writing_ = false;
    last_write_ = watch_.clock_.SteadyNow();
    if (!ok && !end_) end_ = absl::CancelledError();
    Step();
  }
  void OnCancel() override { End(absl::CancelledError()); }
  void OnDone() override {
    watch_.Remove(this);
    // gRPC counts the callbacks before this one, in code that ThreadSanitizer does not see; here it
    // sees that they have ended.
    { MutexLock lock(mutex_); }
    delete this;
  }

 private:
  // gRPC never calls back from within StartWrite or Finish, so the lock may be held.
  void Step() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (writing_ || finished_) return;
    if (!end_ && !Next()) return;
    if (end_) {
      finished_ = true;
      Finish(rpc::ToGrpc(*end_));
      return;
    }
    writing_ = true;
    StartWrite(&response_);
  }

  // Is there something to write, or an end to tell?
  bool Next() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    response_.Clear();
    for (;;) {
      for (; next_ < batch_.size(); ++next_) {
        const Change& change = batch_[next_];
        position_ = change.revision;
        if (!Shows(change)) continue;
        Fill(change, *response_.mutable_change());
        ++next_;
        caught_up_ = false;
        return true;
      }
      // First how far it is: the changes up to there are in the answer that follows.
      const std::int64_t revision = watch_.registry_.revision();
      auto changes = watch_.registry_.ChangesAfter(position_, kBatch, std::chrono::milliseconds(0));
      next_ = 0;
      batch_.clear();
      if (absl::IsOutOfRange(changes.status())) {
        Gap(revision);
        return true;
      }
      if (!changes.ok()) {
        end_ = changes.status();
        return true;
      }
      if (changes->empty()) return Idle(revision);
      batch_ = *std::move(changes);
    }
  }

  void Gap(std::int64_t resume_after) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    position_ = resume_after;
    caught_up_ = false;
    response_.mutable_gap()->set_resume_after(resume_after);
  }

  bool Idle(std::int64_t revision) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    const bool due = watch_.clock_.SteadyNow() - last_write_ >= watch_.options_.keep_alive;
    if (position_ > revision) {
      // Seen at a replica that has read more; or of a topic that is no more.
      if (!due) return false;
      Gap(revision);
      return true;
    }
    position_ = revision;
    if (caught_up_ && !due) return false;
    caught_up_ = true;
    response_.mutable_caught_up()->set_revision(revision);
    return true;
  }

  bool Shows(const Change& change) const {
    if (!change.subject) return prefix_.empty();
    return std::string_view(*change.subject).starts_with(prefix_) &&
           watch_.access_.MayRead(principal_, *change.subject).ok();
  }

  RegistryWatch& watch_;
  const auth::Principal principal_;
  const std::string prefix_;
  Mutex mutex_;
  std::int64_t position_ ABSL_GUARDED_BY(mutex_);
  std::vector<Change> batch_ ABSL_GUARDED_BY(mutex_);
  std::size_t next_ ABSL_GUARDED_BY(mutex_) = 0;
  SteadyTime last_write_ ABSL_GUARDED_BY(mutex_);
  // Told since the last change.
  bool caught_up_ ABSL_GUARDED_BY(mutex_) = false;
  tocsin::schema::v1::WatchResponse response_ ABSL_GUARDED_BY(mutex_);
  std::optional<absl::Status> end_ ABSL_GUARDED_BY(mutex_);
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
};

RegistryWatch::RegistryWatch(Registry& registry, const SubjectAccess& access, const Clock& clock,
                             WatchOptions options)
    : registry_(registry), access_(access), clock_(clock), options_(options) {
  thread_ = std::thread([this] { Feed(); });
}

RegistryWatch::~RegistryWatch() {
  Drain();
  thread_.join();
}

RegistryWatch::Reactor* RegistryWatch::Open(const auth::Principal& principal,
                                            const tocsin::schema::v1::WatchRequest& request) {
  auto* watcher = new Watcher(*this, principal, request);
  MutexLock lock(mutex_);
  const std::size_t others = watchers_.size();
  watchers_.insert(watcher);
  if (draining_) {
    watcher->End(Stopping());
  } else if (request.after_revision() < 0) {
    watcher->End(InvalidArgument(
        Concat("after_revision must be 0 (from the beginning) or the revision of a change, not ",
               request.after_revision())));
  } else if (others >= options_.max_watchers) {
    watcher->End(ResourceExhausted(Concat(others,
                                          " clients watch this registry already, which is the "
                                          "most; end one, or watch at another replica")));
  } else {
    watcher->Look();
    changed_.NotifyAll();
  }
  return watcher;
}

void RegistryWatch::Drain() {
  MutexLock lock(mutex_);
  draining_ = true;
  for (Watcher* watcher : watchers_) watcher->End(Stopping());
  changed_.NotifyAll();
}

void RegistryWatch::Remove(Watcher* watcher) {
  MutexLock lock(mutex_);
  watchers_.erase(watcher);
}

void RegistryWatch::Feed() {
  std::int64_t seen = 0;
  for (;;) {
    {
      MutexLock lock(mutex_);
      while (!draining_ && watchers_.empty()) changed_.Wait(mutex_);
      if (draining_) return;
    }
    const auto changes = registry_.ChangesAfter(seen, 1, kLook);
    if ((changes.ok() && !changes->empty()) || absl::IsOutOfRange(changes.status())) {
      seen = std::max(registry_.revision(), changes.ok() ? changes->front().revision : 0);
    }
    MutexLock lock(mutex_);
    for (Watcher* watcher : watchers_) watcher->Look();
    // A registry that stops answers at once.
    if (!changes.ok() && !absl::IsOutOfRange(changes.status()) && !draining_) {
      changed_.WaitFor(mutex_, kLook);
    }
  }
}

}  // namespace tocsin::registry
