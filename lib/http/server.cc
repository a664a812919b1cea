#include "lib/http/server.h"

#include <atomic>
#include <unordered_set>
#include <utility>
#include <vector>

#include "lib/base/mutex.h"
#include "lib/base/status.h"
#include "lib/http/connection.h"
#include "lib/http/connection_table.h"
#include "lib/http/loop.h"
#include "lib/http/tls.h"

namespace tocsin::http {

class Server::Impl {
 public:
  Impl(ServerOptions options, std::shared_ptr<Handler> handler)
      : options_(std::move(options)), handler_(std::move(handler)) {}

  absl::Status Start() {
    if (options_.tls) {
      TOCSIN_ASSIGN_OR_RETURN(tls_, TlsFiles::Open(*options_.tls, options_.clock->SteadyNow()));
    }
    std::vector<std::shared_ptr<Loop>> loops;
    for (int i = 0; i < std::max(options_.io_threads, 1); ++i) loops.push_back(Loop::Create());
    auto listener = Listener::Bind(
        loops, options_.listen,
        [this](std::size_t index, std::unique_ptr<Transport> transport, std::string peer) {
          Accept(index, std::move(transport), std::move(peer));
        });
    if (!listener.ok()) return listener.status();
    listener_ = std::move(*listener);
    loops_ = std::move(loops);
    connections_.resize(loops_.size());
    port_ = listener_->port();
    for (std::size_t i = 0; i < loops_.size(); ++i) {
      loops_[i]->Every(options_.tick, [this, i] { Tick(i); });
    }
    listener_->StartAccepting();
    for (const auto& loop : loops_) loop->Start();
    return absl::OkStatus();
  }

  void Stop(std::chrono::milliseconds grace) {
    MutexLock stopping(stop_mutex_);
    if (loops_.empty()) return;
    loops_.front()->Post([this] { listener_->Close(); });
    draining_ = true;
    ForAllConnections([](Connection& connection) { connection.StartDraining(); });
    // The grace is the caller's promise to whoever waits for the process, so it is real time.
    WaitUntilNone(std::chrono::steady_clock::now() + grace);
    ForAllConnections([](Connection& connection) { connection.Close(); });
    WaitUntilNone(std::chrono::steady_clock::now() + std::chrono::seconds(1));
    for (const auto& loop : loops_) loop->Stop();
    connections_.clear();
    listener_ = nullptr;
    loops_.clear();
  }

  std::uint16_t port() const { return port_; }
  int connections() const { return open_; }

 private:
  // On loops_[0].
  void Accept(std::size_t index, std::unique_ptr<Transport> transport, std::string peer) {
    if (draining_) return transport->Close();
    auto place = places_->Enter(peer);
    if (place == nullptr) return transport->Close();
    ConnectionTable::Place& taken = *place;
    ++open_;
    if (tls_ != nullptr) {
      // The loop holds its connections, not the other way round.
      transport = tls_->Current(options_.clock->SteadyNow())
                      .Wrap(std::move(transport),
                            [weak = std::weak_ptr(loops_[index])](std::function<void()> task) {
                              if (const auto loop = weak.lock()) loop->Post(std::move(task));
                            });
    }
    SessionContext context;
    context.loop = loops_[index];
    context.handler = handler_;
    context.limits = options_.limits;
    context.clock = options_.clock;
    context.peer = std::move(peer);
    auto connection = std::make_shared<Connection>(
        std::move(context), std::move(transport), std::move(place),
        [this, index](const std::shared_ptr<Connection>& closed) { Closed(index, closed); });
    taken.OnAskedToLeave([loop = std::weak_ptr(loops_[index]), asked = std::weak_ptr(connection)] {
      const auto there = loop.lock();
      if (there == nullptr) return;
      there->Post([asked] {
        if (const auto still_open = asked.lock()) still_open->LeaveWhereAsked();
      });
    });
    loops_[index]->Post([this, index, connection] {
      connections_[index].insert(connection);
      connection->Start();
      if (draining_) connection->StartDraining();
    });
  }

  void Closed(std::size_t index, const std::shared_ptr<Connection>& connection) {
    connections_[index].erase(connection);
    MutexLock lock(mutex_);
    if (--open_ == 0) none_.NotifyAll();
  }

  void Tick(std::size_t index) {
    const SteadyTime now = options_.clock->SteadyNow();
    const auto connections = connections_[index];
    for (const auto& connection : connections) connection->Tick(now);
  }

  void ForAllConnections(void (*action)(Connection&)) {
    for (std::size_t i = 0; i < loops_.size(); ++i) {
      loops_[i]->Post([this, i, action] {
        const auto connections = connections_[i];
        for (const auto& connection : connections) action(*connection);
      });
    }
  }

  void WaitUntilNone(std::chrono::steady_clock::time_point deadline) {
    MutexLock lock(mutex_);
    while (open_ > 0) {
      const auto left = deadline - std::chrono::steady_clock::now();
      if (left <= std::chrono::nanoseconds(0)) return;
      none_.WaitFor(mutex_, left);
    }
  }

  const ServerOptions options_;
  const std::shared_ptr<Handler> handler_;
  const std::shared_ptr<ConnectionTable> places_ = std::make_shared<ConnectionTable>(
      options_.limits.max_connections, options_.limits.max_connections_per_address);
  // Touched on loops_[0] alone, once that runs.
  std::unique_ptr<TlsFiles> tls_;
  Mutex stop_mutex_;
  std::vector<std::shared_ptr<Loop>> loops_;
  std::unique_ptr<Listener> listener_;
  // One set for each loop, touched on its thread alone.
  std::vector<std::unordered_set<std::shared_ptr<Connection>>> connections_;
  std::atomic<bool> draining_{false};
  std::atomic<std::uint16_t> port_{0};
  std::atomic<int> open_{0};
  Mutex mutex_;
  CondVar none_;
};

Server::Server(ServerOptions options, std::shared_ptr<Handler> handler)
    : impl_(std::make_unique<Impl>(std::move(options), std::move(handler))) {}
Server::~Server() { Stop(std::chrono::milliseconds(0)); }
absl::Status Server::Start() { return impl_->Start(); }
std::uint16_t Server::port() const { return impl_->port(); }
void Server::Stop(std::chrono::milliseconds grace) { impl_->Stop(grace); }
int Server::connections() const { return impl_->connections(); }

}  // namespace tocsin::http
