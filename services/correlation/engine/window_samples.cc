#include "services/correlation/engine/window_samples.h"

#include <algorithm>
#include <utility>

namespace tocsin::correlation {
namespace {

aggregate::Value FromSample(const v1::SampleValue& sample) {
  switch (sample.value_case()) {
    case v1::SampleValue::kInteger:
      return sample.integer();
    case v1::SampleValue::kUnsignedInteger:
      return sample.unsigned_integer();
    case v1::SampleValue::kNumber:
      return sample.number();
    case v1::SampleValue::kText:
      return sample.text();
    default:
      return {};
  }
}

}  // namespace

v1::SampleValue ToSample(aggregate::Value value) {
  v1::SampleValue sample;
  if (const auto* whole = std::get_if<std::int64_t>(&value)) sample.set_integer(*whole);
  if (const auto* whole = std::get_if<std::uint64_t>(&value)) sample.set_unsigned_integer(*whole);
  if (const auto* number = std::get_if<double>(&value)) sample.set_number(*number);
  if (auto* text = std::get_if<std::string>(&value)) sample.set_text(std::move(*text));
  return sample;
}

std::vector<aggregate::Accumulator> EmptyAccumulators(const CompiledWindow& window) {
  std::vector<aggregate::Accumulator> accumulators;
  accumulators.reserve(window.aggregates.size());
  for (const CompiledAggregate& aggregate : window.aggregates) {
    accumulators.emplace_back(aggregate.spec);
  }
  return accumulators;
}

void AddSample(const v1::WindowSample& sample, std::vector<aggregate::Accumulator>& accumulators) {
  for (std::size_t i = 0; i < accumulators.size(); ++i) {
    const int at = static_cast<int>(i);
    accumulators[i].Add(at < sample.values_size() ? FromSample(sample.values(at))
                                                  : aggregate::Value());
  }
}

void MergeInto(const Pane& from, std::vector<aggregate::Accumulator>& accumulators) {
  for (std::size_t i = 0; i < accumulators.size(); ++i) accumulators[i].Merge(from.accumulators[i]);
}

void AddTo(Pane& pane, const v1::WindowSample& sample) {
  const std::int64_t time = sample.time_us();
  pane.first_us = pane.events == 0 ? time : std::min(pane.first_us, time);
  pane.last_us = pane.events == 0 ? time : std::max(pane.last_us, time);
  ++pane.events;
  pane.dirty = true;
  AddSample(sample, pane.accumulators);
}

}  // namespace tocsin::correlation
