// Monitors as processes, with shell scripts in their place, and the ways to their guests.
#include "backends/microvm/api.h"
#include "backends/microvm/channel.h"
#include "backends/microvm/monitor_process.h"
#include "backends/microvm/monitor_program.h"
#include "backends/microvm/vsock_dial.h"
#include "error_of.h"
#include "lib/async/fd_stream.h"
#include "lib/async/loop.h"
#include "lib/base/file.h"
#include "unit/vmm_http/peer.h"

#include <boost/asio/post.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <chrono>
#include <thread>

namespace attest::microvm {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;
using Kind = Error::Kind;
namespace fs = std::filesystem;

class MicrovmProcess : public testing::Test {
 protected:
  std::string script(const std::string& name, const std::string& text) {
    auto path = dir_.path() / name;
    base::write_file(path, "#!/bin/sh\n" + text);
    fs::permissions(path, fs::perms::owner_all);
    return path.string();
  }
  std::shared_ptr<MonitorProcess> start(const std::string& text, bool stdout_is_console = true) {
    struct Start {
      static Task<std::shared_ptr<MonitorProcess>> run(MonitorSpec spec, std::string* console) {
        auto take = [console](std::string_view bytes) { *console += bytes; };
        auto loop = co_await asio::this_coro::executor;
        co_return MonitorProcess::start(loop, std::move(spec), take);
      }
    };
    MonitorSpec spec;
    spec.monitor = "Firecracker";
    spec.child.argv = {"/bin/sh", "-c", text};
    spec.stdout_is_console = stdout_is_console;
    spec.log = dir_.path() / "log";
    spec.code_words = [](int code) { return code == 3 ? "three" : ""; };
    return loop_.run(Start::run(std::move(spec), &console_));
  }

  std::string console_;
  base::TempDir dir_;
  async::Loop loop_;  // last: it ends first
};

TEST_F(MicrovmProcess, TellsWhyItEndedWithItsLastWordsAndItsLog) {
  base::write_file(dir_.path() / "log", "from its log\n");
  auto process = start("echo on the console; echo going down >&2; exit 3");
  auto gone = loop_.run(process->wait_gone());
  EXPECT_FALSE(gone.orderly);
  EXPECT_THAT(gone.cause, HasSubstr("Firecracker exited with code 3 (three)"));
  EXPECT_THAT(gone.cause, HasSubstr("from its log"));
  EXPECT_THAT(gone.cause, HasSubstr("going down"));
  EXPECT_EQ(console_, "on the console\n");
}

TEST_F(MicrovmProcess, NoticesAHaltedGuestAndEndsInOrder) {
  auto process = start("echo 'reboot: Power down'; exec sleep 100");
  loop_.run(process->guest_halted());
  struct End {
    static Task<Gone> run(std::shared_ptr<MonitorProcess> process) {
      process->end_with("the guest powered off", true);
      co_return co_await process->wait_gone();
    }
  };
  auto gone = loop_.run(End::run(process));
  EXPECT_TRUE(gone.orderly);
  EXPECT_EQ(gone.cause, "the guest powered off");
}

struct Step {
  static Task<void> never() {
    asio::steady_timer timer(co_await asio::this_coro::executor,
                             asio::steady_timer::time_point::max());
    co_await timer.async_wait(asio::use_awaitable);
  }
  static Task<void> refused() {
    throw Error(Kind::host, "Firecracker refused 'PUT /snapshot/load': bad file");
    co_return;
  }
};

TEST_F(MicrovmProcess, ThatDiesWhileItStartsSaysMoreThanTheStepThatBroke) {
  auto process = start("echo no such kernel >&2; exit 1", false);
  EXPECT_THAT(error_of(Kind::host, [&] { loop_.run(starting(process, Step::never())); }),
              HasSubstr("exited with code 1: no such kernel"));
  // One that is refused and then exits: both are told.
  auto refusing = start("exit 1");
  auto words = error_of(Kind::host, [&] { loop_.run(starting(refusing, Step::refused())); });
  EXPECT_THAT(words, HasSubstr("exited with code 1"));
  EXPECT_THAT(words, HasSubstr("bad file"));
  // One that lives is ended, and the refusal is what is told.
  auto alive = start("exec sleep 100");
  EXPECT_THAT(error_of(Kind::host, [&] { loop_.run(starting(alive, Step::refused())); }),
              testing::StartsWith("Firecracker refused"));
  loop_.run(alive->wait_gone());
  EXPECT_FALSE(alive->alive());
}

TEST_F(MicrovmProcess, VersionIsAskedForOnceAndAgainForAnotherFile) {
  auto program = script("monitor", "echo run >>" + (dir_.path() / "runs").string() +
                                       "\necho 'Firecracker v1.14.2'\n");
  EXPECT_EQ(monitor_version(program), (Version{1, 14, 2}));
  EXPECT_EQ(loop_.run(monitor_version_async(program)), (Version{1, 14, 2}));
  EXPECT_EQ(base::read_file(dir_.path() / "runs"), "run\n");
  script("monitor", "echo nothing to see\n");
  EXPECT_THAT(error_of(Kind::host, [&] { monitor_version(program); }),
              HasSubstr("printed no version: 'nothing to see'"));
}

TEST_F(MicrovmProcess, ProbeBelievesTheGuestsWordsOnlyAndRemembers) {
  ::setenv("ATTEST_CACHE", dir_.path().c_str(), 1);
  auto runs = dir_.path() / "runs";
  auto good = script("good", "test -s \"$1\" && echo x >>" + runs.string() + " && printf '" +
                                 std::string(probe_words) + "\\r\\n'\n");
  auto bad = script("bad", "echo 'cannot open /dev/kvm' >&2\nexit 1\n");
  auto command = [](const std::string& program) {
    return [program](const fs::path&, const fs::path& kernel) {
      return std::vector<std::string>{program, kernel.string()};
    };
  };
  EXPECT_EQ(why_no_guest(good, command(good)), "");
  EXPECT_EQ(why_no_guest(good, command(good)), "");
  EXPECT_EQ(base::read_file(runs), "x\n");
  EXPECT_THAT(why_no_guest(bad, command(bad)), HasSubstr("cannot open /dev/kvm"));
  EXPECT_FALSE(fs::is_empty(dir_.path() / "guest-probe"));
  ::unsetenv("ATTEST_CACHE");
}

TEST_F(MicrovmProcess, ApiIsWaitedForAndItsRefusalsAreErrors) {
  std::string path = (dir_.path() / "api.sock").string();
  auto http = std::make_shared<Api>(loop_.executor(), path, "Firecracker");
  auto waiting =
      asio::co_spawn(loop_.executor(), http->wait_until_up(Deadline::after(10s)), asio::use_future);
  base::Fd listener = base::listen_unix(path);
  std::jthread server([&] {
    ServedPeer peer(base::Fd(::accept(listener.get(), nullptr, nullptr)));
    peer.hear();
    std::string body = R"({"fault_message":"no such drive"})";
    peer.say("HTTP/1.1 400 \r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body);
    peer.wait_end();
  });
  waiting.get();
  Request request{"PUT", "/drives/x", "{}"};
  EXPECT_EQ(error_of(Kind::host, [&] { loop_.run(http->call(request, Deadline::after(10s))); }),
            "Firecracker refused 'PUT /drives/x': no such drive (status 400)");
  asio::post(loop_.executor(), [http] { http->close(); });
  Api nobody(loop_.executor(), "/nonexistent/api.sock", "Firecracker");
  EXPECT_THAT(
      error_of(Kind::timeout, [&] { loop_.run(nobody.wait_until_up(Deadline::after(20ms))); }),
      HasSubstr("did not appear in time"));
}

Task<std::string> read_all(std::unique_ptr<Stream> stream) {
  std::string all;
  std::array<char, 64> buffer;
  while (std::size_t count = co_await stream->read_some(buffer)) all.append(buffer.data(), count);
  co_return all;
}

Task<std::string> read_newest(std::shared_ptr<GuestDial> dial) {
  auto stream = co_await dial->next(Deadline::after(10s));
  co_return co_await read_all(std::move(stream));
}

TEST_F(MicrovmProcess, GuestsNewestConnectionIsTheOneThatCounts) {
  std::string uds = (dir_.path() / "vsock").string();
  struct Make {
    static Task<std::shared_ptr<GuestDial>> run(std::string uds) {
      auto loop = co_await asio::this_coro::executor;
      co_return std::make_shared<GuestDial>(loop, uds);
    }
  };
  auto dial = loop_.run(Make::run(uds));
  auto first = asio::co_spawn(loop_.executor(), read_newest(dial), asio::use_future);
  base::Fd guest = base::connect_unix(uds + "_1024");
  ASSERT_EQ(::send(guest.get(), "one", 3, 0), 3);
  guest.reset();
  EXPECT_EQ(first.get(), "one");
  // One that has hung up before anybody took it is passed over.
  guest = base::connect_unix(uds + "_1024");
  guest.reset();
  auto second = asio::co_spawn(loop_.executor(), read_newest(dial), asio::use_future);
  guest = base::connect_unix(uds + "_1024");
  ASSERT_EQ(::send(guest.get(), "two", 3, 0), 3);
  guest.reset();
  EXPECT_EQ(second.get(), "two");
  std::promise<void> gone;
  asio::post(loop_.executor(), [&] {
    dial.reset();
    gone.set_value();
  });
  gone.get_future().get();
  EXPECT_FALSE(fs::exists(uds + "_1024"));
}

Task<std::string> dial_and_read(std::string uds, Deadline deadline) {
  auto loop = co_await asio::this_coro::executor;
  auto stream = co_await dial_guest(loop, uds, shell_port, deadline);
  co_return co_await read_all(std::move(stream));
}

TEST_F(MicrovmProcess, GuestIsDialledUntilItAnswers) {
  ScriptedServer monitor({[](ServedPeer& peer) { peer.hear_line(); },
                          [](ServedPeer& peer) {
                            peer.hear_line();
                            peer.say("OK 1073741824\nhello");
                          }},
                         "vsock");
  EXPECT_EQ(loop_.run(dial_and_read(monitor.path(), Deadline::after(10s))), "hello");
  EXPECT_THAT(
      error_of(Kind::timeout,
               [&] { loop_.run(dial_and_read("/nonexistent/vsock", Deadline::after(30ms))); }),
      HasSubstr("/nonexistent/vsock"));
}

TEST_F(MicrovmProcess, ChannelGoesOnWithTheNextConnection) {
  auto first = base::stream_pair(), second = base::stream_pair();
  ASSERT_EQ(::send(first.second.get(), "one", 3, 0), 3);
  ASSERT_EQ(::send(second.second.get(), "two", 3, 0), 3);
  first.second.reset();
  second.second.reset();
  auto left = std::make_shared<std::unique_ptr<Stream>>(
      async::make_stream(loop_.executor(), std::move(second.first)));
  struct Next {
    static Task<std::unique_ptr<Stream>> come(std::shared_ptr<std::unique_ptr<Stream>> left) {
      if (!*left) throw Error(Kind::host, "it is gone");
      co_return std::move(*left);
    }
  };
  auto channel =
      make_channel(loop_.executor(), async::make_stream(loop_.executor(), std::move(first.first)),
                   [left] { return Next::come(left); });
  EXPECT_EQ(loop_.run(read_all(std::move(channel))), "onetwo");
}

}  // namespace
}  // namespace attest::microvm
