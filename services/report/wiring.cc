#include "services/report/wiring.h"

#include <grpcpp/grpcpp.h>

#include <filesystem>
#include <thread>
#include <utility>

#include "lib/base/status.h"
#include "lib/base/stop_signal.h"
#include "lib/base/text.h"
#include "lib/rpc/channel.h"
#include "lib/rpc/server.h"
#include "lib/sql/sqlite.h"
#include "services/report/intake.h"
#include "services/report/io.h"
#include "services/report/outbox.h"
#include "services/report/report_service.h"
#include "tocsin/schema/v1/registry.grpc.pb.h"

namespace tocsin::report {
namespace {
using std::chrono::milliseconds;

constexpr milliseconds kProbeTimeout{2'000};
constexpr milliseconds kProbePause{1'000};
constexpr milliseconds kCloseTimeout{1'000};

// What the world consists of; destroyed after all that borrows it.
struct World {
  std::unique_ptr<sql::Database> database;
  kafka::ReadLoop::MakeConsumer make_consumer;
  std::unique_ptr<kafka::Admin> admin;
  std::unique_ptr<events::RegistryClient> registry;
  std::unique_ptr<kafka::Producer> producer;
};

class ReportProcess final : public process::Component {
 public:
  ReportProcess(World world, std::unique_ptr<ReportStore> store, process::Runtime& runtime)
      : world_(std::move(world)),
        store_(std::move(store)),
        readiness_(runtime.readiness()),
        intake_(world_.make_consumer, *world_.admin, *store_,
                [this](const absl::Status& status) { Report("topics", status); }),
        outbox_(*store_, *world_.producer, *world_.registry),
        service_(*store_, [this] { outbox_.Wake(); }) {
    readiness_.Declare("kafka");
    readiness_.Declare("topics");
    runtime.server().AddService<v1::ReportService>(service_);
    intake_.Start();
    outbox_.Start();
    monitor_ = std::thread([this] {
      do {
        Report("kafka", world_.producer->Probe(kProbeTimeout));
      } while (!stop_.WaitFor(kProbePause));
    });
  }

  ~ReportProcess() override { End(); }

  // Reading and sending end while the last calls do.
  void Drain() override { BeginEnd(); }

  absl::Status Stop(SteadyTime /*deadline*/) override {
    End();
    return absl::OkStatus();
  }

 private:
  void Report(std::string_view condition, const absl::Status& status) {
    if (status.ok()) {
      readiness_.Met(condition);
    } else {
      readiness_.NotMet(condition, Message(status));
    }
  }
  void BeginEnd() {
    stop_.Stop();
    intake_.BeginStop();
    outbox_.BeginStop();
  }
  void End() {
    BeginEnd();
    outbox_.Stop();
    intake_.Stop();
    if (monitor_.joinable()) monitor_.join();
  }

  World world_;
  const std::unique_ptr<ReportStore> store_;
  process::Readiness& readiness_;
  Intake intake_;
  Outbox outbox_;
  ReportService service_;
  StopSignal stop_;
  std::thread monitor_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<process::Component>> Wire(const v1::ReportConfig& config,
                                                         process::Runtime& runtime) {
  if (config.database().path().empty()) {
    return InvalidArgument("database.path: is missing; name the file that keeps the incidents");
  }
  const std::filesystem::path path(config.database().path());
  std::error_code error;
  if (path.has_parent_path()) std::filesystem::create_directories(path.parent_path(), error);
  if (error) {
    return FailedPrecondition(Concat("database.path: the folder ", path.parent_path().string(),
                                     " cannot be made: ", error.message()));
  }
  World world;
  TOCSIN_ASSIGN_OR_RETURN(world.database, sql::OpenSqlite({.path = path.string()}));
  TOCSIN_ASSIGN_OR_RETURN(auto store, ReportStore::Open(*world.database, runtime.clock()));

  kafka::Connection connection;
  connection.bootstrap_servers = config.kafka().bootstrap_servers();
  connection.client_id = "tocsin-report";
  kafka::ConsumerOptions consumer;
  consumer.connection = connection;
  consumer.isolation = kafka::Isolation::kReadCommitted;
  consumer.close_timeout = kCloseTimeout;
  world.make_consumer = [consumer] { return kafka::MakeConsumer(consumer); };
  TOCSIN_ASSIGN_OR_RETURN(world.admin, kafka::MakeAdmin(connection));
  kafka::ProducerOptions producer;
  producer.connection = connection;
  // What is not confirmed at the end stays in the outbox.
  producer.close_timeout = milliseconds(500);
  TOCSIN_ASSIGN_OR_RETURN(world.producer, kafka::MakeProducer(std::move(producer)));
  TOCSIN_ASSIGN_OR_RETURN(auto channel, rpc::MakeChannel<schema::v1::SchemaRegistryService>(
                                            config.registry(), runtime.config().tls()));
  world.registry = events::MakeRegistryClient(std::move(channel));
  return std::make_unique<ReportProcess>(std::move(world), std::move(store), runtime);
}

}  // namespace tocsin::report
