// What guests write to their disks: kept for the next driver with keep_machine_state, else gone
// with the driver, and never in the image that the disk was made from.
#include "lib/base/file.h"

#include <attest/backend.h>
#include <attest/gtest.h>

#include <cstdlib>
#include <filesystem>

namespace attest {
namespace {

using testing::HasSubstr;

// On the whole disks: the default guest has no mkfs, and a file system would show no more. A plain
// `sync` does not flush the disk itself.
const std::string write_both = R"(
  printf 'written on the blank one' >/dev/vdb
  printf 'OVERLAID' >/dev/vdc
  sync /dev/vdb /dev/vdc
)";
const std::string read_both = "head -c 24 /dev/vdb | tr '\\0' .; head -c 14 /dev/vdc";
const std::string as_left = "written on the blank oneOVERLAID image";
const std::string as_new = "........................pristine image";

class KeptState : public testing::Test {
 protected:
  void SetUp() override {
    base::write_file(image(), "pristine image" + std::string(1 << 20, '\0'));
    auto missing = make(false)->missing();
    if (!missing.empty()) GTEST_SKIP() << missing.front().text;
  }
  void TearDown() override {
    EXPECT_THAT(base::read_file(image()), testing::StartsWith("pristine image"));
  }
  std::filesystem::path image() const { return dir_.path() / "image.raw"; }
  std::unique_ptr<Driver> make(bool keep) const {
    Config config;
    auto& machine = config.machines[keep ? "keeper" : "loser"];
    machine.vlans.clear();
    machine.disks = {{.size_mb = 16}, {.path = image()}};
    machine.keep_machine_state = keep;
    return make_driver(config);
  }

 private:
  base::TempDir dir_{"attest-kept-state-"};
};

TEST_F(KeptState, IsThereInTheNextDriverWhereverTheLastOneStopped) {
  {
    auto driver = make(true);
    EXPECT_EQ(driver->machine("keeper").succeed(read_both), as_new);
    driver->machine("keeper").succeed(write_both);
  }  // the plug is pulled here
  {
    auto driver = make(true);
    EXPECT_EQ(driver->machine("keeper").succeed(read_both), as_left);
    driver->machine("keeper").succeed("printf 'then changed' >/dev/vdb");
    driver->machine("keeper").shutdown();
  }
  EXPECT_THAT(make(true)->machine("keeper").succeed(read_both), HasSubstr("then changed"));
}

TEST_F(KeptState, WithoutItLastsAsLongAsTheDriver) {
  {
    auto driver = make(false);
    driver->machine("loser").succeed(write_both);
    driver->machine("loser").crash();
    EXPECT_EQ(driver->machine("loser").succeed(read_both), as_left);
  }
  EXPECT_EQ(make(false)->machine("loser").succeed(read_both), as_new);
}

}  // namespace
}  // namespace attest

int main(int argc, char** argv) {
  attest::base::TempDir output("attest-kept-output-");
  ::setenv("ATTEST_OUTPUT", output.path().c_str(), 1);
  return attest::main(argc, argv);
}
