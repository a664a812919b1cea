#include "lib/http/exchange_core.h"

#include <algorithm>
#include <string>
#include <utility>

#include "lib/base/status.h"
#include "lib/base/text.h"
#include "lib/base/time.h"
#include "lib/http/loop.h"

namespace tocsin::http {
namespace {

class Handle final : public Exchange {
 public:
  explicit Handle(std::shared_ptr<ExchangeCore> core) : core_(std::move(core)) {}
  ~Handle() override {
    Run([core = core_] { core->Abandoned(); });
  }

  const RequestHead& request() const override { return core_->request(); }

  void Read(std::function<void(absl::StatusOr<BodyPart>)> done) override {
    Run([core = core_, done = std::move(done)]() mutable { core->Read(std::move(done)); });
  }
  void SendHead(ResponseHead head, bool end) override {
    Run([core = core_, head = std::move(head), end]() mutable {
      core->SendHead(std::move(head), end);
    });
  }
  void Write(std::vector<Slice> data) override {
    core_->AddUnsent(TotalSize(data));
    Run([core = core_, data = std::move(data)]() mutable { core->Write(std::move(data)); });
  }
  void Finish(Headers trailers) override {
    Run([core = core_, trailers = std::move(trailers)]() mutable {
      core->Finish(std::move(trailers));
    });
  }
  void Reset() override {
    Run([core = core_] { core->Reset(); });
  }
  void WhenWritable(std::function<void()> done) override {
    Run([core = core_, done = std::move(done)]() mutable { core->WhenWritable(std::move(done)); });
  }
  std::size_t unsent() const override { return core_->unsent(); }
  void OnCancelled(std::function<void()> listener) override {
    Run([core = core_, listener = std::move(listener)]() mutable {
      core->OnCancelled(std::move(listener));
    });
  }
  void Post(std::function<void()> task) override { core_->loop()->Post(std::move(task)); }

 private:
  template <typename Task>
  void Run(Task task) {
    if (core_->loop()->OnLoop()) {
      task();
    } else {
      core_->loop()->Post(std::move(task));
    }
  }

  const std::shared_ptr<ExchangeCore> core_;
};

}  // namespace

ExchangeCore::ExchangeCore(std::shared_ptr<Loop> loop, RequestHead head, const Limits& limits,
                           const Clock& clock, StreamSide* stream)
    : loop_(std::move(loop)),
      head_(std::move(head)),
      limits_(limits),
      clock_(clock),
      stream_(stream) {}

std::shared_ptr<Exchange> ExchangeCore::MakeHandle(std::shared_ptr<ExchangeCore> core) {
  return std::make_shared<Handle>(std::move(core));
}

void ExchangeCore::PushBody(std::string_view bytes) {
  if (bytes.empty() || stream_ == nullptr) return;
  if (!body_fault_.ok()) return stream_->BodyDropped(bytes.size());
  body_total_ += bytes.size();
  if (limits_.max_body != 0 && body_total_ > limits_.max_body) {
    return FailBody(ResourceExhausted(Concat("the body is larger than the limit of ",
                                             limits_.max_body, " bytes")),
                    bytes.size());
  }
  body_.emplace_back(std::string(bytes));
  body_waiting_ += bytes.size();
  Deliver();
}

void ExchangeCore::FailBody(absl::Status fault, std::size_t coming) {
  body_fault_ = std::move(fault);
  // What came before is of no use either: such a body has no good part.
  const std::size_t dropped = body_waiting_ + coming;
  body_.clear();
  body_waiting_ = 0;
  stream_->BodyDropped(dropped);
  Deliver();
}

void ExchangeCore::CheckBodyTimeout(SteadyTime now) {
  if (limits_.body_timeout.count() <= 0 || stream_ == nullptr || !read_ || !body_.empty() ||
      body_ended_ || !body_fault_.ok() || now - read_since_ <= limits_.body_timeout) {
    return;
  }
  FailBody(DeadlineExceeded(Concat("nothing more of the request's body came for ",
                                   FormatDuration(limits_.body_timeout),
                                   ", and it is not whole; send the request again")),
           0);
}

void ExchangeCore::CheckSendTimeout(SteadyTime now) {
  if (stream_ == nullptr || !finished_ || output_size_ == 0) return;
  if (now - taken_at_ > limits_.send_timeout) Reset();
}

void ExchangeCore::EndBody() {
  body_ended_ = true;
  Deliver();
}

void ExchangeCore::End() {
  if (stream_ == nullptr) return;
  stream_ = nullptr;
  DropOutput();
  const std::function<void()> cancelled = std::move(cancelled_);
  cancelled_ = nullptr;
  Deliver();
  WakeWriters();
  if (!whole_ && cancelled) cancelled();
}

void ExchangeCore::TakeOutput(std::size_t bytes, std::vector<Slice>& out) {
  output_size_ -= bytes;
  if (finished_) {
    taken_ += bytes;
    if (taken_ >= limits_.min_send_bytes) {
      taken_at_ = clock_.SteadyNow();
      taken_ = 0;
    }
  }
  unsent_.fetch_sub(bytes, std::memory_order_relaxed);
  while (bytes > 0) {
    Slice& front = output_.front();
    if (front.size() <= bytes) {
      bytes -= front.size();
      out.push_back(std::move(front));
      output_.pop_front();
    } else {
      out.push_back(front.Sub(0, bytes));
      front.RemovePrefix(bytes);
      bytes = 0;
    }
  }
  if (output_size_ < limits_.unsent_low_water) ScheduleWriters();
}

void ExchangeCore::DropOutput() {
  unsent_.fetch_sub(output_size_, std::memory_order_relaxed);
  output_.clear();
  output_size_ = 0;
}

void ExchangeCore::Read(std::function<void(absl::StatusOr<BodyPart>)> done) {
  if (stream_ == nullptr) {
    // Not kept here: when the loop has stopped nobody would ever let go of it.
    loop_->Post([self = shared_from_this(), done = std::move(done)]() mutable {
      self->read_ = std::move(done);
      self->Deliver();
    });
    return;
  }
  read_ = std::move(done);
  // Not since the last part came: the client could not send while nobody read.
  read_since_ = clock_.SteadyNow();
  if (body_.empty() && !body_ended_ && body_fault_.ok()) stream_->BodyWanted();
  ScheduleDelivery();
}

void ExchangeCore::SendHead(ResponseHead head, bool end) {
  if (stream_ == nullptr || response_.has_value()) return;
  response_ = std::move(head);
  if (end) {
    finished_ = true;
    taken_at_ = clock_.SteadyNow();
  }
  stream_->OutputReady();
}

void ExchangeCore::Write(std::vector<Slice> data) {
  const std::size_t size = TotalSize(data);
  if (stream_ == nullptr || finished_) {
    unsent_.fetch_sub(size, std::memory_order_relaxed);
    return;
  }
  for (Slice& slice : data) {
    if (!slice.empty()) output_.push_back(std::move(slice));
  }
  output_size_ += size;
  if (output_size_ > limits_.max_unsent) return Reset();
  stream_->OutputReady();
}

void ExchangeCore::Finish(Headers trailers) {
  if (stream_ == nullptr || finished_) return;
  finished_ = true;
  taken_at_ = clock_.SteadyNow();
  trailers_ = std::move(trailers);
  stream_->OutputReady();
}

void ExchangeCore::Reset() {
  if (stream_ == nullptr) return;
  DropOutput();
  finished_ = true;
  taken_at_ = clock_.SteadyNow();
  broken_ = true;
  stream_->ResetWanted();
}

void ExchangeCore::WhenWritable(std::function<void()> done) {
  if (stream_ == nullptr) {
    loop_->Post(std::move(done));
    return;
  }
  writers_.push_back(std::move(done));
  if (output_size_ < limits_.unsent_low_water) ScheduleWriters();
}

void ExchangeCore::OnCancelled(std::function<void()> listener) {
  if (stream_ != nullptr) {
    cancelled_ = std::move(listener);
  } else if (!whole_) {
    loop_->Post(std::move(listener));
  }
}

void ExchangeCore::Abandoned() {
  if (stream_ == nullptr || finished_) return;
  if (response_.has_value()) return Reset();
  SendHead({500, {{"content-type", "text/plain; charset=utf-8"}}}, false);
  const std::string_view text = "the server gave no answer\n";
  AddUnsent(text.size());
  Write({Slice(nullptr, text)});
  Finish({});
}

void ExchangeCore::ScheduleDelivery() {
  if (delivery_scheduled_) return;
  delivery_scheduled_ = true;
  loop_->Post([self = shared_from_this()] {
    self->delivery_scheduled_ = false;
    self->Deliver();
  });
}

void ExchangeCore::Deliver() {
  if (!read_) return;
  absl::StatusOr<BodyPart> part = BodyPart{};
  if (!body_fault_.ok()) {
    part = body_fault_;
  } else if (!body_.empty()) {
    part->data = std::move(body_.front());
    body_.pop_front();
    body_waiting_ -= part->data.size();
    part->end = body_ended_ && body_.empty();
    if (stream_ != nullptr) stream_->BodyTaken(part->data.size());
  } else if (body_ended_) {
    part->end = true;
  } else if (stream_ == nullptr) {
    part = absl::CancelledError("the client went away");
  } else {
    return;
  }
  const auto read = std::move(read_);
  read_ = nullptr;
  read(std::move(part));
}

void ExchangeCore::ScheduleWriters() {
  if (writers_scheduled_ || writers_.empty()) return;
  writers_scheduled_ = true;
  loop_->Post([self = shared_from_this()] {
    self->writers_scheduled_ = false;
    self->WakeWriters();
  });
}

void ExchangeCore::WakeWriters() {
  if (stream_ != nullptr && output_size_ >= limits_.unsent_low_water) return;
  std::vector<std::function<void()>> writers;
  writers.swap(writers_);
  for (const std::function<void()>& writer : writers) writer();
}

}  // namespace tocsin::http
