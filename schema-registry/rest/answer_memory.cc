#include "schema-registry/rest/answer_memory.h"

#include <utility>

namespace tocsin::registry {

struct AnswerMemory::State {
  explicit State(Options of) : options(std::move(of)) {}

  // `more` bytes for an answer of `whole` bytes.
  bool Add(std::size_t more, std::size_t whole) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) {
    const std::size_t limit = whole < kLarge ? options.bytes : options.bytes / 4 * 3;
    if (taken + more > limit) return false;
    taken += more;
    return true;
  }

  const Options options;
  mutable Mutex mutex;
  CondVar given_back;
  std::size_t taken ABSL_GUARDED_BY(mutex) = 0;
  int waiting ABSL_GUARDED_BY(mutex) = 0;
};

AnswerMemory::Part::Part(std::shared_ptr<State> state, std::size_t bytes)
    : state_(std::move(state)), bytes_(bytes) {}

AnswerMemory::Part::~Part() {
  {
    MutexLock lock(state_->mutex);
    state_->taken -= bytes_;
    if (state_->waiting > 0) state_->given_back.NotifyAll();
  }
  if (bytes_ >= kLarge && state_->options.freed) state_->options.freed();
}

bool AnswerMemory::Part::Resize(std::size_t bytes, bool must) {
  MutexLock lock(state_->mutex);
  if (bytes > bytes_) {
    if (must) {
      state_->taken += bytes - bytes_;
    } else if (!state_->Add(bytes - bytes_, bytes)) {
      return false;
    }
  } else {
    state_->taken -= bytes_ - bytes;
    if (state_->waiting > 0) state_->given_back.NotifyAll();
  }
  bytes_ = bytes;
  return true;
}

AnswerMemory::AnswerMemory(Options options) : state_(std::make_shared<State>(std::move(options))) {}

std::shared_ptr<AnswerMemory::Part> AnswerMemory::Take(std::size_t bytes) {
  {
    MutexLock lock(state_->mutex);
    if (!state_->Add(bytes, bytes)) return nullptr;
  }
  return std::make_shared<Part>(state_, bytes);
}

std::shared_ptr<AnswerMemory::Part> AnswerMemory::TakeOrWait(std::size_t bytes) {
  {
    MutexLock lock(state_->mutex);
    const auto until = std::chrono::steady_clock::now() + state_->options.patience;
    bool waits = false;
    bool room = false;
    while (!(room = state_->Add(bytes, bytes))) {
      const auto left = until - std::chrono::steady_clock::now();
      if (left <= left.zero() || (!waits && state_->waiting >= state_->options.max_waiting)) break;
      if (!std::exchange(waits, true)) ++state_->waiting;
      state_->given_back.WaitFor(state_->mutex, left);
    }
    if (waits) --state_->waiting;
    if (!room) return nullptr;
  }
  return std::make_shared<Part>(state_, bytes);
}

std::size_t AnswerMemory::taken() const {
  MutexLock lock(state_->mutex);
  return state_->taken;
}

}  // namespace tocsin::registry
