#include "lib/telemetry/log.h"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <atomic>
#include <cmath>
#include <cstdio>
#include <memory>
#include <type_traits>

#include "lib/base/clock.h"
#include "lib/base/mutex.h"
#include "lib/base/status.h"
#include "lib/base/text.h"
#include "lib/base/time.h"
#include "lib/telemetry/json_text.h"
#include "lib/telemetry/trace.h"

namespace tocsin::telemetry {
namespace {

std::atomic<LogLevel> g_level{LogLevel::kInfo};

struct ProcessName {
  Mutex mutex;
  std::string json ABSL_GUARDED_BY(mutex);
};

ProcessName& GetProcessName() {
  static auto* name = new ProcessName;  // outlives every thread that may still log at exit
  return *name;
}

spdlog::logger& Logger() {
  static auto* logger = [] {
    auto made = new spdlog::logger("tocsin", std::make_shared<spdlog::sinks::stderr_sink_mt>());
    made->set_pattern("%v");
    made->set_level(spdlog::level::trace);
    return made;
  }();
  return *logger;
}

std::string_view LevelName(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return "debug";
    case LogLevel::kInfo:
      return "info";
    case LogLevel::kWarning:
      return "warning";
    case LogLevel::kError:
      return "error";
  }
  return "error";
}

}  // namespace

LogValue::LogValue(const absl::Status& status) : value_(Describe(status)) {}

absl::StatusOr<LogLevel> ParseLogLevel(std::string_view text) {
  if (text.empty() || text == "info") return LogLevel::kInfo;
  if (text == "debug") return LogLevel::kDebug;
  if (text == "warning") return LogLevel::kWarning;
  if (text == "error") return LogLevel::kError;
  return InvalidArgument(
      Concat("log level '", text, "' is not one of debug, info, warning, error"));
}

void SetLogLevel(LogLevel level) { g_level.store(level, std::memory_order_relaxed); }

bool LogEnabled(LogLevel level) { return level >= g_level.load(std::memory_order_relaxed); }

void SetLogProcess(std::string_view name) {
  std::string json;
  AppendJsonString(json, name);
  ProcessName& process = GetProcessName();
  MutexLock lock(process.mutex);
  process.json = std::move(json);
}

std::string FormatLogLine(LogLevel level, std::string_view time, std::string_view message,
                          std::initializer_list<LogField> fields) {
  std::string line;
  line.reserve(256);
  line.append(R"({"time":")").append(time).append(R"(","level":")").append(LevelName(level));
  line.push_back('"');
  {
    ProcessName& process = GetProcessName();
    MutexLock lock(process.mutex);
    if (!process.json.empty()) line.append(R"(,"process":)").append(process.json);
  }
  line.append(R"(,"message":)");
  AppendJsonString(line, message);
  for (const LogField& field : fields) {
    line.push_back(',');
    AppendJsonString(line, field.key);
    line.push_back(':');
    std::visit(
        [&line](const auto& value) {
          using T = std::decay_t<decltype(value)>;
          if constexpr (std::is_same_v<T, bool>) {
            line.append(value ? "true" : "false");
          } else if constexpr (std::is_same_v<T, double>) {
            AppendJsonNumber(line, value);
          } else if constexpr (std::is_integral_v<T>) {
            line.append(std::to_string(value));
          } else {
            AppendJsonString(line, value);
          }
        },
        field.value.value_);
  }
  if (const TraceContext& context = CurrentTraceContext(); context.valid()) {
    line.append(R"(,"trace_id":")").append(context.TraceIdHex());
    line.append(R"(","span_id":")").append(context.SpanIdHex()).push_back('"');
  }
  line.push_back('}');
  return line;
}

void Log(LogLevel level, std::string_view message, std::initializer_list<LogField> fields) {
  if (!LogEnabled(level)) return;
  const std::string line = FormatLogLine(level, FormatTime(Clock::Real().Now()), message, fields);
  try {
    // The logger's own level is the lowest, so that this one call serves all of ours.
    Logger().log(spdlog::level::critical, spdlog::string_view_t(line.data(), line.size()));
  } catch (const std::exception&) {
    std::fputs("a log line could not be written\n", stderr);
  }
}

}  // namespace tocsin::telemetry
