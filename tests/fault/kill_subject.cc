// The program that kill_test.cc kills: boots a machine, runs commands, shuts it down, and again,
// saying on stdout in which phase it is. Not a test by itself.
#include <attest/gtest.h>

#include <iostream>

namespace {

class Subject : public attest::Test {
 public:
  attest::Config config() const override {
    attest::Config config;
    config.machines["victim"].vlans = {1, 2};
    return config;
  }
};

TEST_F(Subject, GoesRoundForEver) {
  auto& victim = machine("victim");
  for (;;) {
    std::cout << "phase boot" << std::endl;
    victim.start();
    std::cout << "phase exec" << std::endl;
    for (int i = 0; i < 100; ++i) victim.succeed("echo working; ls / >/dev/null");
    std::cout << "phase shutdown" << std::endl;
    victim.shutdown();
  }
}

}  // namespace
