#include "schema-registry/kafka_audit.h"

#include <chrono>
#include <deque>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "lib/base/mutex.h"
#include "lib/base/status.h"
#include "lib/events/own_topic.h"
#include "lib/kafka/admin.h"
#include "lib/kafka/producer.h"
#include "lib/telemetry/log.h"
#include "lib/telemetry/metrics.h"
#include "schema-registry/registry.h"
#include "tocsin/audit/v1/audit.pb.h"

namespace tocsin::registry {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kRetry{1'000};
constexpr milliseconds kAdminTimeout{3'000};
constexpr std::size_t kMaxDetail = 1'000;

const telemetry::Counter& Lost() {
  static const telemetry::Counter counter =
      telemetry::GetCounter("tocsin_schema_registry_audit_lost_total",
                            "Entries of the audit log that could not be written to Kafka.");
  return counter;
}

void TellLost(const AuditEntry& entry, const absl::Status& why) {
  Lost().Increment();
  telemetry::LogWarning("an entry of the audit log was not written", {{"actor", entry.actor.name},
                                                                      {"action", entry.action},
                                                                      {"target", entry.target},
                                                                      {"outcome", entry.outcome},
                                                                      {"status", why}});
}

// The registry as its own client.
class OwnClient final : public events::RegistryClient {
 public:
  explicit OwnClient(Registry& registry) : registry_(registry) {}

  absl::StatusOr<events::FetchedSchema> ById(schema::SchemaId) override {
    return Internal("the audit log reads no schemas");
  }
  absl::StatusOr<events::FetchedSchema> ByGuid(const schema::SchemaGuid&) override {
    return Internal("the audit log reads no schemas");
  }
  absl::StatusOr<events::FetchedSchema> Latest(std::string_view) override {
    return Internal("the audit log reads no schemas");
  }
  absl::StatusOr<events::RegisteredVersion> Lookup(std::string_view,
                                                   const events::SchemaDraft&) override {
    return Internal("the audit log looks no schemas up");
  }
  absl::StatusOr<events::RegisteredVersion> Register(std::string_view subject,
                                                     const events::SchemaDraft& given) override {
    Draft draft;
    draft.text = given.text;
    for (const events::SchemaReference& reference : given.references) {
      draft.references.push_back({reference.name, reference.subject, reference.version});
    }
    // What is there is found in every mode.
    auto version = registry_.Lookup(subject, draft);
    if (!version.ok()) {
      version = registry_.Register({"schema-registry", ""}, subject, draft);
    }
    if (!version.ok()) return version.status();
    return events::RegisteredVersion{version->schema->id, version->version, version->schema->guid};
  }

 private:
  Registry& registry_;
};

class Audit final : public KafkaAudit {
 public:
  Audit(KafkaAuditOptions options, std::unique_ptr<kafka::Admin> admin,
        std::unique_ptr<kafka::Producer> producer)
      : options_(std::move(options)), admin_(std::move(admin)), producer_(std::move(producer)) {}
  ~Audit() override { Stop(); }

  void Record(AuditEntry entry) override {
    absl::Status lost;
    {
      MutexLock lock(mutex_);
      if (stopped_) {
        lost = Aborted("the process stops");
      } else if (waiting_.size() >= options_.max_waiting) {
        lost = ResourceExhausted("too many entries wait");
      } else {
        waiting_.push_back(std::move(entry));
        changed_.NotifyAll();
        return;
      }
    }
    TellLost(entry, lost);
  }

  void Start(Registry& registry) override {
    thread_ = std::thread([this, &registry] { Run(registry); });
  }

  void Stop() override {
    {
      MutexLock lock(mutex_);
      stopped_ = true;
      changed_.NotifyAll();
    }
    if (thread_.joinable()) thread_.join();
    std::deque<AuditEntry> left;
    {
      MutexLock lock(mutex_);
      left.swap(waiting_);
    }
    for (const AuditEntry& entry : left) TellLost(entry, Aborted("the process stops"));
    // Its destructor waits for what is on its way.
    producer_.reset();
  }

 private:
  // False: it is time to stop.
  bool WaitFor(milliseconds time) {
    MutexLock lock(mutex_);
    if (!stopped_) changed_.WaitFor(mutex_, time);
    return !stopped_;
  }

  absl::StatusOr<events::OwnTopic> Open(OwnClient& client) {
    if (options_.may_create) {
      kafka::TopicSpec spec;
      spec.name = options_.topic;
      spec.partitions = 6;
      spec.replication_factor = options_.replication_factor;
      spec.configs = {{"cleanup.policy", "delete"}, {"retention.ms", "31536000000"}};
      if (options_.replication_factor >= 3) spec.configs["min.insync.replicas"] = "2";
      TOCSIN_RETURN_IF_ERROR(admin_->CreateTopics({spec}, kAdminTimeout));
    }
    return events::OwnTopic::Register(client, options_.topic,
                                      tocsin::audit::v1::AuditEvent::descriptor(),
                                      "/tocsin/schema-registry");
  }

  void Run(Registry& registry) {
    OwnClient client(registry);
    std::optional<events::OwnTopic> topic;
    absl::StatusCode told = absl::StatusCode::kOk;
    while (!topic) {
      if (registry.Ready().ok()) {
        auto registered = Open(client);
        if (registered.ok()) {
          topic.emplace(*std::move(registered));
          break;
        }
        if (std::exchange(told, registered.status().code()) != registered.status().code()) {
          telemetry::LogWarning("the audit log waits: its topic or its schema is not there",
                                {{"topic", options_.topic}, {"status", registered.status()}});
        }
      }
      if (!WaitFor(kRetry)) return;
    }
    for (;;) {
      AuditEntry entry;
      {
        MutexLock lock(mutex_);
        while (waiting_.empty() && !stopped_) changed_.Wait(mutex_);
        if (waiting_.empty()) return;
        entry = std::move(waiting_.front());
        waiting_.pop_front();
      }
      Write(*topic, std::move(entry));
    }
  }

  void Write(const events::OwnTopic& topic, AuditEntry entry) {
    tocsin::audit::v1::AuditEvent event;
    const std::int64_t micros = entry.time.time_since_epoch().count();
    event.set_id(Concat(options_.node, "-", micros, "-", ++written_));
    event.mutable_time()->set_seconds(micros / 1'000'000);
    event.mutable_time()->set_nanos(static_cast<std::int32_t>(micros % 1'000'000 * 1'000));
    event.set_actor(entry.actor.name);
    event.set_origin(entry.actor.origin);
    event.set_action(entry.action);
    event.set_target(entry.target);
    event.set_outcome(absl::StatusCodeToString(entry.outcome.code()));
    event.set_detail(entry.outcome.ok() ? entry.detail
                                        : Shorten(Message(entry.outcome), kMaxDetail));
    const absl::Status taken = producer_->Produce(
        topic.Encode(event, {.id = event.id(), .key = entry.actor.name, .time = entry.time}),
        [entry](const absl::StatusOr<kafka::Delivered>& outcome) {
          if (!outcome.ok()) TellLost(entry, outcome.status());
        });
    if (!taken.ok()) TellLost(entry, taken);
  }

  const KafkaAuditOptions options_;
  const std::unique_ptr<kafka::Admin> admin_;
  std::unique_ptr<kafka::Producer> producer_;
  Mutex mutex_;
  CondVar changed_;
  std::deque<AuditEntry> waiting_ ABSL_GUARDED_BY(mutex_);
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
  std::uint64_t written_ = 0;
  std::thread thread_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<KafkaAudit>> MakeKafkaAudit(KafkaAuditOptions options) {
  TOCSIN_ASSIGN_OR_RETURN(auto admin, kafka::MakeAdmin(options.connection));
  kafka::ProducerOptions writing;
  writing.connection = options.connection;
  writing.max_queued_records = options.max_waiting;
  writing.close_timeout = milliseconds(3'000);
  TOCSIN_ASSIGN_OR_RETURN(auto producer, kafka::MakeProducer(std::move(writing)));
  return std::unique_ptr<KafkaAudit>(
      std::make_unique<Audit>(std::move(options), std::move(admin), std::move(producer)));
}

}  // namespace tocsin::registry
