#include "cli/supervisor/broker.h"

#include <openssl/rand.h>

#include "lib/base/hex.h"
#include "lib/base/text.h"

namespace tocsin::cli {
namespace {

// As Kafka makes them: 16 random bytes; it takes one that begins with a dash for an option.
std::string ClusterId() {
  for (;;) {
    unsigned char bytes[16];
    RAND_bytes(bytes, sizeof(bytes));
    std::string id = Base64UrlEncode({reinterpret_cast<const char*>(bytes), sizeof(bytes)});
    if (id.front() != '-') return id;
  }
}

std::string Log4j(const BrokerFiles& files) {
  return Concat("-Dlog4j2.configurationFile=", files.log4j.string());
}

}  // namespace

std::string JavaProgram(const Environment& environment) {
  const auto home = environment.find("JAVA_HOME");
  return home == environment.end() || home->second.empty() ? "java" : home->second + "/bin/java";
}

std::vector<std::string> FormatCommand(const BrokerFiles& files) {
  return {files.java,
          "-Xmx256m",
          "-XX:+UseSerialGC",
          "-XX:TieredStopAtLevel=1",
          Log4j(files),
          "-cp",
          files.jars + "/*",
          "kafka.tools.StorageTool",
          "format",
          "--ignore-formatted",
          "-t",
          ClusterId(),
          "-c",
          files.properties.string()};
}

std::vector<std::string> BrokerCommand(const BrokerFiles& files) {
  return {files.java,    "-Xms128m",
          "-Xmx512m",    "-XX:+UseSerialGC",
          Log4j(files),  "-Dlog4j2.disable.jmx=true",
          "-cp",         files.jars + "/*",
          "kafka.Kafka", files.properties.string()};
}

}  // namespace tocsin::cli
