// Between the core and Kafka: takes events one by one, answers each with a receipt when its fate is
// known.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "lib/base/mutex.h"
#include "lib/telemetry/trace.h"
#include "services/ingest/ingest_core.h"
#include "services/ingest/io.h"
#include "services/ingest/stream_table.h"
#include "tocsin/ingest/v1/ingest.pb.h"

namespace tocsin::ingest {

// How the events of one call are to be handled.
struct CallOptions {
  std::string stream;
  bool dead_letter = false;
  // The call's server span: parent of each event's `send` span.
  telemetry::TraceContext parent;
  // What the caller sent with the call, if anything: the flow of an event that names no other began
  // there.
  telemetry::TraceContext caller;
};

// Thread-safe. Must outlive the producer's callbacks: destroy the producer first.
class Publisher {
 public:
  // Called once, from any thread, perhaps within Publish. Must not block.
  using Done = std::function<void(v1::Receipt)>;

  Publisher(Io io, StreamTable streams, Limits limits);
  ~Publisher();

  // OK: `done` is called with the receipt, be it a refusal or a place in the log. An error is not
  // about the event, and `done` is not called: RESOURCE_EXHAUSTED, the producer's queue is full;
  // UNAVAILABLE, the schema cannot be read now. The same event may be tried again, and no later one
  // of its key before it. Blocks for at most one call to the registry, when a schema is needed for
  // the first time.
  absl::Status Publish(const io::cloudevents::v1::CloudEvent& event, const CallOptions& options,
                       Done done);

  // Is each stream's schema known? UNAVAILABLE / FAILED_PRECONDITION / NOT_FOUND name the first
  // that is not: for readiness.
  absl::Status CheckSchemas();

  const StreamTable& streams() const { return streams_; }

 private:
  struct Metrics;

  absl::StatusOr<std::shared_ptr<const BoundStream>> Bound(const Stream& stream);
  absl::StatusOr<events::Event> Decide(const io::cloudevents::v1::CloudEvent& event,
                                       const CallOptions& options, const Stream*& stream);
  absl::Status Refuse(const io::cloudevents::v1::CloudEvent& event, const CallOptions& options,
                      const Stream* stream, const absl::Status& reason, Done done);

  const Io io_;
  const StreamTable streams_;
  const Limits limits_;
  const std::unique_ptr<Metrics> metrics_;
  Mutex mutex_;
  std::map<std::string, std::shared_ptr<const BoundStream>, std::less<>> bound_
      ABSL_GUARDED_BY(mutex_);
};

}  // namespace tocsin::ingest
