// Where the headers of a fetched record lie. Internal to this folder.
//
// librdkafka (2.0.2 to 2.15 at least) gives headers by rd_kafka_message_headers alone, which copies
// every name and value to memory of its own: some 70 ns for each header, more than all else that
// it does for a record. But a message's key and value are where they were fetched, inside the
// record as the broker sent it (Kafka's message format 2):
//
//   length varint | attributes 1 byte, 0 | time delta varint | offset delta varint
//   | key length varint | key | value length varint | value | header count varint | headers
//
// so the headers lie behind the value. Nothing of that is taken on trust: the fields around key and
// value must be there, byte for byte, the headers must fill the record exactly, and no byte outside
// the record is read. Where anything is different the answer is "not here", and the caller asks
// librdkafka. Format 2 is the only one that has headers, and the only one that Kafka 4 writes.
#pragma once

#include <optional>
#include <string_view>

#include "lib/kafka/record_view.h"

namespace tocsin::kafka::internal {

// `key` and `value` as a message shows them: inside of one record, unless they are null or empty,
// for then a pointer says nothing. At least one must not be empty. The entries are in `memory`.
std::optional<HeaderViews> HeadersInPlace(const std::optional<std::string_view>& key,
                                          const std::optional<std::string_view>& value,
                                          HeaderMemory& memory);

}  // namespace tocsin::kafka::internal
