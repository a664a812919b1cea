// `tocsin`: the operator's tool, also the local supervisor.
#include "cli/app.h"

int main(int argc, char** argv) { return tocsin::cli::Run(argc, argv); }
