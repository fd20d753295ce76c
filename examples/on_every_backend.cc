// One body for virtual machines, containers and hosts that are up already. ctest and
// --gtest_list_tests show the same three tests everywhere; what cannot run here is skipped with the
// reason. For ssh a config file says where the hosts are (ATTEST_CONFIG, --attest_config):
//     {"machines": {"client": {"ssh": {"host": "10.0.0.1"}},
//                   "server": {"ssh": {"host": "10.0.0.2"}}}}
#include <attest/gtest.h>

class WebOn : public attest::TestOn {};
INSTANTIATE_TEST_SUITE_P(, WebOn, attest::backends("qemu", "nspawn", "ssh"), attest::BackendName());

TEST_P(WebOn, ServesWhatWasPutThere) {
  auto& server = machine("server");
  auto& client = machine("client");
  start_all();

  server.wait_for_unit("nginx.service");
  server.write_file("/var/www/html/made.txt", "on " + GetParam());
  EXPECT_EQ(client.succeed("curl -sf http://server/made.txt"), "on " + GetParam());
}
