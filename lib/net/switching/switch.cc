#include "lib/net/switching/switch.h"

#include "lib/base/sys_error.h"
#include "lib/net/switching/mac_table.h"

#include <boost/asio/post.hpp>

#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <map>

namespace attest::net {
namespace {

using namespace std::chrono_literals;

// Frames handled per read: large enough that system calls cost little, small enough for the cache.
constexpr std::size_t read_size = 256 << 10;
// Reads from one busy port before the others get their turn.
constexpr int reads_per_turn = 4;

// A coroutine that serves the switch handles every I/O error itself; what it throws is a bug or
// the end of memory, and must not vanish.
constexpr auto report = [](std::exception_ptr failure) {
  if (failure) std::rethrow_exception(failure);
};

}  // namespace

struct Switch::Impl : std::enable_shared_from_this<Impl> {
  Impl(asio::any_io_executor loop_, std::string path_)
      : loop(loop_), path(std::move(path_)), listener(loop, base::listen_unix(path).release()) {
    listener.non_blocking(true);
  }

  int join(base::Fd peer);
  void leave(StreamPort& port);
  void forward(StreamPort& from, std::string_view bytes);
  void pass_on(StreamPort& from, const Addresses& addresses, std::string_view framed,
               MacTable::Time now);
  void give(StreamPort& to, std::string_view framed);

  static Task<void> accept(std::shared_ptr<Impl> self);
  static Task<void> serve(std::shared_ptr<Impl> self, std::shared_ptr<StreamPort> port);

  asio::any_io_executor loop;
  std::string path;
  asio::posix::stream_descriptor listener;
  std::map<int, std::shared_ptr<StreamPort>> ports;
  MacTable stations;
  int last_number = 0;
  bool closed = false;
  SwitchStats past;  // of ports that have left

  // Valid from one read to the flush after it; never across a co_await.
  std::array<char, read_size> buffer;
  std::vector<StreamPort*> unflushed;
};

int Switch::Impl::join(base::Fd peer) {
  auto port = std::make_shared<StreamPort>(loop, std::move(peer), ++last_number);
  ports.emplace(port->number, port);
  asio::co_spawn(loop, serve(shared_from_this(), port), report);
  return port->number;
}

void Switch::Impl::leave(StreamPort& port) {
  auto stats = port.stats();
  past.frames_in += stats.frames_in;
  past.frames_out += stats.frames_out;
  past.dropped += stats.dropped;
  past.discarded += stats.discarded;
  port.close();
  stations.forget_port(port.number);
  ports.erase(port.number);
}

Task<void> Switch::Impl::accept(std::shared_ptr<Impl> self) {
  while (!self->closed) {
    int accepted = ::accept4(self->listener.native_handle(), nullptr, nullptr, SOCK_CLOEXEC);
    if (accepted >= 0) {
      self->join(base::Fd(accepted));
      continue;
    }
    if (errno == EINTR || errno == ECONNABORTED) continue;
    if (errno == EAGAIN) {
      co_await self->listener.async_wait(asio::posix::descriptor_base::wait_read,
                                         asio::as_tuple(asio::use_awaitable));
      continue;
    }
    // No descriptors or no memory: nothing tells when there will be some again, and the peer waits
    // in the backlog meanwhile.
    asio::steady_timer pause(self->loop, 100ms);
    co_await pause.async_wait(asio::as_tuple(asio::use_awaitable));
  }
}

Task<void> Switch::Impl::serve(std::shared_ptr<Impl> self, std::shared_ptr<StreamPort> port) {
  int reads = 0;
  while (!self->closed) {
    std::string_view bytes;
    auto received = port->receive(self->buffer, bytes);
    if (received == StreamPort::Received::end) break;
    if (received == StreamPort::Received::nothing_yet) {
      reads = 0;
      co_await port->readable();
      continue;
    }
    self->forward(*port, bytes);
    if (port->splitter.broken()) {
      ++self->past.malformed;
      break;
    }
    if (++reads % reads_per_turn == 0) co_await asio::post(self->loop, asio::use_awaitable);
  }
  if (!self->closed) self->leave(*port);
}

void Switch::Impl::forward(StreamPort& from, std::string_view bytes) {
  auto now = std::chrono::steady_clock::now();
  from.splitter.feed(bytes);
  while (auto framed = from.splitter.next()) {
    ++from.frames_in;
    auto frame = framed->substr(length_bytes);
    auto addresses = read_addresses(frame);
    if (addresses && frame.size() <= max_forwarded_frame)
      pass_on(from, *addresses, *framed, now);
    else
      ++from.discarded;
  }
  for (auto* port : unflushed) port->flush();
  unflushed.clear();
}

// The one place where a frame crosses from port to port: faults and captures belong here.
void Switch::Impl::pass_on(StreamPort& from, const Addresses& addresses, std::string_view framed,
                           MacTable::Time now) {
  stations.learn(addresses.source, from.number, now);
  if (!is_group(addresses.destination))
    if (auto known = stations.find(addresses.destination, now)) {
      // A station behind the sender's own port has seen the frame already.
      if (*known != from.number) give(*ports.at(*known), framed);
      return;
    }
  for (auto& [number, port] : ports)
    if (number != from.number) give(*port, framed);
}

void Switch::Impl::give(StreamPort& to, std::string_view framed) {
  if (!to.has_unflushed()) unflushed.push_back(&to);
  to.add(framed);
}

Switch::Switch(asio::any_io_executor loop, std::string socket_path)
    : impl_(std::make_shared<Impl>(std::move(loop), std::move(socket_path))) {
  asio::co_spawn(impl_->loop, Impl::accept(impl_), report);
}

Switch::~Switch() {
  impl_->closed = true;
  boost::system::error_code ignored;
  impl_->listener.close(ignored);
  // Their coroutines wake up, find the switch closed and end.
  for (auto& [number, port] : impl_->ports) port->close();
  impl_->ports.clear();
  ::unlink(impl_->path.c_str());
}

const std::string& Switch::socket() const noexcept { return impl_->path; }

int Switch::attach(base::Fd peer) { return impl_->join(std::move(peer)); }

SwitchStats Switch::stats() const {
  SwitchStats sum = impl_->past;
  for (auto& [number, port] : impl_->ports) {
    auto stats = port->stats();
    sum.frames_in += stats.frames_in;
    sum.frames_out += stats.frames_out;
    sum.dropped += stats.dropped;
    sum.discarded += stats.discarded;
    sum.ports.push_back(stats);
  }
  return sum;
}

}  // namespace attest::net
