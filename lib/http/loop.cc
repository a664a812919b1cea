#include "lib/http/loop.h"

#include <sys/socket.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cerrno>
#include <thread>
#include <utility>

#include "lib/base/status.h"
#include "lib/base/text.h"

namespace tocsin::http {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;

// Then the connections that are open have their turn.
constexpr int kMostAcceptedAtOnce = 64;

thread_local const Loop* current_loop = nullptr;

class TcpTransport final : public Transport {
 public:
  explicit TcpTransport(tcp::socket socket) : socket_(std::move(socket)) {}

  Transfer Read(char* buffer, std::size_t size) override {
    for (;;) {
      const ssize_t got = ::recv(socket_.native_handle(), buffer, size, 0);
      if (got > 0) return {Result::kOk, static_cast<std::size_t>(got)};
      if (got == 0) return {Result::kEnd, 0};
      if (errno == EINTR) continue;
      if (errno == EAGAIN || errno == EWOULDBLOCK) return {Result::kWouldBlock, 0};
      return {Result::kError, 0};
    }
  }

  Transfer Write(const iovec* buffers, int count) override {
    msghdr message{};
    message.msg_iov = const_cast<iovec*>(buffers);
    message.msg_iovlen = static_cast<std::size_t>(count);
    for (;;) {
      const ssize_t sent = ::sendmsg(socket_.native_handle(), &message, MSG_NOSIGNAL);
      if (sent >= 0) return {Result::kOk, static_cast<std::size_t>(sent)};
      if (errno == EINTR) continue;
      if (errno == EAGAIN || errno == EWOULDBLOCK) return {Result::kWouldBlock, 0};
      return {Result::kError, 0};
    }
  }

  void WhenReadable(std::function<void()> ready) override {
    socket_.async_wait(tcp::socket::wait_read,
                       [ready = std::move(ready)](const boost::system::error_code& error) {
                         if (error != asio::error::operation_aborted) ready();
                       });
  }

  void WhenWritable(std::function<void()> ready) override {
    socket_.async_wait(tcp::socket::wait_write,
                       [ready = std::move(ready)](const boost::system::error_code& error) {
                         if (error != asio::error::operation_aborted) ready();
                       });
  }

  void ShutdownSend() override {
    boost::system::error_code ignored;
    socket_.shutdown(tcp::socket::shutdown_send, ignored);
  }

  void Close() override {
    boost::system::error_code ignored;
    socket_.close(ignored);
  }

  void Abort() override {
    boost::system::error_code ignored;
    socket_.set_option(asio::socket_base::linger(true, 0), ignored);
    socket_.close(ignored);
  }

 private:
  tcp::socket socket_;
};

}  // namespace

struct Loop::Io {
  asio::io_context context{1};
  asio::executor_work_guard<asio::io_context::executor_type> work{context.get_executor()};
  std::vector<std::unique_ptr<asio::steady_timer>> timers;
  std::thread thread;
};

Loop::Loop() : io_(std::make_unique<Io>()), read_buffer_(std::size_t{64} * 1024) {}
Loop::~Loop() {
  // Else the next loop at this address would take this thread for its own (RunPosted).
  if (OnLoop()) current_loop = nullptr;
}

std::shared_ptr<Loop> Loop::Create() { return std::shared_ptr<Loop>(new Loop); }

void Loop::Start() {
  io_->thread = std::thread([this] {
    current_loop = this;
    io_->context.run();
    current_loop = nullptr;
  });
}

void Loop::RunPosted() {
  current_loop = this;
  for (;;) {
    {
      MutexLock lock(mutex_);
      if (tasks_.empty()) return;
    }
    RunTasks();
  }
}

void Loop::Stop() {
  std::vector<std::function<void()>> dropped;
  {
    MutexLock lock(mutex_);
    stopped_ = true;
    dropped.swap(tasks_);
  }
  io_->context.stop();
  if (io_->thread.joinable()) io_->thread.join();
  io_->timers.clear();
  // Tasks may hold exchanges, whose ends post again: dropped, since stopped_.
  dropped.clear();
}

bool Loop::OnLoop() const { return current_loop == this; }

void Loop::Post(std::function<void()> task) {
  bool wake = false;
  {
    MutexLock lock(mutex_);
    if (stopped_) return;
    wake = tasks_.empty();
    tasks_.push_back(std::move(task));
  }
  // The loop outlives its thread, and the handler is destroyed at the latest with the io_context.
  if (wake) asio::post(io_->context, [this] { RunTasks(); });
}

void Loop::RunTasks() {
  std::vector<std::function<void()>> tasks;
  {
    MutexLock lock(mutex_);
    tasks.swap(tasks_);
  }
  for (std::function<void()>& task : tasks) {
    task();
    task = nullptr;
  }
}

void Loop::Every(std::chrono::milliseconds interval, std::function<void()> tick) {
  io_->timers.push_back(std::make_unique<asio::steady_timer>(io_->context));
  asio::steady_timer* timer = io_->timers.back().get();
  auto shared_tick = std::make_shared<std::function<void()>>(std::move(tick));
  auto again = std::make_shared<std::function<void(const boost::system::error_code&)>>();
  // The chain owns itself through the pending wait alone, so it ends with the timer.
  *again = [timer, interval, shared_tick,
            weak = std::weak_ptr(again)](const boost::system::error_code& error) {
    if (error) return;
    (*shared_tick)();
    const auto self = weak.lock();
    if (self == nullptr) return;
    timer->expires_after(interval);
    timer->async_wait([self](const boost::system::error_code& next) { (*self)(next); });
  };
  timer->expires_after(interval);
  timer->async_wait([again](const boost::system::error_code& error) { (*again)(error); });
}

struct Listener::Socket {
  explicit Socket(asio::io_context& context) : acceptor(context), pause(context) {}
  tcp::acceptor acceptor;
  asio::steady_timer pause;
};

Listener::Listener() = default;
Listener::~Listener() = default;

absl::StatusOr<std::unique_ptr<Listener>> Listener::Bind(std::vector<std::shared_ptr<Loop>> loops,
                                                         const std::string& address,
                                                         Accepted accepted) {
  TOCSIN_ASSIGN_OR_RETURN(const HostPort where, ParseHostPort(address));
  auto listener = std::unique_ptr<Listener>(new Listener);
  listener->loops_ = std::move(loops);
  listener->accepted_ = std::move(accepted);
  asio::io_context& context = listener->loops_.front()->io_->context;
  listener->socket_ = std::make_unique<Socket>(context);
  tcp::acceptor& acceptor = listener->socket_->acceptor;

  boost::system::error_code error;
  tcp::resolver resolver(context);
  const auto found =
      resolver.resolve(where.host, std::to_string(where.port),
                       tcp::resolver::passive | tcp::resolver::numeric_service, error);
  if (error || found.empty()) {
    return InvalidArgument(Concat("cannot listen on ", address, ": '", where.host,
                                  "' is not an address of this machine (", error.message(), ")"));
  }
  const tcp::endpoint endpoint = found.begin()->endpoint();
  acceptor.open(endpoint.protocol(), error);
  if (!error) acceptor.set_option(tcp::acceptor::reuse_address(true), error);
  if (!error) acceptor.bind(endpoint, error);
  if (!error) acceptor.listen(1024, error);
  if (!error) acceptor.non_blocking(true, error);
  if (error == asio::error::address_in_use) {
    return AlreadyExists(Concat("cannot listen on ", address,
                                ": the port is in use by another process. Stop that process (ss "
                                "-ltnp shows it) or choose another port"));
  }
  if (error) {
    return FailedPrecondition(Concat("cannot listen on ", address, ": ", error.message()));
  }
  listener->port_ = acceptor.local_endpoint(error).port();
  return listener;
}

void Listener::StartAccepting() { Accept(); }

void Listener::Accept() {
  // The socket is made when a connection is there and not before: a pending operation must hold
  // nothing of another loop, which may be gone first.
  socket_->acceptor.async_wait(
      tcp::acceptor::wait_read, [this](const boost::system::error_code& stopped) {
        if (stopped == asio::error::operation_aborted || !socket_->acceptor.is_open()) return;
        boost::system::error_code error = stopped;
        for (int i = 0; i < kMostAcceptedAtOnce && !error; ++i) error = AcceptOne();
        if (!error || error == asio::error::would_block ||
            error == asio::error::connection_aborted) {
          return Accept();
        }
        // Out of descriptors, most likely: the pending connection stays in the backlog.
        socket_->pause.expires_after(std::chrono::milliseconds(100));
        socket_->pause.async_wait([this](const boost::system::error_code& closed) {
          if (!closed) Accept();
        });
      });
}

boost::system::error_code Listener::AcceptOne() {
  const std::size_t index = next_ % loops_.size();
  tcp::socket socket(loops_[index]->io_->context);
  boost::system::error_code error;
  socket_->acceptor.accept(socket, error);
  if (error) return error;
  ++next_;
  boost::system::error_code ignored;
  socket.non_blocking(true, ignored);
  socket.set_option(tcp::no_delay(true), ignored);
  const tcp::endpoint remote = socket.remote_endpoint(ignored);
  std::string peer = remote.address().is_v6()
                         ? Concat("[", remote.address().to_string(), "]:", remote.port())
                         : Concat(remote.address().to_string(), ":", remote.port());
  accepted_(index, std::make_unique<TcpTransport>(std::move(socket)), std::move(peer));
  return {};
}

void Listener::Close() {
  boost::system::error_code ignored;
  socket_->acceptor.close(ignored);
  socket_->pause.cancel();
}

}  // namespace tocsin::http
