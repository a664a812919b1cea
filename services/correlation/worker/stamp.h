// How each output tells which transaction it belongs to, so that any reader can see one that is
// torn, lost, repeated or out of order. The format is docs/formats/correlation-state.md's.
//
//   tocsin.transaction   <worker>/<incarnation>/<transaction>/<i>/<n>
//   tocsin.inputs        <topic>:<partition>:<first>-<last>[,…]   what its task took in
//
// All functions are pure.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace tocsin::correlation {

inline constexpr std::string_view kTransactionHeader = "tocsin.transaction";
inline constexpr std::string_view kInputsHeader = "tocsin.inputs";
// Where the last stamp of a task lies in its state.
inline constexpr std::string_view kStampKey = "x";

struct TransactionStamp {
  std::string worker;
  // Counts the producers of this worker.
  std::int64_t incarnation = 0;
  // Counts the transactions with outputs of this incarnation that were committed, from 1 on.
  std::int64_t transaction = 0;
  // Outputs of the transaction, over all its tasks.
  std::int64_t outputs = 0;

  // The header of output number `i`, from 1 on.
  std::string Header(std::int64_t i) const;
  // The value under kStampKey.
  std::string Serialize() const;
  friend bool operator==(const TransactionStamp&, const TransactionStamp&) = default;
};

struct OutputStamp {
  TransactionStamp transaction;
  std::int64_t i = 0;
};

// nullopt when it is not a stamp.
std::optional<OutputStamp> ParseStamp(std::string_view header);

// First and last offset by input topic.
using InputRanges = std::map<std::string, std::pair<std::int64_t, std::int64_t>>;
std::string FormatInputs(const InputRanges& ranges, std::int32_t partition);

}  // namespace tocsin::correlation
