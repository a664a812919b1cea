// Internal: the two buffers of one exchange, between a session and the handler's Exchange handle.
#pragma once

#include <atomic>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "lib/base/clock.h"
#include "lib/http/exchange.h"
#include "lib/http/server.h"

namespace tocsin::http {

class Loop;

// The session's half of an exchange.
class StreamSide {
 public:
  virtual ~StreamSide() = default;
  // There is a head, data or an end to send.
  virtual void OutputReady() = 0;
  // The handler waits for the body.
  virtual void BodyWanted() = 0;
  // The handler took so many bytes of the body.
  virtual void BodyTaken(std::size_t bytes) = 0;
  // So many bytes of the body were thrown away, because it is too large.
  virtual void BodyDropped(std::size_t bytes) = 0;
  virtual void ResetWanted() = 0;
};

// Threads: Add-/unsent-functions from any; all else on the loop's thread.
class ExchangeCore : public std::enable_shared_from_this<ExchangeCore> {
 public:
  // `clock` outlives this.
  ExchangeCore(std::shared_ptr<Loop> loop, RequestHead head, const Limits& limits,
               const Clock& clock, StreamSide* stream);

  static std::shared_ptr<Exchange> MakeHandle(std::shared_ptr<ExchangeCore> core);

  const RequestHead& request() const { return head_; }
  const std::shared_ptr<Loop>& loop() const { return loop_; }

  // --- of the session
  void PushBody(std::string_view bytes);
  void EndBody();
  bool body_ended() const { return body_ended_; }
  std::size_t body_waiting() const { return body_waiting_; }
  // The exchange is over; no call to `stream` after this.
  void End();
  // Since when the handler waits for a part of the body; nothing when it does not.
  std::optional<SteadyTime> waits_for_body_since() const {
    return read_ ? std::optional(read_since_) : std::nullopt;
  }
  // Since when it is the client's turn: to take what is left of a response that the handler has
  // finished, or to go on with the body where it has Limits::body_timeout for that.
  std::optional<SteadyTime> waits_for_client_since() const {
    if (finished_) return taken_at_;
    return limits_.body_timeout.count() > 0 ? waits_for_body_since() : std::nullopt;
  }
  // Ends the body with an error where the handler has waited longer than Limits::body_timeout.
  void CheckBodyTimeout(SteadyTime now);
  // Resets the exchange where the client has taken fewer than Limits::min_send_bytes of a finished
  // response for Limits::send_timeout.
  void CheckSendTimeout(SteadyTime now);

  // Broken off by the handler: nothing more of it may be sent but the reset.
  bool broken() const { return broken_; }
  bool head_ready() const { return response_.has_value() && !broken_; }
  const ResponseHead& response() const { return *response_; }
  // Everything of the response has been written by the handler.
  bool finished() const { return finished_; }
  const Headers& trailers() const { return trailers_; }
  std::size_t output_size() const { return output_size_; }
  void TakeOutput(std::size_t bytes, std::vector<Slice>& out);
  void DropOutput();
  // The session has sent the whole response.
  void MarkWhole() { whole_ = true; }
  bool whole() const { return whole_; }

  // --- of the handle
  void Read(std::function<void(absl::StatusOr<BodyPart>)> done);
  void SendHead(ResponseHead head, bool end);
  void Write(std::vector<Slice> data);
  void Finish(Headers trailers);
  void Reset();
  void WhenWritable(std::function<void()> done);
  void OnCancelled(std::function<void()> listener);
  void Abandoned();
  void AddUnsent(std::size_t bytes) { unsent_.fetch_add(bytes, std::memory_order_relaxed); }
  std::size_t unsent() const { return unsent_.load(std::memory_order_relaxed); }

 private:
  void FailBody(absl::Status fault, std::size_t coming);
  void ScheduleDelivery();
  void Deliver();
  void ScheduleWriters();
  void WakeWriters();

  const std::shared_ptr<Loop> loop_;
  const RequestHead head_;
  const Limits limits_;
  const Clock& clock_;
  StreamSide* stream_;

  std::deque<Slice> body_;
  std::size_t body_waiting_ = 0;
  std::uint64_t body_total_ = 0;
  bool body_ended_ = false;
  // Why nothing more of the body is wanted.
  absl::Status body_fault_;
  std::function<void(absl::StatusOr<BodyPart>)> read_;
  SteadyTime read_since_{};
  bool delivery_scheduled_ = false;

  std::optional<ResponseHead> response_;
  std::deque<Slice> output_;
  std::size_t output_size_ = 0;
  std::atomic<std::size_t> unsent_{0};
  bool finished_ = false;
  // Of a finished response: when the handler finished it, or the client had last taken another
  // Limits::min_send_bytes of it; and how much it has taken since.
  SteadyTime taken_at_{};
  std::size_t taken_ = 0;
  bool whole_ = false;
  bool broken_ = false;
  Headers trailers_;
  std::vector<std::function<void()>> writers_;
  bool writers_scheduled_ = false;
  std::function<void()> cancelled_;
};

}  // namespace tocsin::http
