// Images, their seed, kernels and disks: what is read and written around QEMU's start.
#include "backends/image/image.h"

#include "attest/error.h"
#include "backends/image/seed.h"
#include "backends/qemu/disks.h"
#include "backends/qemu/kernel_file.h"
#include "backends/qemu/kvm_probe.h"
#include "backends/qemu/qcow2.h"
#include "lib/async/child.h"
#include "lib/base/file.h"
#include "lib/base/text.h"
#include "tests/fakes/error_of.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <memory>

namespace attest {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;

std::string output_of(const std::string& command) {
  std::unique_ptr<FILE, int (*)(FILE*)> pipe(::popen(command.c_str(), "r"), ::pclose);
  std::string text;
  char buffer[4096];
  while (std::size_t count = std::fread(buffer, 1, sizeof buffer, pipe.get()))
    text.append(buffer, count);
  return text;
}

/// Sets a variable for one test.
class Variable {
 public:
  Variable(const char* name, const std::string& value) : name_(name) {
    if (const char* old = std::getenv(name)) old_ = old;
    ::setenv(name, value.c_str(), 1);
  }
  ~Variable() { old_ ? ::setenv(name_, old_->c_str(), 1) : ::unsetenv(name_); }

 private:
  const char* name_;
  std::optional<std::string> old_;
};

constexpr const char* description = R"({"format": 1, "name": "tiny", "backends": ["qemu", "nspawn"],
  "kernel": "vmlinuz", "initrd": "boot/initrd", "root": "root.erofs", "root_format": "erofs",
  "cmdline": "quiet", "channel": "backdoor", "seed": "initrd"})";

TEST(ImageTest, ResolvesItsPathsAgainstItsDirectory) {
  auto image = image::parse_image(description, "/images/tiny");
  EXPECT_EQ(image.name, "tiny");
  EXPECT_THAT(image.backends, ElementsAre("qemu", "nspawn"));
  EXPECT_EQ(image.kernel, "/images/tiny/vmlinuz");
  EXPECT_EQ(image.initrd, "/images/tiny/boot/initrd");
  EXPECT_EQ(image.tree, "");
  EXPECT_EQ(image.store, "");
  EXPECT_EQ(image.cmdline, "quiet");
  EXPECT_EQ(image.seed, "initrd");
}

TEST(ImageTest, MayHaveAPartOfItsRootOnADriveOfItsOwn) {
  auto image = image::parse_image(
      R"({"format": 1, "root": "r.erofs", "store": "s.erofs", "store_mount": "/nix/store"})",
      "/images/split");
  EXPECT_EQ(image.store, "/images/split/s.erofs");
  EXPECT_EQ(image.store_mount, "/nix/store");
}

struct BadImage {
  const char* name;
  const char* json;
  const char* complaint;
};
class ImageDescription : public testing::TestWithParam<BadImage> {};
TEST_P(ImageDescription, IsRefusedWithTheReason) {
  auto text =
      error_of(Error::Kind::usage, [] { image::parse_image(GetParam().json, "/images/x"); });
  EXPECT_THAT(text, HasSubstr("'/images/x/image.json'"));
  EXPECT_THAT(text, HasSubstr(GetParam().complaint));
}
INSTANTIATE_TEST_SUITE_P(
    , ImageDescription,
    testing::Values(BadImage{"empty", "", "expected a JSON object"},
                    BadImage{"no_object", "[]", "expected a JSON object"},
                    BadImage{"no_format", "{}", "expected 'format' 1, got none"},
                    BadImage{"newer_format", "{\"format\": 2}", "expected 'format' 1, got 2"},
                    BadImage{"kernel_is_a_number", "{\"format\": 1, \"kernel\": 3}",
                             "expected a string at 'kernel', got 3"},
                    BadImage{"backends_is_a_string", "{\"format\": 1, \"backends\": \"qemu\"}",
                             "expected an array at 'backends'"},
                    BadImage{"store_without_root",
                             "{\"format\": 1, \"store\": \"s\", \"store_mount\": \"/usr\"}",
                             "no 'root'"},
                    BadImage{"store_without_mount",
                             "{\"format\": 1, \"root\": \"r\", \"store\": \"s\"}",
                             "expected an absolute path at 'store_mount', got ''"}),
    [](const auto& row) { return row.param.name; });

TEST(ImageTest, IsFoundByNameDirectoryAndFile) {
  base::TempDir cache;
  Variable at("ATTEST_CACHE", cache.path());
  auto directory = cache.path() / "guest" / "tiny";
  std::filesystem::create_directories(directory);
  base::write_file(directory / "image.json", description);
  for (auto& value : {std::string("tiny"), directory.string(), (directory / "image.json").string()})
    EXPECT_EQ(image::find_image(value, "qemu").kernel, directory / "vmlinuz") << value;
  {
    Variable name("ATTEST_IMAGE", "tiny");
    EXPECT_EQ(image::find_image("", "qemu").name, "tiny");
  }
  EXPECT_THAT(error_of(Error::Kind::usage, [] { image::find_image("tiny", "firecracker"); }),
              HasSubstr("does not serve the backend 'firecracker', only qemu, nspawn"));
}

TEST(ImageTest, ThatIsMissingComesWithTheWayToBuildIt) {
  base::TempDir cache;
  Variable at("ATTEST_CACHE", cache.path());
  Variable none("ATTEST_IMAGE", "");
  auto text = error_of(Error::Kind::usage, [] { image::find_image("", "qemu"); });
  EXPECT_THAT(text, HasSubstr("there is no image 'debian'"));
  EXPECT_THAT(text, HasSubstr((cache.path() / "guest/debian/image.json").string()));
  EXPECT_THAT(text, HasSubstr("sh guest/debian/build.sh"));
  auto variant = error_of(Error::Kind::usage, [] { image::find_image("debian-x11", "qemu"); });
  EXPECT_THAT(variant, HasSubstr("sh guest/debian/build.sh --variant x11"));
}

std::vector<SeedFile> seed_files() {
  return {{"/etc/hostname", "web\n"},
          {"/etc/hosts", "127.0.0.1 localhost\n"},
          {"/root/.ssh/key", std::string("a\0b", 3), 0600},
          {"/tmp/tool", "#!/bin/sh\n", 0755}};
}

TEST(SeedArchive, IsListedByCpio) {
  if (async::find_program("cpio").empty()) GTEST_SKIP() << "cpio is not installed (Debian: cpio)";
  base::TempDir dir;
  base::write_file(dir.path() / "seed.cpio", image::seed_archive(seed_files()));
  auto listing = output_of(
      "cpio -itv --quiet < " + (dir.path() / "seed.cpio").string() +
      " 2>&1 | sed -E 's/ +/ /g; s/ root root / /; s/ [A-Z][a-z]{2} +[0-9]+ +[0-9:]+ / /'");
  EXPECT_EQ(listing,
            "drwxr-xr-x 1 0 attest\n"
            "drwxr-xr-x 1 0 attest/seed\n"
            "drwxr-xr-x 1 0 attest/seed/etc\n"
            "-rw-r--r-- 1 4 attest/seed/etc/hostname\n"
            "-rw-r--r-- 1 20 attest/seed/etc/hosts\n"
            "drwx------ 1 0 attest/seed/root\n"
            "drwxr-xr-x 1 0 attest/seed/root/.ssh\n"
            "-rw------- 1 3 attest/seed/root/.ssh/key\n"
            "drwxrwxrwt 1 0 attest/seed/tmp\n"
            "-rwxr-xr-x 1 10 attest/seed/tmp/tool\n");
}

TEST(SeedArchive, IsExactlyNewc) {
  auto bytes = image::seed_archive({{"/a", "xyz", 0640}});
  EXPECT_EQ(bytes.size() % 4, 0u);
  std::string file =
      "070701"
      "00000003"
      "000081a0"
      "00000000"
      "00000000"
      "00000001"
      "00000000"
      "00000003"
      "00000000"
      "00000000"
      "00000000"
      "00000000"
      "0000000e"
      "00000000";
  file += std::string("attest/seed/a\0", 14) + std::string(0, '\0') + std::string("xyz\0", 4);
  EXPECT_NE(bytes.find(file.substr(0, 110)), std::string::npos);
  EXPECT_NE(bytes.find(file), std::string::npos);
  EXPECT_EQ(bytes.find("TRAILER!!!"), bytes.size() - 14 - 0) << "11 bytes of name, padded";
}

TEST(SeedArchive, FollowsAnInitrdAtAMultipleOfFour) {
  auto bytes = image::append_seed("12345", {});
  EXPECT_EQ(bytes.substr(0, 8), std::string("12345\0\0\0", 8));
  EXPECT_THAT(bytes.substr(8), StartsWith("070701"));
}

class SeedPath : public testing::TestWithParam<const char*> {};
TEST_P(SeedPath, ThatIsNotAbsoluteIsRefused) {
  EXPECT_THAT(error_of(Error::Kind::usage, [] { image::seed_archive({{GetParam(), ""}}); }),
              HasSubstr("absolute path"));
}
INSTANTIATE_TEST_SUITE_P(, SeedPath,
                         testing::Values("", "/", "etc/hosts", "/../etc/passwd", "/a/../../b",
                                         "/a/", "/a/."));

std::string bz_image(unsigned sectors, unsigned units) {
  std::string head(0x260, '\0');
  head.replace(0x202, 4, "HdrS");
  head[0x1f1] = char(sectors);
  head[0x1f4] = char(units);
  return head;
}

TEST(KernelFile, IsJudgedByItsHeader) {
  using qemu::kernel_problem;
  EXPECT_EQ(kernel_problem("", 0), "is empty");
  EXPECT_EQ(kernel_problem(bz_image(3, 10), 4 * 512 + 160), "");
  EXPECT_THAT(kernel_problem(bz_image(3, 10), 4 * 512 + 159),
              HasSubstr("cut short: 2207 bytes, its header says 2208"));
  EXPECT_THAT(kernel_problem("hello", 5), HasSubstr("not an x86 Linux kernel"));
  std::string elf = std::string(
                        "\x7f"
                        "ELF",
                        4) +
                    std::string(60, '\0');
  elf[18] = 62;
  EXPECT_EQ(kernel_problem(elf, 64), "");
  elf[18] = char(183);
  EXPECT_THAT(kernel_problem(elf, 64), HasSubstr("another processor (ELF machine 183)"));
}

TEST(KernelFile, ThatIsMissingIsNamed) {
  EXPECT_THAT(error_of(Error::Kind::usage, [] { qemu::check_kernel("/nowhere/vmlinuz"); }),
              testing::AllOf(HasSubstr("'/nowhere/vmlinuz'"), HasSubstr("No such file")));
  EXPECT_THAT(error_of(Error::Kind::usage, [] { qemu::check_kernel("/tmp"); }),
              HasSubstr("not a regular file"));
}

TEST(KvmProbe, TakesOnlyTheEndOfTheKernelsStartForAnAnswer) {
  EXPECT_FALSE(qemu::kernel_came_up(""));
  EXPECT_FALSE(qemu::kernel_came_up("Booting from ROM..\r\nearly console in extract_kernel"));
  EXPECT_FALSE(qemu::kernel_came_up(
      "[    0.000000] Linux version 6.1.0\r\nKernel panic - not syncing: IO-APIC"));
  EXPECT_TRUE(qemu::kernel_came_up("[ 1.0] VFS: Unable to mount root fs on unknown-block(0,0)"));
  EXPECT_TRUE(qemu::kernel_came_up("[ 1.0] Run /init as init process"));
}

TEST(Qcow2Overlay, IsSoundForQemu) {
  if (async::find_program("qemu-img").empty())
    GTEST_SKIP() << "qemu-img is not installed (Debian: qemu-utils)";
  base::TempDir dir;
  base::write_file(dir.path() / "base.img", "");
  std::filesystem::resize_file(dir.path() / "base.img", 3ull << 30);
  auto base = (dir.path() / "base.img").string(), top = (dir.path() / "top.qcow2").string();
  auto bytes = qemu::qcow2_overlay(base, "raw", 3ull << 30);
  EXPECT_EQ(qemu::qcow2_size(bytes), 3ull << 30);
  base::write_file(top, bytes);
  EXPECT_THAT(output_of("qemu-img check " + top + " 2>&1"), HasSubstr("No errors were found"));
  auto info = output_of("qemu-img info --output=json " + top + " 2>&1");
  EXPECT_THAT(info, HasSubstr("\"virtual-size\": 3221225472"));
  EXPECT_THAT(info, HasSubstr("\"full-backing-filename\": \"" + base + "\""));
  EXPECT_THAT(info, HasSubstr("\"backing-filename-format\": \"raw\""));
  EXPECT_THAT(output_of("qemu-io -c 'write -P 7 2G 1M' -c 'read -P 7 2G 1M' " + top + " 2>&1"),
              testing::Not(HasSubstr("failed")));
  EXPECT_THAT(output_of("qemu-img check " + top + " 2>&1"), HasSubstr("No errors were found"));
}

TEST(DisksTest, AreOverlaidBlankOrReadOnly) {
  base::TempDir dir;
  auto raw = (dir.path() / "data.img").string();
  base::write_file(raw, std::string(100000, 'x'));
  qemu::Disks disks;
  disks.add_root(raw, "erofs");
  disks.add({.path = raw});
  disks.add({.size_mb = 3});
  disks.add({.path = raw, .read_only = true});
  auto& list = disks.list();
  ASSERT_EQ(list.size(), 4u);
  EXPECT_EQ(list[0].file, raw);
  EXPECT_TRUE(list[0].read_only);
  EXPECT_EQ(list[1].file, "/dev/fdset/10");
  EXPECT_EQ(list[1].format, "qcow2");
  EXPECT_EQ(list[2].file, "/dev/fdset/11");
  EXPECT_EQ(list[2].format, "raw");
  EXPECT_EQ(list[3].file, raw);
  EXPECT_THAT(disks.fd_sets(), ElementsAre(10, 11));
  EXPECT_EQ(disks.duplicates().size(), 2u);
}

TEST(DisksTest, OfAnImageComeFirstAndAreShared) {
  base::TempDir dir;
  auto file = [&](const char* name) {
    base::write_file(dir.path() / name, "x");
    return dir.path() / name;
  };
  qemu::Disks disks;
  disks.add_root(file("root"), "erofs");
  disks.add_store(file("store"));
  disks.add({.path = file("data")});
  ASSERT_EQ(disks.list().size(), 3u);
  EXPECT_EQ(disks.list()[1].file, dir.path() / "store");
  EXPECT_TRUE(disks.list()[1].read_only);
  EXPECT_EQ(disks.fd_sets().size(), 1u);
  EXPECT_THAT(error_of(Error::Kind::usage, [&] { disks.add_store("/nowhere/store"); }),
              HasSubstr("'/nowhere/store'"));
}

TEST(DisksTest, AreKeptWhereTheNextRunFindsThem) {
  base::TempDir dir;
  auto raw = (dir.path() / "data.img").string();
  auto state = dir.path() / "state";
  std::filesystem::create_directory(state);
  base::write_file(raw, std::string(100000, 'x'));
  auto open_disks = [&](int size_mb) {
    qemu::Disks disks(state);
    disks.add({.path = raw});
    disks.add({.size_mb = size_mb});
    return disks.duplicates();
  };
  {
    auto files = open_disks(3);
    ASSERT_EQ(files.size(), 2u);
    ASSERT_EQ(::pwrite(files.at(11).get(), "kept", 4, 1000), 4);
  }
  EXPECT_EQ(std::filesystem::file_size(state / "disk1.raw"), 3u << 20);
  {
    auto files = open_disks(3);
    char bytes[4];
    ASSERT_EQ(::pread(files.at(11).get(), bytes, 4, 1000), 4);
    EXPECT_EQ(std::string(bytes, 4), "kept");
  }
  EXPECT_THAT(error_of(Error::Kind::usage, [&] { open_disks(4); }),
              AllOf(HasSubstr("disk1.raw"), HasSubstr("a blank disk of 3 MiB"),
                    HasSubstr("remove the directory")));
  base::write_file(raw, std::string(200000, 'y'));
  EXPECT_THAT(
      error_of(Error::Kind::usage, [&] { open_disks(3); }),
      AllOf(HasSubstr("disk0.qcow2"), HasSubstr("100000 bytes"), HasSubstr("200000 bytes")));
}

// A file without its note was not finished: a run may have been killed while it made it.
TEST(DisksTest, KeptHalfwayAreMadeAgain) {
  base::TempDir state;
  base::write_file(state.path() / "disk0.raw", "half");
  qemu::Disks disks(state.path());
  disks.add({.size_mb = 1});
  EXPECT_EQ(std::filesystem::file_size(state.path() / "disk0.raw"), 1u << 20);
}

TEST(DisksTest, ThatCannotBeUsedAreNamed) {
  base::TempDir dir;
  auto raw = (dir.path() / "data.qcow2").string();
  base::write_file(raw, "not qcow2");
  qemu::Disks disks;
  EXPECT_THAT(error_of(Error::Kind::usage, [&] { disks.add({.path = "/nowhere/d.img"}); }),
              HasSubstr("'/nowhere/d.img'"));
  EXPECT_THAT(error_of(Error::Kind::usage, [&] { disks.add({.path = raw}); }),
              HasSubstr("not in qcow2 format"));
  EXPECT_THAT(error_of(Error::Kind::usage, [&] { disks.add({.path = raw, .format = "vmdk"}); }),
              HasSubstr("'vmdk'"));
  EXPECT_THAT(error_of(Error::Kind::usage, [&] { disks.add({}); }),
              HasSubstr("neither 'path' nor 'size_mb'"));
}

}  // namespace
}  // namespace attest
