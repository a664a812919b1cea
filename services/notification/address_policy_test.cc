#include "services/notification/address_policy.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cstring>
#include <string>

#include "lib/base/testing/status_matchers.h"

namespace tocsin::notification {
namespace {
using ::testing::HasSubstr;

sockaddr_storage Address(const std::string& text) {
  sockaddr_storage storage{};
  sockaddr_in v4{};
  sockaddr_in6 v6{};
  if (inet_pton(AF_INET, text.c_str(), &v4.sin_addr) == 1) {
    v4.sin_family = AF_INET;
    std::memcpy(&storage, &v4, sizeof(v4));
  } else {
    EXPECT_EQ(inet_pton(AF_INET6, text.c_str(), &v6.sin6_addr), 1) << text;
    v6.sin6_family = AF_INET6;
    std::memcpy(&storage, &v6, sizeof(v6));
  }
  return storage;
}

const sockaddr& Generic(const sockaddr_storage& storage) {
  return reinterpret_cast<const sockaddr&>(storage);
}

TEST(AddressPolicyTest, Classes) {
  struct Case {
    const char* address;
    AddressClass expected;
  };
  using enum AddressClass;
  for (const Case& c : {
           Case{"93.184.216.34", kPublic},
           Case{"11.0.0.1", kPublic},
           Case{"172.32.0.1", kPublic},
           Case{"100.128.0.1", kPublic},
           Case{"2606:2800:220:1:248:1893:25c8:1946", kPublic},
           Case{"2a00:1450:4001::1", kPublic},
           Case{"127.0.0.1", kPrivate},
           Case{"127.255.255.254", kPrivate},
           Case{"10.0.0.1", kPrivate},
           Case{"172.16.0.1", kPrivate},
           Case{"172.31.255.255", kPrivate},
           Case{"192.168.1.1", kPrivate},
           Case{"100.64.0.1", kPrivate},
           Case{"100.100.100.200", kPrivate},
           Case{"198.18.0.1", kPrivate},
           Case{"::1", kPrivate},
           Case{"fc00::1", kPrivate},
           Case{"fd12:3456::1", kPrivate},
           Case{"fec0::1", kPrivate},
           Case{"::ffff:127.0.0.1", kPrivate},
           Case{"::ffff:10.0.0.1", kPrivate},
           Case{"64:ff9b::a00:1", kPrivate},
           Case{"2002:c0a8:101::1", kPrivate},
           Case{"0.0.0.0", kForbidden},
           Case{"0.1.2.3", kForbidden},
           Case{"169.254.169.254", kForbidden},
           Case{"169.254.0.1", kForbidden},
           Case{"168.63.129.16", kForbidden},
           Case{"224.0.0.1", kForbidden},
           Case{"255.255.255.255", kForbidden},
           Case{"240.0.0.1", kForbidden},
           Case{"::", kForbidden},
           Case{"::7f00:1", kForbidden},
           Case{"fe80::1", kForbidden},
           Case{"ff02::1", kForbidden},
           Case{"fd00:ec2::254", kForbidden},
           Case{"::ffff:169.254.169.254", kForbidden},
           Case{"64:ff9b::a9fe:a9fe", kForbidden},
           Case{"2002:a9fe:a9fe::1", kForbidden},
           Case{"2001:0:4136:e378::1", kForbidden},
       }) {
    const sockaddr_storage address = Address(c.address);
    EXPECT_EQ(Classify(Generic(address)), c.expected) << c.address;
  }
}

TEST(AddressPolicyTest, AnotherFamilyIsForbidden) {
  sockaddr_storage storage{};
  storage.ss_family = AF_UNIX;
  EXPECT_EQ(Classify(Generic(storage)), AddressClass::kForbidden);
  EXPECT_THAT(CheckAddress(Generic(storage), true), StatusIs(absl::StatusCode::kPermissionDenied));
}

TEST(AddressPolicyTest, SaysWhatToDo) {
  const sockaddr_storage loopback = Address("127.0.0.1");
  EXPECT_THAT(CheckAddress(Generic(loopback), true), IsOk());
  EXPECT_THAT(CheckAddress(Generic(loopback), false),
              StatusIs(absl::StatusCode::kPermissionDenied,
                       HasSubstr("127.0.0.1, which is private. If that is meant, set "
                                 "allow_private: true")));
  const sockaddr_storage metadata = Address("169.254.169.254");
  EXPECT_THAT(CheckAddress(Generic(metadata), true),
              StatusIs(absl::StatusCode::kPermissionDenied, HasSubstr("169.254.169.254")));
}

}  // namespace
}  // namespace tocsin::notification
