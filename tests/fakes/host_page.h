// What a browser on the host would get.
#pragma once
#include "lib/base/fd.h"
#include "lib/base/sys_error.h"
#include "lib/sandbox/doorman.h"

#include <attest/sandbox.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <chrono>
#include <cstdint>
#include <string>

namespace attest::fakes {

/// A connection of the host to its 127.0.0.1:`port`: through the doorman, or in no sandbox our own.
inline base::Fd connect_on_host(int port) {
  if (auto sandbox = current_sandbox())
    return sandbox->doorman->dial("127.0.0.1", port, std::chrono::seconds(10));
  base::Fd own(base::check(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), "a socket"));
  sockaddr_in there{};
  there.sin_family = AF_INET;
  there.sin_port = htons(static_cast<std::uint16_t>(port));
  there.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  base::check(::connect(own.get(), reinterpret_cast<sockaddr*>(&there), sizeof there),
              "connecting to a forwarded port");
  return own;
}

/// All that a web server there says to a request for its first page.
inline std::string host_page(int port) {
  auto connection = connect_on_host(port);
  std::string request = "GET / HTTP/1.0\r\n\r\n", answer;
  base::check(
      static_cast<int>(::send(connection.get(), request.data(), request.size(), MSG_NOSIGNAL)),
      "asking for a page");
  char buffer[4096];
  for (ssize_t count; (count = ::recv(connection.get(), buffer, sizeof buffer, 0)) > 0;)
    answer.append(buffer, static_cast<std::size_t>(count));
  return answer;
}

}  // namespace attest::fakes
