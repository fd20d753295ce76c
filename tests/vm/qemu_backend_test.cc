// The QEMU backend with the default guest: greeting, power button, sudden ends, start scripts.
// Needs the image of guest/debian/build.sh; skips with the way to it otherwise.
#include "backends/qemu/qemu.h"

#include "attest/error.h"
#include "backends/image/image.h"
#include "backends/qemu/accel.h"
#include "lib/async/loop.h"
#include "lib/async/within.h"
#include "lib/base/file.h"
#include "lib/base/text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <optional>

namespace attest::qemu {
namespace {

using namespace std::chrono_literals;
using testing::AllOf;
using testing::AnyOf;
using testing::HasSubstr;

class QemuGuest : public testing::Test {
 protected:
  void SetUp() override {
    try {
      image_ = image::find_image("", "qemu");
    } catch (const Error& error) {
      GTEST_SKIP() << error.what();
    }
    if (auto missing = qemu_backend().missing({})) GTEST_SKIP() << missing->text;
    config_.vlans.clear();
  }
  void TearDown() override {
    if (HasFailure())
      std::fprintf(stderr, "console:\n%s\n", base::last_lines(console_, 30).c_str());
  }

  BackendContext context() {
    return {.machine = "web",
            .config = config_,
            .seed = {{"/etc/hostname", "web\n"},
                     // By this rule of udev's own logind finds its buttons; images that were made
                     // small may lack it.
                     {"/etc/udev/rules.d/60-input-id.rules",
                      "SUBSYSTEM==\"input\", ENV{ID_INPUT}==\"\", IMPORT{builtin}=\"input_id\"\n"}},
            .work_dir = work_.path(),
            .loop = loop_.executor(),
            .console = [this](std::string_view bytes) { console_ += bytes; }};
  }

  base::TempDir work_;
  async::Loop loop_;
  std::optional<image::Image> image_;
  MachineConfig config_;
  std::string console_;
};

// Reads until `wanted` has come; the end of the stream is an error with what did come.
Task<void> expect(Stream* stream, std::string wanted) {
  std::string seen;
  std::array<char, 4096> buffer;
  while (seen.find(wanted) == std::string::npos) {
    auto count = co_await stream->read_some(buffer);
    if (count == 0) throw Error(Error::Kind::guest, "the stream ended after '" + seen + "'");
    seen.append(buffer.data(), count);
  }
}

Deadline soon() { return Deadline::after(4min); }

struct Visit {
  Gone gone;
  bool named = false;
};

// Boots until the shell answers with its seeded host name, once for each way of powering off.
enum class Off { command, button };
Task<Visit> visit(BackendContext context, std::vector<Off> ways) {
  auto backend = make_qemu(std::move(context));
  Visit result;
  for (Off way : ways) {
    auto shell = co_await backend->boot(soon());
    co_await async::within(soon(), "greeting",
                           expect(shell.get(), "Spawning backdoor root shell...\n"));
    std::string command = "echo name=$(cat /etc/hostname).\n";
    co_await shell->write_all(command);
    co_await async::within(soon(), "answer", expect(shell.get(), "name=web."));
    result.named = true;
    std::string poweroff = "poweroff\n";
    if (way == Off::command)
      co_await shell->write_all(poweroff);
    else
      co_await backend->shutdown(Deadline::after(90s));
    result.gone = co_await backend->wait_gone(Deadline::after(90s));
    if (!result.gone.orderly) break;
  }
  co_return result;
}

TEST_F(QemuGuest, GreetsTakesItsSeedPowersOffAndBootsAgain) {
  auto result = loop_.run(visit(context(), {Off::command, Off::button}));
  EXPECT_TRUE(result.named);
  EXPECT_TRUE(result.gone.orderly) << result.gone.cause;
  EXPECT_EQ(result.gone.cause, "the guest powered off");
}

TEST_F(QemuGuest, GreetsAndPowersOffOnMicrovm) {
  config_.qemu.machine = "microvm";
  auto result = loop_.run(visit(context(), {Off::button}));
  EXPECT_TRUE(result.gone.orderly) << result.gone.cause;
}

// A nixpkgs-built script in miniature: $QEMU_OPTS and "$@" last, state in the working directory.
TEST_F(QemuGuest, BootsByAStartScript) {
  auto script = work_.path() / "run-web-vm";
  base::write_file(
      script,
      "#!/bin/sh\nset -e\n"
      "[ \"$USE_TMPDIR\" = 1 ] && [ \"$TMPDIR\" = \"$PWD\" ] && [ -d \"$SHARED_DIR\" ]\n"
      "exec qemu-system-x86_64 -machine accel=kvm:tcg -cpu max -name web -m 512 \\\n"
      "  -drive file=" +
          image_->root.string() +
          ",if=virtio,format=raw,readonly=on \\\n"
          "  -kernel " +
          image_->kernel.string() +
          " \\\n"
          "  -initrd " +
          image_->initrd.string() +
          " \\\n"
          "  -append \"console=ttyS0 " +
          image_->cmdline + "\" $QEMU_OPTS \"$@\"\n");
  std::filesystem::permissions(script, std::filesystem::perms::owner_all);
  std::filesystem::create_directory(work_.path() / "state");
  config_.start_script = script;
  auto ctx = context();
  ctx.work_dir = work_.path() / "state";
  struct Steps {
    static Task<Gone> run(BackendContext given) {
      auto backend = make_qemu(std::move(given));
      auto shell = co_await backend->boot(soon());
      co_await async::within(soon(), "greeting",
                             expect(shell.get(), "Spawning backdoor root shell...\n"));
      std::string poweroff = "poweroff\n";
      co_await shell->write_all(poweroff);
      co_return co_await backend->wait_gone(Deadline::after(90s));
    }
  };
  Gone gone = loop_.run(Steps::run(std::move(ctx)));
  EXPECT_TRUE(gone.orderly) << gone.cause;
}

Task<Gone> boot_until_gone(BackendContext context) {
  auto backend = make_qemu(std::move(context));
  auto shell = co_await backend->boot(soon());
  co_return co_await backend->wait_gone(soon());
}

TEST_F(QemuGuest, EndsWithItsPanicAsTheCause) {
  config_.kernel = image_->kernel;
  Gone gone = loop_.run(boot_until_gone(context()));
  EXPECT_FALSE(gone.orderly);
  EXPECT_THAT(gone.cause, HasSubstr("Kernel panic - not syncing: VFS"));
}

/// The QEMU that this process has started.
int qemu_pid() {
  for (auto& entry : std::filesystem::directory_iterator("/proc")) {
    auto stat = base::try_read_file(entry.path() / "stat");
    if (!stat || stat->find("(qemu-system") == std::string::npos) continue;
    auto fields = base::split(stat->substr(stat->rfind(')') + 2), ' ');
    if (std::stoi(fields.at(1)) == ::getpid()) return std::stoi(entry.path().filename());
  }
  return -1;
}

struct Ends {
  Gone first, second, after;
  std::string late;
};

Task<Ends> kill_from_outside(BackendContext context) {
  auto backend = make_qemu(std::move(context));
  auto shell = co_await backend->boot(soon());
  Ends ends;
  int pid = qemu_pid();
  // Stopped it answers nothing; shutdown() must give up in time.
  ::kill(pid, SIGSTOP);
  try {
    co_await backend->shutdown(Deadline::after(500ms));
  } catch (const Error& error) {
    ends.late = error.what();
  }
  ::kill(pid, SIGKILL);
  ends.first = co_await backend->wait_gone(Deadline::after(5s));
  ends.second = co_await backend->wait_gone(Deadline::after(5s));
  // The stream ends too: nobody waits for an answer.
  std::array<char, 100> buffer;
  while (co_await shell->read_some(buffer)) {
  }
  co_return ends;
}

TEST_F(QemuGuest, TellsThatItsQemuWasKilled) {
  Ends ends = loop_.run(kill_from_outside(context()));
  EXPECT_THAT(ends.late, HasSubstr("powering off machine 'web'"));
  EXPECT_FALSE(ends.first.orderly);
  EXPECT_EQ(ends.first.cause, "QEMU was killed by signal 9 (Killed)");
  EXPECT_EQ(ends.second.cause, ends.first.cause);
  EXPECT_EQ(qemu_pid(), -1);
}

Task<std::string> boot_error(BackendContext context) {
  auto backend = make_qemu(std::move(context));
  try {
    co_await backend->boot(soon());
  } catch (const Error& error) {
    co_return error.what();
  }
  co_return "no error";
}

TEST_F(QemuGuest, QuotesQemuWhenItRefusesItsArguments) {
  config_.extra_args = {"-device", "flux-capacitor"};
  EXPECT_THAT(loop_.run(boot_error(context())),
              AllOf(HasSubstr("QEMU exited with code 1"), HasSubstr("flux-capacitor")));
}

/// All files below `dir` and when they were written.
std::map<std::filesystem::path, std::filesystem::file_time_type> files_of(
    const std::filesystem::path& dir) {
  std::map<std::filesystem::path, std::filesystem::file_time_type> files;
  for (auto& entry : std::filesystem::recursive_directory_iterator(dir))
    if (entry.is_regular_file()) files[entry.path()] = entry.last_write_time();
  return files;
}

TEST_F(QemuGuest, DecidesForAnAcceleratorInTimeAndOnce) {
  base::TempDir cache;
  const char* old = std::getenv("ATTEST_CACHE");
  std::string before = old ? old : "";
  config_.kernel = image_->kernel;  // the image is not in the new cache
  ::setenv("ATTEST_CACHE", cache.path().c_str(), 1);
  auto start = std::chrono::steady_clock::now();
  auto first = choose_accel(config_);
  auto took = std::chrono::steady_clock::now() - start;
  auto written = files_of(cache.path());
  auto second = choose_accel(config_);
  auto kept = files_of(cache.path());
  old ? ::setenv("ATTEST_CACHE", before.c_str(), 1) : ::unsetenv("ATTEST_CACHE");
  std::fprintf(stderr, "%s (%s)\n", first.reason.c_str(), base::human(took).c_str());
  EXPECT_LT(took, 60s) << "it gives up after 3 s; here the host may be busy";
  EXPECT_EQ(kept, written) << "it was decided twice";
  EXPECT_EQ(first.kvm, second.kvm);
  EXPECT_THAT(first.reason, AnyOf(HasSubstr("KVM: "), HasSubstr("TCG was asked for")));
}

}  // namespace
}  // namespace attest::qemu
