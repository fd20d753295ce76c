// Two machines on one network: the client fetches the server's page by the server's name.
// The machines are described in two_machines.json.
#include <attest/gtest.h>

class Web : public attest::Test {};

TEST_F(Web, ServesItsFrontPage) {
  auto& server = machine("server");
  auto& client = machine("client");
  start_all();  // boots both at the same time

  attest::subtest("nginx answers", [&] {
    server.wait_for_unit("nginx.service");
    server.wait_for_open_port(80);
    EXPECT_THAT(client.succeed("curl -sf http://server"), testing::HasSubstr("Welcome to nginx"));
  });
}
