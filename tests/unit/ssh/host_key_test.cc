// Which hosts are taken for the ones that the config means.
#include "backends/ssh/known_hosts.h"
#include "unit/ssh/bed.h"

#include "backends/ssh/fingerprint.h"
#include "fakes/run_program.h"

#include <sys/stat.h>

namespace attest::ssh {
namespace {

TEST(KnownHosts, FindsHostsByNamePatternPortAndHash) {
  const std::string key = "AAAAC3NzaC1lZDI1NTE5AAAAIE1vcmUgdGhhbiBoYWxmIG9mIGl0IGlzIG5vdGhpbmc=";
  // ssh-keygen -H of "web" and "[web]:2222", with salts of its own.
  const std::string file =
      "# a comment\n"
      "web,10.0.0.1 ssh-ed25519 " +
      key +
      " me\n"
      "*.lan,!bad.lan ssh-ed25519 " +
      key +
      "\n"
      "[web]:2222 ssh-ed25519 " +
      key +
      "\n"
      "@cert-authority * ssh-ed25519 " +
      key +
      "\n"
      "@revoked gone ssh-ed25519 " +
      key +
      "\n"
      "broken ssh-ed25519 AAAA\n"
      "short\n";
  const struct {
    const char* host;
    int port;
    std::size_t line;
  } rows[] = {{"web", 22, 2},       {"10.0.0.1", 22, 2}, {"a.lan", 22, 3}, {"WEB", 22, 2},
              {"bad.lan", 22, 0},   {"web", 2222, 4},    {"gone", 22, 6},  {"broken", 22, 0},
              {"elsewhere", 22, 0}, {"web", 2223, 0}};
  for (auto& row : rows) {
    auto found = find_keys(file, row.host, row.port);
    EXPECT_EQ(found.size(), row.line ? 1U : 0U) << row.host;
    if (!found.empty()) {
      EXPECT_EQ(found.front().line, row.line) << row.host;
    }
  }
  EXPECT_TRUE(find_keys(file, "gone", 22).front().revoked);
}

TEST(KnownHosts, NamesKeysAsSshKeygenDoes) {
  base::TempDir dir;
  auto key = (dir.path() / "key").string();
  auto made = fakes::run_program({"ssh-keygen", "-q", "-t", "ecdsa", "-N", "", "-f", key});
  if (made.exit_code != 0) GTEST_SKIP() << "there is no ssh-keygen: " << made.output;
  auto words = base::split(base::read_file(key + ".pub"), ' ');
  auto blob = from_base64(words.at(1));
  ASSERT_TRUE(blob);
  EXPECT_EQ(key_type(*blob), "ecdsa-sha2-nistp256");
  EXPECT_EQ(base64(*blob), words.at(1));
  auto printed = fakes::run_program({"ssh-keygen", "-lf", key}).output;
  EXPECT_THAT(printed, HasSubstr(" " + fingerprint(*blob) + " "));
  base::write_file(dir.path() / "hosts", "[web]:2222 " + words[0] + " " + words[1] + "\n");
  fakes::run_program({"ssh-keygen", "-q", "-H", "-f", (dir.path() / "hosts").string()});
  auto hashed = base::read_file(dir.path() / "hosts");
  EXPECT_THAT(hashed, StartsWith("|1|"));
  EXPECT_EQ(find_keys(hashed, "web", 2222).size(), 1U);
  EXPECT_EQ(find_keys(hashed, "Web", 2222).size(), 1U) << "ssh hashes names in lower case";
  EXPECT_EQ(find_keys(hashed, "web", 22).size(), 0U);
}

class SshHostKey : public SshMachine {
 protected:
  void SetUp() override {
    SshMachine::SetUp();
    if (IsSkipped()) return;
    sshd = std::make_unique<Sshd>(loop, Sshd::Options{});
    config = sshd->config();
    config.fingerprint.clear();
    config.known_hosts = file;
  }
  std::string known() const { return base::try_read_file(file).value_or(""); }

  std::string file = (dir.path() / "ssh" / "known_hosts").string();
  std::unique_ptr<Sshd> sshd;
  SshConfig config;
};

TEST_F(SshHostKey, IsTakenWhenKnown) {
  std::filesystem::create_directory(dir.path() / "ssh");
  base::write_file(file, "127.0.0.1 " + public_line("host") + "\n");
  boot(config);
  EXPECT_EQ(run("echo in"), "in\n");
}

TEST_F(SshHostKey, OfAnUnknownHostIsRefusedWithItsFingerprint) {
  auto error = error_of(Error::Kind::usage, [&] { boot(config); });
  EXPECT_THAT(error, HasSubstr("the key of host '127.0.0.1' is not known"));
  EXPECT_THAT(error, HasSubstr("set ssh.fingerprint to '" + fingerprint_of("host") + "'"));
  EXPECT_THAT(error, HasSubstr("ssh.accept_new"));
  EXPECT_FALSE(std::filesystem::exists(file));
}

TEST_F(SshHostKey, IsNotedOnceWhenNewOnesAreAccepted) {
  config.accept_new = true;
  boot(config);
  EXPECT_EQ(known(), "127.0.0.1 " + public_line("host") + "\n");
  EXPECT_THAT(said, HasSubstr(fingerprint_of("host") + ") was new and is now in " + file));
  struct stat status{};
  ASSERT_EQ(::stat(file.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777U, 0600U);
  ASSERT_EQ(::stat((dir.path() / "ssh").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777U, 0700U);
  boot_again();
  EXPECT_EQ(known(), "127.0.0.1 " + public_line("host") + "\n");
}

TEST_F(SshHostKey, IsNotTakenForNewWhereTheKnownOnesCannotBeRead) {
  std::filesystem::create_directories(file);  // in the file's place
  config.accept_new = true;
  auto error = error_of(Error::Kind::usage, [&] { boot(config); });
  EXPECT_THAT(error, HasSubstr("'" + file + "' cannot be read: it is no regular file"));
}

TEST(SshConfigCheck, TakesOnlyNamesThatAreNoShellText) {
  MachineConfig config{.backend = "ssh"};
  for (std::string host : {"a;b", "-oProxyCommand=x", "a b", "x,*", "a\nb", "$(x)"}) {
    config.ssh.host = host;
    EXPECT_THAT(error_of(Error::Kind::usage, [&] { check_config("web", config); }),
                HasSubstr("machines.web.ssh.host: expected letters"))
        << host;
  }
  config.ssh.host = "fe80::1%eth0";
  config.ssh.user = "a`b`";
  EXPECT_THAT(error_of(Error::Kind::usage, [&] { check_config("web", config); }),
              HasSubstr("machines.web.ssh.user: expected letters"));
  config.ssh.user = "first.last@corp";
  check_config("web", config);
}

TEST_F(SshHostKey, ThatHasChangedIsRefusedAlsoWhereNewOnesAreAccepted) {
  std::filesystem::create_directory(dir.path() / "ssh");
  const std::string before = "# mine\n127.0.0.1 " + public_line("host2") + "\n";
  base::write_file(file, before);
  config.accept_new = true;
  auto error = error_of(Error::Kind::usage, [&] { boot(config); });
  EXPECT_THAT(error, HasSubstr("IS NOT THE KNOWN ONE"));
  EXPECT_THAT(error, HasSubstr(fingerprint_of("host")));
  EXPECT_THAT(error, HasSubstr(fingerprint_of("host2")));
  EXPECT_THAT(error, HasSubstr(file + ", line 2"));
  EXPECT_THAT(error, HasSubstr("ssh-keygen -f " + file + " -R '127.0.0.1'"));
  EXPECT_EQ(known(), before);
}

TEST_F(SshHostKey, IsComparedWithThePinAlone) {
  std::filesystem::create_directory(dir.path() / "ssh");
  base::write_file(file, "127.0.0.1 " + public_line("host2") + "\n");
  config.fingerprint = fingerprint_of("host");
  boot(config);
  EXPECT_EQ(run("echo in"), "in\n");
  base::write_file(file, "127.0.0.1 " + public_line("host") + "\n");
  config.fingerprint = fingerprint_of("host2");
  auto error = error_of(Error::Kind::usage, [&] { boot(config); });
  EXPECT_THAT(error, HasSubstr("IS NOT THE PINNED ONE"));
  EXPECT_THAT(error, HasSubstr(fingerprint_of("host")));
  EXPECT_THAT(error, HasSubstr(fingerprint_of("host2")));
}

TEST_F(SshHostKey, IsAskedForInAKindThatIsKnown) {
  // The host has two; left to itself it would show the ed25519 one.
  fakes::run_program(
      {"ssh-keygen", "-q", "-t", "ecdsa", "-N", "", "-C", "ec", "-f", key_path("host_ec")});
  sshd.reset();
  Sshd two(loop, {.more = "HostKey " + key_path("host_ec")});
  std::filesystem::create_directory(dir.path() / "ssh");
  base::write_file(file, "127.0.0.1 " + public_line("host_ec") + "\n");
  boot(config);
  EXPECT_EQ(run("echo in"), "in\n");
}

TEST_F(SshHostKey, ThatWasRevokedIsRefused) {
  std::filesystem::create_directory(dir.path() / "ssh");
  base::write_file(file, "@revoked 127.0.0.1 " + public_line("host") + "\n");
  config.accept_new = true;
  EXPECT_THAT(error_of(Error::Kind::usage, [&] { boot(config); }), HasSubstr("was revoked"));
}

}  // namespace
}  // namespace attest::ssh
