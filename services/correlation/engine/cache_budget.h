// What all tasks of a process may keep in memory of their windows, in equal shares.
//
// Thread-safe.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <memory>
#include <utility>

namespace tocsin::correlation {

class CacheBudget {
 public:
  explicit CacheBudget(std::size_t bytes) : bytes_(bytes) {}

  // One task's place, for as long as it lives.
  class Share {
   public:
    explicit Share(std::shared_ptr<CacheBudget> budget) : budget_(std::move(budget)) {
      ++budget_->shares_;
    }
    ~Share() { --budget_->shares_; }
    Share(const Share&) = delete;
    Share& operator=(const Share&) = delete;

    // Now; it shrinks when tasks come and grows when they go.
    std::size_t bytes() const {
      return budget_->bytes_ / std::max<std::size_t>(1, budget_->shares_.load());
    }

   private:
    const std::shared_ptr<CacheBudget> budget_;
  };

 private:
  const std::size_t bytes_;
  std::atomic<std::size_t> shares_{0};
};

}  // namespace tocsin::correlation
