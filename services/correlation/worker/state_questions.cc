#include "services/correlation/worker/state_questions.h"

#include <algorithm>
#include <utility>

#include "lib/base/status.h"
#include "lib/base/text.h"

namespace tocsin::correlation {
namespace {

absl::Status AnswerOne(const TaskSlots& tasks, const TaskId& id, const StateQuestions::Look& look) {
  const auto found = tasks.find(id);
  if (found == tasks.end()) return NotFound("this worker does not have the partition");
  const TaskSlot& slot = found->second;
  if (slot.phase != Phase::kRunning || slot.store == nullptr) {
    return Unavailable(slot.problem.empty() ? Concat(slot.Name(), " reads its changelog")
                                            : slot.problem);
  }
  look(*slot.store, slot.store->position().value_or(0));
  return slot.store->status();
}

}  // namespace

absl::Status StateQuestions::Ask(const TaskId& task, Look look, SteadyTime deadline) {
  const auto question = std::make_shared<Question>();
  question->task = task;
  question->look = std::move(look);
  MutexLock lock(mutex_);
  if (closed_) return Unavailable("the worker has ended");
  questions_.push_back(question);
  asked_ = true;
  while (!question->answered) {
    const auto left = deadline - std::chrono::steady_clock::now();
    if (left <= std::chrono::nanoseconds(0)) {
      std::erase(questions_, question);
      return DeadlineExceeded("the worker that has the partition is busy; try again");
    }
    answered_.WaitFor(mutex_, left);
  }
  return question->answer;
}

void StateQuestions::Answer(const TaskSlots& tasks) {
  if (!asked_.exchange(false)) return;
  std::vector<std::shared_ptr<Question>> questions;
  {
    MutexLock lock(mutex_);
    questions.swap(questions_);
  }
  for (const auto& question : questions) {
    absl::Status answer = AnswerOne(tasks, question->task, question->look);
    MutexLock lock(mutex_);
    question->answer = std::move(answer);
    question->answered = true;
    answered_.NotifyAll();
  }
}

void StateQuestions::Close() {
  MutexLock lock(mutex_);
  closed_ = true;
  for (const auto& question : questions_) {
    question->answer = Unavailable("the worker has ended");
    question->answered = true;
  }
  questions_.clear();
  answered_.NotifyAll();
}

}  // namespace tocsin::correlation
