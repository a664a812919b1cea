#include "lib/http/exchange_core.h"

#include <algorithm>
#include <string>
#include <utility>

#include "lib/base/status.h"
#include "lib/base/text.h"
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
                           StreamSide* stream, SteadyTime now)
    : loop_(std::move(loop)),
      head_(std::move(head)),
      limits_(limits),
      stream_(stream),
      body_progress_(now) {}

std::shared_ptr<Exchange> ExchangeCore::MakeHandle(std::shared_ptr<ExchangeCore> core) {
  return std::make_shared<Handle>(std::move(core));
}

void ExchangeCore::PushBody(std::string_view bytes, SteadyTime now) {
  body_progress_ = now;
  if (bytes.empty() || stream_ == nullptr) return;
  body_total_ += bytes.size();
  if (limits_.max_body != 0 && body_total_ > limits_.max_body) {
    // What came before is of no use either: a body that is too large has no good part.
    body_too_large_ = true;
    const std::size_t dropped = body_waiting_ + bytes.size();
    body_.clear();
    body_waiting_ = 0;
    stream_->BodyDropped(dropped);
  } else {
    body_.emplace_back(std::string(bytes));
    body_waiting_ += bytes.size();
  }
  Deliver();
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
  if (body_.empty() && !body_ended_) stream_->BodyWanted();
  ScheduleDelivery();
}

void ExchangeCore::SendHead(ResponseHead head, bool end) {
  if (stream_ == nullptr || response_.has_value()) return;
  response_ = std::move(head);
  if (end) finished_ = true;
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
  trailers_ = std::move(trailers);
  stream_->OutputReady();
}

void ExchangeCore::Reset() {
  if (stream_ == nullptr) return;
  DropOutput();
  finished_ = true;
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
  if (body_too_large_) {
    part = ResourceExhausted(
        Concat("the body is larger than the limit of ", limits_.max_body, " bytes"));
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
