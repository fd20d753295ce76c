#include "attest/config.h"
#include "tests/unit/config/message.h"

#include <gtest/gtest.h>

#include <functional>

namespace attest {
namespace {

Config sample() {
  return Config::from_json(R"({"machines": {
    "web": {"disks": [{"path": "/a", "read_only": true}], "env": {"A": "1"}}, "db": {}}})");
}

TEST(Set, ChangesWhatThePathNames) {
  using M = MachineConfig;
  struct Case {
    std::string assignment;
    std::function<void(Config&, M&)> same;
  };
  const Case cases[] = {
      {"name=nightly run", [](auto& c, M&) { c.name = "nightly run"; }},
      {"machines.web.memory_mb=1024", [](auto&, M& m) { m.memory_mb = 1024; }},
      {" machines.web.memory_mb = 64 ", [](auto&, M& m) { m.memory_mb = 64; }},
      {"machines.web.graphics=true", [](auto&, M& m) { m.graphics = true; }},
      {"machines.web.accel=tcg", [](auto&, M& m) { m.accel = Accel::tcg; }},
      {"machines.web.accel=\"tcg\"", [](auto&, M& m) { m.accel = Accel::tcg; }},
      {"machines.web.cmdline=a=b {c} ", [](auto&, M& m) { m.cmdline = "a=b {c} "; }},
      {"machines.web.cmdline=\"a\\tb\"", [](auto&, M& m) { m.cmdline = "a\tb"; }},
      {"machines.web.cmdline=5", [](auto&, M& m) { m.cmdline = "5"; }},
      {"machines.web.cmdline=", [](auto&, M& m) { m.cmdline = ""; }},
      {"machines.web.vlans=[3, 1]", [](auto&, M& m) { m.vlans = {3, 1}; }},
      {"machines.web.vlans[0]=7", [](auto&, M& m) { m.vlans = {7}; }},
      {"machines.web.disks[0].size_mb=8", [](auto&, M& m) { m.disks[0].size_mb = 8; }},
      {"machines.web.disks.0.path=/b", [](auto&, M& m) { m.disks[0].path = "/b"; }},
      {"machines.web.disks[0]=/b", [](auto&, M& m) { m.disks[0] = {.path = "/b"}; }},
      {"machines.web.disks=[\"/b\"]", [](auto&, M& m) { m.disks = {{.path = "/b"}}; }},
      {"machines.web.env.A=2", [](auto&, M& m) { m.env["A"] = "2"; }},
      {"machines.web.env.B=2", [](auto&, M& m) { m.env["B"] = "2"; }},
      {"machines.web.env={}", [](auto&, M& m) { m.env.clear(); }},
      {"machines.web.credentials.ssh.key-1=x",
       [](auto&, M& m) { m.credentials["ssh.key-1"] = "x"; }},
      {"machines.web.qemu.machine=microvm", [](auto&, M& m) { m.qemu.machine = "microvm"; }},
      {"machines.web={\"vcpus\": 2}", [](auto&, M& m) { m = {.vcpus = 2}; }},
      {"timeouts={\"boot\":60}",
       [](auto& c, M&) { c.timeouts = {.boot = std::chrono::seconds(60)}; }},
      {"vlans=[9]", [](auto& c, M&) { c.vlans = {9}; }},
      {"network.seed=9007199254740991",
       [](auto& c, M&) { c.network.seed = (std::uint64_t{1} << 53) - 1; }},
      {"network.realisation=process",
       [](auto& c, M&) { c.network.realisation = Realisation::process; }},
      {"network.capture=failed", [](auto& c, M&) { c.network.capture = CaptureAll::failed; }},
  };
  for (auto& [assignment, same] : cases) {
    auto config = sample(), wanted = sample();
    same(wanted, wanted.machines["web"]);
    EXPECT_EQ(message_of([&] { config.set(assignment); }), "(no error)");
    EXPECT_EQ(config, wanted) << assignment << "\n" << config.to_json();
  }
}

TEST(Set, SaysWhatIsWrongAndChangesNothing) {
  struct Case {
    std::string assignment, message;
  };
  const Case cases[] = {
      {"machines.web.memory_mb=lots",
       "machines.web.memory_mb: expected a whole number of MiB between 16 and 1048576, "
       "got the string \"lots\""},
      {"machines.web.memory_mb=\"512\"",
       "machines.web.memory_mb: expected a whole number of MiB between 16 and 1048576, "
       "got the string \"512\""},
      {"machines.web.graphics=yes",
       "machines.web.graphics: expected true or false, got the string \"yes\""},
      {"machines.web.accel=xen",
       "machines.web.accel: expected \"auto\", \"kvm\" or \"tcg\", got the string \"xen\""},
      {"machines.weg.vcpus=1",
       "machines: there is no 'weg'; did you mean 'web'?\n  hint: known: db, web"},
      {"machines.mail={}", "machines: there is no 'mail'\n  hint: known: db, web"},
      {"machines..vcpus=1", "machines: there is no ''\n  hint: known: db, web"},
      {"machines.web.memory=1", "machines.web: unknown key 'memory'; did you mean 'memory_mb'?"},
      {"timeout.boot=1", "config: unknown key 'timeout'; did you mean 'timeouts'?"},
      {"machines.web.vcpus.x=1",
       "machines.web.vcpus: is a whole number between 1 and 255, it has no key 'x'"},
      {"machines.web.disks[1].path=x", "machines.web.disks: there is no item '1', the list has 1"},
      {"machines.web.disks[-1].path=x",
       "machines.web.disks: there is no item '-1', the list has 1"},
      {"machines.web.vlans=1,2",
       "machines.web.vlans: expected a list, each item a VLAN number between 1 and 254, got the "
       "string \"1,2\"\n  hint: lists are written as JSON, for example [1,2] or [\"a\",\"b\"]"},
      {"machines.web.vlans=[1,2",
       "not valid JSON at line 1, column 5, near '[1,2': unexpected end of input"},
      {"machines.web.env.1=x",
       "machines.web.env: expected as key a name of letters, digits and '_' that starts with no "
       "digit, got '1'"},
      {"machines.web=", "machines.web: expected an object, got the empty string"},
  };
  for (auto& [assignment, message] : cases) {
    auto config = sample();
    EXPECT_EQ(message_of([&] { config.set(assignment); }),
              message + "\n  while setting '" + assignment + "'");
    EXPECT_EQ(config, sample());
  }
  for (std::string assignment : {"foo", "=x", ""})
    EXPECT_EQ(message_of([&] { sample().set(assignment); }),
              "expected path=value, got '" + assignment +
                  "'\n  hint: for example machines.web.memory_mb=1024");
}

}  // namespace
}  // namespace attest
