// A letter box for questions about the state of a worker's tasks: a store belongs to its worker's
// thread, so whoever wants to look into it leaves a question, and the worker answers between two of
// its steps.
//
// Threads: Ask from any; Answer and Close from the worker's.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "lib/base/clock.h"
#include "lib/base/mutex.h"
#include "services/correlation/engine/state_view.h"
#include "services/correlation/worker/task_slot.h"

namespace tocsin::correlation {

class StateQuestions {
 public:
  // Looks at the committed state of a task, as of this position of its changelog. Called on the
  // worker's thread, which stands still meanwhile, and perhaps when whoever asked has given up:
  // what it refers to must be its own.
  using Look = std::function<void(const StateReader& state, std::int64_t position)>;

  // Waits until the worker has answered, at most until the deadline. NOT_FOUND: the worker does not
  // have this task. UNAVAILABLE: the task does not run yet, or the worker has ended.
  // DEADLINE_EXCEEDED: the worker is busy with something long.
  absl::Status Ask(const TaskId& task, Look look, SteadyTime deadline);

  // Answers all that is asked; costs next to nothing when nothing is.
  void Answer(const TaskSlots& tasks);
  // Nobody answers any more.
  void Close();

 private:
  struct Question {
    TaskId task;
    Look look;
    bool answered = false;
    absl::Status answer;
  };

  std::atomic<bool> asked_{false};
  Mutex mutex_;
  CondVar answered_;
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<std::shared_ptr<Question>> questions_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace tocsin::correlation
