#include "lib/cel/cel.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>

#include <algorithm>
#include <utility>

#include "lib/base/status.h"
#include "lib/base/text.h"
#include "lib/cel/checker.h"
#include "lib/cel/parser.h"
#include "lib/cel/program.h"

namespace tocsin::cel {
namespace {

bool IsContinuation(char c) { return (static_cast<unsigned char>(c) & 0xc0U) == 0x80; }

// The line that holds `offset`, cut to a readable length, and a caret below the place.
std::string Picture(std::string_view text, std::size_t offset) {
  constexpr std::size_t kBefore = 60;
  constexpr std::size_t kShown = 100;
  const std::size_t line_start =
      offset == 0 ? 0 : text.rfind('\n', offset - 1) + 1;  // npos + 1 is 0
  const std::size_t line_end = std::min(text.find('\n', offset), text.size());
  std::size_t begin = offset - line_start > kBefore ? offset - kBefore : line_start;
  while (begin < offset && IsContinuation(text[begin])) ++begin;
  std::size_t end = std::min(line_end, begin + kShown);
  while (end < line_end && IsContinuation(text[end])) ++end;
  std::string caret;
  for (std::size_t i = begin; i < offset; ++i) {
    // A tab stays one, so that the caret stands right whatever its width is.
    if (!IsContinuation(text[i])) caret.push_back(text[i] == '\t' ? '\t' : ' ');
  }
  const bool cut_before = begin > line_start;
  return Concat(cut_before ? "  …" : "  ", text.substr(begin, end - begin),
                end < line_end ? "…\n" : "\n", cut_before ? "   " : "  ", caret, "^");
}

absl::Status Refuse(std::string_view text, const Mistake& mistake, CompileError* error) {
  CompileError found;
  constexpr std::size_t kReasonShown = 400;
  found.reason = Shorten(mistake.reason, kReasonShown);
  found.offset = std::min(mistake.offset, text.size());
  for (const char c : text.substr(0, found.offset)) {
    ++found.column;
    if (c == '\n') {
      ++found.line;
      found.column = 1;
    }
  }
  const absl::Status status = InvalidArgument(
      Concat(found.line, ":", found.column, ": ", found.reason, "\n", Picture(text, found.offset)));
  if (error != nullptr) *error = std::move(found);
  return status;
}

class CompiledProgram final : public Program {
 public:
  CompiledProgram(std::string text, const google::protobuf::Descriptor* descriptor, Code code)
      : text_(std::move(text)), descriptor_(descriptor), code_(std::move(code)) {}

  absl::StatusOr<bool> EvaluateBool(const google::protobuf::Message& message) const override {
    if (message.GetDescriptor() != descriptor_) {
      return InvalidArgument(Concat("the expression was compiled for ", descriptor_->full_name(),
                                    ", not for this ", message.GetDescriptor()->full_name()));
    }
    Scratch scratch;
    return Answer(Run(code_, ReflectionReader(), HandleOf(message), scratch));
  }

  const std::vector<schema::FieldPath>& paths() const override { return code_.paths; }

  absl::StatusOr<bool> EvaluateBool(const schema::FieldView& fields) const override {
    if (code_.slot_instructions.empty()) return EvaluateBool(fields.message());
    Scratch scratch;
    const Instruction& first = code_.slot_instructions.front();
    if (code_.slot_instructions.size() == 1 && first.code == OpCode::kCompareSlot) {
      // The commonest condition needs no stack.
      const SlotComparison& comparison = code_.comparisons[first.operand];
      return Answer(Compare(comparison, code_.reads[comparison.read], fields[comparison.read],
                            scratch, first.offset));
    }
    return Answer(Run(code_, fields, scratch));
  }

  const std::string& text() const override { return text_; }

 private:
  absl::StatusOr<bool> Answer(const Value& result) const {
    if (result.kind == Value::Kind::kBool) return result.boolean;
    if (result.IsError()) {
      return InvalidArgument(Concat(
          result.data, "\n", Picture(text_, std::min<std::size_t>(result.offset, text_.size()))));
    }
    return Internal("the expression gave no bool");
  }

  std::string text_;
  const google::protobuf::Descriptor* descriptor_;
  Code code_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Program>> Compile(std::string_view expression,
                                                 const google::protobuf::Descriptor* descriptor,
                                                 CompileError* error, const Limits& limits) {
  Mistake mistake;
  Ast ast;
  if (!Parse(expression, limits, ast, mistake)) {
    return Refuse(expression, mistake, error);
  }
  Types types;
  std::vector<Meaning> meanings;
  if (!Check(ast, *descriptor, types, meanings, mistake)) {
    return Refuse(expression, mistake, error);
  }
  if (const Type& result = *meanings[ast.root].type; result.kind != TypeKind::kBool) {
    return Refuse(
        expression,
        {ast.at(ast.root).offset,
         Concat("the expression must say true or false, and this is of type ", TypeText(result))},
        error);
  }
  Code code;
  if (!Generate(ast, meanings, code, mistake)) {
    return Refuse(expression, mistake, error);
  }
  UseSlots(code);
  return std::make_unique<CompiledProgram>(std::string(expression), descriptor, std::move(code));
}

}  // namespace tocsin::cel
