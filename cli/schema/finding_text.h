// A finding for a person: what changed, where it stands in both texts, what it does on the wire,
// and what mends it. Pure.
#pragma once

#include <google/protobuf/struct.pb.h>

#include <string>
#include <string_view>

#include "lib/schema/compatibility.h"
#include "lib/schema/compiled_schema.h"

namespace tocsin::cli {

// One of the two texts that were compared.
struct Side {
  // Stands before line and column: "orders.proto", "orders-value version 3".
  std::string name;
  const schema::CompiledSchema& schema;
};

// Several lines, indented by two, the last one ended:
//
//   FIELD_SCALAR_KIND_CHANGED at #/Order/amount
//   amount was int32 and is string …
//     orders.proto:7:10
//       7 |   string amount = 3;
//         |          ^~~~~~
//     before, in git:HEAD orders.proto:6:9
//       6 |   int32 amount = 3;
//         |         ^~~~~~
//   on the wire: …
//   repair: …
std::string FindingText(const schema::Finding& finding, const Side& older, const Side& newer);

// The line of a place with a caret under it; empty where the text has no such line.
std::string CaretText(std::string_view text, const schema::Place& place);

// {"kind": …, "path": …, "description": …, "direction": "BACKWARD", "older": {"file", "line",
// "column"}, "newer": …, "consequence": …, "repair": …}
google::protobuf::Struct FindingFields(const schema::Finding& finding);

}  // namespace tocsin::cli
