#include "services/correlation/rules/window_rule.h"

#include <gmock/gmock.h>
#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>
#include <google/protobuf/dynamic_message.h>
#include <google/protobuf/text_format.h>

#include <memory>
#include <string>
#include <vector>

#include "lib/base/status.h"
#include "lib/base/testing/status_matchers.h"
#include "lib/base/text.h"
#include "services/correlation/rules/compiled_rule.h"

namespace tocsin::correlation {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class WindowRuleTest : public ::testing::Test {
 protected:
  WindowRuleTest() {
    google::protobuf::FileDescriptorProto file;
    const bool parsed = google::protobuf::TextFormat::ParseFromString(
        R"(name: "bid.proto" package: "auction" syntax: "proto3"
           message_type { name: "Bid"
             field { name: "auction" number: 1 type: TYPE_STRING label: LABEL_OPTIONAL }
             field { name: "price" number: 2 type: TYPE_INT64 label: LABEL_OPTIONAL }
             field { name: "weight" number: 3 type: TYPE_DOUBLE label: LABEL_OPTIONAL }
             field { name: "user" number: 4 type: TYPE_STRING label: LABEL_OPTIONAL }
             field { name: "size" number: 5 type: TYPE_UINT64 label: LABEL_OPTIONAL } })",
        &file);
    EXPECT_TRUE(parsed);
    bid_ = pool_.BuildFile(file)->FindMessageTypeByName("Bid");
    streams_ =
        std::make_unique<FixedStreams>(std::vector<StreamInfo>{{"bids", bid_, "auction", nullptr}});
    message_.reset(factory_.GetPrototype(bid_)->New());
  }

  absl::StatusOr<std::shared_ptr<const CompiledRule>> Compile(const std::string& window,
                                                              const std::string& more = "") {
    return CompileRule(Concat("id: w\nstream: bids\n", more, "window: ", window, "\n"), "w.yaml",
                       *streams_);
  }
  std::string Refusal(const std::string& window, const std::string& more = "") {
    return std::string(Message(Compile(window, more).status()));
  }

  google::protobuf::DescriptorPool pool_;
  google::protobuf::DynamicMessageFactory factory_;
  const google::protobuf::Descriptor* bid_ = nullptr;
  std::unique_ptr<FixedStreams> streams_;
  std::unique_ptr<google::protobuf::Message> message_;
};

constexpr char kCount[] = "aggregates: [{name: n, function: count}]";
constexpr char kEventTime[] = "order: event_time\n";

TEST_F(WindowRuleTest, ATumblingWindowWithEverything) {
  const auto rule = Compile(
      "{type: tumbling, size: 10s, grace: 4s, group-by: [auction], emit: every, every: 5s, "
      "max-keys: 7, aggregates: [{name: n, function: count}, {name: total, function: sum, field: "
      "price}, {name: w, function: avg, field: weight}, {name: p, function: percentile, field: "
      "size, percentile: 99.5}, {name: hot, function: top_k, field: user, k: 3}, {name: u, "
      "function: distinct, field: user}, {name: r, function: rate}]}",
      "order: event_time\nmax-disorder: 3s\n");
  ASSERT_THAT(rule.status(), IsOk());
  const CompiledWindow* window = (*rule)->window();
  ASSERT_NE(window, nullptr);
  EXPECT_EQ(window->type, WindowType::kTumbling);
  EXPECT_EQ(window->size, seconds(10));
  EXPECT_EQ(window->slide, seconds(10));
  EXPECT_EQ(window->pane, seconds(10));
  EXPECT_EQ(window->grace, seconds(4));
  EXPECT_EQ(window->emit, Emit::kEvery);
  EXPECT_EQ(window->every, seconds(5));
  EXPECT_EQ(window->max_keys, 7);
  EXPECT_EQ(window->longest_open(), seconds(14));
  EXPECT_TRUE((*rule)->local());
  EXPECT_TRUE(window->aggregates[1].spec.integer);
  EXPECT_FALSE(window->aggregates[2].spec.integer);
  EXPECT_EQ(window->aggregates[3].spec.percentile, 99.5);
  EXPECT_EQ(window->aggregates[4].spec.k, 3);
  EXPECT_EQ(window->aggregates[6].spec.function, aggregate::Function::kRate);

  ASSERT_TRUE(google::protobuf::TextFormat::ParseFromString(
      "auction: 'a' price: -5 weight: 0.5 size: 18446744073709551615", message_.get()));
  const std::vector<aggregate::Value> values = window->Values(*message_);
  EXPECT_THAT(values, ElementsAre(aggregate::Value(), aggregate::Value(std::int64_t{-5}),
                                  aggregate::Value(0.5),
                                  aggregate::Value(std::uint64_t{18446744073709551615U}),
                                  // An empty text is missing.
                                  aggregate::Value(), aggregate::Value(), aggregate::Value()));
}

TEST_F(WindowRuleTest, CorrectWithinIsLongerThanGrace) {
  const std::string window = Concat("{type: tumbling, size: 10s, grace: 4s, ", kCount, "}");
  const auto compile = [&](const char* more) { return Compile(window, Concat(kEventTime, more)); };
  const auto rule = compile("correct-within: 1m\n");
  ASSERT_THAT(rule.status(), IsOk());
  EXPECT_EQ((*rule)->window()->correct_within, std::chrono::minutes(1));
  EXPECT_EQ((*rule)->window()->longest_open(), seconds(14));
  EXPECT_THAT(compile("correct-within: 4s\n").status().message(), HasSubstr("longer than 'grace'"));
  EXPECT_THAT(compile("correct-within: 3h\n").status().message(), HasSubstr("at most 1000"));
  EXPECT_THAT(Compile(Concat("{type: tumbling, size: 10s, ", kCount, "}"), "correct-within: 1m\n")
                  .status()
                  .message(),
              HasSubstr("'order: event_time' only"));
  EXPECT_THAT(Compile(Concat("{type: sliding, size: 10s, ", kCount, "}"),
                      Concat(kEventTime, "correct-within: 1m\n"))
                  .status()
                  .message(),
              HasSubstr("sliding"));
}

TEST_F(WindowRuleTest, HoppingWindowsShareTheLargestPieces) {
  const auto rule =
      Compile(Concat("{type: hopping, size: 10s, slide: 4s, grace: 0s, ", kCount, "}"), kEventTime);
  ASSERT_THAT(rule.status(), IsOk());
  EXPECT_EQ((*rule)->window()->pane, seconds(2));
  EXPECT_EQ((*rule)->window()->emit, Emit::kOnClose);
  EXPECT_EQ((*rule)->repartition_topic(), "correlation-bids-by-.all-repartition")
      << "without group-by all events have one key";
  ASSERT_THAT((*rule)->GroupKey(*message_).has_value(), true);
}

TEST_F(WindowRuleTest, SlidingAndSession) {
  const auto sliding = Compile(Concat("{type: sliding, size: 100ms, ", kCount, "}"), kEventTime);
  ASSERT_THAT(sliding.status(), IsOk());
  EXPECT_EQ((*sliding)->window()->emit, Emit::kOnChange);
  EXPECT_EQ((*sliding)->window()->pane, milliseconds(6));
  const auto session = Compile(Concat("{type: session, gap: 10s, ttl: 1h, ", kCount, "}"));
  ASSERT_THAT(session.status(), IsOk());
  EXPECT_EQ((*session)->window()->ttl, seconds(3600));
  EXPECT_EQ((*session)->window()->max_keys, 100'000);
}

TEST_F(WindowRuleTest, DefaultsWrittenOutChangeNothing) {
  const auto left = Compile(Concat("{type: tumbling, size: 10s, ", kCount, "}"));
  const auto right = Compile(
      Concat("{type: tumbling, size: 10000ms, emit: on_close, max-keys: 100000, ", kCount, "}"),
      "order: arrival\n");
  ASSERT_THAT(left.status(), IsOk());
  ASSERT_THAT(right.status(), IsOk());
  EXPECT_EQ((*left)->content_hash(), (*right)->content_hash());
}

TEST_F(WindowRuleTest, RefusesWithPlaceAndReason) {
  EXPECT_THAT(Refusal(Concat("{type: tumbling, size: 10s, ", kCount, "}"), kEventTime),
              HasSubstr("w.yaml:4:1: 'grace' is missing"));
  EXPECT_THAT(Refusal(Concat("{type: tumbling, size: 10s, grace: 1s, ", kCount, "}")),
              HasSubstr("w.yaml:3:37: 'grace' means something with 'order: event_time' only"));
  EXPECT_THAT(Refusal(Concat("{type: sliding, size: 10s, grace: 1s, ", kCount, "}"), kEventTime),
              HasSubstr("does not belong to sliding windows"));
  EXPECT_THAT(Refusal(Concat("{size: 10s, ", kCount, "}")), HasSubstr("'type' is missing"));
  EXPECT_THAT(Refusal(Concat("{type: tumbling, ", kCount, "}")), HasSubstr("'size' is missing"));
  EXPECT_THAT(Refusal(Concat("{type: tumbling, size: 10s, slide: 2s, ", kCount, "}")),
              HasSubstr("'slide' belongs to hopping windows"));
  EXPECT_THAT(Refusal(Concat("{type: hopping, size: 10s, slide: 20s, ", kCount, "}")),
              HasSubstr("'slide' is longer than 'size' (10s)"));
  EXPECT_THAT(Refusal(Concat("{type: hopping, size: 10s, slide: 1ms, ", kCount, "}")),
              HasSubstr("10000 pieces"));
  EXPECT_THAT(Refusal(Concat("{type: tumbling, size: 1500us, ", kCount, "}")),
              HasSubstr("must be whole milliseconds"));
  EXPECT_THAT(Refusal(Concat("{type: sliding, size: 1s, emit: on_close, ", kCount, "}")),
              HasSubstr("sliding windows do not close"));
  EXPECT_THAT(Refusal(Concat("{type: tumbling, size: 1s, emit: every, ", kCount, "}")),
              HasSubstr("'every' is missing"));
  EXPECT_THAT(Refusal(Concat("{type: tumbling, size: 1s, every: 1s, ", kCount, "}")),
              HasSubstr("'every' belongs to 'emit: every'"));
  EXPECT_THAT(
      Refusal(Concat("{type: tumbling, size: 1s, grace: 0s, ttl: 1h, ", kCount, "}"), kEventTime),
      HasSubstr("'ttl' means something with 'order: arrival' only"));
  EXPECT_THAT(Refusal(Concat("{type: tumbling, size: 1s, max-keys: 0, ", kCount, "}")),
              HasSubstr("'max_keys' must be from 1 to"));
  EXPECT_THAT(Refusal("{type: tumbling, size: 1s}"), HasSubstr("'aggregates' is missing"));
  EXPECT_THAT(Refusal(Concat("{type: tumbling, size: 1s, ", kCount, "}"),
                      "correlation: {type: event_count}\n"),
              HasSubstr("w.yaml:3:1: a rule has either 'correlation'"));
  EXPECT_THAT(Refusal(Concat("{type: tumbling, size: 1s, ", kCount, "}"), "incident: {title: x}\n"),
              HasSubstr("'incident' belongs to 'correlation'"));
  EXPECT_THAT(Refusal(Concat("{type: tumbling, size: 1s, group-by: [usr], ", kCount, "}")),
              HasSubstr("unknown field 'usr' in auction.Bid; did you mean 'user'?"));
}

TEST_F(WindowRuleTest, RefusesAggregatesThatMakeNoSense) {
  const auto refusal = [&](const std::string& aggregate) {
    return Refusal(Concat("{type: tumbling, size: 1s, aggregates: [", aggregate, "]}"));
  };
  EXPECT_THAT(refusal("{function: count}"), HasSubstr("'name' is missing"));
  EXPECT_THAT(refusal("{name: a}"), HasSubstr("'function' is missing"));
  EXPECT_THAT(refusal("{name: a, function: sum}"), HasSubstr("'field' is missing"));
  EXPECT_THAT(refusal("{name: a, function: count, field: price}"),
              HasSubstr("'field' does not belong to count and rate"));
  EXPECT_THAT(refusal("{name: a, function: sum, field: user}"),
              HasSubstr("'user' is no number (string): nothing can be computed with it"));
  EXPECT_THAT(refusal("{name: a, function: top_k, field: weight, k: 1}"),
              HasSubstr("floating-point"));
  EXPECT_THAT(refusal("{name: a, function: top_k, field: user}"), HasSubstr("'k' is missing"));
  EXPECT_THAT(refusal("{name: a, function: percentile, field: price}"),
              HasSubstr("'percentile' is missing"));
  EXPECT_THAT(refusal("{name: a, function: percentile, field: price, percentile: 101}"),
              HasSubstr("above 0 and at most 100"));
  EXPECT_THAT(refusal("{name: a, function: count}, {name: a, function: rate}"),
              AllOf(HasSubstr("w.yaml:3:"), HasSubstr("two aggregates are named 'a'")));
  std::string many = "{name: a, function: top_k, field: user, k: 1}";
  for (const char* name : {"b", "c", "d"}) {
    many += Concat(", {name: ", name, ", function: top_k, field: user, k: 1}");
  }
  EXPECT_THAT(refusal(many), HasSubstr("more than fits into one Kafka message"));
}

}  // namespace
}  // namespace tocsin::correlation
