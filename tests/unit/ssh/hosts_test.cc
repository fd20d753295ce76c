// Hosts of all kinds: far, slow, talkative, odd, and no hosts at all.
#include "unit/ssh/bed.h"

#include "lib/async/fd_stream.h"

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/write.hpp>

#include <sys/mount.h>
#include <sys/stat.h>

namespace attest::ssh {
namespace {

using SshHosts = SshMachine;
using asio::ip::tcp;

// Sends `first` to whoever connects to port 22 of 127.0.0.9, then `noise` for ever or the end.
Task<void> serve_noise(std::shared_ptr<tcp::acceptor> acceptor, std::string first,
                       std::string noise) {
  for (;;) {
    auto [failure, peer] = co_await acceptor->async_accept(asio::as_tuple(asio::use_awaitable));
    if (failure) co_return;
    boost::system::error_code gone;
    if (!first.empty()) {
      auto [failed, sent] = co_await asio::async_write(peer, asio::buffer(first),
                                                       asio::as_tuple(asio::use_awaitable));
      gone = failed;
    }
    while (!gone && !noise.empty()) {
      auto [failed, sent] = co_await asio::async_write(peer, asio::buffer(noise),
                                                       asio::as_tuple(asio::use_awaitable));
      gone = failed;
    }
  }
}

SshConfig noisy_config() {
  SshConfig config;
  config.host = "127.0.0.9";
  config.key_file = key_path("user");
  config.fingerprint = fingerprint_of("host");
  return config;
}

Task<void> close_it(std::shared_ptr<tcp::acceptor> acceptor) {
  acceptor->close();
  co_return;
}

TEST_F(SshHosts, AreReachedByIpv6AndOtherPorts) {
  for (auto& options :
       {Sshd::Options{.address = "::1"}, Sshd::Options{.address = "127.0.0.3", .port = 2222}}) {
    Sshd sshd(loop, options);
    boot(sshd.config());
    EXPECT_EQ(run("id -un"), "root\n") << options.address;
  }
}

TEST_F(SshHosts, AreReachedThroughAProxyCommand) {
  Sshd sshd(loop, {.address = "127.0.0.3", .port = 2222});
  auto config = sshd.config();
  config.proxy_command = "exec nc %h %p";
  boot(config);
  EXPECT_EQ(run("id -un"), "root\n");
  EXPECT_EQ(outside->connections, 0);
}

TEST_F(SshHosts, RunEverythingAsAnOrdinaryUser) {
  if (base::read_file("/etc/passwd").find("\nattester:") == std::string::npos)
    GTEST_SKIP() << "there is no user 'attester'";
  Sshd sshd(loop, {});
  for (bool agent : {true, false}) {
    auto config = sshd.config();
    config.user = "attester";
    config.agent = agent;
    boot(config);
    EXPECT_EQ(has_agent(), agent);
    EXPECT_EQ(run("id -un; echo $HOME; pwd"), "attester\n/home/attester\n/tmp\n") << agent;
    EXPECT_EQ(run("ls -d /tmp/attest.* 2>/dev/null || true"), "");
  }
}

TEST_F(SshHosts, MayTakeTheirTimeToLetUsIn) {
  base::write_file("/run/slow", "#!/bin/sh\nsleep 1\ncat /run/keys/authorized\n");
  ::chmod("/run/slow", 0755);
  Sshd sshd(loop, {.more = "AuthorizedKeysCommand /run/slow\nAuthorizedKeysCommandUser root\n"
                           "AuthorizedKeysFile none"});
  boot(sshd.config());
  EXPECT_EQ(run("id -un"), "root\n");
}

TEST_F(SshHosts, MaySayALotBeforeTheyLetUsIn) {
  auto banner = (dir.path() / "banner").string();
  std::string text;
  while (text.size() < 32768) text += "No unauthorised use of this machine. ";
  base::write_file(banner, text);
  {
    Sshd sshd(loop, {.more = "Banner " + banner});
    boot(sshd.config());
    EXPECT_EQ(run("id -un"), "root\n");
  }
  // libssh2's limit for one packet; there is no way around it.
  while (text.size() < 65536) text += "No unauthorised use of this machine. ";
  base::write_file(banner, text);
  Sshd sshd(loop, {.more = "Banner " + banner});
  auto error = error_of(Error::Kind::unsupported, [&] { boot(sshd.config()); });
  EXPECT_THAT(error, HasSubstr("its login banner"));
  EXPECT_THAT(error, HasSubstr("'Banner'"));
  // The lines that may come before SSH's first one have no such limit.
  auto config = sshd.config();
  Sshd quiet(loop, {.address = "127.0.0.4"});
  config.proxy_command = "fold -w 200 " + banner + "; echo; exec nc 127.0.0.4 22";
  boot(config);
  EXPECT_EQ(run("id -un"), "root\n");
}

TEST_F(SshHosts, MayPrintWhateverTheyLikeWhenAShellStarts) {
  base::write_file("/run/noisy",
                   "#!/bin/sh\nhead -c 65536 /dev/zero|tr '\\0' x\necho\n"
                   "head -c 65536 /dev/zero|tr '\\0' y >&2\n"
                   "eval \"$SSH_ORIGINAL_COMMAND\"\n");
  ::chmod("/run/noisy", 0755);
  Sshd sshd(loop, {.more = "ForceCommand /run/noisy"});
  for (bool agent : {true, false}) {
    auto config = sshd.config();
    config.agent = agent;
    boot(config);
    EXPECT_EQ(has_agent(), agent);
    EXPECT_EQ(run("id -un"), "root\n");
  }
  EXPECT_THAT(console, HasSubstr("yyyy"));
}

TEST_F(SshHosts, ThatRunNothingOfOursAreNamed) {
  Sshd sshd(loop, {.more = "ForceCommand echo This account is not available."});
  auto error = error_of(Error::Kind::unsupported, [&] { boot(sshd.config()); });
  EXPECT_THAT(error, HasSubstr("does not run our commands"));
  EXPECT_THAT(error, HasSubstr("This account is not available."));
}

TEST_F(SshHosts, WithoutAPlaceForTheAgentGetAShell) {
  // For this host only: a mount namespace of its own.
  base::write_file("/run/cover",
                   "#!/bin/sh\nexec unshare -m sh -c '\n"
                   "for d in /tmp /var/tmp /root /dev/shm;do "
                   "mount -t tmpfs -o noexec none $d;done\n"
                   "eval \"$SSH_ORIGINAL_COMMAND\"'\n");
  ::chmod("/run/cover", 0755);
  Sshd covered(loop, {.address = "127.0.0.5", .more = "ForceCommand /run/cover"});
  boot(covered.config());
  EXPECT_FALSE(has_agent());
  EXPECT_EQ(run("id -un"), "root\n");
  EXPECT_THAT(said, HasSubstr("no directory takes programs"));
  EXPECT_EQ(run("ls -A /tmp /root /dev/shm | grep attest || true"), "");
}

TEST_F(SshHosts, ThatAreShuttingDownAreWaitedFor) {
  base::write_file("/run/stopping", "");
  std::filesystem::create_directories("/run/fake");
  base::write_file("/run/fake/systemctl",
                   "#!/bin/sh\n[ -e /run/stopping ]&&echo stopping||echo running\n");
  ::chmod("/run/fake/systemctl", 0755);
  base::write_file("/run/faked",
                   "#!/bin/sh\nPATH=/run/fake:$PATH\n"
                   "eval \"$SSH_ORIGINAL_COMMAND\"\n");
  ::chmod("/run/faked", 0755);
  Sshd sshd(loop, {.more = "ForceCommand /run/faked"});
  context.say = [this](std::string_view text) {
    said += text;
    std::filesystem::remove("/run/stopping");
  };
  boot(sshd.config());
  EXPECT_EQ(said, "waiting for root@127.0.0.1:22: it is shutting down");
  EXPECT_EQ(outside->connections, 2);
  EXPECT_TRUE(has_agent());
}

TEST_F(SshHosts, ThatComeUpLaterAreWaitedFor) {
  auto later = std::make_shared<std::unique_ptr<Sshd>>();
  SshConfig config;
  {
    Sshd sshd(loop, {});
    config = sshd.config();
  }
  std::thread starts([&] {
    while (outside->connections < 2) std::this_thread::yield();
    *later = std::make_unique<Sshd>(loop, Sshd::Options{});
  });
  boot(config);
  starts.join();
  EXPECT_EQ(run("id -un"), "root\n");
  EXPECT_THAT(said, HasSubstr("waiting for root@127.0.0.1:22: "));
  EXPECT_THAT(said, HasSubstr("refused"));
}

TEST_F(SshHosts, ThatNeverComeUpAreNamedWithTheReason) {
  SshConfig config = noisy_config();
  auto error = error_of(Error::Kind::timeout, [&] { boot(config, 1s); });
  EXPECT_THAT(error, HasSubstr("root@127.0.0.9:22 could not be reached: "));
  EXPECT_THAT(error, HasSubstr("refused"));
}

TEST_F(SshHosts, ThatAreNoneAreNamed) {
  const struct {
    std::string first, noise;
    Error::Kind kind;
    const char* text;
  } rows[] = {
      {"", "", Error::Kind::timeout, "could not be reached: the connection to"},
      {"", std::string(65536, '\x80'), Error::Kind::protocol, "does not speak SSH"},
      {"", "hello\r\n", Error::Kind::protocol, "does not speak SSH"},
      {"HTTP/1.1 400 Bad Request\r\n\r\n", "", Error::Kind::protocol, "HTTP/1.1 400"},
      {"Exceeded MaxStartups\r\n", "", Error::Kind::timeout, "reached: Exceeded MaxStartups"},
      {"SSH-2.0-fake\r\n", std::string(65536, '\xff'), Error::Kind::host, "shaking hands with"},
  };
  for (auto& row : rows) {
    auto acceptor = std::make_shared<tcp::acceptor>(
        loop.executor(), tcp::endpoint(asio::ip::make_address("127.0.0.9"), 22));
    asio::co_spawn(loop.executor(), serve_noise(acceptor, row.first, row.noise),
                   [](std::exception_ptr) {});
    EXPECT_THAT(error_of(row.kind, [&] { boot(noisy_config(), 6s); }), HasSubstr(row.text));
    loop.run(close_it(acceptor));
  }
}

}  // namespace
}  // namespace attest::ssh
