// Internal: one connection: its transport, the session that the first bytes choose, and what is on
// its way out. On one I/O thread.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "lib/http/loop.h"
#include "lib/http/session.h"

namespace tocsin::http {

class Connection : public std::enable_shared_from_this<Connection> {
 public:
  // `closed` is called once, on the loop, when the socket is closed.
  Connection(SessionContext context, std::unique_ptr<Transport> transport,
             std::function<void(const std::shared_ptr<Connection>&)> closed);
  ~Connection();

  void Start();
  void Tick(SteadyTime now);
  void StartDraining();
  void Close();

 private:
  void WaitReadable();
  void OnReadable();
  void OnBytes(std::string_view bytes);
  void Choose(bool http2);
  void Wake();
  void Flush();
  void Linger();

  SessionContext context_;
  std::unique_ptr<Transport> transport_;
  std::function<void(const std::shared_ptr<Connection>&)> closed_;
  std::unique_ptr<Session> session_;
  // The first bytes, until they tell the version.
  std::string opening_;
  OutQueue out_;
  bool reading_ = false;
  bool writing_ = false;
  bool woken_ = false;
  bool draining_ = false;
  bool lingering_ = false;
  bool open_ = true;
  SteadyTime opened_;
  SteadyTime progress_;
  SteadyTime linger_since_;
};

}  // namespace tocsin::http
