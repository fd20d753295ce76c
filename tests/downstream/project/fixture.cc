#include <attest/gtest.h>

class Downstream : public attest::Test {};

TEST_F(Downstream, FindsItsConfig) { EXPECT_EQ(config().name, "downstream"); }

TEST_F(Downstream, RunsACommand) { EXPECT_EQ(machine("one").succeed("echo here"), "here\n"); }
