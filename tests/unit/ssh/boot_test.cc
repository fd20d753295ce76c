// From a config to a machine that takes commands.
#include "unit/ssh/bed.h"

namespace attest::ssh {
namespace {

TEST_F(SshMachine, RunsTheAgentAndLeavesNothingOnTheHost) {
  Sshd sshd(loop, {});
  boot(sshd.config());
  EXPECT_TRUE(has_agent());
  EXPECT_EQ(run("id -un; pwd; ls -d /tmp/attest.* || true"), "root\n/tmp\n");
  EXPECT_EQ(said, "");
}

TEST_F(SshMachine, RunsAShellWhereTheAgentIsNotWanted) {
  Sshd sshd(loop, {});
  auto config = sshd.config();
  config.agent = false;
  boot(config);
  EXPECT_FALSE(has_agent());
  EXPECT_EQ(run("id -un; pwd; echo $HOME $DISPLAY"), "root\n/tmp\n/root :0.0\n");
  EXPECT_THAT(said, HasSubstr("ssh.agent is off"));
}

TEST_F(SshMachine, IsRefusedWithAWrongKey) {
  Sshd sshd(loop, {});
  auto config = sshd.config();
  config.key_file = key_path("other");
  auto start = Clock::now();
  auto error = error_of(Error::Kind::usage, [&] { boot(config); });
  EXPECT_THAT(error, HasSubstr("root@127.0.0.1:22 does not let us in"));
  EXPECT_THAT(error, HasSubstr("the key file '/run/keys/other': refused"));
  EXPECT_THAT(error, HasSubstr("publickey,password"));
  EXPECT_LT(Clock::now() - start, 10s) << "it was tried again, in vain";
}

}  // namespace
}  // namespace attest::ssh
