// The plainest HTTP client, for tests: writes bytes to a port of 127.0.0.1 and reads to the end.
#pragma once

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace tocsin::process::testing {

// What came back until the other side closed; empty when there was no connection.
inline std::string Exchange(std::uint16_t port, std::string_view request) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
  sockaddr generic{};
  std::memcpy(&generic, &address, sizeof(generic));
  std::string response;
  if (connect(fd, &generic, sizeof(generic)) == 0) {
    std::string_view left = request;
    while (!left.empty()) {
      const ssize_t sent = send(fd, left.data(), left.size(), MSG_NOSIGNAL);
      if (sent <= 0) break;
      left.remove_prefix(static_cast<std::size_t>(sent));
    }
    char buffer[4096];
    for (ssize_t got = 0; (got = recv(fd, buffer, sizeof(buffer), 0)) > 0;) {
      response.append(buffer, static_cast<std::size_t>(got));
    }
  }
  close(fd);
  return response;
}

inline std::string Get(std::uint16_t port, std::string_view path) {
  std::string request("GET ");
  request.append(path).append(" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  return Exchange(port, request);
}

}  // namespace tocsin::process::testing
