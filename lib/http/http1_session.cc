// HTTP/1.1: requests are parsed by Beast's parser, one at a time; responses are written by hand.
#include <algorithm>
#include <boost/asio/buffer.hpp>
#include <boost/beast/http/basic_parser.hpp>
#include <boost/beast/http/error.hpp>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "lib/base/text.h"
#include "lib/http/exchange_core.h"
#include "lib/http/session.h"
#include "lib/http/text.h"

namespace tocsin::http {
namespace {

namespace beast = boost::beast;
using beast::error_code;

bool HasToken(const Headers& headers, std::string_view name, std::string_view token) {
  for (const std::string& part : Split(headers.Joined(name), ',')) {
    if (AsciiLower(Trim(part)) == token) return true;
  }
  return false;
}

// Of those that are registered for HTTP.
constexpr std::size_t kLongestMethod = 17;

constexpr std::string_view kHeadTooLarge =
    "the header fields of the request are too large; send fewer or shorter ones";
constexpr std::string_view kTargetTooLong =
    "the request line is too long; ask with a shorter path and query";

// Is this HTTP/1.1 at all? Of a request whose head is larger than `limit`, nothing parsed yet. The
// status to answer with; 0: it is something else.
int StatusOfTooLargeHead(std::string_view input, std::size_t limit) {
  input = input.substr(0, limit);
  const std::string_view method = input.substr(0, input.find(' '));
  const bool is_method =
      !method.empty() && method.size() <= kLongestMethod && method.size() < input.size() &&
      std::all_of(method.begin(), method.end(), [](char c) { return c >= 'A' && c <= 'Z'; });
  if (!is_method) return 0;
  const std::string_view target = input.substr(method.size() + 1);
  if (!target.starts_with('/') && !target.starts_with("http://") &&
      !target.starts_with("https://")) {
    return 0;
  }
  const std::size_t end = target.find("\r\n");
  if (end == std::string_view::npos) return 414;
  return target.substr(0, end).find(" HTTP/1.") == std::string_view::npos ? 0 : 431;
}

// Of the absolute form, "http://host/path", which proxies send and every server must take: what is
// asked of this server. Who the host is means as little to it as the field Host.
std::string PathOf(std::string_view target) {
  if (!target.starts_with("http://") && !target.starts_with("https://")) return std::string(target);
  const std::string_view rest = target.substr(target.find("//") + 2);
  const std::size_t path = rest.find_first_of("/?");
  if (path == std::string_view::npos) return "/";
  return Concat(rest[path] == '?' ? "/" : "", rest.substr(path));
}

// Gathers the head, and hands body bytes on as they are parsed.
class RequestParser final : public beast::http::basic_parser<true> {
 public:
  RequestParser(const Limits& limits, std::string peer) : limits_(limits) {
    head.peer = std::move(peer);
    header_limit(static_cast<std::uint32_t>(limits.max_header_bytes));
    body_limit(boost::none);  // the exchange counts, so that the handler hears of it
    eager(true);
  }

  RequestHead head;
  bool has_request_line = false;
  // A fault in the head: the status to answer with; 0 when there is none.
  int fault = 0;
  std::string_view fault_text;
  std::function<void()> on_head;
  std::function<void(std::string_view)> on_body;

 private:
  using view = beast::string_view;
  static std::string_view Std(view text) { return {text.data(), text.size()}; }

  void Fault(int status, std::string_view text, error_code& error) {
    fault = status;
    fault_text = text;
    error = beast::http::error::bad_value;
  }

  void on_request_impl(beast::http::verb, view method, view target, int version,
                       error_code&) override {
    has_request_line = true;
    head.method = Std(method);
    head.target = PathOf(Std(target));
    head.version = version >= 11 ? Version::kHttp11 : Version::kHttp10;
  }
  void on_response_impl(int, view, int, error_code&) override {}
  void on_field_impl(beast::http::field, view name, view value, error_code& error) override {
    if (head.headers.size() >= limits_.max_header_count) {
      return Fault(431, "the request has too many header fields", error);
    }
    head.headers.Add(Std(name), Std(value));
  }
  void on_header_impl(error_code& error) override {
    int hosts = 0;
    for (const Headers::Field& field : head.headers) {
      if (field.name == "host") ++hosts;
    }
    if (hosts > 1 || (hosts == 0 && head.version == Version::kHttp11)) {
      return Fault(400, "the request must have one Host field", error);
    }
    // Codings that Beast does not take off would leave the length of the body open, which is how
    // one request is smuggled behind another.
    const std::string coding = head.headers.Joined("transfer-encoding");
    if (!coding.empty() && AsciiLower(Trim(coding)) != "chunked") {
      return Fault(501, "the only transfer coding served is chunked", error);
    }
    if (const auto host = head.headers.Get("host")) head.authority = *host;
    on_head();
  }
  void on_body_init_impl(const boost::optional<std::uint64_t>&, error_code&) override {}
  std::size_t on_body_impl(view body, error_code&) override {
    on_body(Std(body));
    return body.size();
  }
  void on_chunk_header_impl(std::uint64_t, view, error_code&) override {}
  std::size_t on_chunk_body_impl(std::uint64_t, view body, error_code&) override {
    on_body(Std(body));
    return body.size();
  }
  void on_finish_impl(error_code&) override {}

  const Limits& limits_;
};

class Http1Session final : public Session, public StreamSide {
 public:
  explicit Http1Session(SessionContext context) : context_(std::move(context)) {
    since_ = context_.clock->SteadyNow();
  }

  void Receive(std::string_view bytes) override;
  void Collect(OutQueue& out, std::size_t budget) override;
  bool WantsInput() const override;
  bool Finished() const override { return (closing_ && pending_.empty() && core_ == nullptr); }
  std::optional<SteadyTime> WaitsSince() const override;
  void Tick(SteadyTime now) override;
  void StartDraining() override;
  void Lost() override;

 private:
  // While a response is written, so much of the next request is read, mostly to see the end of the
  // connection.
  static constexpr std::size_t kReadAhead = std::size_t{16} * 1024;

  void OutputReady() override { context_.wake(); }
  void BodyWanted() override;
  void BodyTaken(std::size_t) override {
    input_may_go_on_ = true;
    context_.wake();
  }
  void BodyDropped(std::size_t) override { keep_alive_ = false; }
  void ResetWanted() override;

  void Parse();
  void StartExchange();
  void Refuse(int status, std::string_view text);
  void WriteHead(OutQueue& out);
  void FinishExchange();

  SessionContext context_;
  // Received and not yet parsed.
  std::string input_;
  std::unique_ptr<RequestParser> parser_;
  std::shared_ptr<ExchangeCore> core_;
  // To be sent before anything else: "100 Continue", refusals.
  std::string pending_;
  bool keep_alive_ = true;
  bool head_written_ = false;
  bool chunked_ = false;
  bool bodyless_ = false;
  bool expects_continue_ = false;
  bool closing_ = false;
  bool draining_ = false;
  bool input_may_go_on_ = false;
  // Start of the head that is awaited, or of idleness.
  SteadyTime since_;
  bool first_request_ = true;
};

void Http1Session::Receive(std::string_view bytes) {
  if (closing_) return;
  if (input_.empty() && parser_ == nullptr && core_ == nullptr && !first_request_) {
    since_ = context_.clock->SteadyNow();
  }
  input_.append(bytes);
  Parse();
  context_.wake();
}

bool Http1Session::WantsInput() const {
  if (closing_) return false;
  if (core_ == nullptr) return true;
  if (core_->body_ended()) return input_.size() < kReadAhead;
  return core_->body_waiting() < context_.limits.body_window;
}

void Http1Session::Parse() {
  while (!closing_ && !input_.empty()) {
    if (core_ != nullptr &&
        (core_->body_ended() || core_->body_waiting() >= context_.limits.body_window)) {
      return;
    }
    if (parser_ == nullptr) {
      parser_ = std::make_unique<RequestParser>(context_.limits, context_.peer);
      parser_->on_head = [this] { StartExchange(); };
      parser_->on_body = [this](std::string_view bytes) {
        const std::shared_ptr<ExchangeCore> core = core_;
        if (core != nullptr) core->PushBody(bytes);
      };
    }
    error_code error;
    const std::size_t taken =
        parser_->put(boost::asio::const_buffer(input_.data(), input_.size()), error);
    input_.erase(0, taken);
    if (error == beast::http::error::need_more) return;
    if (error) {
      if (!parser_->has_request_line && error == beast::http::error::header_limit) {
        const int status = StatusOfTooLargeHead(input_, context_.limits.max_header_bytes);
        if (status == 414) return Refuse(status, kTargetTooLong);
        if (status == 431) return Refuse(status, kHeadTooLarge);
      }
      if (!parser_->has_request_line && first_request_) {
        // Not HTTP at all, or a wrong preface of HTTP/2, which must not be answered in another
        // protocol.
        closing_ = true;
        input_.clear();
        return;
      }
      if (parser_->fault != 0) return Refuse(parser_->fault, parser_->fault_text);
      if (error == beast::http::error::header_limit) return Refuse(431, kHeadTooLarge);
      return Refuse(400, "this is not a request of HTTP/1.1 or HTTP/2");
    }
    if (parser_->is_done()) {
      const std::shared_ptr<ExchangeCore> core = core_;
      if (core != nullptr) core->EndBody();
    }
  }
}

void Http1Session::StartExchange() {
  first_request_ = false;
  RequestHead head = std::move(parser_->head);
  keep_alive_ = parser_->keep_alive() && !draining_;
  expects_continue_ = AsciiLower(head.headers.Joined("expect")) == "100-continue";
  head_written_ = chunked_ = bodyless_ = false;
  core_ = std::make_shared<ExchangeCore>(context_.loop, std::move(head), context_.limits,
                                         *context_.clock, this);
  context_.handler->Handle(ExchangeCore::MakeHandle(core_));
}

void Http1Session::Refuse(int status, std::string_view text) {
  closing_ = true;
  input_.clear();
  if (core_ != nullptr) {
    // The fault is in the body: what has been answered cannot be taken back.
    const std::shared_ptr<ExchangeCore> core = std::move(core_);
    core_ = nullptr;
    const bool answered = head_written_;
    core->End();
    if (answered) return;
  }
  pending_ = Concat(
      "HTTP/1.1 ", status, " ", ReasonPhrase(status), "\r\ndate: ", HttpDate(context_.clock->Now()),
      "\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: ", text.size() + 1,
      "\r\nconnection: close\r\n\r\n", text, "\n");
}

void Http1Session::BodyWanted() {
  if (!expects_continue_ || head_written_) return;
  expects_continue_ = false;
  pending_ += "HTTP/1.1 100 Continue\r\n\r\n";
  context_.wake();
}

void Http1Session::ResetWanted() {
  closing_ = true;
  pending_.clear();
  const std::shared_ptr<ExchangeCore> core = std::move(core_);
  core_ = nullptr;
  if (core != nullptr) core->End();
  context_.wake();
}

void Http1Session::WriteHead(OutQueue& out) {
  head_written_ = true;
  expects_continue_ = false;
  const RequestHead& request = core_->request();
  const ResponseHead& response = core_->response();
  if (!core_->body_ended()) keep_alive_ = false;
  std::string text = Concat("HTTP/1.1 ", response.status, " ", ReasonPhrase(response.status),
                            "\r\ndate: ", HttpDate(context_.clock->Now()), "\r\n");
  bool has_length = false;
  for (const Headers::Field& field : SendableFields(response.headers)) {
    has_length = has_length || field.name == "content-length";
    text += Concat(field.name, ": ", field.value, "\r\n");
  }
  bodyless_ = request.method == "HEAD" || response.status == 204 || response.status == 304;
  if (response.status == 204 || response.status == 304 || has_length) {
    // Nothing to say about the length, or said.
  } else if (core_->finished() && core_->trailers().empty()) {
    text += Concat("content-length: ", core_->output_size(), "\r\n");
  } else if (request.version == Version::kHttp11) {
    chunked_ = true;
    text += "transfer-encoding: chunked\r\n";
  } else {
    keep_alive_ = false;
  }
  if (!keep_alive_) {
    text += "connection: close\r\n";
  } else if (request.version == Version::kHttp10) {
    text += "connection: keep-alive\r\n";
  }
  text += "\r\n";
  out.Append(text);
}

void Http1Session::Collect(OutQueue& out, std::size_t budget) {
  if (input_may_go_on_) {
    input_may_go_on_ = false;
    Parse();
  }
  if (!pending_.empty()) {
    out.Append(pending_);
    pending_.clear();
  }
  while (core_ != nullptr && core_->head_ready() && out.size() < budget) {
    if (!head_written_) WriteHead(out);
    if (bodyless_) core_->DropOutput();
    const std::size_t size = std::min(core_->output_size(), budget);
    if (size > 0) {
      if (chunked_) {
        char length[32];
        std::snprintf(length, sizeof(length), "%zx\r\n", size);
        out.Append(std::string_view(length));
      }
      std::vector<Slice> slices;
      core_->TakeOutput(size, slices);
      for (Slice& slice : slices) out.Append(std::move(slice));
      if (chunked_) out.Append(std::string_view("\r\n"));
    }
    if (core_->output_size() > 0) continue;
    if (!core_->finished()) return;
    if (chunked_ && !bodyless_) {
      std::string last = "0\r\n";
      if (HasToken(core_->request().headers, "te", "trailers")) {
        for (const Headers::Field& field : SendableFields(core_->trailers())) {
          last += Concat(field.name, ": ", field.value, "\r\n");
        }
      }
      out.Append(last + "\r\n");
    }
    FinishExchange();
  }
}

void Http1Session::FinishExchange() {
  // Without the whole request the next one cannot be found.
  if (!core_->body_ended()) keep_alive_ = false;
  const std::shared_ptr<ExchangeCore> core = std::move(core_);
  core_ = nullptr;
  parser_ = nullptr;
  core->MarkWhole();
  core->End();
  since_ = context_.clock->SteadyNow();
  if (!keep_alive_ || draining_) {
    closing_ = true;
    input_.clear();
    return;
  }
  if (!input_.empty()) {
    input_may_go_on_ = true;
    context_.wake();
  }
}

std::optional<SteadyTime> Http1Session::WaitsSince() const {
  return core_ == nullptr ? since_ : core_->waits_for_client_since();
}

void Http1Session::Tick(SteadyTime now) {
  if (closing_) return;
  if (const std::shared_ptr<ExchangeCore> core = core_; core != nullptr) {
    return core->CheckBodyTimeout(now);
  }
  const bool in_head = first_request_ || parser_ != nullptr || !input_.empty();
  if (in_head && now - since_ > context_.limits.header_timeout) {
    Refuse(408, "the request did not come in time");
    context_.wake();
  } else if (!in_head && now - since_ > context_.limits.idle_timeout) {
    closing_ = true;
    context_.wake();
  }
}

void Http1Session::StartDraining() {
  draining_ = true;
  if (core_ == nullptr && parser_ == nullptr && input_.empty()) closing_ = true;
  context_.wake();
}

void Http1Session::Lost() {
  closing_ = true;
  pending_.clear();
  const std::shared_ptr<ExchangeCore> core = std::move(core_);
  core_ = nullptr;
  if (core != nullptr) core->End();
}

}  // namespace

std::unique_ptr<Session> MakeHttp1Session(SessionContext context) {
  return std::make_unique<Http1Session>(std::move(context));
}

}  // namespace tocsin::http
