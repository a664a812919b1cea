#include "services/ingest/publisher.h"

#include <utility>

#include "io/cloudevents/v1/cloudevents.pb.h"
#include "lib/base/status.h"
#include "lib/base/text.h"
#include "lib/telemetry/log.h"
#include "lib/telemetry/metrics.h"
#include "lib/telemetry/names.h"

namespace tocsin::ingest {
namespace {
using io::cloudevents::v1::CloudEvent;

v1::Receipt ErrorReceipt(const CloudEvent& event, const absl::Status& reason) {
  v1::Receipt receipt;
  receipt.set_source(event.source());
  receipt.set_id(event.id());
  receipt.set_error_code(static_cast<int>(reason.code()));
  receipt.set_error_message(std::string(Message(reason)));
  return receipt;
}

// What the producer says about one record, in words for the one who published it.
absl::Status DeliveryError(const absl::Status& status, const Stream& stream) {
  switch (status.code()) {
    case absl::StatusCode::kNotFound:
      return FailedPrecondition(Concat("the topic ", stream.topic,
                                       " does not exist in Kafka. Create it: tocsin topics apply"));
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kPermissionDenied:
      return Annotate(status, Concat("Kafka refused the event for ", stream.topic));
    default:
      return Unavailable(Concat("Kafka did not confirm the event (", Message(status),
                                "). Send the same events again with the same ids; copies count "
                                "once"));
  }
}

}  // namespace

// One set per stream, made at start, so that counting takes no lock.
struct Publisher::Metrics {
  struct PerStream {
    telemetry::Counter accepted;
    telemetry::Counter refused;
    telemetry::Counter failed;
    telemetry::Histogram delivery;
  };
  std::map<std::string, PerStream, std::less<>> streams;
  telemetry::Counter refused_elsewhere;

  static telemetry::Counter Events(std::string_view stream, std::string_view outcome) {
    return telemetry::GetCounter(
        "tocsin_ingest_events_total", "Events by stream and outcome.",
        {{"stream", std::string(stream)}, {"outcome", std::string(outcome)}});
  }

  explicit Metrics(const StreamTable& table) : refused_elsewhere(Events("", "refused")) {
    for (const auto& [topic, stream] : table.streams()) {
      streams.emplace(topic,
                      PerStream{.accepted = Events(topic, "accepted"),
                                .refused = Events(topic, "refused"),
                                .failed = Events(topic, "failed"),
                                .delivery = telemetry::GetHistogram(
                                    "tocsin_ingest_delivery_seconds",
                                    "From the acceptance of an event to its confirmation by Kafka.",
                                    {{"stream", topic}})});
    }
  }

  const PerStream& For(const Stream& stream) const { return streams.find(stream.topic)->second; }
};

Publisher::Publisher(Io io, StreamTable streams, Limits limits)
    : io_(io),
      streams_(std::move(streams)),
      limits_(limits),
      metrics_(std::make_unique<Metrics>(streams_)) {}

Publisher::~Publisher() = default;

absl::StatusOr<std::shared_ptr<const BoundStream>> Publisher::Bound(const Stream& stream) {
  auto latest = io_.schemas.Latest(stream.subject());
  if (!latest.ok()) {
    if (latest.status().code() == absl::StatusCode::kNotFound) {
      return FailedPrecondition(Concat("no schema is registered under ", stream.subject(),
                                       " yet. Register the pack's: tocsin schema push"));
    }
    return Unavailable(Concat("the schema ", stream.subject(), " cannot be read (",
                              Message(latest.status()),
                              "). Send the same events again with the same ids"));
  }
  {
    MutexLock lock(mutex_);
    const auto known = bound_.find(stream.topic);
    if (known != bound_.end() && known->second->schema_id() == latest->id) return known->second;
  }
  TOCSIN_ASSIGN_OR_RETURN(BoundStream fresh, BoundStream::Bind(stream, *std::move(latest)));
  auto bound = std::make_shared<const BoundStream>(std::move(fresh));
  telemetry::LogInfo("stream bound to schema",
                     {{"stream", stream.topic}, {"schema_id", bound->schema_id().value()}});
  MutexLock lock(mutex_);
  bound_[stream.topic] = bound;
  return bound;
}

absl::Status Publisher::CheckSchemas() {
  for (const auto& [topic, stream] : streams_.streams()) {
    TOCSIN_RETURN_IF_ERROR(Bound(stream).status());
  }
  return absl::OkStatus();
}

absl::StatusOr<events::Event> Publisher::Decide(const CloudEvent& event, const CallOptions& options,
                                                const Stream*& stream) {
  // The stream is found even for an event that is bad in itself, so that it can be kept in the
  // stream's DLQ.
  const absl::Status required = CheckRequired(event, limits_);
  auto routed = streams_.Route(options.stream, event.type());
  if (routed.ok()) stream = *routed;
  if (!routed.ok() && !options.stream.empty()) stream = streams_.Find(options.stream);
  TOCSIN_RETURN_IF_ERROR(required);
  TOCSIN_RETURN_IF_ERROR(routed.status());
  TOCSIN_ASSIGN_OR_RETURN(const std::shared_ptr<const BoundStream> bound, Bound(*stream));
  return Accept(event, *bound, limits_, io_.clock.Now());
}

absl::Status Publisher::Publish(const CloudEvent& event, const CallOptions& options, Done done) {
  const Stream* stream = nullptr;
  absl::StatusOr<events::Event> decided = Decide(event, options, stream);
  // It says nothing about the event and will pass: nothing may overtake it meanwhile.
  if (absl::IsUnavailable(decided.status())) return decided.status();
  if (!decided.ok()) return Refuse(event, options, stream, decided.status(), std::move(done));

  // Shared, because a callback must be copyable.
  auto span = std::make_shared<telemetry::Span>(
      Concat("send ", stream->topic),
      telemetry::SpanOptions{.kind = telemetry::SpanKind::kProducer, .parent = options.parent});
  span->SetAttribute(telemetry::kMessagingSystem, "kafka");
  span->SetAttribute(telemetry::kMessagingOperationName, "send");
  span->SetAttribute(telemetry::kMessagingOperationType, "send");
  span->SetAttribute(telemetry::kMessagingDestination, stream->topic);
  span->SetAttribute(telemetry::kCloudEventsId, decided->id);
  span->SetAttribute(telemetry::kCloudEventsSource, decided->source);
  span->SetAttribute(telemetry::kCloudEventsType, decided->type);
  decided->traceparent = span->context().ToTraceparent();
  decided->tracestate = span->context().tracestate();
  if (decided->origin_traceparent.empty()) {
    decided->origin_traceparent =
        (options.caller.valid() ? options.caller : options.parent).ToTraceparent();
  }

  v1::Receipt receipt;
  receipt.set_source(decided->source);
  receipt.set_id(decided->id);
  const Metrics::PerStream& metrics = metrics_->For(*stream);
  const SteadyTime start = io_.clock.SteadyNow();
  return io_.producer.Produce(
      events::ToRecord(*decided, stream->topic),
      [this, stream, start, &metrics, span = std::move(span), receipt = std::move(receipt),
       done = std::move(done)](const absl::StatusOr<kafka::Delivered>& outcome) mutable {
        if (outcome.ok()) {
          receipt.set_durability(v1::DURABILITY_QUORUM);
          receipt.set_topic(outcome->where.topic);
          receipt.set_partition(outcome->where.partition);
          receipt.set_offset(outcome->offset);
          span->SetAttribute(telemetry::kMessagingPartition,
                             std::to_string(outcome->where.partition));
          span->SetAttribute(telemetry::kMessagingOffset, outcome->offset);
          metrics.accepted.Increment();
          metrics.delivery.Observe(
              std::chrono::duration<double>(io_.clock.SteadyNow() - start).count());
        } else {
          const absl::Status error = DeliveryError(outcome.status(), *stream);
          receipt.set_error_code(static_cast<int>(error.code()));
          receipt.set_error_message(std::string(Message(error)));
          span->SetStatus(error);
          metrics.failed.Increment();
        }
        span->End();
        done(std::move(receipt));
      });
}

absl::Status Publisher::Refuse(const CloudEvent& event, const CallOptions& options,
                               const Stream* stream, const absl::Status& reason, Done done) {
  // What is not the event's fault will pass: nothing for the DLQ.
  const bool bad_event = reason.code() == absl::StatusCode::kInvalidArgument;
  if (bad_event) {
    (stream != nullptr ? metrics_->For(*stream).refused : metrics_->refused_elsewhere).Increment();
  }
  v1::Receipt receipt = ErrorReceipt(event, reason);
  if (!bad_event || !options.dead_letter) {
    done(std::move(receipt));
    return absl::OkStatus();
  }
  const auto add = [](v1::Receipt& to, std::string_view sentence) {
    to.set_error_message(Concat(to.error_message(), ". ", sentence));
  };
  if (stream == nullptr) {
    add(receipt, "Not kept in a DLQ, because no stream is named that exists");
    done(std::move(receipt));
    return absl::OkStatus();
  }
  if (event.ByteSizeLong() > limits_.max_event_bytes) {
    add(receipt, Concat("Not kept in ", stream->dead_letter_topic(), ", because it is too large"));
    done(std::move(receipt));
    return absl::OkStatus();
  }
  kafka::OutgoingRecord record = DeadLetter(event, *stream, reason, io_.clock.Now());
  events::SetTraceContext(record.headers, options.parent.ToTraceparent(),
                          options.parent.tracestate());
  return io_.producer.Produce(
      std::move(record), [stream, add, receipt = std::move(receipt), done = std::move(done)](
                             const absl::StatusOr<kafka::Delivered>& outcome) mutable {
        add(receipt, outcome.ok() ? Concat("Kept in ", outcome->where.topic, ", partition ",
                                           outcome->where.partition, ", offset ", outcome->offset)
                                  : Concat("It could not be kept in ", stream->dead_letter_topic(),
                                           ": ", Message(outcome.status())));
        done(std::move(receipt));
      });
}

}  // namespace tocsin::ingest
