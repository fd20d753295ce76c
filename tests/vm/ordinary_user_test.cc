// The quickstart's binary as an ordinary user: no root, TCG, the in-process switch and, where the
// device can be opened, TAPs. The image, the program and the config are copied to where that user
// may read.
#include "backends/image/image.h"
#include "lib/base/file.h"
#include "run_program.h"

#include <gmock/gmock.h>

#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

namespace {
namespace fs = std::filesystem;
using testing::HasSubstr;

void share(const fs::path& from, const fs::path& to) {
  std::error_code other_device;
  fs::create_hard_link(from, to, other_device);
  if (other_device) fs::copy_file(from, to);
}

class OrdinaryUser : public testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0)
      GTEST_SKIP() << "this run is an ordinary user's already: the example test shows it";
    ::chmod(dir.path().c_str(), 0755);
    auto image = attest::image::find_image("", "qemu");
    fs::create_directory(copied);
    for (auto& part : {image.kernel, image.initrd, image.root})
      share(part, copied / part.filename());
    attest::base::write_file(copied / "image.json",
                             attest::base::read_file(image.kernel.parent_path() / "image.json"));
    fs::copy_file(std::getenv("ATTEST_EXAMPLE"), dir.path() / "two_machines");
    attest::base::write_file(dir.path() / "config.json",
                             attest::base::read_file(std::getenv("ATTEST_EXAMPLE_CONFIG")));
    fs::create_directory(home);
    ASSERT_EQ(::chown(home.c_str(), 65534, 65534), 0);
  }

  // The example as nobody; `before` is what root runs it by.
  attest::fakes::ProgramRun run(std::vector<std::string> before,
                                const std::vector<std::string>& flags = {}) {
    before.insert(before.end(), {"setpriv", "--reuid=65534", "--regid=65534", "--clear-groups",
                                 (dir.path() / "two_machines").string(),
                                 "--attest_config=" + (dir.path() / "config.json").string()});
    before.insert(before.end(), flags.begin(), flags.end());
    return attest::fakes::run_program(before,
                                      {{"HOME", home.string()},
                                       {"XDG_CACHE_HOME", ""},
                                       {"ATTEST_IMAGE", copied.string()},
                                       {"TMPDIR", home.string()}},
                                      std::chrono::seconds(240));
  }

  attest::base::TempDir dir{"attest-user-"};
  fs::path copied = dir.path() / "image", home = dir.path() / "home";
};

TEST_F(OrdinaryUser, BootsTwoMachinesThatFindEachOther) {
  auto ended = run({});
  EXPECT_EQ(ended.exit_code, 0) << ended.output;
  EXPECT_THAT(ended.output, HasSubstr("[  PASSED  ] 1 test"));
  EXPECT_THAT(ended.output, HasSubstr("sandbox full"));
}

// As on most distributions, where everybody may open the device; here nobody else sees it.
const std::vector<std::string> with_tun{
    "unshare",
    "--mount",
    "--propagation",
    "private",
    "sh",
    "-ec",
    "mount -t tmpfs none /dev/net && mknod -m 0666 /dev/net/tun c 10 200 && exec \"$@\"",
    "sh"};

TEST_F(OrdinaryUser, HasTapsWhereTheDeviceLetsEverybody) {
  if (!fs::exists("/dev/net/tun")) GTEST_SKIP() << "this kernel has no /dev/net/tun (modprobe tun)";
  auto ended = run(with_tun, {"--attest_set=network.realisation=kernel"});
  EXPECT_EQ(ended.exit_code, 0) << ended.output;
  EXPECT_THAT(ended.output, HasSubstr("[  PASSED  ] 1 test"));
}

TEST_F(OrdinaryUser, IsToldHowToGetTaps) {
  std::vector<std::string> without;  // where nobody has it, all is as it should be already
  if (fs::exists("/dev/net")) {
    without = with_tun;
    without[6] = "mount -t tmpfs none /dev/net && exec \"$@\"";
  }
  auto ended = run(without, {"--attest_set=network.realisation=kernel"});
  EXPECT_EQ(ended.exit_code, 77) << ended.output;  // skipped
  EXPECT_THAT(ended.output, HasSubstr("/dev/net/tun"));
  EXPECT_THAT(ended.output, HasSubstr("extra-sandbox-paths"));
}

}  // namespace
