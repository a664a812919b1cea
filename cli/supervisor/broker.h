// The commands that make and run the local broker. How its jars are fetched: cli/broker.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "cli/core/profile.h"

namespace tocsin::cli {

struct BrokerFiles {
  // The program: $JAVA_HOME/bin/java, or java by PATH.
  std::string java;
  // Folder with Kafka's jars.
  std::string jars;
  std::filesystem::path log4j;
  std::filesystem::path properties;
};

std::string JavaProgram(const Environment& environment);

// Makes the log folder, with a new cluster id.
std::vector<std::string> FormatCommand(const BrokerFiles& files);
std::vector<std::string> BrokerCommand(const BrokerFiles& files);

}  // namespace tocsin::cli
