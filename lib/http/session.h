// Internal: the protocol half of a connection, without a socket: bytes in, bytes out, exchanges to
// the handler. One for each version of HTTP. All on one I/O thread.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "lib/base/clock.h"
#include "lib/http/out_queue.h"
#include "lib/http/server.h"

namespace tocsin::http {

class Loop;

// What a session is given by its connection. Outlives the session.
struct SessionContext {
  std::shared_ptr<Loop> loop;
  std::shared_ptr<Handler> handler;
  Limits limits;
  const Clock* clock = nullptr;
  std::string peer;
  // Asks for Collect (and a look at the other answers) soon; never calls back at once.
  std::function<void()> wake;
};

class Session {
 public:
  virtual ~Session() = default;
  virtual void Receive(std::string_view bytes) = 0;
  // Appends what is to be sent, about `budget` bytes at most.
  virtual void Collect(OutQueue& out, std::size_t budget) = 0;
  // May the connection read more?
  virtual bool WantsInput() const = 0;
  // Nothing more will happen: send what was collected, then close.
  virtual bool Finished() const = 0;
  // Since when it is the client's turn: to send a head, to go on with a body where that has
  // its time (Limits::body_timeout), to take the rest of a response that is finished. Nothing while
  // the server works for it.
  virtual std::optional<SteadyTime> WaitsSince() const = 0;
  virtual void Tick(SteadyTime now) = 0;
  virtual void StartDraining() = 0;
  // The connection is gone. Ends all exchanges.
  virtual void Lost() = 0;
};

std::unique_ptr<Session> MakeHttp1Session(SessionContext context);
std::unique_ptr<Session> MakeHttp2Session(SessionContext context);

}  // namespace tocsin::http
