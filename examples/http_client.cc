// The test is itself the client: it is on the machines' network, under the same faults, and knows
// them by their names. No client is installed anywhere.
#include <attest/gtest.h>

#include <netdb.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <stdexcept>

using namespace std::chrono_literals;

namespace {

// GET / of `host`; throws what went wrong, after two seconds at most.
std::string front_page(const std::string& host) {
  addrinfo wanted{}, *found = nullptr;
  wanted.ai_family = AF_INET;
  wanted.ai_socktype = SOCK_STREAM;
  if (::getaddrinfo(host.c_str(), "80", &wanted, &found) != 0)
    throw std::runtime_error(host + " has no address");
  int connection = ::socket(AF_INET, SOCK_STREAM, 0);
  timeval limit{.tv_sec = 2, .tv_usec = 0};  // of connect() too
  ::setsockopt(connection, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  ::setsockopt(connection, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  std::string request = "GET / HTTP/1.0\r\nHost: " + host + "\r\n\r\n", answer;
  bool connected = ::connect(connection, found->ai_addr, found->ai_addrlen) == 0 &&
                   ::send(connection, request.data(), request.size(), 0) > 0;
  ::freeaddrinfo(found);
  char buffer[4096];
  for (ssize_t count; connected && (count = ::recv(connection, buffer, sizeof buffer, 0)) > 0;)
    answer.append(buffer, static_cast<std::size_t>(count));
  ::close(connection);
  if (answer.empty()) throw std::runtime_error(host + " does not answer");
  return answer;
}

}  // namespace

class Client : public attest::Test {};

TEST_F(Client, IsTheTestItself) {
  auto& server = machine("server");
  server.wait_for_unit("nginx.service");
  server.wait_for_open_port(80);
  EXPECT_THAT(front_page("server"), testing::HasSubstr("Welcome to nginx"));

  {
    auto fault = network().partition({"server"}, {std::string(attest::test_process)});
    EXPECT_THROW(front_page("server"), std::runtime_error);
  }
  EXPECT_THAT(front_page("server"), testing::HasSubstr("Welcome to nginx"));

  // A browser of yours, outside of the test's network, would use this port:
  EXPECT_GT(server.forward_port(0, 80), 0);
}
