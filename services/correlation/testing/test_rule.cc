#include "services/correlation/testing/test_rule.h"

#include <algorithm>

#include "absl/strings/str_format.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/descriptor.pb.h"
#include "google/protobuf/dynamic_message.h"
#include "lib/base/text.h"
#include "lib/base/time.h"
#include "lib/schema/wire_format.h"

namespace tocsin::correlation::testing {
namespace {

using google::protobuf::DescriptorPool;
using google::protobuf::FieldDescriptorProto;
using google::protobuf::Message;

const google::protobuf::FieldDescriptor* Field(const Message& message, const std::string& name) {
  return message.GetDescriptor()->FindFieldByName(name);
}

class TestRule final : public CompiledRule {
 public:
  explicit TestRule(RuleSpec spec) : spec_(std::move(spec)) {
    rule_.set_id(spec_.id);
    rule_.set_title("title of " + spec_.id);
    rule_.set_stream(spec_.stream);
    rule_.set_severity(tocsin::event::v1::SEVERITY_HIGH);
    for (const std::string& field : spec_.group_by)
      rule_.mutable_correlation()->add_group_by(field);
    rule_.mutable_correlation()->mutable_condition()->set_gte(spec_.at_least);
    if (spec_.correct_within.count() > 0) {
      rule_.mutable_correct_within()->set_seconds(spec_.correct_within.count());
    }
    hash_ = Concat(std::hash<std::string>()(rule_.SerializeAsString() + spec_.count_field),
                   "-hash-of-it");
    for (int i = 0; i < CallDescriptor()->field_count(); ++i) {
      paths_.push_back({CallDescriptor()->field(i)});
    }
    repartition_ =
        Concat("correlation-", spec_.stream, "-by-", Join(spec_.group_by, "-"), "-repartition");
  }
  const tocsin::rule::v1::Rule& spec() const override { return rule_; }
  const std::string& content_hash() const override { return hash_; }
  const std::string& source() const override { return source_; }
  const google::protobuf::Descriptor* descriptor() const override { return CallDescriptor(); }
  RuleOrder order() const override { return spec_.order; }
  std::chrono::microseconds max_disorder() const override { return spec_.max_disorder; }
  std::chrono::microseconds idle_timeout() const override { return spec_.idle_timeout; }
  RuleType type() const override {
    return spec_.count_field.empty() ? RuleType::kEventCount : RuleType::kValueCount;
  }
  std::chrono::microseconds timespan() const override { return spec_.timespan; }
  std::chrono::microseconds join_within() const override { return spec_.join_within; }
  const std::string& incident_title() const override { return rule_.title(); }
  bool local() const override {
    return std::find(spec_.group_by.begin(), spec_.group_by.end(), "township") !=
           spec_.group_by.end();
  }
  const std::string& repartition_topic() const override { return local() ? source_ : repartition_; }
  bool Matches(const Message& message, absl::Status*) const override {
    return spec_.agency.empty() || Text(message, "agency") == spec_.agency;
  }
  std::optional<std::vector<std::string>> GroupKey(const Message& message) const override {
    return Texts(message, spec_.group_by);
  }
  std::optional<std::vector<std::string>> Value(const Message& message) const override {
    if (spec_.count_field.empty()) return std::vector<std::string>();
    return Texts(message, {spec_.count_field});
  }
  const std::vector<schema::FieldPath>& paths() const override { return paths_; }
  bool Matches(const schema::FieldView& fields, absl::Status*) const override {
    return spec_.agency.empty() || fields[At("agency")].text() == spec_.agency;
  }
  bool JoinedGroupKey(const schema::FieldView& fields, std::string& joined) const override {
    return Joined(fields, spec_.group_by, joined);
  }
  bool JoinedValue(const schema::FieldView& fields, std::string& joined) const override {
    joined.clear();
    return spec_.count_field.empty() || Joined(fields, {spec_.count_field}, joined);
  }
  bool ConditionHolds(std::int64_t value) const override { return value >= spec_.at_least; }

 private:
  static std::size_t At(const std::string& field) {
    return static_cast<std::size_t>(CallDescriptor()->FindFieldByName(field)->index());
  }
  static bool Joined(const schema::FieldView& fields, const std::vector<std::string>& names,
                     std::string& joined) {
    std::vector<std::string> texts;
    for (const std::string& name : names) {
      texts.emplace_back(fields[At(name)].text());
      if (texts.back().empty()) return false;
    }
    joined = JoinKey(texts);
    return true;
  }
  static std::string Text(const Message& message, const std::string& field) {
    return message.GetReflection()->GetString(message, Field(message, field));
  }
  static std::optional<std::vector<std::string>> Texts(const Message& message,
                                                       const std::vector<std::string>& fields) {
    std::vector<std::string> texts;
    for (const std::string& field : fields) {
      texts.push_back(Text(message, field));
      if (texts.back().empty()) return std::nullopt;
    }
    return texts;
  }

  const RuleSpec spec_;
  tocsin::rule::v1::Rule rule_;
  std::string hash_;
  std::string source_;
  std::string repartition_;
  std::vector<schema::FieldPath> paths_;
};

}  // namespace

const google::protobuf::Descriptor* CallDescriptor() {
  static const google::protobuf::Descriptor* const descriptor = [] {
    google::protobuf::FileDescriptorProto file;
    file.set_name("test/call.proto");
    file.set_package("test");
    file.set_syntax("proto3");
    google::protobuf::DescriptorProto* call = file.add_message_type();
    call->set_name("Call");
    int number = 0;
    for (const char* name : {"place", "township", "agency"}) {
      FieldDescriptorProto* field = call->add_field();
      field->set_name(name);
      field->set_number(++number);
      field->set_type(FieldDescriptorProto::TYPE_STRING);
      field->set_label(FieldDescriptorProto::LABEL_OPTIONAL);
    }
    static DescriptorPool pool;
    return pool.BuildFile(file)->FindMessageTypeByName("Call");
  }();
  return descriptor;
}

std::shared_ptr<const CompiledRule> MakeRule(RuleSpec spec) {
  return std::make_shared<TestRule>(std::move(spec));
}

kafka::Record MakeCallRecord(const Call& call, std::int32_t partition, std::int64_t offset) {
  static google::protobuf::DynamicMessageFactory factory;
  const std::unique_ptr<Message> message(factory.GetPrototype(CallDescriptor())->New());
  const auto set = [&](const char* field, const std::string& text) {
    message->GetReflection()->SetString(message.get(), Field(*message, field), text);
  };
  set("place", call.place);
  set("township", call.township);
  set("agency", call.agency);
  constexpr std::int32_t kFirstMessage[] = {0};
  kafka::Record record;
  record.topic = "calls.raw";
  record.partition = partition;
  record.offset = offset;
  record.key = call.township;
  record.value =
      schema::EncodeFrame(schema::SchemaId(7), kFirstMessage, message->SerializeAsString());
  record.headers.Set("ce_id", call.id.empty() ? std::to_string(call.row) : call.id);
  record.headers.Set("ce_source", "test://calls");
  record.headers.Set("ce_type", "test.Call");
  record.headers.Set("ce_time", FormatTime(call.time));
  if (call.row > 0) record.headers.Set("ce_sequence", absl::StrFormat("%012d", call.row));
  record.headers.Set("traceparent",
                     absl::StrFormat("00-%032x-%016x-01", call.row + 1, call.row + 1));
  return record;
}

}  // namespace tocsin::correlation::testing
