// Files over SFTP, and over a shell where the host has no SFTP.
#include "backends/ssh/files.h"
#include "backends/ssh/connect.h"
#include "unit/ssh/bed.h"

#include <sys/stat.h>

namespace attest::ssh {
namespace {

// What the host's sshd_config has for SFTP.
struct Way {
  const char* name;
  const char* subsystem;
  bool over_shell;
};

class SshFiles : public SshMachine, public testing::WithParamInterface<Way> {
 protected:
  void SetUp() override {
    SshMachine::SetUp();
    if (IsSkipped()) return;
    sshd = std::make_unique<Sshd>(loop, Sshd::Options{.subsystem = GetParam().subsystem});
    Target target{loop.executor(), sshd->config(), outside, {}, {}};
    session = loop.run(connect(target, Deadline::after(10s)));
    files = std::make_shared<Files>(session);
  }
  void TearDown() override {
    if (session) loop.run(session->disconnect(Deadline::after(10s)));
  }
  void put(const std::string& path, const std::string& bytes, unsigned mode = 0644) {
    loop.run(files->put(path, bytes, mode, Deadline::after(30s)));
  }
  std::string get(const std::string& path) {
    return loop.run(files->get(path, Deadline::after(30s)));
  }
  static unsigned mode_of(const std::string& path) {
    struct stat status{};
    return ::stat(path.c_str(), &status) == 0 ? status.st_mode & 07777U : 0;
  }

  std::unique_ptr<Sshd> sshd;
  std::shared_ptr<Session> session;
  std::shared_ptr<Files> files;
};

INSTANTIATE_TEST_SUITE_P(
    Over, SshFiles,
    testing::Values(Way{"Sftp", "sftp internal-sftp", false}, Way{"Shell", "", true},
                    Way{"ShellSinceItsProgramIsMissing", "sftp /nonexistent", true}),
    [](auto& one) { return std::string(one.param.name); });

TEST_P(SshFiles, AreWrittenAndReadByteForByte) {
  const auto path = (dir.path() / "new/deep/it's a file").string();
  std::string bytes;
  for (int i = 0; i < 5 << 20; ++i) bytes += static_cast<char>(i * 7 + i / 257);
  put(path, bytes, 0640);
  EXPECT_EQ(files->over_shell(), GetParam().over_shell);
  EXPECT_TRUE(base::read_file(path) == bytes);
  EXPECT_EQ(mode_of(path), 0640U);
  EXPECT_TRUE(get(path) == bytes);
  put(path, "", 0755);
  EXPECT_EQ(get(path), "");
  EXPECT_EQ(mode_of(path), 0755U);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(dir.path() / "new/deep"), {}), 1);
}

TEST_P(SshFiles, ThatExistKeepTheirLinks) {
  const auto path = (dir.path() / "file").string(), link = (dir.path() / "link").string();
  base::write_file(path, "before");
  std::filesystem::create_symlink(path, link);
  put(link, "after");
  EXPECT_TRUE(std::filesystem::is_symlink(link));
  EXPECT_EQ(base::read_file(path), "after");
}

TEST_P(SshFiles, ThatCannotBeSayWhy) {
  auto missing = (dir.path() / "missing").string();
  EXPECT_THAT(error_of(Error::Kind::guest, [&] { get(missing); }),
              testing::AllOf(HasSubstr("reading '" + missing + "'"),
                             testing::ContainsRegex("[Nn]o such file")));
  EXPECT_THAT(error_of(Error::Kind::guest, [&] { put("/proc/1/nothing", "x"); }),
              HasSubstr("writing '/proc/1/nothing'"));
  put(missing, "still works");
  EXPECT_EQ(get(missing), "still works");
}

TEST_F(SshMachine, HasTheFilesOfTheConfigWhenItIsUp) {
  Sshd sshd(loop, {});
  const auto path = (dir.path() / "etc/app.conf").string();
  context.config.files = {{"app.conf", path, "0600"}};
  context.seed = {{"/etc/hostname", "not this"}, {path, "setting=1\n", 0600}};
  const auto hostname = base::read_file("/etc/hostname");
  boot(sshd.config());
  EXPECT_EQ(run("cat '" + path + "'"), "setting=1\n");
  EXPECT_EQ(base::read_file("/etc/hostname"), hostname);
}

}  // namespace
}  // namespace attest::ssh
