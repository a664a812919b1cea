#include "lib/kafka/consumer.h"

namespace tocsin::kafka {

const ViewBatch::Memory& ViewBatch::Nothing() {
  static const Memory nothing;
  return nothing;
}

Batch Consumer::Poll(std::chrono::milliseconds timeout) {
  const ViewBatch views = PollViews(timeout);
  Batch batch;
  batch.records.reserve(views.records().size());
  for (const RecordView& record : views.records()) batch.records.push_back(Own(record));
  batch.ends = views.ends();
  batch.errors = views.errors();
  return batch;
}

}  // namespace tocsin::kafka
