// publish: single events, as JSON.
#include <google/protobuf/dynamic_message.h>
#include <google/protobuf/util/json_util.h>
#include <grpcpp/grpcpp.h>
#include <openssl/rand.h>

#include <algorithm>
#include <fstream>
#include <iostream>
#include <optional>
#include <utility>

#include "cli/calls.h"
#include "cli/commands.h"
#include "cli/console.h"
#include "cli/core/exit_code.h"
#include "cli/core/pack.h"
#include "cli/core/resend.h"
#include "cli/output.h"
#include "lib/base/hex.h"
#include "lib/base/text.h"
#include "lib/base/time.h"
#include "lib/rpc/limits.h"
#include "lib/telemetry/trace.h"
#include "tocsin/ingest/v1/ingest.grpc.pb.h"
#include "tocsin/schema/v1/registry.grpc.pb.h"

namespace tocsin::cli {
namespace {

using ingest::v1::IngestService;
using io::cloudevents::v1::CloudEvent;

// Of JSON, which takes more room than the message it stands for.
constexpr std::size_t kLongestText = std::size_t{64} << 20;
constexpr const char* kInstead = "Keep large data elsewhere and publish where it is.";

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
  return NotFound(Concat("there is no stream '", stream, "'", DidYouMean(stream, topics),
                         " `tocsin schema ls` shows those that have a schema."));
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

// The texts of the events to publish, one after the other, so that an endless standard input works.
class Inputs {
 public:
  explicit Inputs(std::string data) : data_(std::move(data)) {}

  // nullopt at the end. NOT_FOUND: no such file; INVALID_ARGUMENT: a text of more than 64 MiB.
  absl::StatusOr<std::optional<std::string>> Next() {
    if (data_ == "-") return NextLine();
    if (std::exchange(taken_, true)) return std::nullopt;
    if (data_.empty() || data_.front() != '@') return data_;
    // A file is one event, however it is laid out.
    const std::string path = data_.substr(1);
    std::ifstream file(path, std::ios::binary);
    std::error_code ignored;
    if (!file || std::filesystem::is_directory(path, ignored)) {
      return NotFound(Concat("there is no file ", path, " that can be read"));
    }
    auto text = Read(*file.rdbuf(), std::nullopt);
    if (!text.ok()) return Annotate(text.status(), path);
    return *std::move(text);
  }

 private:
  static absl::StatusOr<std::optional<std::string>> NextLine() {
    for (;;) {
      TOCSIN_ASSIGN_OR_RETURN(std::string line, Read(*std::cin.rdbuf(), '\n'));
      if (!Trim(line).empty()) return line;
      if (std::cin.peek() == std::char_traits<char>::eof()) return std::nullopt;
    }
  }

  static absl::StatusOr<std::string> Read(std::streambuf& from, std::optional<char> until) {
    std::string text;
    for (int c = from.sbumpc(); c != std::char_traits<char>::eof(); c = from.sbumpc()) {
      if (until.has_value() && c == *until) break;
      if (text.size() == kLongestText) {
        return InvalidArgument(
            Concat("an event of more than ", kLongestText >> 20, " MiB of JSON. ", kInstead));
      }
      text.push_back(static_cast<char>(c));
    }
    return text;
  }

  const std::string data_;
  bool taken_ = false;
};

// One event on its way to ingest, again and again under the same id.
class GatewayResendIo : public ResendIo {
 public:
  GatewayResendIo(IngestService::Stub& stub, std::string token,
                  const ingest::v1::PublishRequest& request, bool terminal)
      : stub_(stub), token_(std::move(token)), request_(request), line_(terminal) {
    told_ = terminal;
  }

  Answer Attempt(std::chrono::milliseconds timeout) override {
    rpc::ClientContext context(timeout);
    context.SetToken(token_);
    const OnStop cancel(ProcessStop(), [&context] { context.TryCancel(); });
    const absl::Status status = rpc::FromGrpc(stub_.Publish(&context, request_, &response_));
    line_.Clear();
    return {status, rpc::ServerSaid(context)};
  }
  bool Wait(std::chrono::milliseconds duration) override {
    return !ProcessStop().WaitFor(duration);
  }
  SteadyTime Now() const override { return Clock::Real().SteadyNow(); }
  void OnAgain(const absl::Status& why, std::chrono::milliseconds left) override {
    const std::string text = Concat("Trying again, for ", left.count() / 1000,
                                    " s at most. Not acknowledged yet: ", Message(why));
    line_.Show(text);
    // Where no line is shown, a log still deserves to know what is waited for.
    if (!std::exchange(told_, true)) Say(text);
  }

  const ingest::v1::PublishResponse& response() const { return response_; }

 private:
  IngestService::Stub& stub_;
  const std::string token_;
  const ingest::v1::PublishRequest& request_;
  StatusLine line_;
  bool told_;
  ingest::v1::PublishResponse response_;
};

// Everything but the message's data.
void SetAttributes(const PublishFlags& flags, WallTime time, CloudEvent& event) {
  event.set_spec_version("1.0");
  event.set_id(flags.id.empty() ? RandomUuid() : flags.id);
  event.set_source(flags.source);
  auto& attributes = *event.mutable_attributes();
  attributes["time"] = Text(FormatTime(time));
  if (!flags.subject.empty()) attributes["subject"] = Text(flags.subject);
  if (!flags.key.empty()) attributes["partitionkey"] = Text(flags.key);
  if (!flags.severity.empty()) attributes["severitytext"] = Text(flags.severity);
  if (!flags.sequence.empty()) attributes["sequence"] = Text(flags.sequence);
}

// What no process of any system takes is not sent at all. Below that, ingest and the gateway know
// their own limits and say so.
absl::Status CheckSize(const ingest::v1::PublishRequest& request) {
  const std::size_t size = request.ByteSizeLong();
  if (size <= rpc::kLargestMessage) return absl::OkStatus();
  return InvalidArgument(Concat("has ", size,
                                " bytes, and no process takes a message of more than ",
                                rpc::kLargestMessage, ". The limit of one event is 1 MiB, unless ",
                                "max_event_bytes of ingest says otherwise. ", kInstead));
}

// What a person needs to know when an event may or may not be in the log.
absl::Status NotAcknowledged(const Session& session, const PublishFlags& flags,
                             const CloudEvent& event, const ResendIo::Answer& answer) {
  const absl::Status& status = answer.status;
  if (!answer.from_service || !MayResend(status.code())) {
    return session.Explain(status, answer.from_service);
  }
  return absl::Status(
      status.code(),
      ToAbsl(Concat("not acknowledged within ", session.flags().timeout.count() / 1000,
                    " s: ", Message(status), "\n`tocsin status` shows what is not ready on this ",
                    "machine. To send this event again, so that it counts once",
                    flags.data == "-" ? "" : ": the same command", " with --id ", event.id(),
                    ".")));
}

}  // namespace

Outcome Publish(const Session& session, const PublishFlags& flags) {
  std::optional<WallTime> time;
  if (!flags.time.empty()) {
    const auto given = ParseTime(flags.time);
    if (!given.ok()) return UsageError(given.status(), "--time");
    time = *given;
  }
  Inputs inputs(flags.data);
  TOCSIN_ASSIGN_OR_RETURN(auto text, inputs.Next());
  const SteadyTime start = Clock::Real().SteadyNow();
  TOCSIN_ASSIGN_OR_RETURN(const MessageSchema schema, FindSchema(session, flags.stream));
  // The attempts are made here, and seen: none is hidden in the channel.
  TOCSIN_ASSIGN_OR_RETURN(const auto channel, session.Gateway({}));
  TOCSIN_ASSIGN_OR_RETURN(const std::string token, session.Token());
  const auto stub = IngestService::NewStub(channel);
  const auto* const descriptor = schema.message;
  google::protobuf::DynamicMessageFactory factory(descriptor->file()->pool());
  ListPrinter printer(session.flags().output,
                      {"EVENT", "DURABILITY", "TOPIC", "PARTITION", "OFFSET"}, Print);
  ResendOptions options;
  options.attempt = std::clamp(session.flags().timeout / 4, std::chrono::milliseconds(1'000),
                               std::chrono::milliseconds(5'000));
  for (std::uint64_t number = 1; text.has_value(); ++number) {
    const auto name = [&] { return Concat("event ", number); };
    if (number > 1 && !flags.id.empty()) {
      return InvalidArgument("--id is for one event, and standard input has several");
    }
    const std::unique_ptr<google::protobuf::Message> message(
        factory.GetPrototype(descriptor)->New());
    const auto parsed = google::protobuf::util::JsonStringToMessage(*text, message.get());
    if (!parsed.ok()) {
      return InvalidArgument(
          Concat(name(), " is not a ", descriptor->full_name(),
                 " in JSON: ", std::string_view(parsed.message().data(), parsed.message().size())));
    }
    ingest::v1::PublishRequest request;
    request.set_stream(flags.stream);
    request.set_dead_letter(flags.dead_letter);
    CloudEvent& event = *request.mutable_event();
    SetAttributes(flags, time.value_or(Clock::Real().Now()), event);
    event.set_type(descriptor->full_name());
    message->SerializeToString(event.mutable_binary_data());
    if (const absl::Status size = CheckSize(request); !size.ok()) return Annotate(size, name());
    telemetry::Span span("publish");
    const telemetry::ScopedCurrent current(span);
    GatewayResendIo io(*stub, token, request, session.stderr_terminal());
    // What it took to find the schema is part of the first one's time.
    const auto spent = std::chrono::floor<std::chrono::milliseconds>(
        number == 1 ? Clock::Real().SteadyNow() - start : SteadyTime::duration(0));
    options.budget = std::max(session.flags().timeout - spent, options.attempt);
    const ResendIo::Answer answer = Resend(options, number, io);
    span.SetStatus(answer.status);
    if (!answer.status.ok()) {
      return Annotate(NotAcknowledged(session, flags, event, answer), name());
    }
    const auto& receipt = io.response().receipt();
    printer.Row(receipt, [&]() -> std::vector<std::string> {
      return {receipt.id(), ingest::v1::Durability_Name(receipt.durability()).substr(11),
              receipt.topic(), std::to_string(receipt.partition()),
              std::to_string(receipt.offset())};
    });
    TOCSIN_ASSIGN_OR_RETURN(text, inputs.Next());
    if (ProcessStop().made()) return absl::CancelledError("stopped");
  }
  printer.Finish();
  return kExitOk;
}

}  // namespace tocsin::cli
