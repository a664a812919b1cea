#include "cli/stop_request.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <utility>

namespace tocsin::cli {
namespace {

void Raise(int event) {
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = write(event, &one, sizeof(one));
}

}  // namespace

StopRequest::StopRequest() : event_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}

StopRequest::~StopRequest() { close(event_); }

void StopRequest::Make(int signal) {
  const int before = errno;
  int none = 0;
  signal_.compare_exchange_strong(none, signal);
  Raise(event_);
  errno = before;
}

bool StopRequest::WaitFor(std::chrono::nanoseconds pause) const {
  const auto end = std::chrono::steady_clock::now() + pause;
  while (!made()) {
    const auto left =
        std::chrono::ceil<std::chrono::milliseconds>(end - std::chrono::steady_clock::now());
    if (left.count() <= 0) return false;
    constexpr std::chrono::milliseconds kLongest{1 << 30};
    pollfd ready{event_, POLLIN, 0};
    poll(&ready, 1, static_cast<int>(std::min(left, kLongest).count()));
  }
  return true;
}

void StopRequest::Clear() {
  signal_ = 0;
  std::uint64_t count = 0;
  [[maybe_unused]] const ssize_t got = read(event_, &count, sizeof(count));
}

StopRequest& ProcessStop() {
  static auto* const stop = new StopRequest();  // outlives every thread that may still ask at exit
  return *stop;
}

OnStop::OnStop(const StopRequest& stop, std::function<void()> then)
    : done_(eventfd(0, EFD_CLOEXEC)), thread_([&stop, done = done_, then = std::move(then)] {
        pollfd either[2] = {{stop.event(), POLLIN, 0}, {done, POLLIN, 0}};
        while (poll(either, 2, -1) < 0 && errno == EINTR) {
        }
        if ((either[1].revents & POLLIN) == 0) then();
      }) {}

OnStop::~OnStop() {
  Raise(done_);
  thread_.join();
  close(done_);
}

}  // namespace tocsin::cli
