#include "services/correlation/worker/committer.h"

#include <thread>
#include <utility>

#include "lib/base/mutex.h"

namespace tocsin::correlation {
namespace {

class ThreadCommitter final : public Committer {
 public:
  ThreadCommitter() : thread_([this] { Serve(); }) {}
  ~ThreadCommitter() override {
    {
      MutexLock lock(mutex_);
      ending_ = true;
      changed_.NotifyAll();
    }
    thread_.join();
  }

  void Start(Run run) override {
    MutexLock lock(mutex_);
    run_ = std::move(run);
    busy_ = true;
    changed_.NotifyAll();
  }

  bool busy() const override {
    MutexLock lock(mutex_);
    return busy_;
  }

  std::optional<TransactionOutcome> Take(std::chrono::nanoseconds wait) override {
    const auto until = std::chrono::steady_clock::now() + wait;
    MutexLock lock(mutex_);
    while (busy_ && !outcome_.has_value()) {
      const auto left = until - std::chrono::steady_clock::now();
      if (left <= std::chrono::nanoseconds(0)) return std::nullopt;
      changed_.WaitFor(mutex_, left);
    }
    if (!outcome_.has_value()) return std::nullopt;
    busy_ = false;
    return std::exchange(outcome_, std::nullopt);
  }

 private:
  void Serve() {
    for (;;) {
      Run run;
      {
        MutexLock lock(mutex_);
        while (!run_ && !ending_) changed_.Wait(mutex_);
        if (!run_) return;
        run = std::exchange(run_, nullptr);
      }
      TransactionOutcome outcome = run();
      // What it held goes before anybody is told of the end.
      run = nullptr;
      MutexLock lock(mutex_);
      outcome_ = std::move(outcome);
      changed_.NotifyAll();
    }
  }

  mutable Mutex mutex_;
  CondVar changed_;
  Run run_ ABSL_GUARDED_BY(mutex_);
  bool busy_ ABSL_GUARDED_BY(mutex_) = false;
  bool ending_ ABSL_GUARDED_BY(mutex_) = false;
  std::optional<TransactionOutcome> outcome_ ABSL_GUARDED_BY(mutex_);
  std::thread thread_;
};

}  // namespace

std::unique_ptr<Committer> MakeThreadCommitter() { return std::make_unique<ThreadCommitter>(); }

}  // namespace tocsin::correlation
