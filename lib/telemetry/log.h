// Structured logs: one JSON object per line on stderr.
//
//   telemetry::LogInfo("subscribed", {{"topic", topic}, {"partitions", count}});
//   {"time":"2026-11-21T06:50:44.123456Z","level":"info","process":"ingest","message":"subscribed",
//    "topic":"alerts.raw","partitions":6,"trace_id":"…","span_id":"…"}
//
// The ids are those of the thread's current span (trace.h). The message is a constant sentence;
// what varies is a field. Texts are escaped, so no input can forge a line. Never log a token, a
// password or the data of an event.
//
// Threads: all functions from any thread. Blocking: one write to stderr.
#pragma once

#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <variant>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace tocsin::telemetry {

enum class LogLevel { kDebug, kInfo, kWarning, kError };

// "debug", "info", "warning", "error"; empty means info. INVALID_ARGUMENT lists them.
absl::StatusOr<LogLevel> ParseLogLevel(std::string_view text);

// A value that is only looked at during the call that logs it.
class LogValue {
 public:
  LogValue(std::string_view text) : value_(text) {}  // NOLINT: implicit on purpose
  LogValue(const std::string& text) : value_(std::string_view(text)) {}  // NOLINT
  LogValue(const char* text) : value_(std::string_view(text)) {}         // NOLINT
  LogValue(bool value) : value_(value) {}                                // NOLINT
  LogValue(double value) : value_(value) {}                              // NOLINT
  template <std::signed_integral T>
  LogValue(T value) : value_(static_cast<std::int64_t>(value)) {}  // NOLINT
  template <std::unsigned_integral T>
  requires(!std::same_as<T, bool>) LogValue(T value)
      : value_(static_cast<std::uint64_t>(value)) {}  // NOLINT
  // "UNAVAILABLE: no answer from …"
  LogValue(const absl::Status& status);  // NOLINT

 private:
  friend void Log(LogLevel, std::string_view, std::initializer_list<struct LogField>);
  friend std::string FormatLogLine(LogLevel, std::string_view, std::string_view,
                                   std::initializer_list<struct LogField>);
  std::variant<std::string_view, bool, double, std::int64_t, std::uint64_t, std::string> value_;
};

struct LogField {
  std::string_view key;
  LogValue value;
};

// Lines below this level are dropped. Default: info.
void SetLogLevel(LogLevel level);
bool LogEnabled(LogLevel level);
// The value of "process" in every line.
void SetLogProcess(std::string_view name);

void Log(LogLevel level, std::string_view message, std::initializer_list<LogField> fields = {});
inline void LogDebug(std::string_view message, std::initializer_list<LogField> fields = {}) {
  if (LogEnabled(LogLevel::kDebug)) Log(LogLevel::kDebug, message, fields);
}
inline void LogInfo(std::string_view message, std::initializer_list<LogField> fields = {}) {
  Log(LogLevel::kInfo, message, fields);
}
inline void LogWarning(std::string_view message, std::initializer_list<LogField> fields = {}) {
  Log(LogLevel::kWarning, message, fields);
}
inline void LogError(std::string_view message, std::initializer_list<LogField> fields = {}) {
  Log(LogLevel::kError, message, fields);
}

// The line without its end, for tests: `time` is written as given.
std::string FormatLogLine(LogLevel level, std::string_view time, std::string_view message,
                          std::initializer_list<LogField> fields);

}  // namespace tocsin::telemetry
