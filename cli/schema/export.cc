// `tocsin schema export`: the way to another registry.
#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <set>
#include <tuple>
#include <utility>

#include "cli/calls.h"
#include "cli/console.h"
#include "cli/core/exit_code.h"
#include "cli/core/profile.h"
#include "cli/output.h"
#include "cli/schema/commands.h"
#include "cli/schema/confluent_records.h"
#include "cli/schema/registry_versions.h"
#include "lib/base/mutex.h"
#include "lib/base/text.h"
#include "lib/kafka/admin.h"
#include "lib/kafka/producer.h"
#include "tocsin/schema/v1/registry.grpc.pb.h"

namespace tocsin::cli {
namespace {

using schema::v1::SchemaRegistryService;

// What is set of its own on a subject, a context or everything (empty).
absl::Status AddSettings(const Session& session, const std::string& subject,
                         std::vector<ConfluentRecord>& records, bool& strict) {
  schema::v1::GetConfigRequest config;
  config.set_subject(subject);
  const auto has = Call<SchemaRegistryService, schema::v1::GetConfigResponse>(
      session, &SchemaRegistryService::StubInterface::GetConfig, config);
  if (!has.ok() && !absl::IsNotFound(has.status())) return has.status();
  if (has.ok()) {
    strict = strict || has->config().compatibility() >= schema::v1::COMPATIBILITY_STRICT;
    records.push_back(ConfigRecord(subject, has->config()));
  }
  schema::v1::GetModeRequest mode;
  mode.set_subject(subject);
  const auto set = Call<SchemaRegistryService, schema::v1::GetModeResponse>(
      session, &SchemaRegistryService::StubInterface::GetMode, mode);
  if (!set.ok() && !absl::IsNotFound(set.status())) return set.status();
  if (set.ok()) records.push_back(ModeRecord(subject, set->mode()));
  return absl::OkStatus();
}

absl::StatusOr<std::vector<ConfluentRecord>> AllRecords(const Session& session) {
  schema::v1::ListSchemasRequest request;
  request.set_all_contexts(true);
  request.set_deleted(schema::v1::DELETED_INCLUDE);
  TOCSIN_ASSIGN_OR_RETURN(auto schemas, FetchSchemas(session, std::move(request)));
  // As they were registered: what is imported comes before those that import it.
  std::sort(schemas.begin(), schemas.end(),
            [](const schema::v1::Schema& a, const schema::v1::Schema& b) {
              return std::tuple(a.id(), a.version(), a.subject()) <
                     std::tuple(b.id(), b.version(), b.subject());
            });
  TOCSIN_ASSIGN_OR_RETURN(const auto contexts,
                          (Call<SchemaRegistryService, schema::v1::ListContextsResponse>(
                              session, &SchemaRegistryService::StubInterface::ListContexts,
                              schema::v1::ListContextsRequest())));
  std::set<std::string> subjects = {""};
  for (const std::string& context : contexts.contexts()) {
    if (context != ".") subjects.insert(Concat(":", context, ":"));
  }
  for (const auto& schema : schemas) subjects.insert(schema.subject());
  std::vector<ConfluentRecord> records;
  bool strict = false;
  for (const std::string& subject : subjects) {
    TOCSIN_RETURN_IF_ERROR(AddSettings(session, subject, records, strict));
  }
  if (strict) {
    Say("STRICT and STRICT_TRANSITIVE are written as FULL and FULL_TRANSITIVE: other registries "
        "do not know them.");
  }
  for (const auto& schema : schemas) records.push_back(SchemaRecord(schema));
  return records;
}

absl::Status Write(const std::vector<ConfluentRecord>& records, const std::string& brokers,
                   const std::string& topic, std::chrono::milliseconds timeout) {
  kafka::Connection connection;
  connection.bootstrap_servers = brokers;
  connection.client_id = "tocsin-cli";
  connection.log = [](kafka::LogLevel, std::string_view) {};
  TOCSIN_ASSIGN_OR_RETURN(const auto admin, kafka::MakeAdmin(connection));
  const auto topics = admin->ListTopics(timeout);
  if (!topics.ok()) {
    return Unavailable(Concat("no broker answers at ", brokers, ": ", Message(topics.status()),
                              "\nIs it running? --kafka names another address."));
  }
  if (topics->contains(topic)) {
    return AlreadyExists(Concat("the topic ", topic,
                                " exists; give --topic a new name, so that "
                                "nothing that is in one is mixed with this"));
  }
  kafka::TopicSpec spec;
  spec.name = topic;
  spec.configs = {{"cleanup.policy", "compact"}};
  TOCSIN_RETURN_IF_ERROR(admin->CreateTopics({spec}, timeout));
  kafka::ProducerOptions options;
  options.connection = connection;
  options.message_timeout = std::max(timeout, std::chrono::milliseconds(30'000));
  options.max_queued_records = records.size() + 1;
  TOCSIN_ASSIGN_OR_RETURN(const auto producer, kafka::MakeProducer(std::move(options)));
  Mutex mutex;
  absl::Status first_error;
  for (const ConfluentRecord& record : records) {
    for (;;) {
      const absl::Status taken = producer->Produce(
          {.topic = topic, .partition = 0, .key = record.key, .value = record.value},
          [&](const absl::StatusOr<kafka::Delivered>& outcome) {
            MutexLock lock(mutex);
            if (!outcome.ok() && first_error.ok()) first_error = outcome.status();
          });
      if (taken.ok()) break;
      if (!absl::IsResourceExhausted(taken)) return taken;
      // The queue is full of bytes: what is in it goes first.
      TOCSIN_RETURN_IF_ERROR(producer->Flush(std::chrono::minutes(2)));
    }
  }
  TOCSIN_RETURN_IF_ERROR(producer->Flush(std::chrono::minutes(2)));
  MutexLock lock(mutex);
  return first_error;
}

}  // namespace

absl::StatusOr<int> ExportSchemas(const Session& session, const SchemaExportFlags& flags) {
  if (!flags.kafka.empty() && flags.topic.empty()) {
    return UsageError("--kafka needs --topic, the new topic to write");
  }
  TOCSIN_ASSIGN_OR_RETURN(const auto records, AllRecords(session));
  if (!flags.topic.empty()) {
    const auto profile = session.profile();
    const std::string kafka = Resolve(flags.kafka, session.environment(), "TOCSIN_KAFKA",
                                      profile.ok() ? profile->kafka() : "", "");
    if (kafka.empty()) return UsageError("name the brokers: --kafka host:port");
    TOCSIN_RETURN_IF_ERROR(Write(records, kafka, flags.topic, session.flags().timeout));
    Say(Concat("Wrote ", records.size(), " records to ", flags.topic,
               ". Start the other registry with kafkastore.topic=", flags.topic, "."));
    return kExitOk;
  }
  if (session.flags().output == OutputForm::kTable) {
    for (const ConfluentRecord& record : records) {
      Print(Concat(record.key, "\t", record.value, "\n"));
    }
  } else {
    ListPrinter printer(session.flags().output, {}, Print);
    for (const ConfluentRecord& record : records) {
      printer.Row(Fields({{"key", record.key}, {"value", record.value}}), nullptr);
    }
    printer.Finish();
  }
  Say(Concat("Wrote ", records.size(), " records."));
  return kExitOk;
}

}  // namespace tocsin::cli
