// One request and its response, both as streams, the same for HTTP/1.1 and HTTP/2.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "lib/http/message.h"

namespace tocsin::http {

struct BodyPart {
  Slice data;
  // Nothing follows. May come with data.
  bool end = false;
};

// Threads: every method may be called from any thread and none blocks. Callbacks run on the I/O
// thread of the connection, one at a time; they must not block. Calls made on that thread take
// effect in the order made; calls from one other thread as well. After the exchange has ended (both
// sides finished, reset by either, connection lost) every method is without effect, but Read and
// WhenWritable still call back.
//
// Ownership: held by whoever needs it. When the last holder outside this library lets go before
// Finish or Reset, the client gets 500, or a reset where the head was sent: it never waits for a
// handler that is gone.
class Exchange {
 public:
  virtual ~Exchange() = default;

  // Valid, and unchanged, as long as the exchange.
  virtual const RequestHead& request() const = 0;

  // The next part of the body. One call at a time. The client is let to send more only as parts are
  // taken, so at most Limits::body_window bytes wait here. CANCELLED: the exchange ended before the
  // body did. RESOURCE_EXHAUSTED: the body is larger than Limits::max_body. DEADLINE_EXCEEDED: none
  // of it came for Limits::body_timeout. After either of the two the client can still be answered,
  // and Read gives nothing else any more.
  virtual void Read(std::function<void(absl::StatusOr<BodyPart>)> done) = 0;

  // Once, before Write. Sent at once, without waiting for the body. `end`: there is no body and no
  // Finish (on HTTP/2 one frame carries it all, as gRPC's trailers-only answers need).
  virtual void SendHead(ResponseHead head, bool end = false) = 0;

  // Appends to the body. The bytes are kept, uncopied, until the client takes them: a writer of
  // unbounded streams waits for WhenWritable between writes. An exchange with more than
  // Limits::max_unsent bytes waiting is reset.
  virtual void Write(std::vector<Slice> data) = 0;

  // Ends the response, once all that was written is sent. `trailers` follow the body (HTTP/2, and
  // HTTP/1.1 with chunked coding when the request says "te: trailers"; else they are dropped).
  // After SendHead alone it makes a response without body.
  virtual void Finish(Headers trailers = {}) = 0;

  // Breaks the exchange off: RST_STREAM(CANCEL or INTERNAL_ERROR) or the end of the connection.
  virtual void Reset() = 0;

  // Calls back once when less than Limits::unsent_low_water bytes wait to be sent, maybe at once;
  // and when the exchange has ended.
  virtual void WhenWritable(std::function<void()> done) = 0;

  // Bytes written and not yet taken for sending (a connection takes up to 128 KiB at a time).
  virtual std::size_t unsent() const = 0;

  // Called once when the exchange ends otherwise than by a whole response: the client reset it or
  // the connection is gone. Called at once when that was before. One listener; a second one
  // replaces the first. The listener is dropped when the exchange ends, so it may hold the
  // exchange.
  virtual void OnCancelled(std::function<void()> listener) = 0;

  // Runs `task` on the I/O thread of the connection, also after the exchange has ended; not within
  // this call. Dropped without being run when the server has stopped.
  virtual void Post(std::function<void()> task) = 0;
};

// What a server does with requests. Outlives the server.
class Handler {
 public:
  virtual ~Handler() = default;
  // On an I/O thread, when the head of the request has come; must not block. All I/O threads call
  // it at the same time.
  virtual void Handle(std::shared_ptr<Exchange> exchange) = 0;
};

}  // namespace tocsin::http
