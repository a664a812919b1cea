#include "services/correlation/worker/draft.h"

#include <algorithm>
#include <utility>

#include "lib/base/status.h"

namespace tocsin::correlation {

void Draft::Add(TaskSlot& slot, const TaskInput& input, TaskResult result, SteadyTime now) {
  if (!began_.has_value()) began_ = now;
  Share& share = shares_[&slot];
  share.slot = &slot;
  share.unflushed = true;
  records_ += input.records.size();
  // Records of a partition come together and in order.
  std::string_view topic;
  std::pair<std::int64_t, std::int64_t>* range = nullptr;
  for (const kafka::RecordView* record : input.records) {
    if (range == nullptr || record->topic.data() != topic.data()) {
      topic = record->topic;
      range = &share.inputs.try_emplace(std::string(topic), record->offset, record->offset)
                   .first->second;
    }
    range->second = std::max(range->second, record->offset);
  }
  for (const auto& [read, next] : input.next_offsets) share.next[read] = next;
  outputs_ += result.outputs.size();
  for (OutputRecord& output : result.outputs) {
    bytes_ += output.record.value.has_value() ? output.record.value->size() : 0;
    share.outputs.push_back(std::move(output));
  }
  share.counts.push_back(std::move(result.counts));
}

bool Draft::empty() const {
  return std::all_of(shares_.begin(), shares_.end(), [](const auto& entry) {
    return entry.second.outputs.empty() && !entry.second.unflushed && entry.first->overlay->empty();
  });
}

absl::Status Draft::Flush() {
  for (auto& [slot, share] : shares_) {
    if (!std::exchange(share.unflushed, false)) continue;
    slot->task->Flush(*slot->overlay);
    if (absl::Status read = slot->overlay->status(); !read.ok()) {
      return Annotate(read, slot->Name());
    }
  }
  return absl::OkStatus();
}

Draft::Handed Draft::HandOver(TransactionStamp stamp) {
  Handed handed;
  TransactionContent& content = handed.content;
  stamp.outputs = static_cast<std::int64_t>(outputs_);
  const std::string stamp_value = outputs_ > 0 ? stamp.Serialize() : "";
  for (auto& [slot, share] : shares_) {
    if (share.outputs.empty() && slot->overlay->empty()) continue;
    if (outputs_ > 0) slot->overlay->Put(kStampKey, stamp_value);
    share.changes = std::make_shared<const StateChanges>(slot->overlay->Release());
    slot->in_flight->Set(share.changes);
    if (!share.outputs.empty()) {
      TransactionContent::Outputs& of_task = content.outputs.emplace_back();
      of_task.inputs = FormatInputs(share.inputs, slot->partition);
      of_task.records.reserve(share.outputs.size());
      for (OutputRecord& output : share.outputs) {
        of_task.records.push_back(std::move(output.record));
      }
      share.outputs.clear();
    }
    if (!share.changes->empty()) content.changes.push_back({slot->Changelog(), share.changes});
    for (const auto& [topic, next] : share.next) content.offsets[{topic, slot->partition}] = next;
    handed.shares.push_back(std::move(share));
  }
  content.stamp = std::move(stamp);
  Clear();
  return handed;
}

}  // namespace tocsin::correlation
