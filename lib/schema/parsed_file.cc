#include "lib/schema/parsed_file.h"

#include <google/protobuf/io/tokenizer.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <google/protobuf/stubs/logging.h>

#include <algorithm>
#include <utility>

#include "lib/base/status.h"
#include "lib/base/text.h"
#include "lib/schema/full_names.h"

namespace tocsin::schema {
namespace {

namespace pb = ::google::protobuf;

constexpr std::size_t kMaxErrorsTold = 20;
// Protobuf 3.21's linker refuses one more.
constexpr int kMaxMessageLevels = 31;

class ParserErrors final : public pb::io::ErrorCollector {
 public:
  ParserErrors(std::string_view file, CompileErrors& errors) : file_(file), errors_(errors) {}
  void AddError(int line, pb::io::ColumnNumber column, const std::string& message) override {
    errors_.Add(file_, line, column, message);
  }

 private:
  const std::string_view file_;
  CompileErrors& errors_;
};

// What the parser would say nothing of, or too late: it recurses without a bound, keeps a name as
// long as the text, and knows no editions.
class TokenCheck {
 public:
  TokenCheck(const SourceFile& file, int max_nesting, CompileErrors& errors)
      : file_(file), max_nesting_(max_nesting), errors_(errors) {}

  bool Run() {
    pb::io::ArrayInputStream stream(file_.text.data(), static_cast<int>(file_.text.size()));
    // Its errors are told by the parser's own pass.
    class Silent final : public pb::io::ErrorCollector {
      void AddError(int, pb::io::ColumnNumber, const std::string&) override {}
    } silent;
    pb::io::Tokenizer tokenizer(&stream, &silent);
    while (tokenizer.Next()) {
      const Token& token = tokenizer.current();
      if (!CheckName(token) || !CheckEdition(token) || !CheckNesting(token)) return false;
    }
    return true;
  }

 private:
  using Token = pb::io::Tokenizer::Token;

  bool Refuse(const Token& token, std::string_view why) {
    errors_.Add(file_.name, token.line, token.column, why);
    return false;
  }

  bool CheckName(const Token& token) {
    if (token.type != pb::io::Tokenizer::TYPE_IDENTIFIER) return true;
    if (token.text.size() <= kMaxIdentifierBytes) return true;
    return Refuse(token, Concat("the name ", Shorten(token.text, 40), " is ", token.text.size(),
                                " bytes long, more than the limit of ", kMaxIdentifierBytes));
  }

  // Of a statement of the file itself the first three tokens say it.
  bool CheckEdition(const Token& token) {
    if (depth_ > 0) return true;
    constexpr std::string_view kWhy =
        "editions are not supported here, where schemas are compiled with Protobuf 3.21: write "
        "syntax = \"proto3\"; or syntax = \"proto2\"; as the first line in place of the edition";
    switch (tokens_++) {
      case 0:
        first_ = token;
        break;
      case 1:
        if (token.text != "=") first_.text.clear();
        if (first_.text == "edition") return Refuse(first_, kWhy);
        break;
      case 2:
        if (first_.text == "syntax" && (token.text == "\"editions\"" || token.text == "'editions'"))
          return Refuse(first_, kWhy);
        break;
      default:
        break;
    }
    if (token.text == ";") tokens_ = 0;
    return true;
  }

  bool CheckNesting(const Token& token) {
    if (token.type != pb::io::Tokenizer::TYPE_SYMBOL) return true;
    const char symbol = token.text[0];
    if (symbol == '{' || symbol == '<' || symbol == '[') {
      if (++depth_ <= max_nesting_) return true;
      return Refuse(token,
                    Concat("nested deeper than ", max_nesting_, " levels of braces and brackets"));
    }
    if (symbol == '}' || symbol == '>' || symbol == ']') {
      depth_ = std::max(depth_ - 1, 0);
      if (depth_ == 0 && symbol == '}') tokens_ = 0;
    }
    return true;
  }

  const SourceFile& file_;
  const int max_nesting_;
  CompileErrors& errors_;
  int depth_ = 0;
  // Of the statement of the file that is being read.
  int tokens_ = 0;
  Token first_;
};

// Protobuf compares each reserved range with each field and each other range, and names with each
// other: so many of each are a matter of milliseconds, ten times as many of minutes.
bool CheckCount(std::string_view file, std::string_view what, const std::string& name, int count,
                int most, CompileErrors& errors) {
  if (count <= most) return true;
  errors.Add(file, -1, -1,
             Concat(what, " ", name, " has ", count,
                    " fields, values or reserved ranges, more than the limit of ", most));
  return false;
}

bool CheckEnum(std::string_view file, const pb::EnumDescriptorProto& type, int most,
               CompileErrors& errors) {
  return CheckCount(
      file, "enum", type.name(),
      std::max({type.value_size(), type.reserved_range_size(), type.reserved_name_size()}), most,
      errors);
}

bool CheckMessage(std::string_view file, const pb::DescriptorProto& message, int most,
                  int levels_left, CompileErrors& errors) {
  if (levels_left <= 0) {
    errors.Add(file, -1, -1,
               Concat("message ", message.name(), " is nested deeper than ", kMaxMessageLevels,
                      " messages, the most that Protobuf takes: declare it further out"));
    return false;
  }
  if (!CheckCount(file, "message", message.name(),
                  std::max({message.field_size(), message.oneof_decl_size(),
                            message.reserved_range_size() + message.extension_range_size(),
                            message.reserved_name_size()}),
                  most, errors)) {
    return false;
  }
  for (const auto& type : message.enum_type()) {
    if (!CheckEnum(file, type, most, errors)) return false;
  }
  for (const auto& nested : message.nested_type()) {
    if (!CheckMessage(file, nested, most, levels_left - 1, errors)) return false;
  }
  return true;
}

struct Counts {
  int types = 0;
  int members = 0;
};

// The nesting is known to be bounded.
void Add(const pb::DescriptorProto& message, Counts& counts) {
  counts.types += message.nested_type_size() + message.enum_type_size() + message.oneof_decl_size();
  counts.members += message.field_size() + message.extension_size();
  for (const auto& type : message.enum_type()) counts.members += type.value_size();
  for (const auto& nested : message.nested_type()) Add(nested, counts);
}

}  // namespace

void CompileErrors::Add(std::string_view file, int line, int column, std::string_view message) {
  if (lines_.size() == kMaxErrorsTold) {
    ++count_;
    return;
  }
  std::string where(file);
  if (line >= 0) where += Concat(":", line + 1, ":", std::max(column, 0) + 1);
  std::string text = Concat(where, ": ", message);
  if (std::find(lines_.begin(), lines_.end(), text) != lines_.end()) return;
  ++count_;
  lines_.push_back(std::move(text));
}

absl::Status CompileErrors::ToStatus() const {
  if (empty()) return absl::OkStatus();
  std::string text = Join(lines_, "\n");
  if (count_ > lines_.size()) text += Concat("\n… and ", count_ - lines_.size(), " more errors");
  return InvalidArgument(text);
}

bool CheckCounts(const pb::FileDescriptorProto& file, const CompileLimits& limits,
                 CompileErrors& errors) {
  Counts counts;
  counts.types = file.message_type_size() + file.enum_type_size() + file.service_size();
  counts.members = file.extension_size();
  for (const auto& type : file.enum_type()) {
    if (!CheckEnum(file.name(), type, limits.max_fields, errors)) return false;
  }
  for (const auto& message : file.message_type()) {
    if (!CheckMessage(file.name(), message, limits.max_fields,
                      std::min(limits.max_nesting, kMaxMessageLevels), errors)) {
      return false;
    }
    Add(message, counts);
  }
  for (const auto& type : file.enum_type()) counts.members += type.value_size();
  for (const auto& service : file.service()) counts.members += service.method_size();
  const auto check = [&](std::string_view what, int count, int most) {
    if (count <= most) return true;
    errors.Add(file.name(), -1, -1,
               Concat("the file has ", count, " ", what, " in all, more than the limit of ", most,
                      ": split it into several files that import each other"));
    return false;
  };
  return check("messages, enums, oneofs and services", counts.types, limits.max_types) &&
         check("fields, enum values and methods", counts.members, limits.max_members);
}

bool CheckNames(const ParsedFile& file, CompileErrors& errors) {
  const FullNames names = CountFullNames(file.proto);
  if (names.refused == nullptr) return true;
  int line = -1;
  int column = -1;
  file.locations.Find(names.refused, pb::DescriptorPool::ErrorCollector::NAME, &line, &column);
  std::string why;
  switch (names.limit) {
    case FullNames::Limit::kIdentifier:
      why = Concat("a name is ", names.name_bytes, " bytes long, more than the limit of ",
                   kMaxIdentifierBytes);
      break;
    case FullNames::Limit::kFullName:
      why = Concat("a name in full, with the package and the messages around it, is ",
                   names.full_name_bytes, " bytes long, more than the limit of ", kMaxFullNameBytes,
                   ": shorten them");
      break;
    case FullNames::Limit::kTogether:
      why = Concat(
          "with this one the names in full of the file, with the package and the messages "
          "around each, are more than the limit of ",
          kMaxFullNamesBytes,
          " bytes together: shorten the names of the package and of the messages with "
          "the most in them, or split the file");
      break;
  }
  errors.Add(file.proto.name(), line, column, why);
  return false;
}

bool Parse(const SourceFile& file, const CompileLimits& limits, ParsedFile& into,
           CompileErrors& errors) {
  if (file.text.size() > limits.max_text_bytes) {
    errors.Add(file.name, -1, -1,
               Concat("the text is ", file.text.size(), " bytes, more than the limit of ",
                      limits.max_text_bytes));
    return false;
  }
  if (!TokenCheck(file, limits.max_nesting, errors).Run()) return false;
  // It warns of a text without a syntax line, which is proto2.
  const pb::LogSilencer silent;
  pb::io::ArrayInputStream stream(file.text.data(), static_cast<int>(file.text.size()));
  ParserErrors collector(file.name, errors);
  pb::io::Tokenizer tokenizer(&stream, &collector);
  pb::compiler::Parser parser;
  parser.RecordErrorsTo(&collector);
  parser.RecordSourceLocationsTo(&into.locations);
  into.proto.set_name(file.name);
  const bool parsed = parser.Parse(&tokenizer, &into.proto);
  // Places in the text are looked up in a pass of their own where they are needed (see Places); the
  // parser's list of all of them is several times the rest, and would go into the descriptors.
  delete into.proto.release_source_code_info();
  // The parser may return true after errors of the tokenizer.
  return parsed && errors.empty() && CheckCounts(into.proto, limits, errors) &&
         CheckNames(into, errors);
}

}  // namespace tocsin::schema
