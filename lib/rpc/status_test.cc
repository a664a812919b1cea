#include "lib/rpc/status.h"

#include <gmock/gmock.h>

#include <string>

#include "lib/base/status.h"

namespace tocsin::rpc {
namespace {

TEST(Status, KeepsCodeAndTextBothWays) {
  for (int code = 0; code <= 16; ++code) {
    const absl::Status status(static_cast<absl::StatusCode>(code), code == 0 ? "" : "why");
    EXPECT_EQ(static_cast<int>(ToGrpc(status).error_code()), code);
    EXPECT_EQ(FromGrpc(ToGrpc(status)), status);
  }
}

TEST(Status, CutsALongTextBetweenCharacters) {
  std::string text;
  while (text.size() < 5000) text.append("ü");
  const std::string cut = ToGrpc(InvalidArgument(text)).error_message();
  EXPECT_LE(cut.size(), 4096U);
  ASSERT_TRUE(cut.ends_with("ü …"));
}

}  // namespace
}  // namespace tocsin::rpc
