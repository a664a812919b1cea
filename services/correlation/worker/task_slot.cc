#include "services/correlation/worker/task_slot.h"

namespace tocsin::correlation {

std::string TaskSlot::Name() const { return kafka::Describe({plan->stream().topic, partition}); }

kafka::TopicPartition TaskSlot::Changelog() const {
  return {plan->stream().ChangelogTopic(), partition};
}

}  // namespace tocsin::correlation
