// Internal: one I/O thread and the listening socket. Asio stays within loop.cc; a connection
// reaches its socket through Transport.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "lib/base/mutex.h"
#include "lib/http/transport.h"

namespace boost::system {
class error_code;
}  // namespace boost::system

namespace tocsin::http {

// Threads: Post from any; all else on the loop's own thread, or before Run and after Join.
class Loop : public std::enable_shared_from_this<Loop> {
 public:
  static std::shared_ptr<Loop> Create();
  ~Loop();

  // Starts the thread.
  void Start();
  // Instead of Start, for programs that drive sessions without sockets (fuzz/): runs what has been
  // posted, and what that posts, on this thread, which counts as the loop's from then on.
  void RunPosted();
  // Drops all tasks, waits for the thread. No task runs afterwards.
  void Stop();

  // Runs `task` on the thread, never within this call. Dropped when the loop has stopped.
  void Post(std::function<void()> task);
  bool OnLoop() const;

  // Calls `tick` again and again until Stop.
  void Every(std::chrono::milliseconds interval, std::function<void()> tick);

  // Memory for one read, shared by all connections of the loop.
  std::vector<char>& read_buffer() { return read_buffer_; }

 private:
  friend class Listener;
  Loop();
  void RunTasks();

  struct Io;
  std::unique_ptr<Io> io_;
  std::vector<char> read_buffer_;
  Mutex mutex_;
  std::vector<std::function<void()>> tasks_ ABSL_GUARDED_BY(mutex_);
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
};

// A bound TCP socket whose connections go to several loops in turn.
class Listener {
 public:
  using Accepted = std::function<void(std::size_t loop_index, std::unique_ptr<Transport> transport,
                                      std::string peer)>;
  // ALREADY_EXISTS: the port is in use. `accepted` is called on loops[0].
  static absl::StatusOr<std::unique_ptr<Listener>> Bind(std::vector<std::shared_ptr<Loop>> loops,
                                                        const std::string& address,
                                                        Accepted accepted);
  ~Listener();
  std::uint16_t port() const { return port_; }
  // On loops[0].
  void StartAccepting();
  void Close();

 private:
  Listener();
  void Accept();
  boost::system::error_code AcceptOne();

  struct Socket;
  std::unique_ptr<Socket> socket_;
  std::vector<std::shared_ptr<Loop>> loops_;
  Accepted accepted_;
  std::size_t next_ = 0;
  std::uint16_t port_ = 0;
};

}  // namespace tocsin::http
