// Saving and restoring real guests.
#include "monitors.h"

#include <cstdlib>
#include <fstream>
#include <future>
#include <thread>

namespace attest {
namespace {

namespace fs = std::filesystem;

// A disk with a file system: the default guest has no tool to make one.
const std::string& ext4_image() {
  static ScratchDir dir;
  static const std::string path = [] {
    auto file = (dir / "ext4.raw").string();
    auto command =
        "truncate -s 16M " + file + " && PATH=$PATH:/usr/sbin:/sbin mke2fs -q -t ext4 " + file;
    if (std::system(command.c_str()) != 0) throw std::runtime_error("mke2fs failed (e2fsprogs)");
    return file;
  }();
  return path;
}

class Snapshots : public Monitors {
 public:
  Config config() const override {
    auto config = Monitors::config();
    config.machines["alpha"].disks = {{.path = ext4_image()}};
    return config;
  }

 protected:
  ScratchDir scratch;
};
INSTANTIATE_TEST_SUITE_P(, Snapshots, ATTEST_MONITORS);

std::string boot_id(Machine& machine) {
  return machine.succeed("cat /proc/sys/kernel/random/boot_id");
}

TEST_P(Snapshots, BringBackMemoryDisksAndProcesses) {
  auto& web = alpha();
  web.succeed("mkdir -p /data && mount /dev/vdb /data");
  web.succeed("echo then >/data/file; echo then >/run/file");
  web.succeed("systemd-run --unit=counter sleep 1000");
  auto pid = web.succeed("systemctl show -P MainPID counter");
  auto id = boot_id(web);
  web.snapshot_create(scratch / "one");

  subtest("the machine goes on", [&] {
    EXPECT_EQ(boot_id(web), id);
    web.succeed("echo later >/data/file; echo later >/run/file; sync; systemctl stop counter");
  });
  subtest("and goes back", [&] {
    web.snapshot_restore(scratch / "one");
    EXPECT_EQ(boot_id(web), id);
    EXPECT_EQ(web.succeed("cat /data/file /run/file"), "then\nthen\n");
    EXPECT_EQ(web.succeed("systemctl show -P MainPID counter"), pid);
  });
  subtest("any number of times", [&] {
    web.succeed("echo later >/data/file; sync");
    web.snapshot_restore(scratch / "one");
    EXPECT_EQ(web.succeed("cat /data/file /run/file"), "then\nthen\n");
    web.succeed("umount /data && mount /dev/vdb /data");
    EXPECT_EQ(web.succeed("cat /data/file"), "then\n");
    web.fail("dmesg | grep 'EXT4-fs error'");
  });
  subtest("a restored machine can be saved, too", [&] {
    web.succeed("echo second >/data/file; echo second >/run/file");
    web.snapshot_create(scratch / "two");
    web.succeed("echo third >/data/file");
    web.snapshot_restore(scratch / "two");
    EXPECT_EQ(web.succeed("cat /data/file /run/file"), "second\nsecond\n");
    web.snapshot_restore(scratch / "one");
    EXPECT_EQ(web.succeed("cat /data/file /run/file"), "then\nthen\n");
  });
  subtest("its console goes on", [&] {
    web.succeed("echo after-the-restore >/dev/ttyS0");
    web.wait_for_console_text("after-the-restore");
  });
  subtest("and a reboot boots it", [&] {
    web.reboot();
    EXPECT_NE(boot_id(web), id);
    EXPECT_EQ(web.succeed("mkdir -p /data; mount /dev/vdb /data; cat /data/file"), "then\n");
  });
}

TEST_P(Snapshots, EndWhatWasUnderWayAndConnectAgain) {
  auto& web = alpha();
  auto busy = [&] {
    web.succeed("rm -f /run/busy; mkfifo /run/busy");
    auto command = std::async(std::launch::async, [&web]() -> std::string {
      try {
        web.succeed("echo >/run/busy; sleep 600");
      } catch (const Error& e) {
        return e.what();
      }
      return "it ended";
    });
    web.succeed("cat /run/busy");
    return command;
  };
  // Heavy writes meanwhile: what is saved is of one moment all the same.
  web.execute("umount /data");
  web.succeed(
      "systemd-run --unit=writer sh -c 'while :; do dd if=/dev/urandom of=/dev/vdb bs=64k "
      "count=64 oflag=direct 2>/dev/null; done'");
  auto at_save = busy();
  web.snapshot_create(scratch / "busy");
  EXPECT_THAT(at_save.get(), HasSubstr("connection lost at snapshot"));
  auto at_restore = busy();
  web.snapshot_restore(scratch / "busy");
  EXPECT_THAT(at_restore.get(), HasSubstr("connection lost at restore"));
  EXPECT_EQ(web.succeed("systemctl is-active writer"), "active\n");
  web.succeed("systemctl stop writer");
}

TEST_P(Snapshots, StepTheClockAndReseedRandomNumbers) {
  auto& web = alpha();
  web.start();
  web.snapshot_create(scratch / "one");
  auto draw = "head -c 16 /dev/urandom | od -An -tx1";
  web.snapshot_restore(scratch / "one");
  auto first = web.succeed(draw);
  web.snapshot_restore(scratch / "one");
  EXPECT_NE(web.succeed(draw), first);

  auto off_by = [&] {
    auto guest = std::stoll(web.succeed("date +%s"));
    return std::chrono::duration_cast<std::chrono::seconds>(
               std::chrono::system_clock::now().time_since_epoch())
               .count() -
           guest;
  };
  EXPECT_LE(std::abs(off_by()), 30);
  subtest("a snapshot of a day ago", [&] {
    web.succeed("date -s @$(( $(date +%s) - 86400 ))");
    web.succeed("systemd-run --on-active=1h --unit=later true");
    web.snapshot_create(scratch / "yesterday");
    web.snapshot_restore(scratch / "yesterday", {.keep_clock = true});
    EXPECT_GE(off_by(), 86000);
    web.snapshot_restore(scratch / "yesterday");
    EXPECT_LE(std::abs(off_by()), 30);
    EXPECT_EQ(web.succeed("systemctl is-active later.timer"), "active\n");
    web.wait_until_succeeds("true", {.timeout = 5s});
  });
}

// ---- what is refused ----

void damage(const fs::path& file, const std::function<void(std::fstream&)>& how) {
  std::fstream stream(file, std::ios::in | std::ios::out | std::ios::binary);
  how(stream);
}

TEST_P(Snapshots, ThatAreDamagedAreRefused) {
  auto& web = alpha();
  web.start();
  auto dir = scratch / "one";
  web.snapshot_create(dir);
  auto id = boot_id(web);
  std::vector<fs::path> files;
  for (auto& entry : fs::directory_iterator(dir))
    if (entry.path().filename() != "manifest.json") files.push_back(entry.path());
  ASSERT_GE(files.size(), 2u) << "memory and state at least";
  for (auto& file : files) {
    auto name = file.filename().string();
    auto kept = scratch / "kept";
    fs::rename(file, kept);
    auto refusal = [&] { return error_of(Error::Kind::usage, [&] { web.snapshot_restore(dir); }); };
    EXPECT_THAT(refusal(), HasSubstr("'" + name + "' is missing"));
    fs::copy_file(kept, file);
    fs::resize_file(file, fs::file_size(file) - 1);
    EXPECT_THAT(refusal(), AllOf(HasSubstr("'" + name + "'"), HasSubstr("it was saved with")));
    fs::remove(file);
    fs::copy_file(kept, file);
    auto middle = static_cast<std::streamoff>(fs::file_size(file) / 2);
    damage(file, [&](std::fstream& stream) {
      stream.seekg(middle);
      char byte = static_cast<char>(stream.get() ^ 1);
      stream.seekp(middle);
      stream.put(byte);
    });
    EXPECT_THAT(refusal(), HasSubstr("'" + name + "' has changed since it was saved"));
    fs::remove(file);
    fs::rename(kept, file);
  }
  EXPECT_EQ(boot_id(web), id) << "the machine was left as it was";
  web.snapshot_restore(dir);
  EXPECT_EQ(boot_id(web), id);

  subtest("the directory may go once a machine runs from it", [&] {
    fs::remove_all(dir);
    EXPECT_EQ(web.succeed(
                  "grep -c . /etc/passwd >/dev/null; find /usr -xdev | wc -l >/dev/null; echo on"),
              "on\n");
  });
}

TEST_P(Snapshots, OfAnotherKindOfMachineAreRefused) {
  auto& web = alpha();
  web.start();
  auto dir = scratch / "one";
  web.snapshot_create(dir);
  auto larger = driver().config().machines.at("alpha");
  larger.memory_mb = 320;
  larger.vcpus = 2;
  auto& other = create_machine("other", larger);
  EXPECT_THAT(error_of(Error::Kind::usage, [&] { other.snapshot_restore(dir); }),
              AllOf(HasSubstr("memory_mb: saved with '256', here is '320'"),
                    HasSubstr("vcpus: saved with '1', here is '2'")));
  std::ifstream in(dir / "manifest.json");
  std::string text((std::istreambuf_iterator<char>(in)), {});
  auto version = text.find("\"monitor\": \"");
  ASSERT_NE(version, text.npos);
  text.insert(version + 12, "Old ");
  std::ofstream(dir / "manifest.json") << text;
  EXPECT_THAT(error_of(Error::Kind::usage, [&] { web.snapshot_restore(dir); }),
              HasSubstr("monitor: saved with 'Old "));
}

}  // namespace
}  // namespace attest
