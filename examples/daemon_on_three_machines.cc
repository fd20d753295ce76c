// A daemon of one's own on three machines: it is built here, copied in, started, and each machine
// asks the next one. Nothing of it is installed in the guests.
#include <attest/gtest.h>

#include <cstdlib>
#include <fstream>

using namespace std::chrono_literals;

namespace {

// Answers each connection with its own host name.
constexpr auto daemon_source = R"cc(
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>
#include <string>

  int main() {
    int door = socket(AF_INET, SOCK_STREAM, 0), yes = 1;
    setsockopt(door, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    sockaddr_in any{};
    any.sin_family = AF_INET;
    any.sin_port = htons(7070);
    if (bind(door, reinterpret_cast<sockaddr*>(&any), sizeof any) || listen(door, 16)) return 1;
    for (int guest; (guest = accept(door, nullptr, nullptr)) >= 0; close(guest)) {
      char name[64] = {}, request[1024];
      gethostname(name, sizeof name - 1);
      read(guest, request, sizeof request);
      auto text = std::string("HTTP/1.0 200 OK\r\n\r\nhere is ") + name + "\n";
      write(guest, text.data(), text.size());
    }
  }
)cc";

// Static: the guests need not have the same libraries as this host.
std::filesystem::path build_daemon() {
  auto dir = attest::artifact_dir();
  std::ofstream(dir / "daemon.cc") << daemon_source;
  auto line = "c++ -static -O1 -w -o '" + (dir / "daemon").string() + "' '" +
              (dir / "daemon.cc").string() + "'";
  if (std::system(line.c_str()) != 0) throw std::runtime_error("the daemon does not compile");
  return dir / "daemon";
}

}  // namespace

class Ring : public attest::Test {};

TEST_F(Ring, EachMachineHearsTheNext) {
  auto daemon = build_daemon();
  std::vector<attest::Machine*> ring = {&machine("anna"), &machine("bert"), &machine("cleo")};
  start_all();

  std::vector<attest::Process> daemons;  // end with this test
  attest::wait_all(ring, [&](attest::Machine& m) { m.copy_from_host(daemon, "/opt/ring/daemon"); });
  for (auto* m : ring) daemons.push_back(m->spawn({.argv = {"/opt/ring/daemon"}}));

  attest::wait_all(ring, [](attest::Machine& m) { m.wait_for_open_port(7070, {.timeout = 60s}); });
  for (std::size_t i = 0; i < ring.size(); ++i) {
    auto& next = ring[(i + 1) % ring.size()]->name();
    EXPECT_EQ(ring[i]->succeed("curl -sf http://" + next + ":7070"), "here is " + next + "\n");
  }
}
