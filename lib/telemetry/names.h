// Names of spans' attributes, from OpenTelemetry's semantic conventions 1.44; rpc and messaging are
// not yet stable there, so they stand in one place.
#pragma once

#include <string_view>

namespace tocsin::telemetry {

inline constexpr std::string_view kSchemaUrl = "https://opentelemetry.io/schemas/1.44.0";

inline constexpr std::string_view kErrorType = "error.type";
inline constexpr std::string_view kServerAddress = "server.address";
inline constexpr std::string_view kServerPort = "server.port";
inline constexpr std::string_view kNetworkPeerAddress = "network.peer.address";

// A span of a call is named by its method, "tocsin.ingest.v1.IngestService/Publish".
inline constexpr std::string_view kRpcSystemName = "rpc.system.name";
inline constexpr std::string_view kRpcMethod = "rpc.method";
inline constexpr std::string_view kRpcStatusCode = "rpc.response.status_code";

// A span at Kafka is named by operation and topic, "send alerts.raw", "process alerts.raw".
inline constexpr std::string_view kMessagingSystem = "messaging.system";
inline constexpr std::string_view kMessagingOperationName = "messaging.operation.name";
// create, send, receive, process, settle
inline constexpr std::string_view kMessagingOperationType = "messaging.operation.type";
inline constexpr std::string_view kMessagingDestination = "messaging.destination.name";
// A string, by the conventions.
inline constexpr std::string_view kMessagingPartition = "messaging.destination.partition.id";
inline constexpr std::string_view kMessagingOffset = "messaging.kafka.offset";
inline constexpr std::string_view kMessagingKey = "messaging.kafka.message.key";
inline constexpr std::string_view kMessagingGroup = "messaging.consumer.group.name";
inline constexpr std::string_view kMessagingBatchCount = "messaging.batch.message_count";
inline constexpr std::string_view kMessagingMessageId = "messaging.message.id";
// The incident of which this is a part.
inline constexpr std::string_view kMessagingConversationId = "messaging.message.conversation_id";

inline constexpr std::string_view kCloudEventsId = "cloudevents.event_id";
inline constexpr std::string_view kCloudEventsSource = "cloudevents.event_source";
inline constexpr std::string_view kCloudEventsType = "cloudevents.event_type";

}  // namespace tocsin::telemetry
