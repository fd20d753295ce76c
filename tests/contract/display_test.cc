// Windows of an X server and text on virtual terminals: each on the backend that can have it here.
// The default guest has no X, loopback no terminals; elsewhere the same calls run the same
// commands.
#include "contract.h"

namespace attest {
namespace {
using testing::Contains;
using testing::HasSubstr;

class Windows : public Contract {};
INSTANTIATE_TEST_SUITE_P(, Windows, attest::backends("loopback"), attest::BackendName());

TEST_P(Windows, AreWaitedForByTheirNames) {
  if (alpha().execute("command -v Xvfb xwininfo xmessage").exit_code != 0)
    GTEST_SKIP() << "needs Xvfb, xwininfo and xmessage (Debian: xvfb, x11-utils)";
  if (alpha().execute("test -e /tmp/.X11-unix/X0").exit_code == 0)
    GTEST_SKIP() << "display :0 of this host is in use, and the machine sees it";
  auto text = error_of(Error::Kind::timeout, [&] { alpha().wait_for_x({.timeout = 300ms}); });
  EXPECT_THAT(text, HasSubstr("display :0"));
  error_of(Error::Kind::guest, [&] { alpha().get_window_names(); });

  auto server = alpha().spawn({.argv = {"Xvfb", ":0", "-screen", "0", "640x480x24"}});
  alpha().wait_for_x({.timeout = 60s});
  text = error_of(Error::Kind::timeout,
                  [&] { alpha().wait_for_window("of mine$", {.timeout = 500ms}); });
  EXPECT_THAT(text, HasSubstr("of mine"));

  auto window = alpha().spawn(
      {.argv = {"xmessage", "-title", "a window of mine", "text"}, .env = {{"DISPLAY", ":0"}}});
  EXPECT_EQ(alpha().wait_for_window("of mine$", {.timeout = 60s}), "a window of mine");
  EXPECT_THAT(alpha().get_window_names(), Contains("a window of mine"));
}

class Terminals : public Contract {};
INSTANTIATE_TEST_SUITE_P(, Terminals, attest::backends("qemu"), attest::BackendName());

TEST_P(Terminals, TheirTextIsReadAndWaitedFor) {
  alpha().succeed("(sleep 0.3; echo 'a line on tty2' >/dev/tty2) >/dev/null 2>&1 &");
  EXPECT_THAT(alpha().wait_until_tty_matches(2, "line on tty\\d", {.timeout = 30s}),
              HasSubstr("a line on tty2"));
  auto rows = alpha().get_tty_text(2);
  EXPECT_THAT(rows, HasSubstr("a line on tty2"));
  EXPECT_GE(std::count(rows.begin(), rows.end(), '\n'), 10) << rows;
  alpha().dump_tty_contents(2);
}

TEST_P(Terminals, OneThatIsNotThereIsAnErrorOfTheGuest) {
  error_of(Error::Kind::guest, [&] { alpha().get_tty_text(99); });
}

TEST_P(Terminals, WhatIsTypedReachesTheSerialConsole) {
  auto reader = alpha().spawn({.argv = {"head", "-n", "1", "/dev/ttyS0"}});
  // What is typed before the reader has opened the line may be lost.
  attest::retry(
      [&] {
        alpha().send_console("typed by the test\n");
        return reader.read_line({.timeout = 500ms}) == "typed by the test";
      },
      {.timeout = 30s, .what = "the typed line"});
}

}  // namespace
}  // namespace attest
