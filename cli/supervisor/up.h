// tocsin up, down, status: a whole system on this machine.
#pragma once

#include <string>

#include "cli/commands.h"
#include "cli/session.h"

namespace tocsin::cli {

struct UpFlags {
  bool detach = false;
  bool no_demo = false;
  std::string data;
  std::string gateway;
  std::string registry;
  std::string kafka;
  std::string otlp;
  std::string webhook;
  std::vector<std::string> packs{"public-safety"};
};

// Must be called before the program has made any thread: with --detach it forks.
Outcome Up(const Session& session, const UpFlags& flags);

Outcome Down(const Session& session, const SystemFlags& flags);

}  // namespace tocsin::cli
