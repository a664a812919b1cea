// What holds in the whole mesh, whatever a process is configured to.
#pragma once

#include <cstddef>

namespace tocsin::rpc {

// Of one message that a server receives. Limits of a process (max_message_bytes of the gateway,
// max_event_bytes of ingest) lie below it.
inline constexpr std::size_t kLargestMessage = std::size_t{16} << 20;

}  // namespace tocsin::rpc
