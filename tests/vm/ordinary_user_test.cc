// The quickstart's binary as an ordinary user: no root, no /dev/net/tun, TCG and the in-process
// switch. The image, the program and the config are copied to where that user may read.
#include "backends/image/image.h"
#include "lib/base/file.h"
#include "run_program.h"

#include <gmock/gmock.h>

#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>

namespace {
namespace fs = std::filesystem;
using testing::HasSubstr;

void share(const fs::path& from, const fs::path& to) {
  std::error_code other_device;
  fs::create_hard_link(from, to, other_device);
  if (other_device) fs::copy_file(from, to);
}

TEST(OrdinaryUser, BootsTwoMachinesThatFindEachOther) {
  if (::geteuid() != 0)
    GTEST_SKIP() << "this run is an ordinary user's already: the example test shows it";
  attest::base::TempDir dir("attest-user-");
  ::chmod(dir.path().c_str(), 0755);
  auto image = attest::image::find_image("", "qemu");
  auto copied = dir.path() / "image";
  fs::create_directory(copied);
  for (auto& part : {image.kernel, image.initrd, image.root}) share(part, copied / part.filename());
  attest::base::write_file(copied / "image.json",
                           attest::base::read_file(image.kernel.parent_path() / "image.json"));
  fs::copy_file(std::getenv("ATTEST_EXAMPLE"), dir.path() / "two_machines");
  attest::base::write_file(dir.path() / "config.json",
                           attest::base::read_file(std::getenv("ATTEST_EXAMPLE_CONFIG")));
  auto home = dir.path() / "home";
  fs::create_directory(home);
  ASSERT_EQ(::chown(home.c_str(), 65534, 65534), 0);

  auto run =
      attest::fakes::run_program({"setpriv", "--reuid=65534", "--regid=65534", "--clear-groups",
                                  (dir.path() / "two_machines").string(),
                                  "--attest_config=" + (dir.path() / "config.json").string()},
                                 {{"HOME", home.string()},
                                  {"XDG_CACHE_HOME", ""},
                                  {"ATTEST_IMAGE", copied.string()},
                                  {"TMPDIR", home.string()}},
                                 std::chrono::seconds(240));
  EXPECT_EQ(run.exit_code, 0) << run.output;
  EXPECT_THAT(run.output, HasSubstr("[  PASSED  ] 1 test"));
  EXPECT_THAT(run.output, HasSubstr("sandbox full"));
}

}  // namespace
