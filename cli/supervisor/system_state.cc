#include "cli/supervisor/system_state.h"

#include <google/protobuf/util/json_util.h>

#include <string>
#include <system_error>

#include "cli/output.h"
#include "lib/auth/keys.h"
#include "lib/base/status.h"
#include "lib/base/text.h"

namespace tocsin::cli {
namespace {

std::filesystem::path File(const Layout& layout) { return layout.Run("state.json"); }

}  // namespace

absl::Status WriteSystemState(const Layout& layout, const v1::SystemState& state) {
  return auth::WriteFileAtomically(File(layout).string(), Json(state, true));
}

absl::StatusOr<v1::SystemState> ReadSystemState(const Layout& layout) {
  TOCSIN_ASSIGN_OR_RETURN(const std::string text, auth::ReadFile(File(layout).string()));
  v1::SystemState state;
  if (!google::protobuf::util::JsonStringToMessage(text, &state).ok()) {
    return DataLoss(Concat(File(layout).string(), " cannot be read"));
  }
  return state;
}

void RemoveSystemState(const Layout& layout) {
  std::error_code ignored;
  std::filesystem::remove(File(layout), ignored);
}

}  // namespace tocsin::cli
