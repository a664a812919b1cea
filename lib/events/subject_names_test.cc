#include "lib/events/subject_names.h"

#include <gtest/gtest.h>

namespace tocsin::events {
namespace {

TEST(SubjectName, AsConfluentsClientsNameThem) {
  using enum SubjectNaming;
  EXPECT_EQ(SubjectName(kTopicName, "orders", RecordPart::kValue, "acme.v1.Order"), "orders-value");
  EXPECT_EQ(SubjectName(kTopicName, "orders", RecordPart::kKey, "acme.v1.Order"), "orders-key");
  EXPECT_EQ(SubjectName(kRecordName, "orders", RecordPart::kValue, "acme.v1.Order"),
            "acme.v1.Order");
  EXPECT_EQ(SubjectName(kRecordName, "orders", RecordPart::kKey, "acme.v1.Order"), "acme.v1.Order");
  EXPECT_EQ(SubjectName(kTopicRecordName, "orders", RecordPart::kValue, "acme.v1.Order"),
            "orders-acme.v1.Order");
}

TEST(ReferenceSubjectName, IsThePathOrItsQualifiedName) {
  EXPECT_EQ(ReferenceSubjectName(ReferenceNaming::kDefault, "acme/v1/order.proto"),
            "acme/v1/order.proto");
  EXPECT_EQ(ReferenceSubjectName(ReferenceNaming::kQualified, "acme/v1/order.proto"),
            "acme.v1.order");
  EXPECT_EQ(ReferenceSubjectName(ReferenceNaming::kQualified, "order"), "order");
}

}  // namespace
}  // namespace tocsin::events
