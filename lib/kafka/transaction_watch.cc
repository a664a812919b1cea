#include "lib/kafka/transaction_watch.h"

#include <array>

#include "lib/base/text.h"

namespace tocsin::kafka::internal {
namespace {
constexpr std::chrono::milliseconds kLongestGap{1'000};

std::int64_t SumOf(std::string_view json, std::string_view quoted_name) {
  std::int64_t sum = 0;
  for (std::size_t at = json.find(quoted_name); at != std::string_view::npos;
       at = json.find(quoted_name, at)) {
    at += quoted_name.size();
    while (at < json.size() && (json[at] == ':' || json[at] == ' ')) ++at;
    std::int64_t number = 0;
    for (int digits = 0; digits < 15 && at < json.size() && json[at] >= '0' && json[at] <= '9';
         ++digits, ++at) {
      number = number * 10 + (json[at] - '0');
    }
    sum += number;
  }
  return sum;
}
}  // namespace

void TransactionWatch::Opened() {
  MutexLock lock(mutex_);
  open_ = true;
  open_since_statistics_ = true;
}

void TransactionWatch::Closed() {
  MutexLock lock(mutex_);
  open_ = false;
}

void TransactionWatch::Ended(std::string_view step, std::chrono::nanoseconds took) {
  MutexLock lock(mutex_);
  if (took <= slow_after_) return;
  Note(Concat("the ", step, " took ",
              std::chrono::duration_cast<std::chrono::milliseconds>(took).count(), " ms"));
}

void TransactionWatch::ConnectionTrouble(std::string_view what) {
  MutexLock lock(mutex_);
  if (open_) Note(std::string(what));
}

void TransactionWatch::Statistics(std::int64_t troubles) {
  MutexLock lock(mutex_);
  if (troubles > troubles_ && open_since_statistics_) {
    Note(Concat(troubles - troubles_, " requests timed out or lost their connection"));
  }
  troubles_ = troubles;
  open_since_statistics_ = open_;
}

void TransactionWatch::Tick(SteadyTime now) {
  MutexLock lock(mutex_);
  if (open_ && last_tick_ != SteadyTime{} && now - last_tick_ > kLongestGap) {
    Note(Concat("the process stood still for ",
                std::chrono::duration_cast<std::chrono::milliseconds>(now - last_tick_).count(),
                " ms"));
  }
  last_tick_ = now;
}

bool TransactionWatch::indefinite() const {
  MutexLock lock(mutex_);
  return !reason_.empty();
}

std::string TransactionWatch::reason() const {
  MutexLock lock(mutex_);
  return reason_;
}

void TransactionWatch::Note(std::string reason) {
  if (reason_.empty()) reason_ = std::move(reason);
}

std::int64_t TroublesInStatistics(std::string_view json) {
  constexpr std::array<std::string_view, 2> kNames{"\"req_timeouts\"", "\"disconnects\""};
  std::int64_t sum = 0;
  for (const std::string_view name : kNames) sum += SumOf(json, name);
  return sum;
}

}  // namespace tocsin::kafka::internal
