// What a registry holds as records of Confluent's topic `_schemas`: keys and values as its own
// registry writes them. Pure.
#pragma once

#include <optional>
#include <string>

#include "tocsin/schema/v1/registry.pb.h"

namespace tocsin::cli {

struct ConfluentRecord {
  std::string key;
  std::string value;
};

ConfluentRecord SchemaRecord(const schema::v1::Schema& schema);
// Empty subject: everything. STRICT, which Confluent's registry does not know, is written as FULL,
// STRICT_TRANSITIVE as FULL_TRANSITIVE: the strictest that it has.
ConfluentRecord ConfigRecord(const std::string& subject, const schema::v1::Config& config);
ConfluentRecord ModeRecord(const std::string& subject, schema::v1::Mode mode);

}  // namespace tocsin::cli
