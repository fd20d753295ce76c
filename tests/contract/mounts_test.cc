// The config's mounts: the same result on every backend.
#include "contract.h"

#include <filesystem>
#include <fstream>

namespace attest {
namespace {
using testing::HasSubstr;
namespace fs = std::filesystem;

class Mounts : public TestOn {
 public:
  Config config() const override {
    auto dir = artifact_dir();
    for (auto* name : {"ro", "rw"}) {
      fs::create_directories(dir / name);
      std::ofstream(dir / name / "file") << "of the host\n";
    }
    Config config;
    config.name = "mounts";
    config.machines["alpha"].mounts = {
        {.host = (dir / "ro").string(), .guest = "/srv/ro"},
        {.host = (dir / "rw").string(), .guest = "/srv/rw", .writable = true}};
    return config;
  }
};
INSTANTIATE_TEST_SUITE_P(, Mounts, ATTEST_CONTRACT_BACKENDS);

TEST_P(Mounts, AreThereWhenTheMachineIsReady) {
  EXPECT_EQ(machine("alpha").succeed("cat /srv/ro/file /srv/rw/file"),
            "of the host\nof the host\n");
}

TEST_P(Mounts, AWritableOneCanBeWritten) {
  machine("alpha").succeed("echo more >/srv/rw/made");
  EXPECT_EQ(machine("alpha").succeed("cat /srv/rw/made"), "more\n");
}

}  // namespace
}  // namespace attest
