#include "lib/auth/caching_verifier.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <map>
#include <memory>
#include <string>

#include "lib/base/status.h"
#include "lib/base/testing/status_matchers.h"

namespace tocsin::auth {
namespace {

using std::chrono::seconds;
using ::testing::HasSubstr;

constexpr WallTime kNow{std::chrono::hours(500'000)};

// Knows the tokens "a" to "z", which end a minute after kNow, and counts the questions.
class FakeVerifier final : public TokenVerifier {
 public:
  explicit FakeVerifier(std::map<std::string, int>& asked) : asked_(asked) {}
  absl::StatusOr<Principal> Verify(std::string_view token, WallTime now) const override {
    ++asked_[std::string(token)];
    if (token.size() != 1) return Unauthenticated("the token is not known");
    const WallTime expires = kNow + seconds(60);
    if (now >= expires + kClockSkew) return Unauthenticated("the token has expired");
    return Principal{std::string(token), {Role::ROLE_VIEWER}, expires};
  }

 private:
  std::map<std::string, int>& asked_;
};

class CachingVerifierTest : public ::testing::Test {
 protected:
  std::map<std::string, int> asked_;
  const CachingVerifier verifier_{std::make_unique<FakeVerifier>(asked_), 3};
};

TEST_F(CachingVerifierTest, AsksOnceForATokenThatIsGood) {
  for (int i = 0; i < 5; ++i) {
    const auto principal = verifier_.Verify("a", kNow + seconds(i));
    ASSERT_THAT(principal, IsOk());
    EXPECT_EQ(principal->name, "a");
    EXPECT_TRUE(principal->roles.Holds(Role::ROLE_VIEWER));
  }
  EXPECT_EQ(asked_["a"], 1);
  EXPECT_EQ(verifier_.Verify("b", kNow)->name, "b");
}

TEST_F(CachingVerifierTest, AsksEachTimeForATokenThatIsNot) {
  for (int i = 0; i < 3; ++i) {
    EXPECT_THAT(verifier_.Verify("forged", kNow),
                StatusIs(absl::StatusCode::kUnauthenticated, HasSubstr("not known")));
  }
  EXPECT_EQ(asked_["forged"], 3);
}

TEST_F(CachingVerifierTest, ForgetsATokenWhenItExpires) {
  EXPECT_THAT(verifier_.Verify("a", kNow), IsOk());
  EXPECT_THAT(verifier_.Verify("a", kNow + seconds(59)), IsOk());
  EXPECT_EQ(asked_["a"], 1);
  // Within the skew of clocks the verifier decides, each time.
  EXPECT_THAT(verifier_.Verify("a", kNow + seconds(60)), IsOk());
  EXPECT_THAT(verifier_.Verify("a", kNow + seconds(119)), IsOk());
  EXPECT_EQ(asked_["a"], 3);
  EXPECT_THAT(verifier_.Verify("a", kNow + seconds(120)),
              StatusIs(absl::StatusCode::kUnauthenticated, HasSubstr("expired")));
}

TEST_F(CachingVerifierTest, RemembersThoseUsedLast) {
  for (const char* token : {"a", "b", "c", "a", "d"}) {
    EXPECT_THAT(verifier_.Verify(token, kNow), IsOk());
  }
  EXPECT_THAT(verifier_.Verify("a", kNow), IsOk());
  EXPECT_EQ(asked_["a"], 1) << "used before d came";
  EXPECT_THAT(verifier_.Verify("b", kNow), IsOk());
  EXPECT_EQ(asked_["b"], 2) << "the oldest made room for d";
}

}  // namespace
}  // namespace tocsin::auth
