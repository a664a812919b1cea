// States of accumulators as they may lie, damaged, in a state store: the first byte chooses the
// function, the rest is an AccumulatorState. What is accepted can be used, merged, saved and loaded
// again, and says the same then.
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "services/correlation/aggregate/accumulator.h"
#include "tocsin/correlation/v1/aggregate.pb.h"
#include "tocsin/correlation/v1/aggregate_state.pb.h"

namespace {

using namespace tocsin::correlation;  // NOLINT(google-build-using-namespace): a program of one file
using aggregate::Accumulator;

void Require(bool holds) {
  if (!holds) std::abort();
}

std::string Result(const Accumulator& accumulator) {
  v1::AggregateValue result;
  accumulator.Result(std::chrono::seconds(10), result);
  return result.SerializeAsString();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  aggregate::Spec spec;
  spec.function = static_cast<aggregate::Function>(data[0] % 10);
  spec.integer = (data[0] & 0x80U) != 0;
  spec.percentile = 99;
  spec.k = 3;
  v1::AccumulatorState state;
  if (!state.ParseFromArray(data + 1, static_cast<int>(size - 1))) return 0;
  const auto loaded = Accumulator::Load(spec, state);
  if (!loaded.ok()) return 0;
  v1::AccumulatorState saved;
  loaded->Save(saved);
  Require(saved.ByteSizeLong() <= aggregate::LargestState(spec.function));
  const auto again = Accumulator::Load(spec, saved);
  Require(again.ok());
  Require(Result(*again) == Result(*loaded));
  Accumulator both = *loaded;
  both.Merge(*again);
  both.Add(std::int64_t{7});
  both.Add(0.5);
  both.Add(std::string("value"));
  (void)Result(both);
  return 0;
}
