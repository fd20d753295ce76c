// The backend's own behaviour around QEMU's start, with small scripts in QEMU's place.
#include "backends/qemu/qemu.h"

#include "attest/error.h"
#include "lib/async/loop.h"
#include "lib/async/net.h"
#include "lib/base/file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <csignal>
#include <cstdlib>

namespace attest::qemu {
namespace {

using namespace std::chrono_literals;
using testing::AllOf;
using testing::HasSubstr;

class QemuStart : public testing::Test {
 protected:
  QemuStart() {
    ::setenv("ATTEST_ACCEL", "tcg", 1);
    std::string kernel(0x1000, '\0');
    kernel.replace(0x202, 4, "HdrS");
    base::write_file(file("vmlinuz"), kernel);
    std::filesystem::create_directory(file("work"));
    config_.kernel = file("vmlinuz");
  }
  ~QemuStart() override { ::unsetenv("ATTEST_ACCEL"); }

  std::string file(const std::string& name) const { return (dir_.path() / name).string(); }
  std::string script(const std::string& text) {
    base::write_file(file("fake"), "#!/bin/sh\n" + text + "\n");
    std::filesystem::permissions(file("fake"), std::filesystem::perms::owner_all);
    return file("fake");
  }
  BackendContext context() {
    return {.machine = "web",
            .config = config_,
            .work_dir = file("work"),
            .loop = loop_.executor(),
            .console = [this](std::string_view bytes) { console_ += bytes; }};
  }

  static Task<void> boot_and_end(BackendContext context, Deadline deadline) {
    auto backend = make_qemu(std::move(context));
    co_await backend->boot(deadline);
  }
  /// The error of a boot that fails, which it must at once (or soon after its deadline).
  std::string boot_error(Error::Kind kind, std::chrono::milliseconds limit = 40s) {
    auto start = std::chrono::steady_clock::now();
    std::string text = "no error";
    try {
      loop_.run(boot_and_end(context(), Deadline::after(limit)));
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), kind) << error.what();
      text = error.what();
    }
    // For a loaded machine: a hang would take all of the limit.
    EXPECT_LT(std::chrono::steady_clock::now() - start, 30s);
    return text;
  }

  base::TempDir dir_;
  async::Loop loop_;
  MachineConfig config_;
  std::string console_;
};

TEST_F(QemuStart, NamesAKernelThatIsMissingBeforeAnythingRuns) {
  config_.qemu.binary = script("touch " + file("ran"));
  config_.kernel = "/nowhere/vmlinuz";
  EXPECT_THAT(boot_error(Error::Kind::usage), HasSubstr("the kernel '/nowhere/vmlinuz'"));
  base::write_file(file("vmlinuz"), "");
  config_.kernel = file("vmlinuz");
  EXPECT_THAT(boot_error(Error::Kind::usage),
              AllOf(HasSubstr(file("vmlinuz")), HasSubstr("is empty")));
  EXPECT_FALSE(std::filesystem::exists(file("ran")));
}

TEST_F(QemuStart, NamesAnInitrdThatIsMissing) {
  config_.initrd = "/nowhere/initrd";
  EXPECT_THAT(boot_error(Error::Kind::usage), HasSubstr("the initrd '/nowhere/initrd'"));
}

TEST_F(QemuStart, NamesABinaryThatIsMissingOrNotExecutable) {
  config_.qemu.binary = "/nowhere/qemu";
  EXPECT_THAT(boot_error(Error::Kind::host), HasSubstr("'/nowhere/qemu' was not found"));
  base::write_file(file("qemu"), "x");
  config_.qemu.binary = file("qemu");
  EXPECT_THAT(boot_error(Error::Kind::host), HasSubstr("not executable"));
}

TEST_F(QemuStart, QuotesWhatADyingQemuSaid) {
  config_.qemu.binary = script("echo 'qemu: -frobnicate: invalid option' >&2; exit 1");
  EXPECT_THAT(boot_error(Error::Kind::host),
              AllOf(HasSubstr("machine 'web' (qemu)"), HasSubstr("QEMU exited with code 1"),
                    HasSubstr("qemu: -frobnicate: invalid option")));
}

TEST_F(QemuStart, TellsASignalThatKilledQemu) {
  config_.qemu.binary = script("echo assertion failed; kill -ABRT $$");
  EXPECT_THAT(boot_error(Error::Kind::host),
              AllOf(HasSubstr("was killed by signal 6"), HasSubstr("assertion failed")));
}

TEST_F(QemuStart, TellsOfAnExitAfterTheGreeting) {
  config_.qemu.binary = script(
      "echo '{\"QMP\": {}}' >&3; read -r line <&3; echo 'cannot set up guest memory' >&2; exit 1");
  EXPECT_THAT(boot_error(Error::Kind::host), HasSubstr("cannot set up guest memory"));
}

TEST_F(QemuStart, EndsAQemuThatNeverSpeaksQmp) {
  config_.qemu.binary = script("echo $$ > " + file("pid") + "; exec sleep 60");
  EXPECT_THAT(boot_error(Error::Kind::timeout, 400ms), HasSubstr("waiting for QEMU to start"));
  auto pid = std::stoi(base::read_file(file("pid")));
  EXPECT_EQ(::kill(pid, 0), -1) << "the process " << pid << " is still there";
}

TEST_F(QemuStart, EndsAQemuThatSpeaksGarbage) {
  config_.qemu.binary = script("echo 'hello there' >&3; exec sleep 60");
  EXPECT_THAT(boot_error(Error::Kind::host), HasSubstr("hello there"));
}

TEST_F(QemuStart, RefusesTheKeysOfOtherBackends) {
  config_.network = "veth";
  EXPECT_THAT(boot_error(Error::Kind::unsupported), HasSubstr("'network'"));
}

TEST_F(QemuStart, NeedsAnInitrdForFiles) {
  config_.files = {{"/etc/hosts", "/etc/hosts"}};
  EXPECT_THAT(boot_error(Error::Kind::unsupported), HasSubstr("'files' needs an image"));
}

TEST_F(QemuStart, NeedsADiskToKeepStateOn) {
  config_.keep_machine_state = true;
  EXPECT_THAT(boot_error(Error::Kind::unsupported),
              AllOf(HasSubstr("'keep_machine_state'"), HasSubstr("size_mb")));
}

TEST_F(QemuStart, RefusesAnUnknownAccelerator) {
  ::setenv("ATTEST_ACCEL", "warp", 1);
  EXPECT_THAT(boot_error(Error::Kind::usage), HasSubstr("ATTEST_ACCEL is 'warp'"));
}

// A script that plays QEMU: answers QMP on 3, greets on 4, has a serial port on 5.
const char* actor = R"(
echo '{"QMP": {}}' >&3
read -r line <&3
echo '{"return": {}, "id": 1}' >&3
echo 'console says hello' >&5
echo 'Spawning backdoor root shell...' >&4
)";

struct Report {
  Gone gone;
  std::string greeting;
};

Task<Report> boot_power_off(BackendContext context) {
  auto backend = make_qemu(std::move(context));
  auto deadline = Deadline::after(std::chrono::seconds(10));
  auto shell = co_await backend->boot(deadline);
  Report report;
  std::array<char, 100> buffer;
  auto count = co_await shell->read_some(buffer);
  report.greeting.assign(buffer.data(), count);
  co_await backend->shutdown(deadline);
  report.gone = co_await backend->wait_gone(deadline);
  co_return report;
}

TEST_F(QemuStart, BootsGreetsAndPowersOff) {
  config_.qemu.binary = script(std::string(actor) + R"(
read -r line <&3
case $line in *system_powerdown*) ;; *) echo "unexpected: $line" >&2; exit 1 ;; esac
echo '{"event": "SHUTDOWN", "data": {"guest": true, "reason": "guest-shutdown"}}' >&3
)");
  auto report = loop_.run(boot_power_off(context()));
  EXPECT_EQ(report.greeting, "Spawning backdoor root shell...\n");
  EXPECT_TRUE(report.gone.orderly) << report.gone.cause;
  EXPECT_EQ(report.gone.cause, "the guest powered off");
  EXPECT_EQ(console_, "console says hello\n");
}

struct Flood {
  std::size_t bytes = 0;
  std::chrono::nanoseconds longest_gap{};
};

// While the console floods, the loop must still come to everything else in time.
Task<Flood> boot_into_flood(BackendContext context, std::size_t* bytes, std::size_t all) {
  auto backend = make_qemu(std::move(context));
  auto deadline = Deadline::after(std::chrono::seconds(60));
  auto shell = co_await backend->boot(deadline);
  Flood flood;
  asio::steady_timer timer(co_await asio::this_coro::executor);
  while (*bytes < all && !deadline.passed()) {
    auto before = std::chrono::steady_clock::now();
    timer.expires_after(1ms);
    co_await timer.async_wait(asio::use_awaitable);
    flood.longest_gap = std::max<std::chrono::nanoseconds>(
        flood.longest_gap, std::chrono::steady_clock::now() - before);
  }
  co_await backend->shutdown(deadline);  // QMP is heard, too
  co_await backend->wait_gone(deadline);
  flood.bytes = *bytes;
  co_return flood;
}

TEST_F(QemuStart, StaysAwakeWhileAGigabyteComesFromTheConsole) {
  constexpr std::size_t all = std::size_t(1) << 30;
  config_.qemu.binary = script(std::string(actor) + R"(
head -c 1073741824 /dev/zero >&5
read -r line <&3
echo '{"event": "SHUTDOWN", "data": {"guest": true, "reason": "guest-shutdown"}}' >&3
)");
  std::size_t bytes = 0;
  auto flooded = context();
  flooded.console = [&](std::string_view piece) { bytes += piece.size(); };
  auto flood = loop_.run(boot_into_flood(std::move(flooded), &bytes, all));
  EXPECT_GE(flood.bytes, all);
  EXPECT_LT(flood.longest_gap, 10s) << "generous: a loaded machine; measured 10 ms";
}

Task<std::vector<std::string>> boot_kill_twice(BackendContext context) {
  auto backend = make_qemu(std::move(context));
  std::vector<std::string> causes;
  for (int i = 0; i < 2; ++i) {
    auto shell = co_await backend->boot(Deadline::after(std::chrono::seconds(10)));
    backend->kill();
    backend->kill();
    Gone gone = co_await backend->wait_gone(Deadline::after(std::chrono::seconds(10)));
    causes.push_back(gone.cause);
  }
  co_return causes;
}

TEST_F(QemuStart, IsKilledAndBootedAgain) {
  config_.qemu.binary = script(std::string(actor) + "exec sleep 60");
  EXPECT_THAT(loop_.run(boot_kill_twice(context())),
              testing::Each(HasSubstr("was killed by signal 9")));
}

Task<std::string> shutdown_error(BackendContext context) {
  auto backend = make_qemu(std::move(context));
  auto shell = co_await backend->boot(Deadline::after(std::chrono::seconds(10)));
  std::string text = "no error";
  try {
    co_await backend->shutdown(Deadline::after(std::chrono::milliseconds(300)));
  } catch (const Error& error) {
    if (error.kind() == Error::Kind::timeout) text = error.what();
  }
  backend->kill();
  co_return text;
}

TEST_F(QemuStart, TimesOutOnAGuestThatIgnoresItsPowerButton) {
  config_.qemu.binary = script(std::string(actor) + "exec sleep 60");
  EXPECT_THAT(loop_.run(shutdown_error(context())),
              AllOf(HasSubstr("powering off machine 'web' (qemu)"), HasSubstr("power button")));
}

TEST(QemuEntry, NamesTheProgramThatIsMissing) {
  MachineConfig config;
  config.qemu.binary = "qemu-system-nowhere";
  auto missing = qemu_backend().missing(config);
  ASSERT_TRUE(missing);
  EXPECT_EQ(missing->capability, "qemu");
  EXPECT_THAT(missing->text, HasSubstr("'qemu-system-nowhere' was not found"));
}

}  // namespace
}  // namespace attest::qemu
