#include "services/correlation/engine/packed_event.h"

#include <gtest/gtest.h>

#include "google/protobuf/util/time_util.h"
#include "services/correlation/engine/keys.h"

namespace tocsin::correlation {
namespace {

v1::StoredEvent Message(const Envelope& envelope, std::int32_t partition, std::int64_t offset,
                        const std::string& value) {
  v1::StoredEvent event;
  event.mutable_reference()->set_topic("calls.raw");
  event.mutable_reference()->set_partition(partition);
  event.mutable_reference()->set_offset(offset);
  event.mutable_reference()->set_source(std::string(envelope.source));
  event.mutable_reference()->set_id(std::string(envelope.id));
  event.mutable_reference()->set_sequence(std::string(envelope.sequence));
  *event.mutable_reference()->mutable_time() =
      google::protobuf::util::TimeUtil::MicrosecondsToTimestamp(Micros(envelope.time));
  event.set_traceparent(std::string(envelope.traceparent));
  event.set_value(value);
  return event;
}

TEST(PackedEventTest, IsTheWireFormOfTheMessage) {
  const std::string longest(300, 'x');
  for (const std::string_view text :
       {std::string_view(""), std::string_view("a"), std::string_view(longest)}) {
    for (const std::int32_t partition : {0, 5, -1}) {
      for (const std::int64_t offset :
           {std::int64_t{0}, std::int64_t{127}, std::int64_t{1} << 40}) {
        Envelope envelope;
        envelope.source = text;
        envelope.id = "id";
        envelope.sequence = text;
        envelope.traceparent = text;
        envelope.time = FromMicros(-1'234'567);
        const v1::StoredEvent message = Message(envelope, partition, offset, std::string(text));
        std::string packed;
        AppendPacked(envelope, "calls.raw", partition, offset, text, packed);
        std::string from_message;
        AppendPacked(message, from_message);
        EXPECT_EQ(packed, from_message);
        std::string_view rest = packed;
        const auto taken = TakePacked(rest);
        ASSERT_TRUE(taken.has_value());
        EXPECT_TRUE(rest.empty());
        EXPECT_EQ(taken->time_us, -1'234'567);
        EXPECT_EQ(taken->value, text);
        EXPECT_EQ(Unpack(*taken).SerializeAsString(), message.SerializeAsString());
      }
    }
  }
}

TEST(PackedEventTest, TheEndIsSeenAndWhatIsCutOffIsNotRead) {
  Envelope envelope;
  envelope.id = "id";
  std::string packed;
  AppendPacked(envelope, "calls.raw", 0, 1, "value", packed);
  for (std::size_t size = 0; size < packed.size(); ++size) {
    std::string_view rest = std::string_view(packed).substr(0, size);
    EXPECT_FALSE(TakePacked(rest).has_value()) << size;
  }
}

}  // namespace
}  // namespace tocsin::correlation
