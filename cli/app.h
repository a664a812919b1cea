// The command line of `tocsin`: its words, its flags, its help. What the commands do is elsewhere.
#pragma once

namespace tocsin::cli {

// Parses, runs one command, and returns the exit code (cli/core/exit_code.h).
int Run(int argc, char** argv);

}  // namespace tocsin::cli
