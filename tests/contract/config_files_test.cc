// The config's files: in the machine from its first moment, the same on every backend.
#include "contract.h"

#include <filesystem>
#include <fstream>

namespace attest {
namespace {
using testing::AllOf;
using testing::HasSubstr;
namespace fs = std::filesystem;

const std::string bytes = std::string("a\0b\377\r\n", 6) + std::string(100'000, 'x');

class ConfigFiles : public Contract {
 public:
  Config config() const override {
    auto config = Contract::config();
    config.machines["alpha"].files = {
        {.from = on_host("plain", bytes), .to = "/etc/attest test/plain"},
        {.from = on_host("secret", "hidden\n"), .to = "/root/secret", .mode = "0600"},
        {.from = on_host("program", "#!/bin/sh\necho ran\n"), .to = "/opt/program", .mode = "755"},
        {.from = on_host("banner", "new\n"), .to = "/etc/issue"},
        {.from = on_host("early", ""), .to = "/var/tmp/early/empty"}};
    return config;
  }

 protected:
  /// A file of the host with a mode of its own, which is not to matter.
  static std::string on_host(const std::string& name, const std::string& content) {
    auto path = artifact_dir() / ("files-" + name);
    fs::remove(path);
    std::ofstream(path, std::ios::binary) << content;
    fs::permissions(path, fs::perms(0400));
    return path;
  }
  /// What starting one more machine with this file says.
  std::string refusal(const std::string& name, FileConfig file) {
    MachineConfig config{.backend = GetParam(), .vlans = {}, .files = {std::move(file)}};
    config.ssh = driver().config().machines.at("alpha").ssh;
    return error_of(Error::Kind::usage, [&] { create_machine(name, config).start(); });
  }
};
INSTANTIATE_TEST_SUITE_P(, ConfigFiles, ATTEST_CONTRACT_BACKENDS);

TEST_P(ConfigFiles, HaveTheirContentAndMode) {
  EXPECT_EQ(alpha().read_file("/etc/attest test/plain"), bytes);
  EXPECT_EQ(alpha().succeed("stat -c '%a %U' '/etc/attest test/plain'"), "644 root\n");
  EXPECT_EQ(alpha().read_file("/root/secret"), "hidden\n");
  EXPECT_EQ(alpha().succeed("stat -c '%a %U' /root/secret"), "600 root\n");
  EXPECT_EQ(alpha().succeed("/opt/program"), "ran\n");
  EXPECT_EQ(alpha().succeed("stat -c %a /opt/program"), "755\n");
  EXPECT_EQ(alpha().read_file("/etc/issue"), "new\n") << "it replaces what was there";
  EXPECT_EQ(alpha().succeed("stat -c %s /var/tmp/early/empty"), "0\n");
}

TEST_P(ConfigFiles, LeaveOtherMachinesAndDirectoriesAlone) {
  beta().fail("test -e /opt/program");
  EXPECT_EQ(alpha().succeed("stat -c %a /etc /var/tmp"), "755\n1777\n");
}

TEST_P(ConfigFiles, ThatTheHostDoesNotHaveAreOneClearError) {
  auto text = refusal("missing", {.from = "/nowhere/at all", .to = "/etc/x"});
  EXPECT_THAT(text, AllOf(HasSubstr("machines.missing.files[0].from"),
                          HasSubstr("'/nowhere/at all'"), HasSubstr("No such file")));
  EXPECT_THAT(refusal("folder", {.from = "/usr", .to = "/etc/x"}),
              AllOf(HasSubstr("machines.folder.files[0].from"), HasSubstr("directory")));
}

TEST_P(ConfigFiles, NeedAnAbsolutePlaceAndAMode) {
  EXPECT_THAT(refusal("relative", {.from = "/etc/hostname", .to = "etc/x"}),
              AllOf(HasSubstr("machines.relative.files[0].to"), HasSubstr("an absolute path")));
  EXPECT_THAT(refusal("climber", {.from = "/etc/hostname", .to = "/etc/../x"}),
              HasSubstr("machines.climber.files[0].to"));
  EXPECT_THAT(refusal("moody", {.from = "/etc/hostname", .to = "/etc/x", .mode = "rw"}),
              HasSubstr("machines.moody.files[0].mode"));
}

}  // namespace
}  // namespace attest
