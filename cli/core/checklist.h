// The checklist that `tocsin up` shows while it starts: one line for each step, with what it waits
// for. On a terminal lines are rewritten in place and never longer than it is wide; elsewhere each
// is written once and whole, when it is done or has failed.
#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <string_view>

#include "lib/base/clock.h"

namespace tocsin::cli {

// Not thread-safe: one thread tells the story.
class Checklist {
 public:
  using Write = std::function<void(std::string_view)>;
  // How many columns the terminal has now; 0: not known, or none.
  using Width = std::function<std::size_t()>;
  Checklist(
      bool terminal, bool colour, const Clock& clock, Write write,
      Width width = [] { return std::size_t{0}; })
      : terminal_(terminal),
        colour_(colour),
        clock_(clock),
        write_(std::move(write)),
        width_(std::move(width)) {}

  // Opens a step: "· Kafka broker …".
  void Begin(std::string_view title);
  // What the open step waits for; shown on a terminal, at most four times a second.
  void WaitingFor(std::string_view what);
  // Ends the open step: "✓ Kafka broker  127.0.0.1:9092  2.9 s".
  void Done(std::string_view detail = {});
  void Failed(std::string_view reason);
  // Says something between steps, or during one.
  void Note(std::string_view text);

 private:
  void Rewrite(std::string_view line);
  // A step's last line: a mark, what is cut where the line is too long, what is not.
  void Settle(std::string_view mark, const char* code, std::string_view text,
              std::string_view tail);
  std::size_t Room() const;
  std::string Painted(std::string_view text, const char* code) const;

  const bool terminal_;
  const bool colour_;
  const Clock& clock_;
  const Write write_;
  const Width width_;
  std::string title_;
  std::string waiting_;
  SteadyTime begun_{};
  SteadyTime shown_{};
};

}  // namespace tocsin::cli
