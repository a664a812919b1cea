#include "services/notification/address_policy.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <span>

#include "lib/base/status.h"
#include "lib/base/text.h"

namespace tocsin::notification {
namespace {

struct Range4 {
  std::uint32_t network;
  int bits;
  AddressClass meaning;
};

constexpr std::uint32_t Ip(unsigned a, unsigned b, unsigned c, unsigned d) {
  return (a << 24U) | (b << 16U) | (c << 8U) | d;
}

// IANA's special-purpose addresses.
constexpr std::array<Range4, 16> kRanges4 = {
    Range4{Ip(0, 0, 0, 0), 8, AddressClass::kForbidden},
    Range4{Ip(10, 0, 0, 0), 8, AddressClass::kPrivate},
    Range4{Ip(100, 64, 0, 0), 10, AddressClass::kPrivate},
    Range4{Ip(127, 0, 0, 0), 8, AddressClass::kPrivate},
    Range4{Ip(168, 63, 129, 16), 32, AddressClass::kForbidden},  // Azure's host agent
    Range4{Ip(169, 254, 0, 0), 16, AddressClass::kForbidden},
    Range4{Ip(172, 16, 0, 0), 12, AddressClass::kPrivate},
    Range4{Ip(192, 0, 0, 0), 24, AddressClass::kPrivate},
    Range4{Ip(192, 0, 2, 0), 24, AddressClass::kPrivate},
    Range4{Ip(192, 88, 99, 0), 24, AddressClass::kPrivate},
    Range4{Ip(192, 168, 0, 0), 16, AddressClass::kPrivate},
    Range4{Ip(198, 18, 0, 0), 15, AddressClass::kPrivate},
    Range4{Ip(198, 51, 100, 0), 24, AddressClass::kPrivate},
    Range4{Ip(203, 0, 113, 0), 24, AddressClass::kPrivate},
    Range4{Ip(224, 0, 0, 0), 4, AddressClass::kForbidden},
    Range4{Ip(240, 0, 0, 0), 4, AddressClass::kForbidden}};

AddressClass Classify4(std::uint32_t address) {
  for (const Range4& range : kRanges4) {
    const std::uint32_t mask = ~std::uint32_t{0} << (32 - range.bits);
    if ((address & mask) == range.network) return range.meaning;
  }
  return AddressClass::kPublic;
}

using Bytes16 = std::array<std::uint8_t, 16>;

std::uint32_t Embedded(const Bytes16& bytes, std::size_t at) {
  return Ip(bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]);
}

bool StartsWith(const Bytes16& bytes, std::initializer_list<std::uint8_t> prefix) {
  return std::equal(prefix.begin(), prefix.end(), bytes.begin());
}

AddressClass Classify6(const Bytes16& bytes) {
  if (StartsWith(bytes, {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff})) {
    return Classify4(Embedded(bytes, 12));
  }
  if (StartsWith(bytes, {0x00, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0})) {
    return Classify4(Embedded(bytes, 12));
  }
  if (StartsWith(bytes, {0x00, 0x64, 0xff, 0x9b, 0x00, 0x01})) return AddressClass::kPrivate;
  if (StartsWith(bytes, {0x20, 0x02})) return Classify4(Embedded(bytes, 2));
  if (StartsWith(bytes, {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})) {
    // ::1 is this machine; :: and the long dead ::a.b.c.d are nothing.
    return Embedded(bytes, 12) == 1 ? AddressClass::kPrivate : AddressClass::kForbidden;
  }
  // Amazon serves its credentials here, too, inside a private range.
  if (StartsWith(bytes, {0xfd, 0x00, 0x0e, 0xc2})) return AddressClass::kForbidden;
  if ((bytes[0] & 0xfe) == 0xfc) return AddressClass::kPrivate;
  if (bytes[0] == 0xfe && (bytes[1] & 0xc0) == 0x80) return AddressClass::kForbidden;
  if (bytes[0] == 0xfe && (bytes[1] & 0xc0) == 0xc0) return AddressClass::kPrivate;
  if (bytes[0] == 0xff) return AddressClass::kForbidden;
  // Teredo tunnels lead to whoever the address names; documentation and discard lead nowhere.
  if (StartsWith(bytes, {0x20, 0x01, 0x00, 0x00})) return AddressClass::kForbidden;
  if (StartsWith(bytes, {0x20, 0x01, 0x0d, 0xb8})) return AddressClass::kPrivate;
  if (StartsWith(bytes, {0x01, 0x00, 0, 0, 0, 0, 0, 0})) return AddressClass::kForbidden;
  return AddressClass::kPublic;
}

}  // namespace

AddressClass Classify(const sockaddr& address) {
  if (address.sa_family == AF_INET) {
    sockaddr_in v4{};
    std::memcpy(&v4, &address, sizeof(v4));
    return Classify4(ntohl(v4.sin_addr.s_addr));
  }
  if (address.sa_family == AF_INET6) {
    sockaddr_in6 v6{};
    std::memcpy(&v6, &address, sizeof(v6));
    Bytes16 bytes{};
    std::memcpy(bytes.data(), &v6.sin6_addr, bytes.size());
    return Classify6(bytes);
  }
  return AddressClass::kForbidden;
}

std::string AddressText(const sockaddr& address) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  const char* written = nullptr;
  if (address.sa_family == AF_INET) {
    sockaddr_in v4{};
    std::memcpy(&v4, &address, sizeof(v4));
    written = inet_ntop(AF_INET, &v4.sin_addr, text.data(), text.size());
  } else if (address.sa_family == AF_INET6) {
    sockaddr_in6 v6{};
    std::memcpy(&v6, &address, sizeof(v6));
    written = inet_ntop(AF_INET6, &v6.sin6_addr, text.data(), text.size());
  }
  return written == nullptr ? "an address that is not of the internet" : written;
}

absl::Status CheckAddress(const sockaddr& address, bool allow_private) {
  switch (Classify(address)) {
    case AddressClass::kPublic:
      return absl::OkStatus();
    case AddressClass::kPrivate:
      if (allow_private) return absl::OkStatus();
      return PermissionDenied(Concat("the host leads to ", AddressText(address),
                                     ", which is private. If that is meant, set allow_private: "
                                     "true in this route's webhook"));
    case AddressClass::kForbidden:
      break;
  }
  return PermissionDenied(
      Concat("the host leads to ", AddressText(address),
             ", which no webhook may reach (link-local, multicast or reserved)"));
}

}  // namespace tocsin::notification
