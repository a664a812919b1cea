#include "gateway/live/kafka_log.h"

#include <algorithm>
#include <map>
#include <utility>

#include "lib/base/status.h"
#include "lib/base/text.h"
#include "lib/events/event.h"
#include "lib/telemetry/log.h"
#include "lib/telemetry/metrics.h"
#include "lib/telemetry/names.h"
#include "lib/telemetry/trace.h"

namespace tocsin::gateway {
namespace {

constexpr std::chrono::milliseconds kPoll{200};
// Of one question; a stop waits for it.
constexpr std::chrono::milliseconds kAsk{2'000};
// Between looks at the cluster's topics, which also prove that it answers.
constexpr std::chrono::nanoseconds kDiscovery = std::chrono::seconds(5);
constexpr std::chrono::nanoseconds kDiscoveryWhileMissing = std::chrono::seconds(1);

// One chunk; how many are kept for others who ask for the same; partitions read at once.
constexpr std::size_t kChunkBytes = 256 << 10;
constexpr std::size_t kChunkEntries = 1'000;
constexpr std::size_t kCachedChunks = 128;
constexpr std::size_t kRound = 16;
constexpr std::chrono::seconds kChunkWait{5};

void CountUnreadable(const LiveTopic& topic, const kafka::Record& record, const std::string& why) {
  telemetry::GetCounter("tocsin_gateway_unreadable_records_total",
                        "Records that could not be told to subscribers.", {{"topic", topic.name}})
      .Increment();
  telemetry::LogWarning("a record cannot be told to subscribers", {{"topic", record.topic},
                                                                   {"partition", record.partition},
                                                                   {"offset", record.offset},
                                                                   {"reason", why}});
}

// What this process does with a record is a part of the record's story. Streams of events are told
// as they are and would only flood the trace.
void Trace(const LiveTopic& topic, const kafka::Record& record) {
  if (topic.kind == live::v1::KIND_EVENT) return;
  const auto parent = telemetry::TraceContext::FromTraceparent(
      record.headers.Find(events::kHeaderTraceparent).value_or(""),
      record.headers.Find(events::kHeaderTracestate).value_or(""));
  if (!parent.valid()) return;
  telemetry::Span span(Concat("process ", record.topic),
                       {telemetry::SpanKind::kConsumer, parent, {}});
  span.SetAttribute(telemetry::kMessagingSystem, "kafka");
  span.SetAttribute(telemetry::kMessagingOperationName, "process");
  span.SetAttribute(telemetry::kMessagingOperationType, "process");
  span.SetAttribute(telemetry::kMessagingDestination, std::string_view(record.topic));
  span.SetAttribute(telemetry::kMessagingPartition,
                    std::string_view(std::to_string(record.partition)));
  span.SetAttribute(telemetry::kMessagingOffset, record.offset);
}

}  // namespace

LogTail::LogTail(LogStore& store, kafka::Admin& admin, ConsumerFactory make_consumer,
                 Callbacks callbacks, const Clock& clock)
    : store_(store),
      admin_(admin),
      callbacks_(std::move(callbacks)),
      loop_(*this, std::move(make_consumer),
            {.name = "the live log", .poll = kPoll, .question = kAsk}, clock) {}

LogTail::~LogTail() { Stop(); }

void LogTail::Start() {
  thread_ = std::thread([this] {
    loop_.Run([this](std::chrono::nanoseconds pause) { return stop_.WaitFor(pause); });
    loop_.Close();
  });
}

void LogTail::Stop() {
  stop_.Stop();
  if (thread_.joinable()) thread_.join();
}

absl::StatusOr<std::chrono::nanoseconds> LogTail::Attach(kafka::Consumer& consumer,
                                                         kafka::RebalanceListener& /*listener*/,
                                                         bool fresh) {
  assign_again_ = assign_again_ || fresh;
  TOCSIN_ASSIGN_OR_RETURN(const auto existing, admin_.ListTopics(kAsk));
  bool missing_topics = false;
  const std::vector<LiveTopic>& topics = store_.topics();
  for (std::size_t i = 0; i < topics.size(); ++i) {
    const auto found = existing.find(topics[i].name);
    if (found == existing.end()) {
      missing_topics = true;
      continue;
    }
    const auto have = static_cast<std::int32_t>(std::count_if(
        places_.begin(), places_.end(),
        [&](const kafka::TopicPartition& place) { return place.topic == topics[i].name; }));
    for (std::int32_t number = have; number < found->second.partitions; ++number) {
      const kafka::TopicPartition where{topics[i].name, number};
      // What exists when the gateway starts is history. What appears later is news from its first
      // record.
      TOCSIN_ASSIGN_OR_RETURN(
          const std::int64_t start,
          store_.known() ? consumer.QueryBeginningOffset(where, kAsk)
                         : consumer.QueryEndOffset(where, kafka::Isolation::kReadCommitted, kAsk));
      store_.AddPartition(i, start);
      places_.push_back(where);
      assign_again_ = true;
    }
  }
  if (assign_again_) {
    kafka::Offsets from;
    for (std::size_t i = 0; i < places_.size(); ++i) from[places_[i]] = store_.End(i);
    TOCSIN_RETURN_IF_ERROR(consumer.Assign(from));
    assign_again_ = false;
    callbacks_.news(std::vector<bool>(topics.size(), true));
  }
  store_.SetKnown();
  return missing_topics ? kDiscoveryWhileMissing : kDiscovery;
}

std::int64_t LogTail::Index(const kafka::TopicPartition& where) const {
  const auto found = std::find(places_.begin(), places_.end(), where);
  return found == places_.end() ? -1 : found - places_.begin();
}

absl::Status LogTail::Take(kafka::Consumer& /*consumer*/, const kafka::Batch& batch) {
  std::map<kafka::TopicPartition, std::vector<EntryPtr>> entries;
  std::vector<bool> news(store_.topics().size(), false);
  bool any = false;
  for (const kafka::Record& record : batch.records) {
    const std::int64_t index = Index(record.where());
    if (index < 0) continue;
    const std::size_t topic = store_.partition(static_cast<std::size_t>(index)).topic;
    const LiveTopic& live_topic = store_.topics()[topic];
    std::string why;
    entries[record.where()].push_back(MakeEntry(live_topic, record, &why));
    if (!why.empty()) CountUnreadable(live_topic, record, why);
    Trace(live_topic, record);
    news[topic] = true;
    any = true;
  }
  for (const auto& [where, list] : entries) {
    store_.Append(static_cast<std::size_t>(Index(where)), list, list.back()->offset + 1);
  }
  for (const auto& [where, end] : batch.ends) {
    if (const std::int64_t index = Index(where); index >= 0) {
      store_.Append(static_cast<std::size_t>(index), {}, end);
    }
  }
  if (any) callbacks_.news(news);
  return absl::OkStatus();
}

void LogTail::OnMoved(const kafka::TopicPartition& where, std::optional<std::int64_t> /*position*/,
                      std::int64_t beginning) {
  const std::int64_t index = Index(where);
  if (index < 0) return;
  telemetry::LogWarning("the log has moved away from where it was read; going on at its beginning",
                        {{"topic", where.topic},
                         {"partition", where.partition},
                         {"position", store_.End(static_cast<std::size_t>(index))},
                         {"beginning", beginning}});
  store_.Restart(static_cast<std::size_t>(index), beginning);
  callbacks_.news(std::vector<bool>(store_.topics().size(), true));
}

KafkaReplayer::KafkaReplayer(const LogStore& store, ConsumerFactory make_consumer)
    : store_(store), make_consumer_(std::move(make_consumer)) {}

KafkaReplayer::~KafkaReplayer() { Stop(); }

void KafkaReplayer::Start() {
  thread_ = std::thread([this] { Run(); });
}

void KafkaReplayer::BeginStop() {
  MutexLock lock(mutex_);
  stopping_ = true;
  changed_.NotifyAll();
}

void KafkaReplayer::Stop() {
  BeginStop();
  if (thread_.joinable()) thread_.join();
  std::deque<Request> dropped;
  {
    MutexLock lock(mutex_);
    dropped.swap(requests_);
  }
  for (const Request& request : dropped) {
    request.done(Unavailable("the gateway is stopping"));
  }
}

void KafkaReplayer::Read(std::size_t partition, std::int64_t from,
                         std::function<void(absl::StatusOr<ChunkPtr>)> done) {
  MutexLock lock(mutex_);
  // Whoever asks now is ending, or will be told UNAVAILABLE by the edge.
  if (stopping_) return;
  requests_.push_back({partition, from, std::move(done)});
  changed_.NotifyAll();
}

void KafkaReplayer::Run() {
  while (!stopping()) {
    std::vector<Request> round;
    {
      MutexLock lock(mutex_);
      while (requests_.empty() && !stopping_) changed_.Wait(mutex_);
      // What is left is answered by Stop.
      if (stopping_) break;
      // One of each partition: a second one for the same waits, and finds most likely what the
      // first has read.
      std::deque<Request> later;
      for (Request& request : requests_) {
        const bool taken = std::any_of(round.begin(), round.end(), [&](const Request& other) {
          return other.partition == request.partition;
        });
        if (taken || round.size() >= kRound) {
          later.push_back(std::move(request));
        } else {
          round.push_back(std::move(request));
        }
      }
      requests_.swap(later);
    }
    std::vector<Request> unread;
    for (Request& request : round) {
      if (ChunkPtr cached = FindCached(request.partition, request.from)) {
        request.done(std::move(cached));
      } else {
        unread.push_back(std::move(request));
      }
    }
    if (!unread.empty()) Round(std::move(unread));
  }
  if (consumer_ != nullptr) consumer_->Close();
}

bool KafkaReplayer::stopping() {
  MutexLock lock(mutex_);
  return stopping_;
}

ChunkPtr KafkaReplayer::FindCached(std::size_t partition, std::int64_t from) {
  if (from == kEarliest) return nullptr;
  for (const Cached& cached : cache_) {
    if (cached.partition == partition && cached.chunk->from <= from && from < cached.chunk->to) {
      return cached.chunk;
    }
  }
  return nullptr;
}

void KafkaReplayer::Round(std::vector<Request> requests) {
  const auto refuse_all = [](std::vector<Fetching>& all, const absl::Status& status) {
    for (Fetching& fetching : all) {
      if (!fetching.done) fetching.request.done(status);
      fetching.done = true;
    }
  };
  std::vector<Fetching> all;
  for (Request& request : requests) {
    all.emplace_back();
    all.back().request = std::move(request);
  }
  if (consumer_ == nullptr) {
    auto made = make_consumer_();
    if (!made.ok()) return refuse_all(all, made.status());
    consumer_ = *std::move(made);
  }
  kafka::Offsets from;
  for (Fetching& fetching : all) {
    const auto ready = Prepare(fetching);
    if (!ready.ok()) return refuse_all(all, ready.status());
    if (*ready) {
      Finish(fetching);
    } else {
      from[fetching.where] = fetching.chunk->from;
    }
  }
  if (from.empty()) return;
  if (const absl::Status status = consumer_->Assign(from); !status.ok()) {
    return refuse_all(all, status);
  }
  const SteadyTime deadline = std::chrono::steady_clock::now() + kChunkWait;
  const auto open = [](const Fetching& fetching) { return !fetching.done; };
  while (std::any_of(all.begin(), all.end(), open)) {
    if (stopping()) return refuse_all(all, Unavailable("the gateway is stopping"));
    if (std::chrono::steady_clock::now() > deadline) {
      // What has come is worth telling.
      for (Fetching& fetching : all) {
        if (!fetching.done && !fetching.chunk->entries.empty()) Finish(fetching);
      }
      refuse_all(all, Unavailable(Concat("the log gave nothing for ", kChunkWait.count(), " s")));
      break;
    }
    const kafka::Batch batch = consumer_->Poll(kPoll);
    Take(batch, all);
    for (const kafka::PollError& error : batch.errors) {
      if (!error.fatal && error.status.code() != absl::StatusCode::kOutOfRange) continue;
      refuse_all(all, Unavailable(Message(error.status)));
      if (error.fatal) {
        consumer_ = nullptr;
        return;
      }
    }
  }
  // Else it would go on fetching.
  if (const absl::Status status = consumer_->Assign({}); !status.ok()) consumer_ = nullptr;
}

absl::StatusOr<bool> KafkaReplayer::Prepare(Fetching& fetching) {
  const LogStore::Partition id = store_.partition(fetching.request.partition);
  fetching.where = {store_.topics()[id.topic].name, id.number};
  TOCSIN_ASSIGN_OR_RETURN(const std::int64_t begin,
                          consumer_->QueryBeginningOffset(fetching.where, kAsk));
  TOCSIN_ASSIGN_OR_RETURN(
      fetching.end,
      consumer_->QueryEndOffset(fetching.where, kafka::Isolation::kReadCommitted, kAsk));
  const std::int64_t from = fetching.request.from;
  Chunk& chunk = *fetching.chunk;
  if (from != kEarliest && (from < begin || from > fetching.end)) {
    chunk.found = from < begin ? Chunk::kGone : Chunk::kBeyondEnd;
    chunk.from = from;
    chunk.to = begin;
    return true;
  }
  chunk.from = chunk.to = from == kEarliest ? begin : from;
  return chunk.from == fetching.end;
}

void KafkaReplayer::Finish(Fetching& fetching) {
  fetching.done = true;
  ChunkPtr chunk = std::move(fetching.chunk);
  if (chunk->found == Chunk::kWhole && !chunk->entries.empty()) {
    cache_.push_back({fetching.request.partition, chunk});
    if (cache_.size() > kCachedChunks) cache_.pop_front();
  }
  fetching.request.done(std::move(chunk));
}

void KafkaReplayer::Take(const kafka::Batch& batch, std::vector<Fetching>& all) {
  const auto find = [&all](const kafka::TopicPartition& where) -> Fetching* {
    for (Fetching& fetching : all) {
      if (!fetching.done && fetching.where == where) return &fetching;
    }
    return nullptr;
  };
  for (const kafka::Record& record : batch.records) {
    Fetching* fetching = find(record.where());
    if (fetching == nullptr) continue;
    Chunk& chunk = *fetching->chunk;
    const std::size_t topic = store_.partition(fetching->request.partition).topic;
    chunk.entries.push_back(MakeEntry(store_.topics()[topic], record));
    chunk.to = record.offset + 1;
    fetching->bytes += chunk.entries.back()->memory();
    if (chunk.to >= fetching->end || chunk.entries.size() >= kChunkEntries ||
        fetching->bytes >= kChunkBytes) {
      Finish(*fetching);
    }
  }
  for (const auto& [where, end] : batch.ends) {
    if (Fetching* fetching = find(where)) {
      fetching->chunk->to = std::max(fetching->chunk->to, end);
      if (fetching->chunk->to >= fetching->end) Finish(*fetching);
    }
  }
}

}  // namespace tocsin::gateway
