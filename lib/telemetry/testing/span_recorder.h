// Spans as they end, for tests that assert names, parents, links and attributes.
//
//   SpanRecorder recorder;
//   … code under test …
//   EXPECT_THAT(recorder.Find("send alerts.raw"), …);
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "lib/telemetry/trace.h"

namespace tocsin::telemetry::testing {

struct RecordedSpan {
  std::string name;
  SpanKind kind = SpanKind::kInternal;
  std::string trace_id;
  std::string span_id;
  // Empty for the first of a trace.
  std::string parent_span_id;
  // Span ids.
  std::vector<std::string> links;
  // Numbers and truth values as text.
  std::map<std::string, std::string> attributes;
  bool error = false;
};

// One at a time; spans go nowhere else while it lives. Thread-safe.
class SpanRecorder {
 public:
  SpanRecorder();
  ~SpanRecorder();
  SpanRecorder(const SpanRecorder&) = delete;
  SpanRecorder& operator=(const SpanRecorder&) = delete;

  // In the order in which they ended.
  std::vector<RecordedSpan> spans() const;
  std::vector<RecordedSpan> Find(std::string_view name) const;

  struct Store;

 private:
  std::shared_ptr<Store> store_;
};

}  // namespace tocsin::telemetry::testing
