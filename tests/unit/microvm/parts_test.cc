// The pure parts that microVM backends share, and their disks.
#include "backends/microvm/api.h"
#include "backends/microvm/boot_files.h"
#include "backends/microvm/monitor_process.h"
#include "backends/microvm/monitor_program.h"
#include "error_of.h"
#include "lib/base/fd.h"
#include "lib/base/file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace attest::microvm {
namespace {

using testing::HasSubstr;
using testing::StartsWith;
using Kind = Error::Kind;
namespace fs = std::filesystem;

TEST(FaultText, IsFoundInWhateverTheMonitorsSay) {
  EXPECT_EQ(fault_text(R"({"fault_message":"The requested operation is not supported."})"),
            "The requested operation is not supported.");
  EXPECT_EQ(fault_text("{ \"error\": \"too large.\nAll requests are dropped.\" }"),
            "too large. All requests are dropped.");
  EXPECT_EQ(fault_text(R"(["Error from API","The VM could not boot"])"),
            "Error from API: The VM could not boot");
  EXPECT_EQ(fault_text("{\"fault_message\": \"cut"), "{\"fault_message\": \"cut");
  EXPECT_EQ(fault_text(""), "");
  EXPECT_EQ(fault_text(R"({"fault_message":7})"), R"({"fault_message":7})");
  EXPECT_LT(fault_text(std::string(100'000, 'x')).size(), 2100u);
}

TEST(VersionText, IsParsed) {
  EXPECT_EQ(parse_version("Firecracker v1.16.1\n\n"), (Version{1, 16, 1}));
  EXPECT_EQ(parse_version("cloud-hypervisor v53.0\nthis is a stand-in, QEMU 7.2.22"),
            (Version{53, 0, 0}));
  EXPECT_EQ(parse_version("Firecracker v1.17.0-dev"), (Version{1, 17, 0}));
  EXPECT_EQ(parse_version("usage: 3 things"), std::nullopt);
  EXPECT_EQ(parse_version(""), std::nullopt);
  EXPECT_LT((Version{1, 9, 9}), (Version{1, 10, 0}));
}

TEST(ConsoleWatchTest, NoticesTheGuestsFateInPieces) {
  ConsoleWatch watch;
  watch.feed("[    1.0] rebo");
  watch.feed("ot: Power down");
  EXPECT_FALSE(watch.halted());
  watch.feed("\r\n");
  EXPECT_TRUE(watch.halted());
  EXPECT_FALSE(watch.rebooted());
  watch.clear();
  watch.feed("reboot: Restarting system\n" + std::string(10'000, 'x') +
             "\nKernel panic - not syncing: Attempted to kill init!\r\nKernel panic - again\n");
  EXPECT_TRUE(watch.rebooted());
  EXPECT_FALSE(watch.halted());
  EXPECT_EQ(watch.fatal(), "Kernel panic - not syncing: Attempted to kill init!");
}

struct EndingCase {
  const char* name;
  Ending ending;
  bool orderly;
  const char* cause;
};
class MicrovmEnding : public testing::TestWithParam<EndingCase> {};
TEST_P(MicrovmEnding, IsExplained) {
  auto ending = GetParam().ending;
  ending.monitor = "Firecracker";
  auto gone = explain(ending);
  EXPECT_EQ(gone.orderly, GetParam().orderly);
  EXPECT_EQ(gone.cause, GetParam().cause);
}
INSTANTIATE_TEST_SUITE_P(
    , MicrovmEnding,
    testing::Values(
        EndingCase{"halted", {.halted = true}, true, "the guest powered off"},
        EndingCase{"rebooted",
                   {.rebooted = true},
                   true,
                   "the guest rebooted, which ends it (allow_reboot is off)"},
        EndingCase{"silent", {}, true, "the guest ended (Firecracker exited with code 0)"},
        // panic=-1 makes a reset of a panic, which is exit code 0.
        EndingCase{"panic",
                   {.fatal_line = "Kernel panic - not syncing: x", .rebooted = true},
                   false,
                   "the guest gave up: 'Kernel panic - not syncing: x'"},
        EndingCase{"code",
                   {.status = {.code = 148}, .code_words = "a forbidden call", .said = "a\nb\n"},
                   false,
                   "Firecracker exited with code 148 (a forbidden call): a\nb"},
        EndingCase{"signal",
                   {.status = {.signal = 9}, .halted = true},
                   false,
                   "Firecracker was killed by signal 9 (Killed)"}),
    [](const auto& row) { return row.param.name; });

std::string elf(int machine) {
  std::string head(4096, '\0');
  head.replace(0, 4,
               "\x7f"
               "ELF");
  head[18] = char(machine);
  return head;
}

TEST(KernelFormTest, IsKnownByItsFirstBytes) {
  EXPECT_EQ(kernel_form(elf(62), 4096), KernelForm::elf);
  std::string image(4096, '\0');
  image.replace(0x202, 4, "HdrS");
  image[0x1f1] = 1;
  image[0x1f4] = 2;  // 2 * 16 bytes behind (1 + 1) * 512
  EXPECT_EQ(kernel_form(image, 1056), KernelForm::bz_image);
  EXPECT_THAT(error_of(Kind::usage, [&] { kernel_form(image, 1055); }), HasSubstr("cut short"));
  EXPECT_THAT(error_of(Kind::usage, [] { kernel_form(elf(3), 4096); }),
              HasSubstr("another processor"));
  EXPECT_THAT(error_of(Kind::usage, [] { kernel_form("", 0); }), StartsWith("is empty"));
  EXPECT_THAT(error_of(Kind::usage, [] { kernel_form("#!/bin/sh", 9); }),
              HasSubstr("neither bzImage nor ELF"));
  auto cut = elf(62);
  cut[42] = 1;  // the section headers are at 64 KiB
  EXPECT_THAT(error_of(Kind::usage, [&] { kernel_form(cut, 4096); }), HasSubstr("cut short"));
}

TEST(KernelFormTest, OfTheProbeIsElf) {
  auto kernel = probe_kernel();
  EXPECT_EQ(kernel_form(kernel, kernel.size()), KernelForm::elf);
}

TEST(MicrovmKernelArguments, EndWithTheConfigs) {
  MachineConfig config;
  config.cmdline = "last=1";
  config.credentials["token"] = "x";
  EXPECT_EQ(kernel_arguments(config, "root=/dev/vda quiet", {"reboot=k"}),
            "console=ttyS0 net.ifnames=0 panic=-1 reboot=k root=/dev/vda quiet "
            "CREDENTIALS_DIRECTORY=/etc/attest/credentials last=1");
}

class MicrovmDrives : public testing::Test {
 protected:
  std::string file(const std::string& name, const std::string& bytes) {
    base::write_file(dir_.path() / name, bytes);
    return (dir_.path() / name).string();
  }
  fs::path made(const std::string& name) {
    fs::create_directories(dir_.path() / name);
    return dir_.path() / name;
  }
  static long blocks(const fs::path& path) {
    struct stat status{};
    return ::stat(path.c_str(), &status) == 0 ? status.st_blocks : -1;
  }

  base::TempDir dir_;
};

TEST_F(MicrovmDrives, KeepTheirOrderAndTheOriginals) {
  auto state = made("state");
  std::string given = file("data.img", "original");
  {
    Drives drives("Firecracker", state, false);
    drives.add_root(file("root.erofs", "root"), "erofs");
    drives.add_store(file("store.erofs", "store"));
    drives.add({.path = given});
    drives.add({.size_mb = 64});
    drives.add({.path = given, .read_only = true});
    std::vector<std::string> ids;
    for (auto& drive : drives.list()) ids.push_back(drive.id + (drive.read_only ? " ro" : " rw"));
    EXPECT_THAT(ids,
                testing::ElementsAre("root ro", "store ro", "disk2 rw", "disk3 rw", "disk4 ro"));
    EXPECT_TRUE(drives.list()[0].root);
    EXPECT_FALSE(fs::exists(state / "disk2.raw"));
    drives.make();
    EXPECT_EQ(base::read_file(drives.list()[2].file), "original");
    EXPECT_EQ(fs::file_size(drives.list()[3].file), 64u << 20);
    EXPECT_EQ(blocks(drives.list()[3].file), 0);
    base::write_file(drives.list()[2].file, "written");
    drives.make();  // a second boot
    EXPECT_EQ(base::read_file(drives.list()[2].file), "written");
  }
  EXPECT_EQ(base::read_file(given), "original");
  EXPECT_TRUE(fs::is_empty(state));
}

TEST_F(MicrovmDrives, AreThereAgainInTheNextRunIfTheyBelongToTheSameFile) {
  auto state = made("state");
  std::string given = file("data.img", "original");
  for (const char* expected : {"original", "written"}) {
    Drives drives("Firecracker", state, true);
    drives.add({.path = given});
    drives.make();
    EXPECT_EQ(base::read_file(drives.list()[0].file), expected);
    base::write_file(drives.list()[0].file, "written");
  }
  file("data.img", "something else");
  Drives drives("Firecracker", state, true);
  EXPECT_THAT(error_of(Kind::usage, [&] { drives.add({.path = given}); }),
              HasSubstr("belongs to '" + given));
}

TEST_F(MicrovmDrives, AreSavedAndLoadedWithTheirHoles) {
  auto state = made("state"), saved = made("saved");
  Drives drives("Firecracker", state, false);
  drives.add({.size_mb = 64});
  drives.make();
  auto disk = drives.list()[0].file;
  {
    base::Fd writing(::open(disk.c_str(), O_WRONLY));
    ASSERT_EQ(::pwrite(writing.get(), "middle", 6, 20 << 20), 6);
  }
  drives.save_to(saved);
  EXPECT_EQ(fs::file_size(saved / "disk0.raw"), 64u << 20);
  EXPECT_LT(blocks(saved / "disk0.raw"), 64);
  EXPECT_TRUE(base::read_file(saved / "disk0.raw") == base::read_file(disk));

  auto other = made("other");
  Drives clone("Firecracker", other, false);
  clone.add({.size_mb = 64});
  clone.load_from(saved);
  EXPECT_TRUE(clone.made());
  EXPECT_TRUE(base::read_file(other / "disk0.raw") == base::read_file(disk));
  clone.add({.size_mb = 1});
  EXPECT_THAT(error_of(Kind::usage, [&] { clone.load_from(saved); }), HasSubstr("no disk 'disk1'"));
}

TEST_F(MicrovmDrives, RefuseWhatMonitorsCannotRead) {
  Drives drives("Firecracker", made("state"), false);
  std::string magic("QFI\xfb", 4);
  for (auto& path : {file("named.qcow2", ""), file("hidden.img", magic + "rest")})
    EXPECT_THAT(error_of(Kind::unsupported, [&] { drives.add({.path = path}); }),
                HasSubstr("qemu-img convert -O raw"));
  EXPECT_THAT(error_of(Kind::usage, [&] { drives.add({.path = "/nonexistent"}); }),
              HasSubstr("'/nonexistent'"));
  EXPECT_THAT(error_of(Kind::usage, [&] { drives.add({}); }), HasSubstr("'size_mb'"));
  EXPECT_TRUE(drives.list().empty());
}

}  // namespace
}  // namespace attest::microvm
