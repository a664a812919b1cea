#include "gateway/wire/grpc.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "lib/base/testing/status_matchers.h"
#include "lib/base/text.h"

namespace tocsin::gateway {
namespace {

using std::chrono::nanoseconds;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(ContentTypeTest, Table) {
  const struct {
    std::string_view text;
    std::optional<Protocol> protocol;
  } table[] = {
      {"application/grpc", Protocol::kGrpc},
      {"application/grpc+proto", Protocol::kGrpc},
      {"Application/GRPC", Protocol::kGrpc},
      {"application/grpc+json", std::nullopt},
      {"application/grpcx", std::nullopt},
      {"application/grpc-web", Protocol::kGrpcWeb},
      {"application/grpc-web+proto", Protocol::kGrpcWeb},
      {"application/grpc-web ; charset=utf-8", Protocol::kGrpcWeb},
      {"application/grpc-web+json", std::nullopt},
      {"application/grpc-web-text", Protocol::kGrpcWebText},
      {"application/grpc-web-text+proto;q=1", Protocol::kGrpcWebText},
      {"application/grpc-web-text+thrift", std::nullopt},
      {"application/json", std::nullopt},
      {"", std::nullopt},
  };
  for (const auto& row : table) EXPECT_EQ(ParseContentType(row.text), row.protocol) << row.text;
}

TEST(ContentTypeTest, TheResponseFollowsAcceptThenTheRequest) {
  EXPECT_EQ(ResponseProtocol(Protocol::kGrpcWebText, ""), Protocol::kGrpcWebText);
  EXPECT_EQ(ResponseProtocol(Protocol::kGrpcWebText, "*/*"), Protocol::kGrpcWebText);
  EXPECT_EQ(ResponseProtocol(Protocol::kGrpcWebText, "application/grpc-web"), Protocol::kGrpcWeb);
  EXPECT_EQ(ResponseProtocol(Protocol::kGrpcWeb, "text/html, application/grpc-web-text+proto"),
            Protocol::kGrpcWebText);
  EXPECT_EQ(ResponseProtocol(Protocol::kGrpc, "application/grpc-web-text"), Protocol::kGrpc);
}

TEST(TimeoutTest, Table) {
  EXPECT_EQ(ParseTimeout("1H"), std::chrono::hours(1));
  EXPECT_EQ(ParseTimeout("2M"), std::chrono::minutes(2));
  EXPECT_EQ(ParseTimeout("3S"), std::chrono::seconds(3));
  EXPECT_EQ(ParseTimeout("99999999m"), std::chrono::milliseconds(99'999'999));
  EXPECT_EQ(ParseTimeout("5u"), std::chrono::microseconds(5));
  EXPECT_EQ(ParseTimeout("0n"), nanoseconds(0));
  // Longer than anything: cut, not wrapped.
  EXPECT_EQ(ParseTimeout("99999999H"), std::chrono::hours(24 * 3650));
  EXPECT_EQ(ParseTimeout("99999999M"), std::chrono::hours(24 * 3650));
  for (const std::string_view bad :
       {"", "S", "1", "1x", "123456789S", "-1S", "1 S", "1.5S", "+1S"}) {
    EXPECT_EQ(ParseTimeout(bad), std::nullopt) << bad;
  }
}

TEST(StatusTest, MessagesArePercentEncoded) {
  EXPECT_EQ(PercentEncode("plain ~text"), "plain ~text");
  EXPECT_EQ(PercentEncode("100%\n\t\x7f"), "100%25%0A%09%7F");
  EXPECT_EQ(PercentEncode("zu groß ☺"), "zu gro%C3%9F %E2%98%BA");
  http::Headers trailers;
  AddStatus(absl::OkStatus(), trailers);
  EXPECT_EQ(trailers.size(), 1u);
  AddStatus(NotFound("no such thing: ö"), trailers);
  EXPECT_EQ(trailers.Get("grpc-status"), "5");
  EXPECT_EQ(trailers.Get("grpc-message"), "no such thing: %C3%B6");
}

TEST(StatusTest, OnlyIdentityIsTaken) {
  EXPECT_THAT(CheckEncoding(std::nullopt), IsOk());
  EXPECT_THAT(CheckEncoding("identity"), IsOk());
  EXPECT_THAT(CheckEncoding("gzip"), StatusIs(absl::StatusCode::kUnimplemented));
}

TEST(FrameTest, BytesAreExact) {
  EXPECT_EQ(FrameHeader(0, 0x01020304), std::string("\0\1\2\3\4", 5));
  http::Headers trailers{{"Grpc-Status", "0"}, {"x-a", "b"}};
  EXPECT_EQ(TrailerFrame(trailers), std::string("\x80\0\0\0\x18grpc-status: 0\r\nx-a: b\r\n", 29));
}

std::string Frame(std::string_view message) {
  return FrameHeader(0, message.size()) + std::string(message);
}

// All messages, and whether something is left over.
struct Parsed {
  std::vector<std::string> messages;
  absl::Status error;
  bool partial = false;
};
Parsed Parse(const std::vector<std::string>& pieces, std::size_t limit = 100) {
  MessageReader reader(limit);
  Parsed parsed;
  for (const std::string& piece : pieces) {
    reader.Append(http::Slice(piece));
    for (;;) {
      auto message = reader.Next();
      if (!message.ok()) {
        parsed.error = message.status();
        return parsed;
      }
      if (!message->has_value()) break;
      parsed.messages.emplace_back((*message)->view());
    }
  }
  parsed.partial = reader.partial();
  return parsed;
}

TEST(MessageReaderTest, CutsAnywhere) {
  const std::string body = Frame("one") + Frame("") + Frame("three");
  for (std::size_t a = 0; a <= body.size(); ++a) {
    for (std::size_t b = a; b <= body.size(); ++b) {
      const Parsed parsed = Parse({body.substr(0, a), body.substr(a, b - a), body.substr(b)});
      EXPECT_THAT(parsed.messages, ElementsAre("one", "", "three")) << a << " " << b;
      EXPECT_FALSE(parsed.partial);
    }
  }
}

TEST(MessageReaderTest, WholeMessagesAreNotCopied) {
  MessageReader reader(100);
  const http::Slice body(Frame("shared"));
  reader.Append(body);
  const auto message = reader.Next();
  ASSERT_THAT(message, IsOk());
  EXPECT_EQ((*message)->view().data(), body.view().data() + kFrameHeader);
}

TEST(MessageReaderTest, Faults) {
  EXPECT_THAT(Parse({Frame(std::string(101, 'x'))}).error,
              StatusIs(absl::StatusCode::kInvalidArgument,
                       ::testing::AllOf(HasSubstr("101 bytes"), HasSubstr("max_message_bytes"))));
  // Refused by its announced length, before its bytes come.
  EXPECT_THAT(Parse({std::string("\0\xff\xff\xff\xff", 5)}).error,
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("4294967295")));
  EXPECT_THAT(Parse({std::string("\1\0\0\0\0", 5)}).error,
              StatusIs(absl::StatusCode::kInternal, HasSubstr("compressed")));
  EXPECT_THAT(Parse({std::string("\x80\0\0\0\0", 5)}).error, StatusIs(absl::StatusCode::kInternal));
  EXPECT_TRUE(Parse({std::string("\0\0\0", 3)}).partial);
  EXPECT_TRUE(Parse({std::string("\0\0\0\0\2a", 6)}).partial);
}

std::string Encode(std::string_view bytes) {
  return Base64Encode({http::Slice(std::string(bytes))});
}

TEST(Base64Test, EncodesAcrossSlices) {
  EXPECT_EQ(Encode(""), "");
  EXPECT_EQ(Encode("f"), "Zg==");
  EXPECT_EQ(Encode("fo"), "Zm8=");
  EXPECT_EQ(Encode("foo"), "Zm9v");
  EXPECT_EQ(Base64Encode({http::Slice(std::string("f")), http::Slice(std::string("oob")),
                          http::Slice(std::string("ar"))}),
            "Zm9vYmFy");
  EXPECT_EQ(Encode("\xfb\xff"), "+/8=");
  EXPECT_EQ(Base64EncodeUnpadded("f"), "Zg");
}

TEST(Base64Test, DecodesPiecesWithPaddingCutAnywhere) {
  // Three flushes, each padded for itself.
  const std::string body = Encode("a") + Encode("bc") + Encode("def") + Encode("\xff");
  const std::string bytes = "abcdef\xff";
  for (std::size_t a = 0; a <= body.size(); ++a) {
    for (std::size_t b = a; b <= body.size(); ++b) {
      Base64Decoder decoder;
      std::string out;
      for (const std::string& piece : {body.substr(0, a), body.substr(a, b - a), body.substr(b)}) {
        const auto part = decoder.Decode(piece);
        ASSERT_THAT(part, IsOk());
        out += *part;
      }
      EXPECT_THAT(decoder.End(), IsOk());
      EXPECT_EQ(out, bytes) << a << " " << b;
    }
  }
}

TEST(Base64Test, Faults) {
  for (const std::string_view bad : {"Zg=a", "=Zg=", "Z===", "====", "Zm9\n", "Zm-_", "Zm 9"}) {
    Base64Decoder decoder;
    EXPECT_THAT(decoder.Decode(bad), StatusIs(absl::StatusCode::kInvalidArgument)) << bad;
  }
  for (const std::string_view cut : {"Z", "Zg", "Zg=", "Zm9vZ"}) {
    Base64Decoder decoder;
    EXPECT_THAT(decoder.Decode(cut), IsOk()) << cut;
    EXPECT_THAT(decoder.End(), StatusIs(absl::StatusCode::kInvalidArgument)) << cut;
  }
}

}  // namespace
}  // namespace tocsin::gateway
