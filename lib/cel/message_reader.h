// How an evaluation reads a message. The program knows fields by their descriptors and messages as
// opaque handles, so that the same program runs over a Protobuf object today and over the bytes of
// an event as soon as there is a reader for them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "lib/cel/value.h"

namespace google::protobuf {
class FieldDescriptor;
class Message;
}  // namespace google::protobuf

namespace tocsin::cel {

// Thread-safe: readers have no state of their own. What they return is a view that is good as long
// as the message and the scratch.
class MessageReader {
 public:
  virtual ~MessageReader() = default;

  // A field's value: its default when it is not set, kFieldList or kFieldMap for a repeated one.
  virtual Value Read(MessageHandle message, const google::protobuf::FieldDescriptor& field,
                     Scratch& scratch) const = 0;
  // Proto3 presence: set; not the default where presence is not tracked; not empty when repeated.
  virtual bool Has(MessageHandle message, const google::protobuf::FieldDescriptor& field) const = 0;
  // Of a kFieldList or kFieldMap.
  virtual std::size_t Size(const Value& container) const = 0;
  // Of a kFieldList; `index` is below Size.
  virtual Value Element(const Value& list, std::size_t index, Scratch& scratch) const = 0;
  // Of a kFieldMap; the key has the map's key type. nullopt: there is no such key.
  virtual std::optional<Value> Find(const Value& map, const Value& key, Scratch& scratch) const = 0;
};

// Reads google::protobuf::Message by reflection, generated and dynamic ones alike.
const MessageReader& ReflectionReader();
MessageHandle HandleOf(const google::protobuf::Message& message);

// A google.protobuf.Timestamp (else Duration) of these parts; an error where it is out of range.
Value TimeValue(bool timestamp, std::int64_t seconds, std::int64_t nanos);

}  // namespace tocsin::cel
