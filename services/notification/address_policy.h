// Which addresses a webhook may connect to. Checked on the very address of each connection, after
// the name was looked up, so that no name can lead anywhere else (DNS rebinding, odd spellings of
// numbers).
#pragma once

#include <string>

#include "absl/status/status.h"

struct sockaddr;

namespace tocsin::notification {

enum class AddressClass {
  kPublic,
  // This machine, private networks, carrier NAT, addresses for tests and documentation.
  kPrivate,
  // Link-local (cloud credentials are served there), multicast, unspecified, reserved: never.
  kForbidden,
};

// IPv4 addresses inside IPv6 ones (mapped, NAT64, 6to4) count as what they are. Any other family is
// forbidden. Pure.
AddressClass Classify(const sockaddr& address);

// "10.0.0.1", "fe80::1".
std::string AddressText(const sockaddr& address);

// OK, or PERMISSION_DENIED with what to do.
absl::Status CheckAddress(const sockaddr& address, bool allow_private);

}  // namespace tocsin::notification
