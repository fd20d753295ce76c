// The ways to log in.
#include "backends/ssh/key_file.h"
#include "unit/ssh/bed.h"

#include "fakes/run_program.h"

namespace attest::ssh {
namespace {

TEST(KeyFile, SaysWhatSpeaksAgainstAKey) {
  base::TempDir dir;
  const auto path = (dir.path() / "key").string();
  const struct {
    std::vector<std::string> how;
    const char* objection;  // "": none
  } rows[] = {
      {{"-t", "ed25519", "-N", ""}, ""},
      {{"-t", "ecdsa", "-N", ""}, ""},
      {{"-t", "ecdsa", "-N", "", "-m", "PEM"}, ""},
      {{"-t", "ed25519", "-N", "secret"}, "encrypted"},
      {{"-t", "ecdsa", "-N", "secret", "-m", "PEM"}, "encrypted"},
      {{"-t", "rsa", "-N", ""}, "libssh2 1.10 cannot sign with RSA keys for OpenSSH 8.8 and newer"},
      {{"-t", "rsa", "-N", "", "-m", "PEM"}, "use ed25519"},
  };
  for (auto& row : rows) {
    std::filesystem::remove(path);
    std::vector<std::string> command{"ssh-keygen", "-q", "-f", path};
    command.insert(command.end(), row.how.begin(), row.how.end());
    if (fakes::run_program(command).exit_code != 0) GTEST_SKIP() << "there is no ssh-keygen";
    auto text = base::read_file(path);
    EXPECT_THAT(objection_to_key(text, false), HasSubstr(row.objection))
        << base::join(row.how, " ");
    if (!*row.objection) {
      EXPECT_EQ(objection_to_key(text, false), "") << base::join(row.how, " ");
    }
    EXPECT_THAT(objection_to_key(text, true), Not(HasSubstr("RSA")));
    EXPECT_THAT(objection_to_key(base::read_file(path + ".pub"), true), HasSubstr("public key"));
  }
  EXPECT_THAT(objection_to_key("hello", true), HasSubstr("not a private key"));
  EXPECT_THAT(objection_to_key("-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END", true),
              HasSubstr("damaged"));
}

TEST_F(SshMachine, LogsInWithAPassword) {
  base::write_file(dir.path() / "password", std::string(password) + "\nnot this\n");
  for (auto* way : {"PasswordAuthentication", "KbdInteractiveAuthentication"}) {
    const std::string other = way == std::string("PasswordAuthentication")
                                  ? "KbdInteractiveAuthentication no"
                                  : "PasswordAuthentication no\nUsePAM yes";
    Sshd sshd(loop, {.more = std::string(way) + " yes\n" + other});
    auto config = sshd.config();
    config.key_file.clear();
    config.password_file = (dir.path() / "password").string();
    boot(config);
    EXPECT_EQ(run("id -un"), "root\n") << way;
  }
}

TEST_F(SshMachine, SaysWhatWasTriedWithAWrongPassword) {
  base::write_file(dir.path() / "password", "sesam\n");
  Sshd sshd(loop, {});
  auto config = sshd.config();
  config.key_file = key_path("other");
  config.password_file = (dir.path() / "password").string();
  auto error = error_of(Error::Kind::usage, [&] { boot(config); });
  EXPECT_THAT(error, HasSubstr("the key file '/run/keys/other': refused"));
  EXPECT_THAT(error, HasSubstr("the password from '" + config.password_file + "': refused"));
  EXPECT_THAT(error, HasSubstr("ssh -v -p 22 root@127.0.0.1"));
  EXPECT_THAT(error, Not(HasSubstr("sesam")));
}

TEST_F(SshMachine, LogsInWithKeysOfTheSshAgent) {
  Sshd sshd(loop, {});
  const auto socket = (dir.path() / "agent").string();
  async::ChildSpec spec;
  spec.argv = {"ssh-agent", "-D", "-a", socket};
  auto start = [](asio::any_io_executor where,
                  async::ChildSpec what) -> Task<std::shared_ptr<async::Child>> {
    co_return std::make_shared<async::Child>(where, std::move(what));
  };
  auto agent = loop.run(start(loop.executor(), std::move(spec)));
  const std::map<std::string, std::string> env{{"SSH_AUTH_SOCK", socket}};
  auto config = sshd.config();
  config.key_file.clear();
  config.ssh_agent = true;
  // ssh-agent is up when ssh-add reaches it; it says 1 for "no keys", 2 for "no agent".
  for (auto end = Clock::now() + 10s; Clock::now() < end;)
    if (fakes::run_program({"ssh-add", "-l"}, env).exit_code == 1) break;

  EXPECT_THAT(error_of(Error::Kind::usage, [&] { boot(config); }),
              HasSubstr("there is no ssh-agent"));
  outside->agent_socket = socket;
  EXPECT_THAT(error_of(Error::Kind::usage, [&] { boot(config); }), HasSubstr("it has no keys"));
  fakes::run_program({"ssh-add", "-q", key_path("other")}, env);
  EXPECT_THAT(error_of(Error::Kind::usage, [&] { boot(config); }),
              HasSubstr("the ssh-agent's key 'other' (ssh-ed25519 " + fingerprint_of("other") +
                        "): refused"));
  fakes::run_program({"ssh-add", "-q", key_path("user")}, env);
  boot(config);
  EXPECT_EQ(run("id -un"), "root\n");
  loop.run([](std::shared_ptr<async::Child>* child) -> Task<void> {
    child->reset();
    co_return;
  }(&agent));
}

TEST_F(SshMachine, NamesFilesThatCannotBeUsedBeforeItConnects) {
  SshConfig config;
  config.host = "127.0.0.1";
  EXPECT_THAT(error_of(Error::Kind::usage, [&] { boot(config); }), HasSubstr("no way to log in"));
  config.key_file = "/nonexistent/key";
  EXPECT_THAT(error_of(Error::Kind::host, [&] { boot(config); }), HasSubstr("/nonexistent/key"));
  config.key_file = key_path("user") + ".pub";
  EXPECT_THAT(error_of(Error::Kind::usage, [&] { boot(config); }), HasSubstr("public key"));
  EXPECT_EQ(outside->connections, 0);
}

}  // namespace
}  // namespace attest::ssh
