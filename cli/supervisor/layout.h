// Where a system that `tocsin up` starts keeps its things, and its keys.
//
//   run/      lock, state.json (system_state.h)
//   keys/     the mesh's authority, a certificate for each process, the pair that signs tokens
//   config/   what each process was started with
//   logs/     one file for each process, and the three before it (log_writer.h)
//   broker/   Kafka's log
//   state/    what processes keep: RocksDB, SQLite
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "lib/base/clock.h"

namespace tocsin::cli {

inline constexpr const char* kIssuer = "tocsin-local";
inline constexpr const char* kAudience = "tocsin";

// The names of certificates in the mesh.
const std::vector<std::string>& MeshIdentities();

class Layout {
 public:
  explicit Layout(std::filesystem::path data) : data_(std::move(data)) {}

  const std::filesystem::path& data() const { return data_; }
  std::filesystem::path Run(std::string_view name) const { return data_ / "run" / name; }
  std::filesystem::path Config(std::string_view name) const { return data_ / "config" / name; }
  std::filesystem::path Log(std::string_view process) const;
  std::filesystem::path State(std::string_view process) const { return data_ / "state" / process; }
  std::filesystem::path Broker() const { return data_ / "broker"; }
  std::filesystem::path Authority() const { return data_ / "keys/ca.pem"; }
  std::filesystem::path CertificateOf(std::string_view identity) const;
  std::filesystem::path KeyOf(std::string_view identity) const;
  std::filesystem::path TokenKey() const { return data_ / "keys/tokens/private/local.pem"; }
  std::filesystem::path TokenPublicKey() const { return data_ / "keys/tokens/local.pem"; }
  std::filesystem::path Token() const { return data_ / "keys/token"; }
  std::filesystem::path CursorKey() const { return data_ / "keys/cursor.key"; }

  // Makes the folders, for the owner alone. FAILED_PRECONDITION names the folder and the reason.
  absl::Status MakeFolders() const;

 private:
  std::filesystem::path data_;
};

// Makes what is missing and what ends within 30 days: authority, certificates, token key, cursor
// key. Gives the token that the profile gets: `user`, role admin, 90 days, kept while it is good
// for another week.
absl::StatusOr<std::string> EnsureKeys(const Layout& layout, std::string_view user, WallTime now);

}  // namespace tocsin::cli
