#include "services/ingest/stream_table.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "lib/base/testing/status_matchers.h"

namespace tocsin::ingest {
namespace {
using ::testing::HasSubstr;

pack::v1::Pack Pack(const std::vector<std::pair<std::string, std::string>>& streams) {
  pack::v1::Pack pack;
  pack.set_name("p");
  for (const auto& [topic, type] : streams) {
    pack::v1::Stream* stream = pack.add_streams();
    stream->set_topic(topic);
    stream->set_message_type(type);
    stream->set_partition_key("key");
  }
  return pack;
}

TEST(StreamTableTest, Routes) {
  struct Case {
    std::string stream;
    std::string type;
    std::string topic;    // or
    std::string message;  // of the refusal
  };
  const std::vector<pack::v1::Pack> packs = {
      Pack({{"alerts.raw", "x.Alert"}, {"iot.readings", "x.Reading"}}),
      Pack({{"iot.archive", "x.Reading"}})};
  const auto table = StreamTable::Build(packs);
  ASSERT_THAT(table, IsOk());
  for (const Case& c : {
           Case{"", "x.Alert", "alerts.raw", ""},
           Case{"alerts.raw", "x.Alert", "alerts.raw", ""},
           Case{"iot.archive", "x.Reading", "iot.archive", ""},
           Case{"", "x.Reading", "", "stream: both iot.archive and iot.readings hold x.Reading"},
           Case{"", "x.Alrt", "", "type: no stream holds 'x.Alrt'; did you mean 'x.Alert'?"},
           Case{"", "", "", "type: no stream holds ''. The types are: x.Alert, "},
           Case{"alerts.rwa", "x.Alert", "",
                "stream: there is no stream 'alerts.rwa'; did you mean 'alerts.raw'? The streams "
                "are: alerts.raw, iot.archive, iot.readings."},
           Case{"alerts.raw", "x.Reading", "",
                "type: 'x.Reading' does not belong in alerts.raw, which holds x.Alert"},
       }) {
    const auto routed = table->Route(c.stream, c.type);
    if (!c.topic.empty()) {
      ASSERT_THAT(routed, IsOk());
      EXPECT_EQ((*routed)->topic, c.topic);
    } else {
      EXPECT_THAT(routed, StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(c.message)));
    }
  }
}

TEST(StreamTableTest, RefusesPacksThatDoNotFit) {
  const std::vector<pack::v1::Pack> twice = {Pack({{"a", "T"}}), Pack({{"a", "T"}})};
  EXPECT_THAT(StreamTable::Build(twice),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("belongs to one pack")));
  const std::vector<pack::v1::Pack> nameless = {Pack({{"a", ""}})};
  EXPECT_THAT(StreamTable::Build(nameless),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("message_type")));
}

}  // namespace
}  // namespace tocsin::ingest
