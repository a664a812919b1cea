#include "lib/schema/guid.h"

#include <openssl/evp.h>

#include <array>
#include <memory>

namespace tocsin::schema {
namespace {

struct FreeContext {
  void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
};

class Md5 {
 public:
  Md5() : context_(EVP_MD_CTX_new()) { EVP_DigestInit_ex(context_.get(), EVP_md5(), nullptr); }
  void Add(std::string_view bytes) { EVP_DigestUpdate(context_.get(), bytes.data(), bytes.size()); }
  SchemaGuid Finish() {
    SchemaGuid guid{};
    unsigned int size = 0;
    EVP_DigestFinal_ex(context_.get(), guid.data(), &size);
    return guid;
  }

 private:
  const std::unique_ptr<EVP_MD_CTX, FreeContext> context_;
};

constexpr std::string_view kPresent{"\x01", 1};

}  // namespace

SchemaGuid GuidOf(std::string_view text, std::span<const GuidReference> references,
                  std::string_view metadata, std::string_view rule_set) {
  Md5 md5;
  md5.Add(text);
  for (const GuidReference& reference : references) {
    md5.Add(reference.name);
    md5.Add(reference.subject);
    const auto version = static_cast<std::uint32_t>(reference.version);
    const std::array<char, 4> bytes = {static_cast<char>(version >> 24),
                                       static_cast<char>(version >> 16),
                                       static_cast<char>(version >> 8), static_cast<char>(version)};
    md5.Add({bytes.data(), bytes.size()});
  }
  for (const std::string_view part : {metadata, rule_set}) {
    if (part.empty()) continue;
    md5.Add(kPresent);
    md5.Add(part);
  }
  return md5.Finish();
}

}  // namespace tocsin::schema
