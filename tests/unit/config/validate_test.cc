#include "attest/config.h"
#include "tests/unit/config/message.h"

#include <gmock/gmock.h>

#include <functional>

namespace attest {
namespace {

Config one_machine() {
  Config config;
  config.machines["web"];
  return config;
}

TEST(Validate, AcceptsAMachineOfDefaults) {
  EXPECT_EQ(message_of([] { one_machine().validate(); }), "(no error)");
}

TEST(Validate, SaysHowMachinesAreConfiguredWhenThereAreNone) {
  EXPECT_EQ(message_of([] { Config().validate(); }),
            "no machines are configured\n"
            "  hint: override config() in the fixture, or name a JSON file by "
            "--attest_config=FILE, by ATTEST_CONFIG=FILE or in attest's CMake function");
}

struct NameCase {
  std::string name, reason;
};

// The reader and validate() must refuse the same names with the same words.
TEST(Validate, RefusesNamesThatAreNoHostNames) {
  const std::string letters = "only a-z, 0-9 and '-' are allowed";
  const NameCase cases[] = {
      {"", "it is empty"},
      {std::string(64, 'a'), "it has 64 characters, of at most 63"},
      {std::string(300, 'a'), "it has 300 characters, of at most 63"},
      {"../x", letters + "; did you mean 'x'?"},
      {"a/b", letters + "; did you mean 'a-b'?"},
      {"a b", letters + "; did you mean 'a-b'?"},
      {"web_1", letters + "; did you mean 'web-1'?"},
      {"a.example", letters + "; did you mean 'a-example'?"},
      {"$(reboot)", letters + "; did you mean 'reboot'?"},
      {"a;b", letters + "; did you mean 'a-b'?"},
      {"`a`", letters + "; did you mean 'a'?"},
      {"a\nb", letters + "; did you mean 'a-b'?"},
      {"..", letters},
      {"\xC3\xBC", letters},
      {"Web", "it has upper-case letters; did you mean 'web'?"},
      {"-web", "it starts or ends with '-'; did you mean 'web'?"},
      {"web-", "it starts or ends with '-'; did you mean 'web'?"},
      {"localhost", "every machine calls itself that"},
      {"12", "programs would take it for an IP address"},
      {"0x1f", "programs would take it for an IP address"},
  };
  for (auto& [name, reason] : cases) {
    Config config;
    config.machines[name];
    auto message = message_of([&] { config.validate(); });
    EXPECT_THAT(message, testing::StartsWith("machines: '"));
    EXPECT_THAT(message, testing::EndsWith("' cannot be a machine's name: " + reason));
    EXPECT_LT(message.size(), 250u);
    EXPECT_EQ(message_of([&] { Config::from_json(config.to_json()); }), message);
  }
}

TEST(Validate, AcceptsHostNames) {
  for (std::string name : {"a", "web-1", "1a", "0xg", "a--b", "x0x1"}) {
    Config config;
    config.machines[name];
    EXPECT_EQ(message_of([&] { config.validate(); }), "(no error)") << name;
  }
  Config config;
  config.machines[std::string(63, 'a')];
  EXPECT_EQ(message_of([&] { config.validate(); }), "(no error)");
}

TEST(Validate, TakesAsManyMachinesAsAVlanHasAddresses) {
  Config config;
  for (int i = 0; i < 253; ++i) config.machines["m" + std::to_string(i)];
  EXPECT_EQ(message_of([&] { config.validate(); }), "(no error)");
  config.machines["one-more"];
  EXPECT_EQ(message_of([&] { config.validate(); }),
            "machines: expected at most 253 entries, got 254");
}

struct Case {
  std::function<void(MachineConfig&)> change;
  std::string message;
};

TEST(Validate, RefusesMachinesThatCannotBeRun) {
  const Case cases[] = {
      {[](auto& m) { m.image = "debian", m.kernel = "/k"; },
       "machines.web: 'image' and 'kernel' are given; only one of them can be"},
      {[](auto& m) { m.kernel = "/k", m.start_script = "/s"; },
       "machines.web: 'kernel' and 'start_script' are given; only one of them can be"},
      {[](auto& m) { m.initrd = "/i"; }, "machines.web: 'initrd' is given without 'kernel'"},
      {[](auto& m) { m.memory_mb = 15; },
       "machines.web.memory_mb: expected a whole number of MiB between 16 and 1048576, "
       "got the number 15"},
      {[](auto& m) { m.vcpus = 256; },
       "machines.web.vcpus: expected a whole number between 1 and 255, got the number 256"},
      {[](auto& m) { m.vlans = {0}; },
       "machines.web.vlans[0]: expected a VLAN number between 1 and 254, got the number 0"},
      {[](auto& m) { m.vlans = {2, 2}; }, "machines.web.vlans: 2 is in the list twice"},
      {[](auto& m) { m.disks = {{}}; },
       "machines.web.disks[0]: neither 'path' nor 'size_mb' is given"},
      {[](auto& m) { m.disks = {{.size_mb = 1}, {.path = "/d", .size_mb = 1}}; },
       "machines.web.disks[1]: 'path' and 'size_mb' are both given; only a blank disk has a size"},
      {[](auto& m) { m.files = {{.from = "", .to = "/x"}}; },
       "machines.web.files[0].from: expected a path, got the empty string"},
      {[](auto& m) { m.files = {{.from = "/a", .to = "/x", .mode = "rw"}}; },
       "machines.web.files[0].mode: expected an octal mode such as \"0644\", "
       "got the string \"rw\""},
      {[](auto& m) { m.mounts = {{.host = "/a", .guest = "/.."}}; },
       "machines.web.mounts[0].guest: expected an absolute path without '..', "
       "got the string \"/..\""},
      {[](auto& m) { m.env["A B"] = ""; },
       "machines.web.env: expected as key a name of letters, digits and '_' that starts with no "
       "digit, got 'A B'"},
      {[](auto& m) { m.credentials[".."] = ""; },
       "machines.web.credentials: expected as key a name of 1 to 255 letters, digits, '_', '-', "
       "'.' and '@', got '..'"},
      {[](auto& m) { m.cmdline = std::string("a\0b", 3); },
       "machines.web.cmdline: expected text without NUL characters, got the string \"a^@b\""},
      {[](auto& m) { m.kernel = "/\xFF"; },
       "machines.web.kernel: expected UTF-8 text, got the string \"/\xEF\xBF\xBD\""},
      {[](auto& m) { m.accel = static_cast<Accel>(3); },
       "machines.web.accel: expected \"auto\", \"kvm\" or \"tcg\", got the number 3"},
  };
  for (auto& [change, message] : cases) {
    auto config = one_machine();
    change(config.machines["web"]);
    EXPECT_EQ(message_of([&] { config.validate(); }), message);
  }
}

TEST(Validate, RefusesTimeoutsOfNothing) {
  auto config = one_machine();
  config.timeouts.wait = std::chrono::seconds(0);
  EXPECT_EQ(message_of([&] { config.validate(); }),
            "timeouts.wait: expected a whole number of seconds between 1 and 31536000, "
            "got the number 0");
}

TEST(Validate, RefusesASeedThatJsonCannotHold) {
  for (auto seed : {std::uint64_t{1} << 53, ~std::uint64_t{0}}) {
    auto config = one_machine();
    config.network.seed = seed;
    EXPECT_THAT(
        message_of([&] { config.validate(); }),
        testing::HasSubstr("network.seed: expected a whole number between 0 and 9007199254740991"));
  }
}

TEST(ToJson, RefusesTextThatJsonCannotHold) {
  auto config = one_machine();
  config.name = "\xFF";
  EXPECT_EQ(message_of([&] { (void)config.to_json(); }),
            "config: cannot be written as JSON, it holds text that is not UTF-8\n"
            "  hint: validate() names the key");
}

}  // namespace
}  // namespace attest
