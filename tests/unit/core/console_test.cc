// Waiting for console text.
#include "bed.h"
#include "lib/core/machine_impl.h"

namespace attest::core {
namespace {

class ConsoleText : public Bed {};

TEST_F(ConsoleText, FromBeforeTheCallCounts) {
  make({"web"});
  machine("web").start();
  fakes.print("web", "first\n[  OK  ] Reached target basic\nlast\n");
  EXPECT_EQ(machine("web").wait_for_console_text("OK.*basic$"), "[  OK  ] Reached target basic");
}

TEST_F(ConsoleText, IsWaitedFor) {
  make({"web"});
  machine("web").start();
  auto wait = std::async(std::launch::async, [&] {
    return machine("web").wait_for_console_text("ready in \\d+ ms", {.timeout = 20s});
  });
  fakes.print("web", "not yet\nready in ");
  fakes.print("web", "12 ms\n");
  EXPECT_EQ(wait.get(), "ready in 12 ms");
}

TEST_F(ConsoleText, APromptWithoutALineEndCounts) {
  make({"web"});
  machine("web").start();
  auto wait = std::async(std::launch::async, [&] {
    return machine("web").wait_for_console_text("login: $", {.timeout = 20s});
  });
  fakes.print("web", "web log");
  fakes.print("web", "in: ");
  EXPECT_EQ(wait.get(), "web login: ");
}

TEST_F(ConsoleText, ThatDoesNotComeIsATimeoutWithTheLastLines) {
  make({"web"});
  machine("web").start();
  fakes.print("web", "something else\n");
  auto text = error_of(Error::Kind::timeout,
                       [&] { machine("web").wait_for_console_text("never", {.timeout = 50ms}); });
  EXPECT_THAT(text, AllOf(HasSubstr("'never' on the console"), HasSubstr("| something else")));
}

// On the loop directly, where it is certain that the wait comes before the end.
TEST_F(ConsoleText, OfAMachineThatDiesEndsTheWaitWithTheCause) {
  config.machines["web"].backend = "fake";
  Fleet fleet(config, setup(), net::make_plan({{"web", {}}}, {}));
  Machine::Impl web("web", config.machines["web"], fleet);
  fleet.loop.run(web.start());
  auto wait =
      asio::co_spawn(fleet.loop.executor(), web.wait_for_console_text(base::Pattern("never"), 60s),
                     asio::use_future);
  fakes.print("web", "Kernel panic - not syncing: Fatal exception\n");
  auto text = error_of(Error::Kind::guest, [&] { wait.get(); });
  EXPECT_THAT(text, HasSubstr("the kernel panicked"));
  fleet.loop.run(web.close());
}

TEST_F(ConsoleText, ABadRegularExpressionIsAUsageErrorBeforeAnythingBoots) {
  make({"web"});
  error_of(Error::Kind::usage, [&] { machine("web").wait_for_console_text("("); });
  EXPECT_EQ(fakes.boots("web"), 0);
}

TEST_F(ConsoleText, CatastrophicPatternsDoNotHoldUpTheMachine) {
  make({"web"});
  machine("web").start();
  auto wait = aside(
      [&] { machine("web").wait_for_console_text("^(a+)+$b|(.*)*\\d{400}", {.timeout = 3s}); });
  for (int i = 0; i < 20; ++i) fakes.print("web", std::string(64 * 1024, 'a'));
  EXPECT_EQ(machine("web").succeed("echo quick", {.timeout = 10s}), "quick\n");
  EXPECT_THAT(wait.get(), HasSubstr("deadline passed"));
}

TEST_F(ConsoleText, IsNotShownLineByLineInAFlood) {
  config.machines["web"].backend = "fake";
  auto chosen = setup();
  std::atomic<int> shown = 0;
  std::string last;
  chosen.say = [&](std::string_view, std::string_view text) {
    ++shown;
    last = text;
  };
  driver = std::make_unique<Driver>(config, chosen);
  machine("web").start();
  std::string flood;
  for (int i = 0; i < 10'000; ++i) flood += "line\n";
  fakes.print("web", flood);
  EXPECT_LE(shown, 3000);
  machine("web").crash();
  EXPECT_THAT(last, HasSubstr("lines more, which only the console's log has"));
}

TEST_F(ConsoleText, TypingWhereNothingCanBeTypedIsOneSentence) {
  make({"web"});
  auto text = error_of(Error::Kind::unsupported, [&] { machine("web").send_console("root\n"); });
  EXPECT_THAT(text, HasSubstr("machine 'web' (fake) has no console that takes input\n  hint: "));
}

}  // namespace
}  // namespace attest::core
