#include "cli/core/topics.h"

#include <algorithm>

#include "lib/base/text.h"

namespace tocsin::cli {
namespace {

constexpr std::int64_t kDay = std::int64_t{24} * 3600;

std::map<std::string, std::string> DeleteAfter(std::int64_t seconds) {
  return {{"cleanup.policy", "delete"},
          {"retention.ms", std::to_string(seconds * 1000)},
          {"compression.type", "lz4"}};
}

std::map<std::string, std::string> Compacted() {
  return {{"cleanup.policy", "compact"}, {"compression.type", "lz4"}};
}

// Compacted, but for a day everything is there: so long `tocsin verify` can tell what is missing.
std::map<std::string, std::string> CompactedAfterADay() {
  auto configs = Compacted();
  configs["min.compaction.lag.ms"] = std::to_string(kDay * 1000);
  return configs;
}

// alerts.raw → alerts.processed; a stream that does not end in .raw gets a suffix.
std::string ProcessedTopic(std::string_view stream) {
  constexpr std::string_view kRaw = ".raw";
  if (stream.ends_with(kRaw)) stream.remove_suffix(kRaw.size());
  return Concat(stream, ".processed");
}

std::string Describe(const std::map<std::string, std::string>& configs) {
  std::vector<std::string> parts;
  for (const auto& [name, value] : configs) parts.push_back(Concat(name, "=", value));
  return Join(parts, ", ");
}

}  // namespace

std::vector<kafka::TopicSpec> WantedTopics(const std::vector<pack::v1::Pack>& packs,
                                           std::int32_t replication) {
  constexpr std::int32_t kPartitions = 6;
  std::vector<kafka::TopicSpec> topics;
  const auto add = [&](std::string name, std::int32_t partitions,
                       std::map<std::string, std::string> configs) {
    if (replication > 1) configs["min.insync.replicas"] = std::to_string(replication - 1);
    topics.push_back({std::move(name), partitions, replication, std::move(configs)});
  };
  for (const auto& pack : packs) {
    for (const auto& stream : pack.streams()) {
      const std::int64_t keep =
          stream.retention().seconds() > 0 ? stream.retention().seconds() : 7 * kDay;
      add(stream.topic(), stream.partitions(), DeleteAfter(keep));
      if (stream.processed()) {
        add(ProcessedTopic(stream.topic()), stream.partitions(), DeleteAfter(keep));
      }
      if (stream.late()) {
        add(Concat(stream.topic(), ".late"), stream.partitions(), DeleteAfter(30 * kDay));
      }
      add(Concat(stream.topic(), ".dlq"), stream.partitions(), DeleteAfter(30 * kDay));
    }
    for (const auto& table : pack.tables()) {
      const std::int64_t keep = table.has_keep_versions() ? table.keep_versions().seconds() : kDay;
      std::map<std::string, std::string> configs = Compacted();
      // Whoever reads the table anew finds the versions that others still have.
      configs["min.compaction.lag.ms"] = std::to_string(keep * 1000);
      configs["delete.retention.ms"] = std::to_string(std::max(keep, kDay) * 1000);
      add(table.topic(), table.partitions(), std::move(configs));
    }
  }
  add("_schemas", 1, Compacted());
  add("correlation.rules", 1, Compacted());
  add("detections", kPartitions, DeleteAfter(30 * kDay));
  add("aggregates", kPartitions, DeleteAfter(30 * kDay));
  add("incidents.correlated", kPartitions, CompactedAfterADay());
  add("incidents.activity", kPartitions, DeleteAfter(30 * kDay));
  add("notification.sent", kPartitions, DeleteAfter(30 * kDay));
  return topics;
}

std::vector<TopicChange> TopicDifference(
    const std::vector<kafka::TopicSpec>& wanted,
    const std::map<std::string, kafka::TopicDescription>& present) {
  std::vector<TopicChange> changes;
  for (const kafka::TopicSpec& topic : wanted) {
    const auto found = present.find(topic.name);
    if (found == present.end()) {
      changes.push_back(
          {TopicChange::Kind::kCreate, topic,
           Concat("+ ", topic.name, ": ", topic.partitions,
                  topic.partitions == 1 ? " partition" : " partitions", ", replicated ",
                  topic.replication_factor, "×, ", Describe(topic.configs))});
      continue;
    }
    const kafka::TopicDescription& is = found->second;
    if (is.partitions < topic.partitions) {
      changes.push_back({TopicChange::Kind::kGrow, topic,
                         Concat("~ ", topic.name, ": ", is.partitions, " → ", topic.partitions,
                                " partitions (keys move to other partitions)")});
    } else if (is.partitions > topic.partitions) {
      changes.push_back(
          {TopicChange::Kind::kCannot, topic,
           Concat("! ", topic.name, ": has ", is.partitions, " partitions, wanted are ",
                  topic.partitions, "; Kafka cannot take partitions away, so it stays as it is")});
    }
    if (topic.replication_factor > 0 && is.replication_factor != topic.replication_factor) {
      changes.push_back(
          {TopicChange::Kind::kCannot, topic,
           Concat("! ", topic.name, ": is replicated ", is.replication_factor, "×, wanted ",
                  topic.replication_factor, "×; change it with kafka-reassign-partitions")});
    }
    kafka::TopicSpec differing = topic;
    std::vector<std::string> words;
    for (const auto& [name, value] : topic.configs) {
      const auto set = is.configs.find(name);
      if (set != is.configs.end() && set->second == value) {
        differing.configs.erase(name);
        continue;
      }
      words.push_back(
          Concat(name, "=", set == is.configs.end() ? "(unset)" : set->second, " → ", value));
    }
    if (!words.empty()) {
      changes.push_back({TopicChange::Kind::kConfigure, differing,
                         Concat("~ ", topic.name, ": ", Join(words, ", "))});
    }
  }
  return changes;
}

}  // namespace tocsin::cli
