// A snapshot that attest-snapshot has made is what a machine starts from.
#include "monitors.h"
#include "run_program.h"

#include <cstdlib>
#include <fstream>

namespace attest {
namespace {

class Prebuilt : public Monitors {
 public:
  Config config() const override {
    auto config = Monitors::config();
    auto& alpha = config.machines["alpha"];
    alpha.firecracker.snapshot_path = (dir() / "made").string();
    alpha.cloud_hypervisor.snapshot_path = (dir() / "made").string();
    return config;
  }
  static const ScratchDir& dir() {
    static ScratchDir made;
    return made;
  }
};
INSTANTIATE_TEST_SUITE_P(, Prebuilt, ATTEST_MONITORS);

TEST_P(Prebuilt, IsWhatTheMachineStartsFrom) {
  auto file = (dir() / "machines.json").string();
  // The same config serves both, its snapshot_path too.
  std::ofstream(file) << driver().config().to_json();
  std::filesystem::remove_all(dir() / "made");
  subtest("before it is made the machine does not start", [&] {
    EXPECT_THAT(error_of(Error::Kind::usage, [&] { alpha().start(); }),
                AllOf(HasSubstr("there is no such directory"), HasSubstr("attest-snapshot")));
    alpha().crash();  // the failure is not for ever
  });
  auto made = fakes::run_program({std::getenv("ATTEST_SNAPSHOT_TOOL"), file,
                                  (dir() / "made").string(), "--unit=nginx.service"},
                                 {}, 200s);
  ASSERT_EQ(made.exit_code, 0) << made.output;

  auto started = alpha().succeed("systemctl show -P ActiveEnterTimestampMonotonic nginx");
  EXPECT_EQ(alpha().succeed("systemctl is-active nginx; hostname"), "active\nalpha\n");
  alpha().succeed("curl -sf http://localhost | grep -q nginx");
  alpha().succeed("touch /run/was-here");
  subtest("each start is from there", [&] {
    alpha().crash();
    EXPECT_EQ(alpha().succeed("systemctl show -P ActiveEnterTimestampMonotonic nginx"), started);
    alpha().fail("test -e /run/was-here");
  });
}

}  // namespace
}  // namespace attest
