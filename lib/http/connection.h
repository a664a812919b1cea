// Internal: one connection: its transport, the session that the first bytes choose, and what is on
// its way out. On one I/O thread.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "lib/http/connection_table.h"
#include "lib/http/loop.h"
#include "lib/http/session.h"

namespace tocsin::http {

class Connection : public std::enable_shared_from_this<Connection> {
 public:
  // `place` is given back, and `closed` called once, on the loop, when the socket is closed.
  Connection(SessionContext context, std::unique_ptr<Transport> transport,
             std::unique_ptr<ConnectionTable::Place> place,
             std::function<void(const std::shared_ptr<Connection>&)> closed);
  ~Connection();

  void Start();
  void Tick(SteadyTime now);
  void StartDraining();
  void Close();
  // Close, and what the client has not taken is not sent any more.
  void Abort();
  // Closes where the place is wanted and the client has still sent nothing.
  void LeaveWhereAsked();

 private:
  void WaitReadable();
  void OnReadable();
  void OnBytes(std::string_view bytes);
  void Choose(bool http2);
  void Wake();
  void Flush();
  void Linger();
  void End();
  std::optional<SteadyTime> WaitsSince() const;
  void UpdatePlace();

  SessionContext context_;
  std::unique_ptr<Transport> transport_;
  std::unique_ptr<ConnectionTable::Place> place_;
  // What the place was told last.
  std::optional<SteadyTime> waits_since_;
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
  // Since then, of what waits, the client has taken taken_ bytes, fewer than min_send_bytes.
  SteadyTime progress_;
  std::size_t taken_ = 0;
  SteadyTime linger_since_;
};

}  // namespace tocsin::http
