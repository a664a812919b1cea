#include "lib/http/buffered.h"

#include <atomic>
#include <deque>
#include <thread>
#include <utility>

#include "lib/base/mutex.h"
#include "lib/base/status.h"
#include "lib/base/text.h"

namespace tocsin::http {

std::optional<std::string_view> Request::Parameter(std::string_view name) const {
  for (const auto& [key, value] : query) {
    if (key == name) return value;
  }
  return std::nullopt;
}

class Responder::State {
 public:
  explicit State(std::shared_ptr<Exchange> exchange) : exchange_(std::move(exchange)) {}

  void Respond(Response response) {
    if (answered_.exchange(true)) return;
    const bool empty = response.status == 204 || response.status == 304;
    ResponseHead head{response.status, std::move(response.headers)};
    if (!empty) head.headers.Set("content-length", std::to_string(response.body.size()));
    // One task, so that the parts leave together.
    exchange_->Post([exchange = exchange_, head = std::move(head),
                     body = BodyOf(std::move(response))]() mutable {
      const bool end = body.empty();
      exchange->SendHead(std::move(head), end);
      if (end) return;
      exchange->Write({std::move(body)});
      exchange->Finish();
    });
  }

 private:
  static Slice BodyOf(Response response) {
    if (response.held == nullptr) return Slice(std::move(response.body));
    struct Kept {
      std::string body;
      std::shared_ptr<const void> held;
    };
    auto kept =
        std::make_shared<const Kept>(Kept{std::move(response.body), std::move(response.held)});
    const std::string_view bytes = kept->body;
    return Slice(std::move(kept), bytes);
  }

  const std::shared_ptr<Exchange> exchange_;
  std::atomic<bool> answered_{false};
};

void Responder::operator()(Response response) const { state_->Respond(std::move(response)); }

namespace {

Response PlainText(int status, std::string_view text) {
  Response response;
  response.status = status;
  response.headers.Set("content-type", "text/plain; charset=utf-8");
  response.body = Concat(text, "\n");
  return response;
}

Response PlainRefusal(Refusal refusal, std::string_view message) {
  switch (refusal) {
    case Refusal::kTooLarge:
      return PlainText(413, message);
    case Refusal::kBroken:
      return PlainText(400, message);
    case Refusal::kTimeout:
      return PlainText(408, message);
    case Refusal::kBusy:
      break;
  }
  Response busy = PlainText(503, message);
  busy.headers.Set("retry-after", "1");
  return busy;
}

// Of what Exchange::Read gives.
Refusal RefusalOf(const absl::Status& fault) {
  if (absl::IsResourceExhausted(fault)) return Refusal::kTooLarge;
  if (absl::IsDeadlineExceeded(fault)) return Refusal::kTimeout;
  return Refusal::kBroken;
}

class Buffered final : public Handler {
 public:
  Buffered(BufferedHandler handler, BufferedOptions options)
      : handler_(std::move(handler)), options_(std::move(options)) {
    for (int i = 0; i < options_.worker_threads; ++i) {
      workers_.emplace_back([this] { Work(); });
    }
  }

  ~Buffered() override {
    {
      MutexLock lock(mutex_);
      stopping_ = true;
    }
    work_.NotifyAll();
    for (std::thread& worker : workers_) worker.join();
  }

  void Handle(std::shared_ptr<Exchange> exchange) override {
    Gather(std::make_shared<Pending>(std::move(exchange)));
  }

 private:
  struct Pending {
    explicit Pending(std::shared_ptr<Exchange> of) : exchange(std::move(of)) {}
    std::shared_ptr<Exchange> exchange;
    std::string body;
  };
  struct Job {
    Request request;
    Responder responder;
  };

  void Gather(std::shared_ptr<Pending> pending) {
    Exchange& exchange = *pending->exchange;
    exchange.Read([this, pending = std::move(pending)](absl::StatusOr<BodyPart> part) mutable {
      if (!part.ok()) {
        return Refuse(pending->exchange, RefusalOf(part.status()), Message(part.status()));
      }
      if (pending->body.size() + part->data.size() > options_.max_body) {
        return Refuse(pending->exchange, Refusal::kTooLarge,
                      Concat("the body is larger than the limit of ", options_.max_body, " bytes"));
      }
      pending->body.append(part->data.view());
      if (part->end) {
        Run(*pending);
      } else {
        Gather(std::move(pending));
      }
    });
  }

  void Run(Pending& pending) {
    const RequestHead& head = pending.exchange->request();
    auto query = ParseQuery(head.query());
    if (!query.ok()) {
      return Refuse(pending.exchange, Refusal::kBroken, Message(query.status()));
    }
    Job job{Request{}, Responder(std::make_shared<Responder::State>(pending.exchange))};
    job.request.method = head.method == "HEAD" ? "GET" : head.method;
    job.request.path = head.path();
    job.request.query = *std::move(query);
    job.request.headers = head.headers;
    job.request.body = std::move(pending.body);
    job.request.peer = head.peer;
    if (workers_.empty()) return handler_(job.request, job.responder);
    {
      MutexLock lock(mutex_);
      if (jobs_.size() < options_.max_queue) {
        jobs_.push_back(std::move(job));
        work_.NotifyOne();
        return;
      }
    }
    job.responder(
        MakeRefusal(Refusal::kBusy, "too many requests wait here; try again in a second"));
  }

  Response MakeRefusal(Refusal refusal, std::string_view message) const {
    return options_.refuse ? options_.refuse(refusal, message) : PlainRefusal(refusal, message);
  }
  void Refuse(const std::shared_ptr<Exchange>& exchange, Refusal refusal,
              std::string_view message) const {
    Responder(std::make_shared<Responder::State>(exchange))(MakeRefusal(refusal, message));
  }

  void Work() {
    for (;;) {
      std::optional<Job> job;
      {
        MutexLock lock(mutex_);
        while (jobs_.empty() && !stopping_) work_.Wait(mutex_);
        // What still waits is dropped, which answers it with 500.
        if (stopping_) return;
        job = std::move(jobs_.front());
        jobs_.pop_front();
      }
      handler_(job->request, job->responder);
    }
  }

  const BufferedHandler handler_;
  const BufferedOptions options_;
  Mutex mutex_;
  CondVar work_;
  std::deque<Job> jobs_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<std::thread> workers_;
};

}  // namespace

std::shared_ptr<Handler> MakeBuffered(BufferedHandler handler, BufferedOptions options) {
  return std::make_shared<Buffered>(std::move(handler), std::move(options));
}

}  // namespace tocsin::http
