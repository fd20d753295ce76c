#include "lib/async/loop.h"

#include <pthread.h>

#include <csignal>

namespace attest::async {

Loop::Loop() : work_(context_.get_executor()) {
  // The new thread inherits this mask, so no signal can reach it before it has blocked them.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  thread_ = std::thread([this] { context_.run(); });
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

Loop::~Loop() {
  work_.reset();
  context_.stop();
  thread_.join();
}

void Loop::refuse_own_thread() const {
  if (on_this_thread())
    throw Error(Error::Kind::usage, "a blocking call was made from attest's own loop thread")
        .hint("co_await the operation instead, or call it from the test's thread");
}

}  // namespace attest::async
