#include "backends/nspawn/running.h"

#include "attest/error.h"
#include "lib/async/fd_stream.h"
#include "lib/async/within.h"
#include "lib/base/fd.h"
#include "lib/base/file.h"
#include "lib/base/sys_error.h"

#include <fcntl.h>
#include <sys/socket.h>

#include <array>
#include <cstdlib>

namespace attest::nspawn {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t most_output = 16384;
// Something that left the pid namespace would hold the pipe open; there should be no such thing.
constexpr auto patience_after_exit = 500ms;

}  // namespace

int inotify_limit() {
  auto text = base::try_read_file("/proc/sys/fs/inotify/max_user_instances");
  return text ? std::atoi(text->c_str()) : 0;
}

std::shared_ptr<Running> Running::start(asio::any_io_executor loop, MakeSpec make_spec,
                                        base::Fd notify, bool reboots, Console console) {
  auto self = std::make_shared<Running>(loop, std::move(make_spec), std::move(notify), reboots,
                                        std::move(console));
  self->launch();
  // Nothing is swallowed: a socket that fails is closed by us, and supervise() turns what happens
  // into the Gone that callers wait for.
  asio::co_spawn(loop, pump_notify(self), [](std::exception_ptr) {});
  asio::co_spawn(loop, supervise(self), [](std::exception_ptr) {});
  return self;
}

Running::Running(asio::any_io_executor loop, MakeSpec make_spec, base::Fd notify, bool reboots,
                 Console console)
    : loop_(loop),
      make_spec_(std::move(make_spec)),
      reboots_(reboots),
      console_(std::move(console)),
      notify_(loop, notify.release()),
      launched_(loop),
      ready_(loop),
      gone_(loop) {}

void Running::launch() {
  auto [ours, theirs] = base::make_pipe();
  auto spec = make_spec_();
  base::Fd copy(base::check(::fcntl(theirs.get(), F_DUPFD_CLOEXEC, 0), "duplicating a pipe"));
  spec.fds.emplace(1, std::move(theirs));
  spec.fds.emplace(2, std::move(copy));
  child_.emplace(loop_, std::move(spec));
  ++launches_;
  launched_.pulse();
  drained_ = std::make_shared<async::Event>(loop_);
  // It ends with the pipe; why the container ended is found out from its status.
  asio::co_spawn(
      loop_, pump_output(shared_from_this(), async::make_stream(loop_, std::move(ours)), drained_),
      [drained = drained_](std::exception_ptr) { drained->set(); });
}

Task<void> Running::pump_output(std::shared_ptr<Running> self, std::unique_ptr<Stream> output,
                                std::shared_ptr<async::Event>) {
  std::array<char, 16384> buffer;
  while (std::size_t count = co_await output->read_some(buffer)) {
    self->output_.append(buffer.data(), count);
    if (self->output_.size() > most_output)
      self->output_.erase(0, self->output_.size() - most_output);
    if (self->console_) self->console_({buffer.data(), count});
  }
}

Task<void> Running::pump_notify(std::shared_ptr<Running> self) {
  std::array<char, 4096> buffer;
  while (!self->gone_.is_set()) {
    ssize_t count =
        ::recv(self->notify_.native_handle(), buffer.data(), buffer.size(), MSG_DONTWAIT);
    if (count >= 0) {
      if (says_ready({buffer.data(), static_cast<std::size_t>(count)})) self->ready_.set();
      continue;
    }
    if (errno != EAGAIN && errno != EINTR) throw base::sys_error("reading notifications");
    co_await self->notify_.async_wait(asio::posix::descriptor_base::wait_read, asio::use_awaitable);
  }
}

Task<void> Running::supervise(std::shared_ptr<Running> self) {
  Ending ending;
  for (;;) {
    ending.status = co_await self->child_->wait();
    try {
      co_await async::within(Deadline::after(patience_after_exit), "reading the last words",
                             self->drained_->wait());
    } catch (const Error&) {
      // What has been read must do.
    }
    if (ending.status.signal != 0 || ending.status.code != reboot_code || !self->reboots_) break;
    ending.started = false;
    self->ready_.reset();
    try {
      self->launch();
    } catch (const Error& failure) {
      self->output_ = failure.what();
      break;
    }
  }
  ending.started = self->ready_.is_set();
  ending.output = self->output_;
  ending.inotify_limit = inotify_limit();
  self->result_ = explain(ending);
  self->gone_.set();
  boost::system::error_code ignored;
  self->notify_.close(ignored);
}

void Running::kill() noexcept {
  reboots_ = false;
  if (child_) child_->kill();
}

void Running::abandon() noexcept {
  console_ = nullptr;
  kill();
}

Task<void> Running::launched_after(int count) {
  auto self = shared_from_this();
  while (self->launches_ <= count) co_await self->launched_.next();
}

Task<void> Running::ready() {
  auto self = shared_from_this();
  co_await self->ready_.wait();
}

Task<Gone> Running::wait_gone() {
  auto self = shared_from_this();
  co_await self->gone_.wait();
  co_return self->result_;
}

Task<void> Running::dies() {
  Gone gone = co_await wait_gone();
  throw Error(Error::Kind::host, gone.cause);
}

}  // namespace attest::nspawn
