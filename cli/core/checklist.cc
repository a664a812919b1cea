#include "cli/core/checklist.h"

#include <cstdio>

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

void Checklist::Rewrite(std::string_view line) {
  if (terminal_) write_(Concat("\r\x1b[2K", line));
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
  Rewrite("");
  write_(Concat("  ", Painted("✓", "32"), " ", title_, detail.empty() ? "" : "  ", detail, "  ",
                Painted(Seconds(clock_.SteadyNow() - begun_), "2"), "\n"));
  title_.clear();
}

void Checklist::Failed(std::string_view reason) {
  Rewrite("");
  write_(Concat("  ", Painted("×", "31"), " ", title_,
                waiting_.empty() ? "" : Concat("  (was waiting for ", waiting_, ")"), "\n",
                reason.empty() ? "" : Concat(reason, "\n")));
  title_.clear();
}

void Checklist::Note(std::string_view text) {
  Rewrite("");
  write_(Concat(text, "\n"));
}

}  // namespace tocsin::cli
