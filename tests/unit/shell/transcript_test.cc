// What happens before there is a shell, against a peer that plays a transcript.
#include "tests/unit/shell/peer.h"

#include "lib/async/lines.h"
#include "lib/base/text.h"

namespace attest::guest {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

// Greets over a socket pair whose other end says `text` and, if `ends`, hangs up.
Error greeting_error(std::string text, bool ends) {
  async::Loop loop;
  auto play = [](std::string said, bool hang_up) -> Task<void> {
    auto executor = co_await asio::this_coro::executor;
    auto [ours, theirs] = base::stream_pair();
    auto peer = async::make_stream(executor, std::move(theirs));
    co_await peer->write_all(said);
    if (hang_up) peer->close();
    Bootstrap none;
    auto guest =
        co_await greet(async::make_stream(executor, std::move(ours)), std::move(none), in(300ms));
  };
  try {
    loop.run(play(std::move(text), ends));
  } catch (const Error& error) {
    return error;
  }
  return Error(Error::Kind::usage, "it greeted");
}

TEST(Greeting, TimesOutWithWhatCameInstead) {
  auto error = greeting_error("Debian GNU/Linux 12 vm hvc0\r\n\nvm login: ", false);
  EXPECT_EQ(error.kind(), Error::Kind::timeout);
  EXPECT_THAT(error.what(), AllOf(HasSubstr("did not greet within"), HasSubstr("| vm login:")));
}

TEST(Greeting, SaysWhenNothingCame) {
  auto error = greeting_error("", false);
  EXPECT_EQ(error.kind(), Error::Kind::timeout);
  EXPECT_THAT(error.what(), HasSubstr("not a byte"));
}

TEST(Greeting, SaysWhenTheShellDoesNotAnswer) {
  auto error = greeting_error("Spawning backdoor root shell...\n", false);
  EXPECT_EQ(error.kind(), Error::Kind::timeout);
  EXPECT_THAT(error.what(), HasSubstr("greeted but did not answer"));
}

TEST(Greeting, IsAGuestErrorWhenTheStreamEnds) {
  auto error = greeting_error("Kernel panic\n", true);
  EXPECT_EQ(error.kind(), Error::Kind::guest);
  EXPECT_THAT(error.what(), HasSubstr("before the guest greeted"));
}

// A nixpkgs guest to the letter: firmware noise, the banner, then answers to what we send. The
// words of the nonce come from the probe, as they would on the wire.
Task<std::string> nixpkgs_session() {
  auto executor = co_await asio::this_coro::executor;
  auto [ours, theirs] = base::stream_pair();
  auto peer = async::make_stream(executor, std::move(theirs));
  auto play = [](Stream* stream) -> Task<void> {
    async::Lines lines(*stream);
    co_await stream->write_all("\x1b[2J[    1.5] noise\nSpawning backdoor root ");
    co_await stream->write_all("shell...\n");
    std::string nonce;
    while (auto line = co_await lines.next()) {
      if (line->starts_with("printf '%s%s?%s\\n' ")) {
        auto words = base::split(*line, ' ');
        nonce = words[2] + words[3];
        std::string hello = nonce + "?5.2.37(1)-release\n";
        co_await stream->write_all(hello);
      }
      std::string booted = nonce + "{0 b 0 0 0\n\n" + nonce + "}0\n";
      if (line->starts_with("_at_r=0;")) co_await stream->write_all(booted);
      if (line->find("echo hello") == line->npos) continue;
      auto id = line->substr(line->rfind(' ') + 1);
      std::string reply = nonce + "{" + id + " r 0 6 3\nhello\nerr\n" + nonce + "}" + id + "\n";
      for (char& byte : reply) co_await stream->write_all({&byte, 1});
    }
  };
  asio::co_spawn(executor, play(peer.get()), [](std::exception_ptr) {});
  Bootstrap none;
  auto guest =
      co_await greet(async::make_stream(executor, std::move(ours)), std::move(none), in(5s));
  Command command{.shell = "echo hello", .argv = {}};
  auto result = co_await guest->run(command, in(5s));
  guest.reset();
  // Lets the other coroutine see the end before its stream goes.
  asio::steady_timer timer(executor, 20ms);
  co_await timer.async_wait(asio::use_awaitable);
  co_return result.output + result.error_output;
}

TEST(Transcript, OfANixpkgsGuest) {
  async::Loop loop;
  EXPECT_EQ(loop.run(nixpkgs_session()), "hello\nerr");
}

}  // namespace
}  // namespace attest::guest
