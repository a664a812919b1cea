#include "lib/http/connection.h"

#include <algorithm>
#include <array>
#include <utility>

namespace tocsin::http {
namespace {

constexpr std::string_view kPreface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
// What a connection takes from its exchanges at a time.
constexpr std::size_t kOutBudget = std::size_t{128} * 1024;
// After the last byte, so long for the client to close; closing before it has read everything would
// make the kernel throw the rest away.
constexpr std::chrono::milliseconds kLinger{2000};
constexpr std::chrono::milliseconds kLingerAtStop{300};

}  // namespace

Connection::Connection(SessionContext context, std::unique_ptr<Transport> transport,
                       std::unique_ptr<ConnectionTable::Place> place,
                       std::function<void(const std::shared_ptr<Connection>&)> closed)
    : context_(std::move(context)),
      transport_(std::move(transport)),
      place_(std::move(place)),
      closed_(std::move(closed)),
      opened_(context_.clock->SteadyNow()),
      progress_(opened_) {
  // A place begins with waiting.
  waits_since_ = opened_;
}

Connection::~Connection() = default;

void Connection::Start() {
  context_.wake = [weak = weak_from_this()] {
    if (const auto self = weak.lock()) self->Wake();
  };
  WaitReadable();
}

void Connection::WaitReadable() {
  if (reading_ || !open_) return;
  reading_ = true;
  // Not by owning it: a wait that is still pending when the loop stops would hold connection and
  // loop for ever, each by the other.
  transport_->WhenReadable([weak = weak_from_this()] {
    const auto self = weak.lock();
    if (self == nullptr) return;
    self->reading_ = false;
    self->OnReadable();
  });
}

void Connection::OnReadable() {
  if (!open_) return;
  std::vector<char>& buffer = context_.loop->read_buffer();
  const Transport::Transfer got = transport_->Read(buffer.data(), buffer.size());
  switch (got.result) {
    case Transport::Result::kOk:
      if (!lingering_) OnBytes({buffer.data(), got.bytes});
      break;
    case Transport::Result::kWouldBlock:
      break;
    case Transport::Result::kEnd:
    case Transport::Result::kError:
      return Close();
  }
  Flush();
}

void Connection::OnBytes(std::string_view bytes) {
  if (session_ != nullptr) return session_->Receive(bytes);
  opening_.append(bytes);
  const std::size_t compared = std::min(opening_.size(), kPreface.size());
  if (opening_.compare(0, compared, kPreface, 0, compared) != 0) {
    Choose(false);
  } else if (compared == kPreface.size()) {
    Choose(true);
  }
}

void Connection::Choose(bool http2) {
  session_ = http2 ? MakeHttp2Session(context_) : MakeHttp1Session(context_);
  if (draining_) session_->StartDraining();
  const std::string opening = std::move(opening_);
  session_->Receive(opening);
}

void Connection::Wake() {
  if (woken_) return;
  woken_ = true;
  context_.loop->Post([self = shared_from_this()] {
    self->woken_ = false;
    self->Flush();
  });
}

void Connection::Flush() {
  if (!open_) return;
  // That the queue runs empty between two parts of a response is no silence.
  bool was_silent = out_.empty();
  while (!writing_) {
    if (session_ != nullptr && !lingering_) session_->Collect(out_, kOutBudget);
    if (out_.empty()) break;
    // Silence before that was not the client's.
    if (std::exchange(was_silent, false)) {
      progress_ = context_.clock->SteadyNow();
      taken_ = 0;
    }
    std::array<iovec, 64> buffers{};
    const int count = out_.Gather(buffers.data(), static_cast<int>(buffers.size()));
    const Transport::Transfer sent = transport_->Write(buffers.data(), count);
    if (sent.result == Transport::Result::kOk) {
      taken_ += sent.bytes;
      if (taken_ >= context_.limits.min_send_bytes) {
        progress_ = context_.clock->SteadyNow();
        taken_ = 0;
      }
      out_.Consume(sent.bytes);
    } else if (sent.result == Transport::Result::kWouldBlock) {
      writing_ = true;
      transport_->WhenWritable([weak = weak_from_this()] {
        const auto self = weak.lock();
        if (self == nullptr) return;
        self->writing_ = false;
        self->Flush();
      });
    } else {
      return Close();
    }
  }
  if (!open_) return;
  if (session_ != nullptr && out_.empty() && !lingering_ && session_->Finished()) return Linger();
  // While the client takes nothing, nothing is taken from it either: its frames may call for
  // answers.
  const bool more =
      session_ == nullptr || lingering_ || (session_->WantsInput() && out_.size() < 2 * kOutBudget);
  if (more) WaitReadable();
  UpdatePlace();
}

std::optional<SteadyTime> Connection::WaitsSince() const {
  if (lingering_) return linger_since_;
  if (session_ == nullptr) return opened_;
  std::optional<SteadyTime> since = session_->WaitsSince();
  if (since && !out_.empty()) since = std::max(*since, progress_);
  return since;
}

void Connection::UpdatePlace() {
  if (!open_) return;
  const std::optional<SteadyTime> since = WaitsSince();
  if (since == waits_since_) return;
  waits_since_ = since;
  if (since) {
    place_->Waits();
  } else {
    place_->Busy();
  }
}

void Connection::LeaveWhereAsked() {
  if (!open_ || !place_->asked_to_leave()) return;
  // What is on its way into the server counts: a request may have come this moment.
  OnReadable();
  if (open_ && place_->asked_to_leave()) Close();
}

void Connection::Linger() {
  lingering_ = true;
  linger_since_ = context_.clock->SteadyNow();
  session_->Lost();
  transport_->ShutdownSend();
  WaitReadable();
  UpdatePlace();
}

void Connection::Tick(SteadyTime now) {
  if (!open_) return;
  if (lingering_) {
    if (now - linger_since_ > (draining_ ? kLingerAtStop : kLinger)) Close();
    return;
  }
  if (session_ == nullptr) {
    if (now - opened_ > context_.limits.header_timeout) Close();
    return;
  }
  if (!out_.empty() && now - progress_ > context_.limits.send_timeout) return Abort();
  session_->Tick(now);
  // Handlers that have begun to wait for a body did not come by here.
  UpdatePlace();
}

void Connection::StartDraining() {
  if (draining_) return;
  draining_ = true;
  if (session_ != nullptr) {
    session_->StartDraining();
  } else if (opening_.empty()) {
    Close();
  }
}

void Connection::Close() {
  if (!open_) return;
  transport_->Close();
  End();
}

void Connection::Abort() {
  if (!open_) return;
  transport_->Abort();
  End();
}

void Connection::End() {
  open_ = false;
  const auto self = shared_from_this();
  if (session_ != nullptr) session_->Lost();
  out_ = {};
  place_ = nullptr;
  closed_(self);
}

}  // namespace tocsin::http
