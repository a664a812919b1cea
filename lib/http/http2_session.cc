// HTTP/2 by nghttp2, which is given bytes and gives bytes; it never sees a socket.
#include <nghttp2/nghttp2.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "lib/http/exchange_core.h"
#include "lib/http/http2_field.h"
#include "lib/http/session.h"
#include "lib/http/text.h"

namespace tocsin::http {
namespace {

class Http2Session;

struct Stream final : StreamSide {
  Stream(Http2Session* owner, std::int32_t stream_id) : session(owner), id(stream_id) {}

  void OutputReady() override;
  void BodyWanted() override {}
  void BodyTaken(std::size_t bytes) override;
  void BodyDropped(std::size_t bytes) override;
  void ResetWanted() override;

  Http2Session* const session;
  const std::int32_t id;
  RequestHead head;
  std::string scheme;
  std::size_t header_bytes = 0;
  std::size_t header_count = 0;
  bool head_too_large = false;
  bool submitted = false;
  bool dirty = false;
  std::shared_ptr<ExchangeCore> core;
  // The payload of the DATA frame that nghttp2 has decided on and not yet asked for.
  std::vector<Slice> provided;
};

class Http2Session final : public Session {
 public:
  explicit Http2Session(SessionContext context);
  ~Http2Session() override { nghttp2_session_del(session_); }

  void Receive(std::string_view bytes) override;
  void Collect(OutQueue& out, std::size_t budget) override;
  bool WantsInput() const override { return !dead_ && nghttp2_session_want_read(session_) != 0; }
  bool Finished() const override {
    return dead_ ||
           (nghttp2_session_want_read(session_) == 0 && nghttp2_session_want_write(session_) == 0);
  }
  std::optional<SteadyTime> WaitsSince() const override;
  void Tick(SteadyTime now) override;
  void StartDraining() override;
  void Lost() override;

 private:
  friend struct Stream;

  static Http2Session& Self(void* user) { return *static_cast<Http2Session*>(user); }
  Stream* Find(std::int32_t id) {
    const auto found = streams_.find(id);
    return found == streams_.end() ? nullptr : found->second.get();
  }

  int OnBeginFrame(const nghttp2_frame_hd& header);
  int OnBeginHeaders(const nghttp2_frame& frame);
  int OnHeader(const nghttp2_frame& frame, std::string_view name, std::string_view value);
  int OnFrame(const nghttp2_frame& frame);
  int OnData(std::int32_t id, std::string_view bytes);
  int OnStreamClose(std::int32_t id, std::uint32_t error);
  int OnFrameSent(const nghttp2_frame& frame);
  ssize_t OnProvide(Stream& stream, std::size_t length, std::uint32_t* flags);
  int OnSendData(const std::uint8_t* header, Stream& stream);

  void StartExchange(Stream& stream, bool end);
  void SubmitResponse(Stream& stream);
  void CheckStreamOrder(std::int32_t id);
  void Nuisance(int cost);

  SessionContext context_;
  nghttp2_session* session_ = nullptr;
  OutQueue* out_ = nullptr;
  std::size_t budget_ = 0;
  std::unordered_map<std::int32_t, std::unique_ptr<Stream>> streams_;
  std::vector<std::int32_t> dirty_;
  bool dead_ = false;
  bool calm_ = false;

  // The highest stream that the client has used, and those below that it never did: a head on one
  // of them is an error of the connection, which nghttp2 lets pass.
  std::int32_t highest_stream_ = -1;
  std::vector<std::pair<std::int32_t, std::int32_t>> skipped_streams_;

  // Since when a head is on its way, and since when there is no stream.
  std::int32_t head_stream_ = 0;
  SteadyTime head_since_;
  SteadyTime idle_since_;
  SteadyTime nuisance_at_;
  double nuisance_left_;
  int draining_ = 0;
};

// A PING costs a tenth of the others, because clients measure with it.
constexpr int kNuisanceUnit = 10;

Http2Session::Http2Session(SessionContext context) : context_(std::move(context)) {
  idle_since_ = nuisance_at_ = context_.clock->SteadyNow();
  nuisance_left_ = context_.limits.nuisance_burst * kNuisanceUnit;

  nghttp2_session_callbacks* callbacks = nullptr;
  nghttp2_session_callbacks_new(&callbacks);
  nghttp2_session_callbacks_set_on_begin_frame_callback(
      callbacks, [](nghttp2_session*, const nghttp2_frame_hd* header, void* user) {
        return Self(user).OnBeginFrame(*header);
      });
  nghttp2_session_callbacks_set_on_begin_headers_callback(
      callbacks, [](nghttp2_session*, const nghttp2_frame* frame, void* user) {
        return Self(user).OnBeginHeaders(*frame);
      });
  nghttp2_session_callbacks_set_on_header_callback(
      callbacks, [](nghttp2_session*, const nghttp2_frame* frame, const std::uint8_t* name,
                    std::size_t name_size, const std::uint8_t* value, std::size_t value_size,
                    std::uint8_t, void* user) {
        return Self(user).OnHeader(*frame, {reinterpret_cast<const char*>(name), name_size},
                                   {reinterpret_cast<const char*>(value), value_size});
      });
  nghttp2_session_callbacks_set_on_frame_recv_callback(
      callbacks, [](nghttp2_session*, const nghttp2_frame* frame, void* user) {
        return Self(user).OnFrame(*frame);
      });
  nghttp2_session_callbacks_set_on_data_chunk_recv_callback(
      callbacks, [](nghttp2_session*, std::uint8_t, std::int32_t id, const std::uint8_t* data,
                    std::size_t size, void* user) {
        return Self(user).OnData(id, {reinterpret_cast<const char*>(data), size});
      });
  nghttp2_session_callbacks_set_on_stream_close_callback(
      callbacks, [](nghttp2_session*, std::int32_t id, std::uint32_t error, void* user) {
        return Self(user).OnStreamClose(id, error);
      });
  nghttp2_session_callbacks_set_on_frame_send_callback(
      callbacks, [](nghttp2_session*, const nghttp2_frame* frame, void* user) {
        return Self(user).OnFrameSent(*frame);
      });
  nghttp2_session_callbacks_set_send_data_callback(
      callbacks, [](nghttp2_session*, nghttp2_frame*, const std::uint8_t* header, std::size_t,
                    nghttp2_data_source* source, void* user) {
        return Self(user).OnSendData(header, *static_cast<Stream*>(source->ptr));
      });

  nghttp2_option* option = nullptr;
  nghttp2_option_new(&option);
  nghttp2_option_set_no_auto_window_update(option, 1);
  // Resets have our own budget, which also counts those that a client provokes.
  nghttp2_option_set_stream_reset_rate_limit(option, UINT64_MAX / 2, UINT64_MAX / 2);
  nghttp2_session_server_new2(&session_, callbacks, this, option);
  nghttp2_option_del(option);
  nghttp2_session_callbacks_del(callbacks);

  const nghttp2_settings_entry settings[] = {
      {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, context_.limits.max_streams},
      {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE,
       static_cast<std::uint32_t>(context_.limits.body_window)},
      {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE,
       static_cast<std::uint32_t>(context_.limits.max_header_bytes)},
  };
  nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, settings, std::size(settings));
  nghttp2_session_set_local_window_size(
      session_, NGHTTP2_FLAG_NONE, 0, static_cast<std::int32_t>(context_.limits.connection_window));
}

void Http2Session::Receive(std::string_view bytes) {
  if (dead_) return;
  const ssize_t taken = nghttp2_session_mem_recv(
      session_, reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size());
  if (taken < 0) {
    // A bad preface, a flood, or memory: nghttp2 has nothing more to say on this connection, beyond
    // a GOAWAY that it may have prepared.
    nghttp2_session_terminate_session(session_, NGHTTP2_PROTOCOL_ERROR);
    dead_ = true;
  }
  context_.wake();
}

void Http2Session::Collect(OutQueue& out, std::size_t budget) {
  out_ = &out;
  budget_ = budget;
  while (out.size() < budget) {
    while (!dirty_.empty()) {
      std::vector<std::int32_t> dirty;
      dirty.swap(dirty_);
      for (const std::int32_t id : dirty) {
        Stream* stream = Find(id);
        if (stream == nullptr) continue;
        stream->dirty = false;
        if (stream->core == nullptr || !stream->core->head_ready()) continue;
        if (!stream->submitted) {
          SubmitResponse(*stream);
        } else {
          nghttp2_session_resume_data(session_, id);
        }
      }
    }
    const std::uint8_t* data = nullptr;
    const ssize_t size = nghttp2_session_mem_send(session_, &data);
    if (size < 0) {
      dead_ = true;
      break;
    }
    if (size == 0) {
      if (dirty_.empty()) break;
      continue;
    }
    out.Append(
        std::string_view(reinterpret_cast<const char*>(data), static_cast<std::size_t>(size)));
  }
  out_ = nullptr;
}

int Http2Session::OnBeginFrame(const nghttp2_frame_hd& header) {
  switch (header.type) {
    case NGHTTP2_HEADERS:
      CheckStreamOrder(header.stream_id);
      break;
    case NGHTTP2_RST_STREAM:
    case NGHTTP2_SETTINGS:
    case NGHTTP2_PRIORITY:
      Nuisance(kNuisanceUnit);
      break;
    case NGHTTP2_PING:
      Nuisance(1);
      break;
    case NGHTTP2_DATA:
      if (header.length == 0 && (header.flags & NGHTTP2_FLAG_END_STREAM) == 0) {
        Nuisance(kNuisanceUnit);
      }
      break;
    default:
      break;
  }
  return 0;
}

void Http2Session::CheckStreamOrder(std::int32_t id) {
  constexpr std::size_t kMaxSkips = 100;
  if (id > highest_stream_) {
    if (id > highest_stream_ + 2) skipped_streams_.emplace_back(highest_stream_ + 2, id - 2);
    highest_stream_ = id;
  }
  const bool skipped =
      std::any_of(skipped_streams_.begin(), skipped_streams_.end(),
                  [id](const auto& range) { return range.first <= id && id <= range.second; });
  if (skipped) {
    nghttp2_session_terminate_session(session_, NGHTTP2_PROTOCOL_ERROR);
  } else if (skipped_streams_.size() > kMaxSkips) {
    skipped_streams_.erase(skipped_streams_.begin());
  }
}

void Http2Session::Nuisance(int cost) {
  const SteadyTime now = context_.clock->SteadyNow();
  const double seconds = std::chrono::duration<double>(now - nuisance_at_).count();
  nuisance_at_ = now;
  nuisance_left_ =
      std::min(nuisance_left_ + seconds * context_.limits.nuisance_per_second * kNuisanceUnit,
               static_cast<double>(context_.limits.nuisance_burst * kNuisanceUnit));
  nuisance_left_ -= cost;
  if (nuisance_left_ < 0 && !calm_) {
    calm_ = true;
    nghttp2_session_terminate_session(session_, NGHTTP2_ENHANCE_YOUR_CALM);
  }
}

int Http2Session::OnBeginHeaders(const nghttp2_frame& frame) {
  head_stream_ = frame.hd.stream_id;
  head_since_ = context_.clock->SteadyNow();
  if (frame.hd.type != NGHTTP2_HEADERS || frame.headers.cat != NGHTTP2_HCAT_REQUEST) return 0;
  auto stream = std::make_unique<Stream>(this, frame.hd.stream_id);
  stream->head.version = Version::kHttp2;
  stream->head.peer = context_.peer;
  streams_[frame.hd.stream_id] = std::move(stream);
  return 0;
}

int Http2Session::OnHeader(const nghttp2_frame& frame, std::string_view name,
                           std::string_view value) {
  // Trailers of a request say nothing in any protocol that we serve.
  if (frame.headers.cat != NGHTTP2_HCAT_REQUEST) return 0;
  Stream* stream = Find(frame.hd.stream_id);
  if (stream == nullptr) return 0;
  stream->header_bytes += name.size() + value.size() + 32;
  ++stream->header_count;
  if (stream->header_bytes > context_.limits.max_header_bytes ||
      stream->header_count > context_.limits.max_header_count) {
    stream->head_too_large = true;
    stream->head.headers = {};
    return 0;
  }
  if (name == ":method") {
    stream->head.method = value;
  } else if (name == ":path") {
    stream->head.target = value;
  } else if (name == ":authority") {
    stream->head.authority = value;
  } else if (name == ":scheme") {
    stream->scheme = value;
  } else if (!name.starts_with(':')) {
    if (name == "host" && stream->head.authority.empty()) stream->head.authority = value;
    stream->head.headers.Add(name, value);
  }
  return 0;
}

int Http2Session::OnFrame(const nghttp2_frame& frame) {
  const bool end = (frame.hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
  if (frame.hd.type == NGHTTP2_HEADERS) {
    head_stream_ = 0;
    Stream* stream = Find(frame.hd.stream_id);
    if (stream == nullptr) return 0;
    if (frame.headers.cat == NGHTTP2_HCAT_REQUEST) {
      StartExchange(*stream, end);
    } else if (end && stream->core != nullptr) {
      stream->core->EndBody();
    }
  } else if (frame.hd.type == NGHTTP2_DATA && end) {
    Stream* stream = Find(frame.hd.stream_id);
    if (stream != nullptr && stream->core != nullptr) stream->core->EndBody();
  }
  return 0;
}

void Http2Session::StartExchange(Stream& stream, bool end) {
  const bool too_large = stream.head_too_large;
  stream.core = std::make_shared<ExchangeCore>(context_.loop, std::move(stream.head),
                                               context_.limits, *context_.clock, &stream);
  if (end) stream.core->EndBody();
  if (too_large) {
    stream.core->SendHead({431, {{"content-type", "text/plain; charset=utf-8"}}}, false);
    const std::string_view text = "the header fields of the request are too large or too many\n";
    stream.core->AddUnsent(text.size());
    stream.core->Write({Slice(nullptr, text)});
    stream.core->Finish({});
    return;
  }
  context_.handler->Handle(ExchangeCore::MakeHandle(stream.core));
}

int Http2Session::OnData(std::int32_t id, std::string_view bytes) {
  Stream* stream = Find(id);
  if (stream == nullptr || stream->core == nullptr) {
    nghttp2_session_consume_connection(session_, bytes.size());
    return 0;
  }
  const std::shared_ptr<ExchangeCore> core = stream->core;
  core->PushBody(bytes);
  return 0;
}

int Http2Session::OnStreamClose(std::int32_t id, std::uint32_t) {
  const auto found = streams_.find(id);
  if (found == streams_.end()) return 0;
  const std::unique_ptr<Stream> stream = std::move(found->second);
  streams_.erase(found);
  if (streams_.empty()) idle_since_ = context_.clock->SteadyNow();
  if (stream->core != nullptr) {
    // Bytes that nobody read still count against the connection's window.
    if (stream->core->body_waiting() > 0) {
      nghttp2_session_consume_connection(session_, stream->core->body_waiting());
    }
    stream->core->End();
  }
  return 0;
}

int Http2Session::OnFrameSent(const nghttp2_frame& frame) {
  if (frame.hd.type == NGHTTP2_RST_STREAM) {
    // A client that makes the server reset streams costs as much as one that resets them.
    const std::uint32_t error = frame.rst_stream.error_code;
    if (error != NGHTTP2_NO_ERROR && error != NGHTTP2_CANCEL && error != NGHTTP2_INTERNAL_ERROR) {
      Nuisance(kNuisanceUnit);
    }
  } else if ((frame.hd.type == NGHTTP2_DATA || frame.hd.type == NGHTTP2_HEADERS) &&
             (frame.hd.flags & NGHTTP2_FLAG_END_STREAM) != 0) {
    // The answer is complete and the request is not: the rest of it is not wanted.
    const Stream* stream = Find(frame.hd.stream_id);
    if (stream != nullptr && stream->core != nullptr && !stream->core->body_ended()) {
      nghttp2_submit_rst_stream(session_, NGHTTP2_FLAG_NONE, frame.hd.stream_id, NGHTTP2_NO_ERROR);
    }
  }
  return 0;
}

void Http2Session::SubmitResponse(Stream& stream) {
  stream.submitted = true;
  ExchangeCore& core = *stream.core;
  const ResponseHead& response = core.response();
  const std::string status = std::to_string(response.status);
  const std::vector<Headers::Field> fields = SendableFields(response.headers);
  std::vector<nghttp2_nv> block;
  block.reserve(fields.size() + 1);
  block.push_back(Http2Field(":status", status));
  for (const Headers::Field& field : fields) block.push_back(Http2Field(field.name, field.value));

  const bool no_body =
      core.request().method == "HEAD" || response.status == 204 || response.status == 304;
  if (no_body && core.finished()) core.DropOutput();
  if (core.finished() && core.output_size() == 0 && core.trailers().empty()) {
    core.MarkWhole();
    nghttp2_submit_response(session_, stream.id, block.data(), block.size(), nullptr);
    return;
  }
  nghttp2_data_provider provider;
  provider.source.ptr = &stream;
  provider.read_callback = [](nghttp2_session*, std::int32_t, std::uint8_t*, std::size_t length,
                              std::uint32_t* flags, nghttp2_data_source* source, void* user) {
    return Self(user).OnProvide(*static_cast<Stream*>(source->ptr), length, flags);
  };
  nghttp2_submit_response(session_, stream.id, block.data(), block.size(), &provider);
}

ssize_t Http2Session::OnProvide(Stream& stream, std::size_t length, std::uint32_t* flags) {
  ExchangeCore& core = *stream.core;
  if (core.request().method == "HEAD") core.DropOutput();
  const std::size_t size = std::min(length, core.output_size());
  if (core.broken() || (size == 0 && !core.finished())) return NGHTTP2_ERR_DEFERRED;
  if (size > 0) {
    *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    core.TakeOutput(size, stream.provided);
  }
  if (core.finished() && core.output_size() == 0) {
    *flags |= NGHTTP2_DATA_FLAG_EOF;
    core.MarkWhole();
    if (!core.trailers().empty()) {
      *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
      const std::vector<Headers::Field> fields = SendableFields(core.trailers());
      std::vector<nghttp2_nv> block;
      block.reserve(fields.size());
      for (const Headers::Field& field : fields) {
        block.push_back(Http2Field(field.name, field.value));
      }
      nghttp2_submit_trailer(session_, stream.id, block.data(), block.size());
    }
  }
  return static_cast<ssize_t>(size);
}

int Http2Session::OnSendData(const std::uint8_t* header, Stream& stream) {
  constexpr std::size_t kFrameHeader = 9;
  // nghttp2 would go through all streams in one call; it asks again for the same frame.
  if (out_->size() >= budget_) return NGHTTP2_ERR_WOULDBLOCK;
  out_->Append(std::string_view(reinterpret_cast<const char*>(header), kFrameHeader));
  for (Slice& slice : stream.provided) out_->Append(std::move(slice));
  stream.provided.clear();
  return 0;
}

std::optional<SteadyTime> Http2Session::WaitsSince() const {
  if (streams_.empty()) return idle_since_;
  // Since the last of its streams waits.
  SteadyTime since = SteadyTime::min();
  for (const auto& [id, stream] : streams_) {
    const auto waits =
        stream->core == nullptr ? head_since_ : stream->core->waits_for_client_since();
    if (!waits) return std::nullopt;
    since = std::max(since, *waits);
  }
  return since;
}

void Http2Session::Tick(SteadyTime now) {
  const Limits& limits = context_.limits;
  if (head_stream_ != 0 && now - head_since_ > limits.header_timeout) {
    head_stream_ = 0;
    nghttp2_session_terminate_session(session_, NGHTTP2_ENHANCE_YOUR_CALM);
    context_.wake();
  }
  if (streams_.empty() && now - idle_since_ > limits.idle_timeout) {
    nghttp2_session_terminate_session(session_, NGHTTP2_NO_ERROR);
    context_.wake();
  }
  // The handlers that hear of it only ask for output; no stream comes or goes meanwhile.
  for (const auto& [id, stream] : streams_) {
    const std::shared_ptr<ExchangeCore> core = stream->core;
    if (core == nullptr) continue;
    core->CheckBodyTimeout(now);
    core->CheckSendTimeout(now);
  }
  if (draining_ == 1) {
    // One tick after the notice: streams that were on their way have arrived.
    draining_ = 2;
    nghttp2_submit_goaway(session_, NGHTTP2_FLAG_NONE,
                          nghttp2_session_get_last_proc_stream_id(session_), NGHTTP2_NO_ERROR,
                          nullptr, 0);
    context_.wake();
  }
  if (draining_ == 2 && streams_.empty()) {
    draining_ = 3;
    nghttp2_session_terminate_session(session_, NGHTTP2_NO_ERROR);
    context_.wake();
  }
}

void Http2Session::StartDraining() {
  if (draining_ != 0) return;
  draining_ = 1;
  nghttp2_submit_shutdown_notice(session_);
  context_.wake();
}

void Http2Session::Lost() {
  dead_ = true;
  std::unordered_map<std::int32_t, std::unique_ptr<Stream>> streams;
  streams.swap(streams_);
  for (auto& [id, stream] : streams) {
    if (stream->core != nullptr) stream->core->End();
  }
}

void Stream::OutputReady() {
  if (dirty) return;
  dirty = true;
  session->dirty_.push_back(id);
  session->context_.wake();
}

void Stream::BodyTaken(std::size_t bytes) {
  nghttp2_session_consume(session->session_, id, bytes);
  session->context_.wake();
}

void Stream::BodyDropped(std::size_t bytes) {
  // The stream's own window stays shut: nothing more of this body is wanted.
  nghttp2_session_consume_connection(session->session_, bytes);
  session->context_.wake();
}

void Stream::ResetWanted() {
  nghttp2_submit_rst_stream(session->session_, NGHTTP2_FLAG_NONE, id, NGHTTP2_INTERNAL_ERROR);
  session->context_.wake();
}

}  // namespace

std::unique_ptr<Session> MakeHttp2Session(SessionContext context) {
  return std::make_unique<Http2Session>(std::move(context));
}

}  // namespace tocsin::http
