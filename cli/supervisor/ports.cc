#include "cli/supervisor/ports.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>
#include <set>
#include <sstream>

#include "lib/auth/keys.h"
#include "lib/base/status.h"
#include "lib/base/text.h"

namespace tocsin::cli {
namespace {

namespace fs = std::filesystem;

// Inodes of the sockets that listen on a port, from the kernel's table.
std::set<std::string> ListeningSockets(std::uint16_t port) {
  std::set<std::string> inodes;
  for (const char* const table : {"/proc/net/tcp", "/proc/net/tcp6"}) {
    std::ifstream file(table);
    std::string line;
    std::getline(file, line);  // the header
    while (std::getline(file, line)) {
      std::istringstream words(line);
      std::string slot, local, remote, state, queues, timer, retransmits, user, timeout, inode;
      words >> slot >> local >> remote >> state >> queues >> timer >> retransmits >> user >>
          timeout >> inode;
      const std::size_t colon = local.rfind(':');
      constexpr const char* kListen = "0A";
      if (state == kListen && colon != std::string::npos &&
          std::strtoul(local.c_str() + colon + 1, nullptr, 16) == port) {
        inodes.insert(Concat("socket:[", inode, "]"));
      }
    }
  }
  return inodes;
}

// "java (pid 123)"; empty when it cannot be seen (another user's).
std::string HolderOf(std::uint16_t port) {
  const std::set<std::string> inodes = ListeningSockets(port);
  std::error_code error;
  for (const auto& process : fs::directory_iterator("/proc", error)) {
    const std::string pid = process.path().filename().string();
    if (pid.find_first_not_of("0123456789") != std::string::npos) continue;
    std::error_code no_right;
    for (const auto& file : fs::directory_iterator(process.path() / "fd", no_right)) {
      std::error_code gone;
      if (!inodes.contains(fs::read_symlink(file.path(), gone).string())) continue;
      const auto name = auth::ReadFile((process.path() / "comm").string());
      return Concat(name.ok() ? Trim(*name) : "a process", " (pid ", pid, ")");
    }
  }
  return {};
}

absl::Status TryListen(const std::string& host, std::uint16_t port) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE;
  addrinfo* found = nullptr;
  if (getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found) != 0) {
    return InvalidArgument(Concat("'", host, "' is not a host that is known here"));
  }
  const int socket_fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int on = 1;
  setsockopt(socket_fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  int error = 0;
  if (bind(socket_fd, found->ai_addr, found->ai_addrlen) != 0 || listen(socket_fd, 1) != 0) {
    error = errno;
  }
  close(socket_fd);
  freeaddrinfo(found);
  if (error == 0) return absl::OkStatus();
  if (error == EADDRINUSE) return AlreadyExists("in use");
  return InvalidArgument(std::strerror(error));
}

}  // namespace

absl::Status CheckFree(std::string_view address) {
  TOCSIN_ASSIGN_OR_RETURN(const HostPort parsed, ParseHostPort(address));
  const absl::Status status = TryListen(parsed.host, parsed.port);
  if (absl::IsAlreadyExists(status)) {
    const std::string holder = HolderOf(parsed.port);
    return AlreadyExists(
        Concat("port ", parsed.port, " is in use", holder.empty() ? "" : Concat(" by ", holder)));
  }
  if (!status.ok()) return Annotate(status, Concat("cannot listen on ", address));
  return absl::OkStatus();
}

absl::StatusOr<std::vector<std::uint16_t>> PickFreePorts(std::size_t count) {
  constexpr std::uint16_t kLowest = 20000;
  constexpr std::uint16_t kHighest = 31999;
  std::mt19937 random(std::random_device{}());
  std::uniform_int_distribution<int> any(kLowest, kHighest);
  std::set<std::uint16_t> taken;
  std::vector<std::uint16_t> ports;
  for (int tries = 0; ports.size() < count && tries < 10'000; ++tries) {
    const auto port = static_cast<std::uint16_t>(any(random));
    if (taken.insert(port).second && TryListen("127.0.0.1", port).ok()) ports.push_back(port);
  }
  if (ports.size() < count) {
    return ResourceExhausted("there are not enough free ports between 20000 and 31999");
  }
  return ports;
}

}  // namespace tocsin::cli
