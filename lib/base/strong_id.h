// Ids that cannot be mistaken for one another:
//
//   using SchemaId = StrongId<struct SchemaIdTag, std::int32_t>;
#pragma once

#include <compare>
#include <cstddef>
#include <functional>
#include <utility>

namespace tocsin {

template <typename Tag, typename Value>
class StrongId {
 public:
  constexpr StrongId() = default;
  constexpr explicit StrongId(Value value) : value_(std::move(value)) {}
  constexpr const Value& value() const { return value_; }
  friend constexpr auto operator<=>(const StrongId&, const StrongId&) = default;

 private:
  Value value_{};
};

}  // namespace tocsin

template <typename Tag, typename Value>
struct std::hash<tocsin::StrongId<Tag, Value>> {
  std::size_t operator()(const tocsin::StrongId<Tag, Value>& id) const {
    return std::hash<Value>()(id.value());
  }
};
