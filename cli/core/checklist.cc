#include "cli/core/checklist.h"

#include <algorithm>
#include <cstdio>
#include <limits>

#include "cli/core/columns.h"
#include "lib/base/text.h"

namespace tocsin::cli {
namespace {

std::string Seconds(SteadyTime::duration duration) {
  char text[32];
  std::snprintf(text, sizeof(text), "%.1f s", std::chrono::duration<double>(duration).count());
  return text;
}

}  // namespace

std::string Checklist::Painted(std::string_view text, const char* code) const {
  return colour_ ? Concat("\x1b[", code, "m", text, "\x1b[0m") : std::string(text);
}

// The last column stays free: some terminals go to the next line as soon as it is taken.
std::size_t Checklist::Room() const {
  const std::size_t width = terminal_ ? width_() : 0;
  return width == 0 ? std::numeric_limits<std::size_t>::max() : width - 1;
}

void Checklist::Rewrite(std::string_view line) {
  if (terminal_) write_(Concat("\r\x1b[2K", FitColumns(line, Room())));
}

void Checklist::Settle(std::string_view mark, const char* code, std::string_view text,
                       std::string_view tail) {
  Rewrite("");
  const std::size_t around = Columns("  ? ") + (tail.empty() ? 0 : Columns(tail) + 2);
  const std::size_t room = Room();
  write_(Concat("  ", Painted(mark, code), " ",
                terminal_ ? FitColumns(text, room > around ? room - around : 0) : text,
                tail.empty() ? "" : "  ", tail.empty() ? "" : Painted(tail, "2"), "\n"));
  title_.clear();
}

void Checklist::Begin(std::string_view title) {
  title_ = title;
  waiting_.clear();
  begun_ = clock_.SteadyNow();
  shown_ = begun_;
  Rewrite(Concat("  · ", title_, " …"));
}

void Checklist::WaitingFor(std::string_view what) {
  waiting_ = what;
  const SteadyTime now = clock_.SteadyNow();
  if (title_.empty() || now - shown_ < std::chrono::milliseconds(250)) return;
  shown_ = now;
  Rewrite(Concat("  · ", title_, "  ", Seconds(now - begun_), "  waiting for ", waiting_));
}

void Checklist::Done(std::string_view detail) {
  Settle("✓", "32", Concat(title_, detail.empty() ? "" : "  ", detail),
         Seconds(clock_.SteadyNow() - begun_));
}

void Checklist::Failed(std::string_view reason) {
  Settle("×", "31",
         Concat(title_, waiting_.empty() ? "" : Concat("  (was waiting for ", waiting_, ")")), "");
  if (!reason.empty()) write_(Concat(reason, "\n"));
}

void Checklist::Note(std::string_view text) {
  Rewrite("");
  write_(Concat(text, "\n"));
}

}  // namespace tocsin::cli
