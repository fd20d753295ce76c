// Shells beside the one that serves.
#include "lib/guest/guest.h"
#include "unit/ssh/bed.h"

namespace attest::ssh {
namespace {

class SshShells : public SshMachine {
 protected:
  std::unique_ptr<guest::Guest> open() {
    auto stream = loop.run(backend->stream_opener()->open_shell(Deadline::after(10s)));
    return loop.run(guest::greet(std::move(stream), guest::Bootstrap{}, Deadline::after(10s)));
  }
  std::string say(guest::Guest& shell, const std::string& text) {
    guest::Command command{.shell = text, .argv = {}};
    return loop.run(shell.run(command, Deadline::after(10s))).output;
  }
  static Task<void> end(std::unique_ptr<guest::Guest> shell) {
    shell.reset();
    co_return;
  }
};

TEST_F(SshShells, AreAsManyAsWantedAndEndAlone) {
  Sshd sshd(loop, {});
  boot(sshd.config());
  auto first = open(), second = open();
  EXPECT_EQ(say(*first, "echo one"), "one\n");
  EXPECT_EQ(say(*second, "echo two"), "two\n");
  loop.run(end(std::move(first)));
  EXPECT_EQ(say(*second, "echo still"), "still\n");
  EXPECT_EQ(run("echo the agent"), "the agent\n");
  loop.run(end(std::move(second)));
  loop.run([](Backend& host) -> Task<void> {
    host.kill();
    co_return;
  }(*backend));
  EXPECT_THAT(error_of([&] { open(); }), HasSubstr("there is no connection"));
}

}  // namespace
}  // namespace attest::ssh
