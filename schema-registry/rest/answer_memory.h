// Bounds the bytes of answers: of those that are being made, and of those that wait for clients to
// take them. A client that asks and does not read costs what it asked for, and there may be many.
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>

#include "lib/base/mutex.h"

namespace tocsin::registry {

// Thread-safe. Parts may outlive it.
class AnswerMemory {
 private:
  struct State;

 public:
  struct Options {
    std::size_t bytes = std::size_t{64} << 20;
    // How long a large answer waits for others to be sent, and how many do so at a time: they hold
    // up their threads.
    std::chrono::milliseconds patience{1'000};
    int max_waiting = 32;
    // Called when a large answer is gone, on any thread; must not block.
    std::function<void()> freed = nullptr;
  };

  // From here on an answer is large. A quarter of the bytes is for smaller ones alone, so that they
  // go on when nobody reads large ones.
  static constexpr std::size_t kLarge = std::size_t{64} << 10;

  // What one answer takes; given back by the destructor.
  class Part {
   public:
    Part(std::shared_ptr<State> state, std::size_t bytes);
    ~Part();
    Part(const Part&) = delete;
    Part& operator=(const Part&) = delete;

    // Not on two threads at once. Never waits. False: there is no room, and the part is as it was;
    // not where the answer must be given.
    bool Resize(std::size_t bytes, bool must = false);

   private:
    const std::shared_ptr<State> state_;
    std::size_t bytes_;
  };

  explicit AnswerMemory(Options options);

  // nullptr: there is no room. Does not wait.
  std::shared_ptr<Part> Take(std::size_t bytes);
  // The same, after Options::patience.
  std::shared_ptr<Part> TakeOrWait(std::size_t bytes);

  std::size_t taken() const;

 private:
  const std::shared_ptr<State> state_;
};

}  // namespace tocsin::registry
