#include "services/correlation/rule_keeper/registry_gate.h"

#include "google/protobuf/descriptor.h"
#include "lib/base/status.h"
#include "lib/base/text.h"
#include "lib/events/registry_client.h"
#include "lib/schema/wire_format.h"

namespace tocsin::correlation {

RegistryGate::RegistryGate(const std::vector<pack::v1::Stream>& streams,
                           events::SchemaCache& schemas, const Clock& clock, Options options)
    : options_(options), schemas_(schemas), clock_(clock) {
  for (const pack::v1::Stream& stream : streams) {
    messages_[stream.topic()] = stream.message_type();
  }
  server_ = std::thread([this] { Serve(); });
}

RegistryGate::~RegistryGate() {
  {
    MutexLock lock(mutex_);
    ending_ = true;
    changed_.NotifyAll();
  }
  server_.join();
}

absl::Status RegistryGate::Check(std::string_view stream, std::string_view prefix,
                                 std::chrono::milliseconds wait) {
  const Key key(stream, prefix);
  // The waiting is real, whatever the clock says that the answers age by.
  const auto until = std::chrono::steady_clock::now() + wait;
  MutexLock lock(mutex_);
  if (!entries_.contains(key)) MakeRoom();
  if (Entry& entry = entries_[key]; !entry.asking && !Believed(entry)) {
    entry.asking = true;
    queue_.push_back(key);
    changed_.NotifyAll();
  }
  for (;;) {
    // Another thread may have made room meanwhile.
    const auto found = entries_.find(key);
    if (found == entries_.end()) break;
    const Entry& entry = found->second;
    const auto left = until - std::chrono::steady_clock::now();
    if (!entry.asking || left <= std::chrono::nanoseconds(0) || ending_) {
      if (entry.answered) return entry.answer;
      break;
    }
    changed_.WaitFor(mutex_, left);
  }
  return Unavailable("the schema registry has not answered yet");
}

bool RegistryGate::Believed(const Entry& entry) const {
  if (!entry.answered) return false;
  if (entry.answer.ok()) return true;
  const auto age = clock_.SteadyNow() - entry.asked;
  return age < (absl::IsInvalidArgument(entry.answer) ? options_.negative_lifetime
                                                      : options_.retry_after);
}

void RegistryGate::MakeRoom() {
  if (entries_.size() < options_.max_entries) return;
  // Somebody may wait for what is being asked.
  for (const bool known : {false, true}) {
    for (auto at = entries_.begin(); at != entries_.end();) {
      const bool goes = !at->second.asking && at->second.answer.ok() == known;
      at = goes ? entries_.erase(at) : std::next(at);
    }
    if (entries_.size() < options_.max_entries) return;
  }
}

void RegistryGate::Serve() {
  for (;;) {
    Key key;
    {
      MutexLock lock(mutex_);
      while (queue_.empty() && !ending_) changed_.Wait(mutex_);
      if (ending_) return;
      key = std::move(queue_.front());
      queue_.pop_front();
    }
    absl::Status answer = Ask(key);
    MutexLock lock(mutex_);
    Entry& entry = entries_[key];
    entry.asking = false;
    entry.answered = true;
    entry.answer = std::move(answer);
    entry.asked = clock_.SteadyNow();
    changed_.NotifyAll();
  }
}

absl::Status RegistryGate::Ask(const Key& key) const {
  const auto& [stream, prefix] = key;
  TOCSIN_ASSIGN_OR_RETURN(const schema::Framed framed, schema::DecodeFrame(prefix));
  const auto named = Concat("value: schema id ", framed.id.value());
  const auto schema = schemas_.ById(framed.id);
  if (absl::IsNotFound(schema.status())) {
    return InvalidArgument(Concat(named,
                                  " is not known to the registry: the record was written against "
                                  "another registry, or by no serializer at all"));
  }
  if (events::IsAway(schema.status()) || absl::IsPermissionDenied(schema.status()) ||
      absl::IsUnauthenticated(schema.status())) {
    return Unavailable(Concat(named, " of ", stream,
                              " is not known here, and the registry: ", Message(schema.status())));
  }
  if (!schema.ok()) return InvalidArgument(Concat(named, ": ", Message(schema.status())));
  const auto message = (*schema)->MessageAt(framed.message_indexes);
  if (!message.ok()) return InvalidArgument(Concat(named, ": ", Message(message.status())));
  const auto found = messages_.find(stream);
  if (found == messages_.end() || found->second.empty()) return absl::OkStatus();
  const std::string name((*message)->full_name());
  if (name == found->second) return absl::OkStatus();
  return InvalidArgument(Concat(named, " is of message ", name, ", but the stream ", stream,
                                " carries ", found->second));
}

}  // namespace tocsin::correlation
