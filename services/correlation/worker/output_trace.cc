#include "services/correlation/worker/output_trace.h"

#include <optional>
#include <string>

#include "lib/base/text.h"
#include "lib/telemetry/names.h"
#include "lib/telemetry/trace.h"

namespace tocsin::correlation {

void TraceOutputs(std::string_view group, std::int32_t partition,
                  std::vector<OutputRecord>& outputs) {
  std::optional<telemetry::Span> process;
  std::int64_t cause = -1;
  for (OutputRecord& output : outputs) {
    if (output.kind == OutputKind::kMark) continue;
    if (cause != output.cause) {
      cause = output.cause;
      telemetry::SpanOptions options;
      options.kind = telemetry::SpanKind::kConsumer;
      options.parent = telemetry::TraceContext::FromTraceparent(output.parent);
      for (const std::string& link : output.links) {
        options.links.push_back(telemetry::TraceContext::FromTraceparent(link));
      }
      process.emplace(Concat("process ", output.input_topic), options);
      process->SetAttribute(telemetry::kMessagingSystem, "kafka");
      process->SetAttribute(telemetry::kMessagingOperationName, "process");
      process->SetAttribute(telemetry::kMessagingOperationType, "process");
      process->SetAttribute(telemetry::kMessagingDestination, output.input_topic);
      process->SetAttribute(telemetry::kMessagingPartition, std::to_string(partition));
      process->SetAttribute(telemetry::kMessagingGroup, group);
    }
    telemetry::SpanOptions options;
    options.kind = telemetry::SpanKind::kProducer;
    options.parent = process->context();
    telemetry::Span send(Concat("send ", output.record.topic), options);
    send.SetAttribute(telemetry::kMessagingSystem, "kafka");
    send.SetAttribute(telemetry::kMessagingOperationName, "send");
    send.SetAttribute(telemetry::kMessagingOperationType, "send");
    send.SetAttribute(telemetry::kMessagingDestination, output.record.topic);
    if (output.kind == OutputKind::kIncident && output.record.key.has_value()) {
      send.SetAttribute(telemetry::kMessagingConversationId, *output.record.key);
    }
    output.record.headers.Set("traceparent", send.context().ToTraceparent());
  }
}

}  // namespace tocsin::correlation
