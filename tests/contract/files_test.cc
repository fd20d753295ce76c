// Files and trees, in and out, and directories that are shared.
#include "contract.h"

#include <filesystem>
#include <fstream>
#include <sstream>

namespace attest {
namespace {
using testing::AllOf;
using testing::HasSubstr;
namespace fs = std::filesystem;

class Files : public Contract {
 protected:
  /// A tree on the host: a program, a name with blanks, an empty directory, a symbolic link.
  fs::path make_tree() {
    auto tree = artifact_dir() / "tree";
    fs::remove_all(tree);
    fs::create_directories(tree / "bin");
    fs::create_directories(tree / "empty");
    write(tree / "bin/run me", "#!/bin/sh\necho ran\n");
    fs::permissions(tree / "bin/run me", fs::perms(0750));
    fs::create_symlink("bin/run me", tree / "link");
    return tree;
  }
  static void write(const fs::path& path, const std::string& bytes) {
    std::ofstream(path, std::ios::binary) << bytes;
  }
  static std::string read(const fs::path& path) {
    std::stringstream all;
    all << std::ifstream(path, std::ios::binary).rdbuf();
    return all.str();
  }
};
INSTANTIATE_TEST_SUITE_P(, Files, ATTEST_CONTRACT_BACKENDS);

TEST_P(Files, BytesAreWrittenAndReadBackWhole) {
  std::string bytes("a\0b\377\r\n", 6);
  bytes += std::string(300'000, 'x');
  alpha().write_file("/tmp/files/new/bytes", bytes, {.mode = 0640});
  EXPECT_EQ(alpha().read_file("/tmp/files/new/bytes"), bytes);
  EXPECT_EQ(alpha().succeed("stat -c %a /tmp/files/new/bytes"), "640\n");
}

TEST_P(Files, AFileThatIsNotThereIsAnErrorOfTheGuest) {
  EXPECT_THAT(error_of(Error::Kind::guest, [&] { alpha().read_file("/tmp/none/such"); }),
              HasSubstr("/tmp/none/such"));
}

TEST_P(Files, ATreeGoesInWithModesAndLinks) {
  alpha().copy_from_host(make_tree(), "/tmp/files/in/tree");
  EXPECT_EQ(
      alpha().succeed("cd /tmp/files/in/tree; ./link; stat -c %a 'bin/run me'; readlink link; "
                      "ls -d empty"),
      "ran\n750\nbin/run me\nempty\n");
}

TEST_P(Files, AFileGoesInUnderItsNewName) {
  auto file = artifact_dir() / "one";
  write(file, std::string(200'000, 'y'));  // nixpkgs' shell copy ends at 96 KiB
  alpha().copy_from_host_via_shell(file, "/tmp/files/renamed");
  EXPECT_EQ(alpha().succeed("wc -c </tmp/files/renamed"), "200000\n");
}

TEST_P(Files, ATreeComesOutUnderTheArtifacts) {
  alpha().succeed(
      "mkdir -p /tmp/files/out/deep; cd /tmp/files/out; echo x >deep/x; chmod 600 deep/x; "
      "ln -s deep/x link");
  auto there = alpha().copy_from_machine("/tmp/files/out", "from/alpha");
  EXPECT_EQ(there, artifact_dir() / "from/alpha/out");
  EXPECT_EQ(read(there / "deep/x"), "x\n");
  EXPECT_EQ(fs::status(there / "deep/x").permissions(), fs::perms(0600));
  EXPECT_EQ(fs::read_symlink(there / "link"), "deep/x");
  EXPECT_EQ(read(alpha().copy_from_vm("/tmp/files/out/deep/x")), "x\n");
}

TEST_P(Files, NothingComesOutElsewhere) {
  error_of(Error::Kind::usage, [&] { alpha().copy_from_machine("/tmp/..", ""); });
  error_of(Error::Kind::usage, [&] { alpha().copy_from_machine("/etc/hostname", "../up"); });
  error_of(Error::Kind::usage, [&] { alpha().copy_from_machine("/etc/hostname", "/tmp"); });
}

TEST_P(Files, TheSharedDirectoryIsSeenByBoth) {
  fs::path dir;
  try {
    dir = alpha().shared_dir();
  } catch (const Error& e) {
    ASSERT_EQ(e.kind(), Error::Kind::unsupported) << e.what();
    GTEST_SKIP() << e.what();
  }
  write(dir / "from-host", "hello");
  EXPECT_EQ(alpha().succeed("cat /tmp/shared/from-host"), "hello");
  alpha().succeed("echo back >/tmp/shared/from-guest");
  EXPECT_EQ(read(dir / "from-guest"), "back\n");
}

}  // namespace
}  // namespace attest
