#include "lib/async/within.h"

#include "lib/async/event.h"
#include "lib/async/loop.h"

#include <gmock/gmock.h>

namespace attest::async {
namespace {
using namespace std::chrono_literals;

Task<int> never(asio::any_io_executor loop, bool* unwound) {
  struct Mark {
    bool* flag;
    ~Mark() { *flag = true; }
  } mark{unwound};
  Event event(loop);
  co_await event.wait();
  co_return 1;
}
Task<int> answer() { co_return 42; }
Task<int> broken() {
  throw Error(Error::Kind::guest, "it broke");
  co_return 0;
}
Task<void> dies(asio::any_io_executor loop) {
  asio::steady_timer timer(loop, 5ms);
  co_await timer.async_wait(asio::use_awaitable);
  throw Error(Error::Kind::guest, "the machine died");
}

TEST(Within, ReturnsTheResult) {
  Loop loop;
  EXPECT_EQ(loop.run(within(Deadline::after(10s), "asking", answer())), 42);
}

TEST(Within, NamesTheStepAndUnwindsTheLoser) {
  Loop loop;
  bool unwound = false;
  try {
    loop.run(within(Deadline::after(5ms), "asking the oracle", never(loop.executor(), &unwound)));
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), Error::Kind::timeout);
    EXPECT_THAT(e.what(), testing::HasSubstr("while asking the oracle"));
  }
  EXPECT_TRUE(unwound);
}

TEST(Within, PassesExceptionsThrough) {
  Loop loop;
  EXPECT_THROW(loop.run(within(Deadline::after(10s), "asking", broken())), Error);
}

TEST(Unless, EndsWithTheInterruption) {
  Loop loop;
  bool unwound = false;
  try {
    loop.run(unless(dies(loop.executor()), never(loop.executor(), &unwound)));
    FAIL();
  } catch (const Error& e) {
    EXPECT_STREQ(e.what(), "the machine died");
  }
  EXPECT_TRUE(unwound);
}

TEST(Unless, CancelsTheInterruption) {
  Loop loop;
  EXPECT_EQ(loop.run(unless(dies(loop.executor()), answer())), 42);
}

TEST(Loop, RefusesToWaitForItself) {
  Loop loop;
  auto inner = [](Loop* self) -> Task<int> { co_return self->run(answer()); };
  EXPECT_THROW(loop.run(inner(&loop)), Error);
}

}  // namespace
}  // namespace attest::async
