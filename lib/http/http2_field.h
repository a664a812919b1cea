// Internal: a header field as nghttp2 takes it.
#pragma once

#include <nghttp2/nghttp2.h>

#include <cstdint>
#include <string_view>

namespace tocsin::http {

// nghttp2 copies both when the frame is submitted; until then they must stay.
inline nghttp2_nv Http2Field(std::string_view name, std::string_view value) {
  nghttp2_nv field{};
  field.name = reinterpret_cast<std::uint8_t*>(const_cast<char*>(name.data()));
  field.namelen = name.size();
  field.value = reinterpret_cast<std::uint8_t*>(const_cast<char*>(value.data()));
  field.valuelen = value.size();
  field.flags = NGHTTP2_NV_FLAG_NONE;
  return field;
}

}  // namespace tocsin::http
