// What each command does, apart from how its flags are written (app.cc). Each returns an exit code,
// or an error from which the exit code and the text for people are made.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "cli/session.h"

namespace tocsin::cli {

using Outcome = absl::StatusOr<int>;

struct PublishFlags {
  std::string stream;
  // JSON text, @FILE, or - for standard input, one event per line.
  std::string data;
  std::string id;
  std::string source = "/tocsin-cli";
  std::string time;
  std::string subject;
  std::string key;
  std::string severity;
  std::string sequence;
  bool dead_letter = false;
};
Outcome Publish(const Session& session, const PublishFlags& flags);

struct ReplayFlags {
  std::string pack;
  std::string csv;
  std::string mapping;
  std::string source;
  std::string speed = "max";
  std::int64_t chunk = 500;
  std::chrono::milliseconds patience = std::chrono::minutes(5);
};
Outcome Replay(const Session& session, const ReplayFlags& flags);

struct ListFlags {
  std::string rule;
  std::string incident;
  std::vector<std::string> states;
  std::string min_severity;
  std::string from;
  std::string to;
  // 0: all.
  std::int64_t limit = 0;
};
Outcome ListIncidents(const Session& session, const ListFlags& flags);
Outcome ListDetections(const Session& session, const ListFlags& flags);
Outcome ListNotifications(const Session& session, const ListFlags& flags);

struct IncidentFlags {
  std::string id;
  std::string etag;
  std::string note;
};
Outcome GetIncident(const Session& session, const IncidentFlags& flags);
Outcome AcknowledgeIncident(const Session& session, const IncidentFlags& flags);
Outcome ResolveIncident(const Session& session, const IncidentFlags& flags);

struct WatchFlags {
  std::vector<std::string> rules;
  std::string min_severity;
  // latest or earliest
  std::string from = "latest";
  std::string cursor;
  // Ends after so many; 0: never.
  std::int64_t count = 0;
};
Outcome WatchIncidents(const Session& session, const WatchFlags& flags);

struct RulesFlags {
  std::vector<std::string> files;
  std::string pack;
  std::string id;
};
Outcome ApplyRules(const Session& session, const RulesFlags& flags);
Outcome ValidateRules(const Session& session, const RulesFlags& flags);
Outcome ListRules(const Session& session);
Outcome DeleteRule(const Session& session, const RulesFlags& flags);

struct TopicsFlags {
  std::vector<std::string> packs;
  std::string kafka;
  int replication = 1;
  bool dry_run = false;
};
Outcome ApplyTopics(const Session& session, const TopicsFlags& flags);

struct TokenFlags {
  std::vector<std::string> roles;
  std::string name;
  std::string lifetime = "24h";
  std::string data;
};
Outcome MakeToken(const Session& session, const TokenFlags& flags);

struct SystemFlags {
  std::string data;
};
Outcome ShowStatus(const Session& session, const SystemFlags& flags);
Outcome ShowVersion(const Session& session);

}  // namespace tocsin::cli
