#include "cli/publish.h"

#include <google/protobuf/dynamic_message.h>
#include <google/protobuf/util/json_util.h>
#include <grpcpp/grpcpp.h>
#include <openssl/rand.h>
#include <unistd.h>

#include <fstream>
#include <iostream>
#include <sstream>
#include <thread>

#include "cli/calls.h"
#include "cli/commands.h"
#include "cli/core/exit_code.h"
#include "cli/output.h"
#include "lib/base/hex.h"
#include "lib/base/text.h"
#include "lib/base/time.h"
#include "lib/rpc/channel.h"
#include "lib/telemetry/trace.h"
#include "tocsin/ingest/v1/ingest.grpc.pb.h"
#include "tocsin/schema/v1/registry.grpc.pb.h"

namespace tocsin::cli {
namespace {

using ingest::v1::IngestService;
using io::cloudevents::v1::CloudEvent;

constexpr std::chrono::seconds kBatchTimeout{30};

class GatewayReplayIo : public ReplayIo {
 public:
  GatewayReplayIo(std::unique_ptr<IngestService::Stub> stub, std::string token, std::string stream,
                  const ReplayEvents& events)
      : stub_(std::move(stub)),
        token_(std::move(token)),
        stream_(std::move(stream)),
        events_(events) {}

  absl::StatusOr<std::vector<ingest::v1::Receipt>> Publish(
      const std::vector<CloudEvent>& chunk) override {
    telemetry::Span span("publish chunk", {.kind = telemetry::SpanKind::kInternal});
    span.SetAttribute("messaging.batch.message_count", static_cast<std::int64_t>(chunk.size()));
    const telemetry::ScopedCurrent current(span);
    rpc::ClientContext context(kBatchTimeout);
    context.SetToken(token_);
    ingest::v1::PublishBatchResponse response;
    const auto writer = stub_->PublishBatch(&context, &response);
    ingest::v1::PublishBatchRequest request;
    request.set_stream(stream_);
    for (const CloudEvent& event : chunk) {
      *request.add_events() = event;
      if (request.events_size() < kEventsPerMessage) continue;
      if (!writer->Write(request)) break;  // Finish says why
      request.clear_events();
    }
    if (request.events_size() > 0) writer->Write(request);
    writer->WritesDone();
    const absl::Status status = rpc::FromGrpc(writer->Finish());
    span.SetStatus(status);
    if (!status.ok()) return status;
    return std::vector<ingest::v1::Receipt>(response.receipts().begin(), response.receipts().end());
  }

  bool Wait(std::chrono::milliseconds duration) override {
    const SteadyTime until = Now() + duration;
    while (!events_.stopped() && Now() < until) {
      std::this_thread::sleep_for(
          std::min<SteadyTime::duration>(until - Now(), std::chrono::milliseconds(100)));
    }
    return !events_.stopped();
  }
  SteadyTime Now() const override { return Clock::Real().SteadyNow(); }
  void OnProgress(const ReplayProgress& progress) override { events_.on_progress(progress); }
  void OnRefused(const RefusedRow& row) override { events_.on_refused(row); }

 private:
  static constexpr int kEventsPerMessage = 100;
  const std::unique_ptr<IngestService::Stub> stub_;
  const std::string token_;
  const std::string stream_;
  const ReplayEvents& events_;
};

// One line on a terminal, rewritten at most ten times a second; nothing elsewhere.
class ProgressLine {
 public:
  explicit ProgressLine(bool terminal) : terminal_(terminal), start_(Clock::Real().SteadyNow()) {}

  void Show(const ReplayProgress& progress) {
    const SteadyTime now = Clock::Real().SteadyNow();
    if (!terminal_ || (shown_.has_value() && now - *shown_ < std::chrono::milliseconds(100))) {
      return;
    }
    shown_ = now;
    constexpr std::int64_t kWidth = 24;
    const std::int64_t done = progress.acknowledged + progress.refused;
    const std::int64_t filled = progress.total == 0 ? kWidth : kWidth * done / progress.total;
    std::string bar;
    for (std::int64_t i = 0; i < kWidth; ++i) bar += i < filled ? "█" : "░";
    std::cerr << "\r\x1b[2K" << bar << " " << ProgressText(progress, now - start_) << std::flush;
  }
  void Clear() {
    if (terminal_ && shown_.has_value()) std::cerr << "\r\x1b[2K" << std::flush;
    shown_.reset();
  }
  std::chrono::duration<double> elapsed() const { return Clock::Real().SteadyNow() - start_; }

 private:
  const bool terminal_;
  const SteadyTime start_;
  std::optional<SteadyTime> shown_;
};

CloudEvent::CloudEventAttributeValue Text(const std::string& value) {
  CloudEvent::CloudEventAttributeValue attribute;
  attribute.set_ce_string(value);
  return attribute;
}

// Version 4, which any log can hold.
std::string RandomUuid() {
  unsigned char bytes[16];
  RAND_bytes(bytes, sizeof(bytes));
  bytes[6] = static_cast<unsigned char>((bytes[6] & 0x0F) | 0x40);
  bytes[8] = static_cast<unsigned char>((bytes[8] & 0x3F) | 0x80);
  std::string hex = HexEncode({reinterpret_cast<const char*>(bytes), sizeof(bytes)});
  for (const std::size_t at : {20U, 16U, 12U, 8U}) hex.insert(at, "-");
  return hex;
}

struct MessageSchema {
  std::shared_ptr<const schema::CompiledSchema> schema;
  const google::protobuf::Descriptor* message = nullptr;
};

// The stream as a pack on this machine knows it.
absl::StatusOr<MessageSchema> SchemaFromPacks(const Session& session, const std::string& stream) {
  std::vector<std::string> topics;
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(session.packs_dir(), ignored)) {
    const auto pack = LoadPack(entry.path().string(), session.packs_dir());
    if (!pack.ok()) continue;
    for (const auto& known : pack->pack.streams()) {
      topics.push_back(known.topic());
      if (known.topic() != stream) continue;
      TOCSIN_ASSIGN_OR_RETURN(const StreamSchema schema, LoadStreamSchema(*pack, known));
      return MessageSchema{schema.schema, schema.message};
    }
  }
  const std::string nearest = NearestName(stream, topics);
  return NotFound(Concat("there is no stream '", stream, "'",
                         nearest.empty() ? "." : Concat("; did you mean '", nearest, "'?"),
                         " `tocsin schema list` shows those that have a schema."));
}

// The registry's word counts; a token that may publish and not read schemas makes do with the packs
// on this machine (ingest judges the event by the registry in any case).
absl::StatusOr<MessageSchema> FindSchema(const Session& session, const std::string& stream) {
  using schema::v1::SchemaRegistryService;
  schema::v1::GetVersionRequest request;
  request.set_subject(Concat(stream, "-value"));
  auto response = Call<SchemaRegistryService, schema::v1::GetVersionResponse>(
      session, &SchemaRegistryService::StubInterface::GetVersion, request);
  if (absl::IsNotFound(response.status()) || absl::IsPermissionDenied(response.status())) {
    return SchemaFromPacks(session, stream);
  }
  TOCSIN_RETURN_IF_ERROR(response.status());
  std::vector<schema::SourceFile> imports;
  for (int i = 0; i < response->imports_size() && i < response->import_paths_size(); ++i) {
    imports.push_back({response->import_paths(i), response->imports(i).text()});
  }
  MessageSchema result;
  TOCSIN_ASSIGN_OR_RETURN(
      result.schema,
      schema::CompiledSchema::Compile(
          {Concat(request.subject(), ".proto"), response->schema().text()}, imports));
  const auto names = result.schema->MessageNames();
  if (names.empty()) return InvalidArgument(Concat(request.subject(), " holds no message"));
  result.message = result.schema->FindMessage(names.front());
  return result;
}

absl::StatusOr<std::vector<std::string>> ReadData(const std::string& data) {
  if (data != "-" && (data.empty() || data.front() != '@')) return std::vector<std::string>{data};
  std::vector<std::string> events;
  std::ifstream file;
  if (data != "-") {
    file.open(data.substr(1));
    if (!file) return NotFound(Concat("there is no file ", data.substr(1), " that can be read"));
    // A file is one event, however it is laid out.
    std::stringstream text;
    text << file.rdbuf();
    return std::vector<std::string>{text.str()};
  }
  for (std::string line; std::getline(std::cin, line);) {
    if (!Trim(line).empty()) events.push_back(line);
  }
  return events;
}

}  // namespace

absl::StatusOr<ReplayResult> RunReplay(const ReplayJob& job, const ReplayEvents& events) {
  TOCSIN_ASSIGN_OR_RETURN(const auto header, ReadHeader(job.csv));
  TOCSIN_ASSIGN_OR_RETURN(const auto* const mapping,
                          ChooseMapping(job.pack.pack, header, job.mapping));
  TOCSIN_ASSIGN_OR_RETURN(const auto* const stream, FindStream(job.pack.pack, mapping->stream()));
  TOCSIN_ASSIGN_OR_RETURN(auto schema, LoadStreamSchema(job.pack, *stream));
  TOCSIN_ASSIGN_OR_RETURN(const auto mapper,
                          CsvMapper::Create({mapping, stream, std::move(schema), header,
                                             job.csv.stem().string(), job.source}));
  TOCSIN_ASSIGN_OR_RETURN(
      const auto channel,
      rpc::MakePublicChannel(job.gateway, "", {IngestService::service_full_name()}));
  GatewayReplayIo io(IngestService::NewStub(channel), job.token, stream->topic(), events);
  return Replay(job.csv, *mapper, job.options, io);
}

Outcome Replay(const Session& session, const ReplayFlags& flags) {
  ReplayJob job;
  TOCSIN_ASSIGN_OR_RETURN(job.pack, LoadPack(flags.pack, session.packs_dir()));
  TOCSIN_ASSIGN_OR_RETURN(job.options.speed, ParseSpeed(flags.speed));
  job.options.chunk_events = static_cast<std::size_t>(flags.chunk);
  job.options.patience = flags.patience;
  job.csv = flags.csv;
  job.mapping = flags.mapping;
  job.source = flags.source;
  TOCSIN_ASSIGN_OR_RETURN(job.gateway, session.GatewayAddress());
  TOCSIN_ASSIGN_OR_RETURN(job.token, session.Token());
  telemetry::Span span("replay");
  const telemetry::ScopedCurrent current(span);
  ProgressLine line(session.stderr_terminal());
  std::int64_t told = 0;
  bool waiting = false;
  ReplayEvents events;
  events.stopped = [] { return g_stop_signal != 0; };
  events.on_progress = [&](const ReplayProgress& progress) {
    // Where there is no progress line, a log still deserves to know why nothing moves.
    if (!session.stderr_terminal() && waiting != !progress.waiting_for.empty()) {
      waiting = !progress.waiting_for.empty();
      if (waiting) Say(Concat("Waiting to send again: ", progress.waiting_for));
    }
    line.Show(progress);
  };
  events.on_refused = [&](const RefusedRow& row) {
    constexpr std::int64_t kMostTold = 20;
    if (++told > kMostTold) return;
    line.Clear();
    Say(Concat("row ", row.row, ": ", row.reason));
    if (told == kMostTold) Say("Further refused rows are counted and not listed.");
  };
  const auto result = RunReplay(job, events);
  line.Clear();
  span.SetStatus(result.status());
  if (absl::IsCancelled(result.status())) {
    Say(Concat("Stopped. Go on with:\n  tocsin replay --pack ", flags.pack, " --csv ", flags.csv,
               " --speed ", flags.speed,
               "\nWhat was acknowledged is sent again under the same ids and counts once."));
    return kExitInterrupted;
  }
  if (!result.ok()) {
    if (absl::IsInvalidArgument(result.status())) {
      return Annotate(result.status(), flags.csv);
    }
    return session.Explain(result.status());
  }
  const double seconds = line.elapsed().count();
  char took[32];
  std::snprintf(took, sizeof(took), "%.1f s", seconds);
  const auto rate =
      seconds > 0 ? static_cast<std::int64_t>(static_cast<double>(result->acknowledged) / seconds)
                  : result->acknowledged;
  Say(Concat(
      WithCommas(result->acknowledged), " of ", WithCommas(result->rows), " rows acknowledged in ",
      took, " (", WithCommas(rate), "/s)",
      result->resends > 0 ? Concat(", ", WithCommas(result->resends), " calls made again") : "",
      result->refused.empty()
          ? "."
          : Concat(", ", WithCommas(static_cast<std::int64_t>(result->refused.size())),
                   " refused.")));
  return result->refused.empty() ? kExitOk : kExitPartial;
}

Outcome Publish(const Session& session, const PublishFlags& flags) {
  TOCSIN_ASSIGN_OR_RETURN(const auto texts, ReadData(flags.data));
  TOCSIN_ASSIGN_OR_RETURN(const MessageSchema schema, FindSchema(session, flags.stream));
  const auto* const descriptor = schema.message;
  google::protobuf::DynamicMessageFactory factory(descriptor->file()->pool());
  ListPrinter printer(session.flags().output,
                      {"EVENT", "DURABILITY", "TOPIC", "PARTITION", "OFFSET"}, Print);
  if (texts.size() > 1 && !flags.id.empty()) {
    return InvalidArgument("--id is for one event, and standard input has several");
  }
  for (std::size_t number = 1; const std::string& text : texts) {
    const std::unique_ptr<google::protobuf::Message> message(
        factory.GetPrototype(descriptor)->New());
    const auto parsed = google::protobuf::util::JsonStringToMessage(text, message.get());
    if (!parsed.ok()) {
      return InvalidArgument(
          Concat("event ", number, " is not a ", descriptor->full_name(),
                 " in JSON: ", std::string_view(parsed.message().data(), parsed.message().size())));
    }
    ++number;
    ingest::v1::PublishRequest request;
    request.set_stream(flags.stream);
    request.set_dead_letter(flags.dead_letter);
    CloudEvent& event = *request.mutable_event();
    event.set_spec_version("1.0");
    event.set_id(flags.id.empty() ? RandomUuid() : flags.id);
    event.set_source(flags.source);
    event.set_type(descriptor->full_name());
    auto& attributes = *event.mutable_attributes();
    WallTime time = Clock::Real().Now();
    if (!flags.time.empty()) {
      TOCSIN_ASSIGN_OR_RETURN(time, ParseTime(flags.time));
    }
    attributes["time"] = Text(FormatTime(time));
    if (!flags.subject.empty()) attributes["subject"] = Text(flags.subject);
    if (!flags.key.empty()) attributes["partitionkey"] = Text(flags.key);
    if (!flags.severity.empty()) attributes["severitytext"] = Text(flags.severity);
    if (!flags.sequence.empty()) attributes["sequence"] = Text(flags.sequence);
    message->SerializeToString(event.mutable_binary_data());
    telemetry::Span span("publish");
    const telemetry::ScopedCurrent current(span);
    const auto response = Call<IngestService, ingest::v1::PublishResponse>(
        session, &IngestService::StubInterface::Publish, request);
    span.SetStatus(response.status());
    TOCSIN_RETURN_IF_ERROR(response.status());
    const auto& receipt = response->receipt();
    printer.Row(receipt, [&]() -> std::vector<std::string> {
      return {receipt.id(), ingest::v1::Durability_Name(receipt.durability()).substr(11),
              receipt.topic(), std::to_string(receipt.partition()),
              std::to_string(receipt.offset())};
    });
  }
  printer.Finish();
  return kExitOk;
}

}  // namespace tocsin::cli
