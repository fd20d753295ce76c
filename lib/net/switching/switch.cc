#include "lib/net/switching/switch.h"

#include "lib/base/sys_error.h"
#include "lib/net/switching/forwarding.h"
#include "lib/net/switching/stream_port.h"

#include <boost/asio/post.hpp>

#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <chrono>

namespace attest::net {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

// Frames handled per read: large enough that system calls cost little, small enough for the cache.
constexpr std::size_t read_size = 256 << 10;
// Reads from one busy port before the others get their turn.
constexpr int reads_per_turn = 4;

// A coroutine that serves the switch handles every I/O error itself; what it throws is a bug or
// the end of memory, and must not vanish.
constexpr auto report = [](std::exception_ptr failure) {
  if (failure) std::rethrow_exception(failure);
};

struct Listener {
  Listener(const asio::any_io_executor& loop, std::string path_, Member member_)
      : path(std::move(path_)), member(member_), socket(loop, base::listen_unix(path).release()) {
    socket.non_blocking(true);
  }

  const std::string path;
  const Member member;
  asio::posix::stream_descriptor socket;
};

}  // namespace

struct Switch::Impl : std::enable_shared_from_this<Impl> {
  Impl(asio::any_io_executor loop_, std::uint64_t seed)
      : loop(std::move(loop_)), forwarding(seed), alarm(loop) {}

  int join(std::shared_ptr<Port> port, Member member);
  void set_alarm();

  static Task<void> accept(std::shared_ptr<Impl> self, std::shared_ptr<Listener> listener);
  static Task<void> serve(std::shared_ptr<Impl> self, std::shared_ptr<Plug> plug);

  asio::any_io_executor loop;
  std::vector<std::shared_ptr<Listener>> listeners;
  Forwarding forwarding;
  asio::steady_timer alarm;  // for the first delayed frame
  Clock::time_point alarm_at = Clock::time_point::max();
  std::uint64_t malformed = 0;
  bool closed = false;

  // Valid from one read to the end of forwarding it; never across a co_await.
  std::array<char, read_size> buffer;
  std::vector<std::string_view> framed;
};

int Switch::Impl::join(std::shared_ptr<Port> port, Member member) {
  auto plug = forwarding.join(std::move(port), member);
  asio::co_spawn(loop, serve(shared_from_this(), plug), report);
  return plug->number;
}

// Frames that became due while others were forwarded have gone with them; the alarm is for when
// nothing else comes.
void Switch::Impl::set_alarm() {
  auto next = forwarding.next_release();
  if (!next || *next >= alarm_at) return;
  alarm_at = *next;
  alarm.expires_at(alarm_at);
  alarm.async_wait([self = shared_from_this()](boost::system::error_code failure) {
    if (failure || self->closed) return;
    self->alarm_at = Clock::time_point::max();
    self->forwarding.release(Clock::now());
    self->set_alarm();
  });
}

Task<void> Switch::Impl::accept(std::shared_ptr<Impl> self, std::shared_ptr<Listener> listener) {
  auto& socket = listener->socket;
  while (!self->closed) {
    int accepted = ::accept4(socket.native_handle(), nullptr, nullptr, SOCK_CLOEXEC);
    if (accepted >= 0) {
      try {
        self->join(std::make_shared<StreamPort>(self->loop, base::Fd(accepted)), listener->member);
      } catch (const boost::system::system_error&) {
        // The kernel watches no more descriptors for us: as with none at all, the peer hears its
        // end, and others are served.
      }
      continue;
    }
    if (errno == EINTR || errno == ECONNABORTED) continue;
    if (errno == EAGAIN) {
      co_await socket.async_wait(asio::posix::descriptor_base::wait_read,
                                 asio::as_tuple(asio::use_awaitable));
      continue;
    }
    // No descriptors or no memory: nothing tells when there will be some again, and the peer waits
    // in the backlog meanwhile.
    asio::steady_timer pause(self->loop, 100ms);
    co_await pause.async_wait(asio::as_tuple(asio::use_awaitable));
  }
}

Task<void> Switch::Impl::serve(std::shared_ptr<Impl> self, std::shared_ptr<Plug> plug) {
  using Received = Port::Received;
  int reads = 0;
  while (!self->closed && !plug->left) {
    self->framed.clear();
    auto received = plug->port->receive(self->buffer, self->framed);
    if (!self->framed.empty()) {
      self->forwarding.take(*plug, self->framed, Clock::now());
      self->set_alarm();
    }
    if (received == Received::broken) ++self->malformed;
    if (received == Received::broken || received == Received::end) break;
    if (received == Received::nothing_yet) {
      reads = 0;
      co_await plug->port->readable();
    } else if (++reads % reads_per_turn == 0) {
      co_await asio::post(self->loop, asio::use_awaitable);
    }
  }
  self->forwarding.leave(*plug);
}

Switch::Switch(asio::any_io_executor loop, std::uint64_t seed)
    : impl_(std::make_shared<Impl>(std::move(loop), seed)) {}

Switch::~Switch() {
  impl_->closed = true;
  impl_->alarm.cancel();
  for (auto& listener : impl_->listeners) {
    boost::system::error_code ignored;
    listener->socket.close(ignored);
    ::unlink(listener->path.c_str());
  }
  // The coroutines wake up, find the switch closed and end.
  impl_->forwarding.end();
}

void Switch::listen(std::string socket_path, Member member) {
  auto listener = std::make_shared<Listener>(impl_->loop, std::move(socket_path), member);
  impl_->listeners.push_back(listener);
  asio::co_spawn(impl_->loop, Impl::accept(impl_, listener), report);
}

int Switch::join(std::shared_ptr<Port> port, Member member) {
  return impl_->join(std::move(port), member);
}

int Switch::join(base::Fd stream, Member member) {
  return impl_->join(std::make_shared<StreamPort>(impl_->loop, std::move(stream)), member);
}

void Switch::leave(int port) { impl_->forwarding.leave(port); }

void Switch::set_rules(Rules rules) { impl_->forwarding.set_rules(std::move(rules)); }

int Switch::watch(Watcher watcher) { return impl_->forwarding.watch(std::move(watcher)); }

void Switch::unwatch(int number) { impl_->forwarding.unwatch(number); }

SwitchStats Switch::stats() const {
  auto stats = impl_->forwarding.stats();
  stats.malformed = impl_->malformed;
  return stats;
}

}  // namespace attest::net
