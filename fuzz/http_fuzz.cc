// Bytes of a client, in pieces: both protocols, with a handler that echoes. The first byte chooses
// the protocol and how large the pieces are.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>

#include "lib/http/exchange.h"
#include "lib/http/loop.h"
#include "lib/http/out_queue.h"
#include "lib/http/session.h"

namespace {

using tocsin::http::BodyPart;
using tocsin::http::Exchange;

class Echo final : public tocsin::http::Handler {
 public:
  void Handle(std::shared_ptr<Exchange> exchange) override {
    if (exchange->request().path() == "/drop") return;
    exchange->SendHead({200, exchange->request().headers});
    exchange->OnCancelled([exchange] {});
    Next(exchange);
  }

 private:
  void Next(const std::shared_ptr<Exchange>& exchange) {
    exchange->Read([this, exchange](absl::StatusOr<BodyPart> part) {
      if (!part.ok()) return exchange->Reset();
      exchange->Write({part->data});
      if (part->end) return exchange->Finish({{"x-end", "1"}});
      exchange->WhenWritable([this, exchange] { Next(exchange); });
    });
  }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 1) return 0;
  std::string_view input(reinterpret_cast<const char*>(data) + 1, size - 1);
  const bool http2 = (data[0] & 1) != 0;
  const std::size_t piece = 1 + (data[0] >> 1);

  tocsin::http::SessionContext context;
  context.loop = tocsin::http::Loop::Create();
  context.handler = std::make_shared<Echo>();
  context.limits.max_body = 1 << 16;
  context.limits.nuisance_burst = 100;
  context.clock = &tocsin::Clock::Real();
  context.peer = "127.0.0.1:1";
  context.wake = [] {};
  auto session = http2 ? MakeHttp2Session(context) : MakeHttp1Session(context);
  tocsin::http::OutQueue out;
  if (http2) session->Receive("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
  while (!input.empty() && session->WantsInput()) {
    session->Receive(input.substr(0, piece));
    input.remove_prefix(std::min(piece, input.size()));
    context.loop->RunPosted();
    session->Collect(out, 1 << 16);
    out.Consume(out.size());
  }
  session->StartDraining();
  session->Tick(context.clock->SteadyNow());
  session->Collect(out, 1 << 16);
  session->Lost();
  context.loop->RunPosted();
  context.loop->Stop();
  return 0;
}
