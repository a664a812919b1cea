// How many compile at one time: each compilation and comparison takes many times the memory of its
// texts, and the interfaces have far more threads than the machine has cores.
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <utility>

#include "absl/status/statusor.h"
#include "lib/base/mutex.h"

namespace tocsin::registry {

struct CompileTurnsOptions {
  // 0: as many as the machine runs threads at once, at least 2.
  int at_once = 0;
  // Who has waited for so long is refused, and who would be one more than this is refused at once.
  std::chrono::milliseconds longest_wait{5'000};
  int most_waiting = 256;
  // A turn over so many bytes of text is a large one.
  std::size_t large_text_bytes = std::size_t{64} << 10;
};

// Thread-safe. Must outlive its turns.
class CompileTurns {
 public:
  // `large_ended` is called, if given, whenever a large turn has ended; by the thread that had it.
  explicit CompileTurns(CompileTurnsOptions options, std::function<void()> large_ended = {});

  class Turn {
   public:
    Turn(Turn&& other) noexcept
        : turns_(std::exchange(other.turns_, nullptr)), large_(other.large_) {}
    Turn& operator=(Turn&&) = delete;
    ~Turn() {
      if (turns_ != nullptr) turns_->End(large_);
    }

   private:
    friend class CompileTurns;
    Turn(CompileTurns* turns, bool large) : turns_(turns), large_(large) {}
    CompileTurns* turns_;
    bool large_;
  };

  // Waits for a turn; one thread holds no two. kBusy (503): retry.
  absl::StatusOr<Turn> Take(std::size_t text_bytes);

 private:
  void End(bool large);

  const CompileTurnsOptions options_;
  const std::function<void()> large_ended_;
  Mutex mutex_;
  CondVar freed_;
  int free_ ABSL_GUARDED_BY(mutex_);
  int waiting_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace tocsin::registry
