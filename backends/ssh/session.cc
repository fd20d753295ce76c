#include "backends/ssh/session.h"

#include "lib/async/within.h"
#include "lib/base/text.h"

#include <boost/asio/buffer.hpp>
#include <boost/asio/write.hpp>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>
#include <vector>

namespace attest::ssh {
namespace {

using Kind = Error::Kind;

constexpr int silent_intervals = 3;
constexpr std::size_t evidence = 256;

// libssh2 wants this once, before anything else, and never from two threads.
void prepare_library() {
  static const int failure = libssh2_init(0);
  if (failure != 0) throw Error(Kind::host, "libssh2 cannot be initialised");
  if (!libssh2_version(0x010a00))
    throw Error(Kind::unsupported,
                std::string("libssh2 is ") + libssh2_version(0) + ", and 1.10 or newer is needed");
}

// The host has said goodbye. Reading and sending cannot fail here (see on_send(), on_receive());
// the codes for that come from the inside of SFTP, too, and mean less.
bool is_loss(int code) { return code == LIBSSH2_ERROR_SOCKET_DISCONNECT; }

}  // namespace

Session::Session(asio::any_io_executor loop, Outside::Socket socket, std::string peer)
    : loop_(loop),
      socket_(std::move(socket)),
      peer_(std::move(peer)),
      progress_(loop),
      outgoing_(loop),
      room_(loop),
      lost_event_(loop),
      one_at_a_time_(loop),
      alarm_(loop) {
  prepare_library();
  // Else libssh2 would make it blocking again at its end.
  boost::system::error_code ignored;
  socket_->native_non_blocking(true, ignored);
  raw_ = libssh2_session_init_ex(nullptr, nullptr, nullptr, this);
  if (!raw_) throw Error(Kind::host, "libssh2 cannot make a session: out of memory");
  libssh2_session_set_blocking(raw_, 0);
  // libssh2 takes every kind of callback as a void*.
  libssh2_session_callback_set(raw_, LIBSSH2_CALLBACK_SEND, reinterpret_cast<void*>(on_send));
  libssh2_session_callback_set(raw_, LIBSSH2_CALLBACK_RECV, reinterpret_cast<void*>(on_receive));
  libssh2_session_callback_set(raw_, LIBSSH2_CALLBACK_DISCONNECT,
                               reinterpret_cast<void*>(on_disconnect));
}

Session::~Session() {
  // Channels that are still open wait for the host's word; on_receive() answers for it now.
  freeing_ = true;
  for (int i = 0; i < 100 && libssh2_session_free(raw_) == LIBSSH2_ERROR_EAGAIN; ++i) {
  }
}

void Session::start(std::chrono::seconds keepalive) {
  heard_ = Deadline::Clock::now();
  // They report through lose(); nothing is left to be thrown here.
  asio::co_spawn(loop_, read(shared_from_this()), [](std::exception_ptr) {});
  asio::co_spawn(loop_, write(shared_from_this()), [](std::exception_ptr) {});
  if (keepalive.count() > 0)
    asio::co_spawn(loop_, look_for_life(shared_from_this(), keepalive), [](std::exception_ptr) {});
}

Task<int> Session::repeat(std::function<int()> step) {
  auto self = shared_from_this();
  for (;;) {
    consumed_ = false;
    const int code = step();
    // It may have read what others wait for.
    if (consumed_) progress_.pulse();
    if (is_loss(code)) lose(reason_.empty() ? "it broke off" : "the host says '" + reason_ + "'");
    if (code != LIBSSH2_ERROR_EAGAIN && !is_loss(code)) co_return code;
    if (lost_) throw Error(Kind::host, *lost_);
    co_await progress_.next();
  }
}

Error Session::failure(const std::string& attempt) {
  char* text = nullptr;
  int size = 0;
  const int code = libssh2_session_last_error(raw_, &text, &size, 0);
  return Error(Kind::host,
               attempt + ": " +
                   base::printable(text && size > 0 ? std::string_view(text, std::size_t(size))
                                                    : std::string_view("no reason was given")) +
                   " (libssh2 error " + std::to_string(code) + ")");
}

Task<void> Session::read(std::shared_ptr<Session> self) {
  std::vector<char> buffer(64 << 10);
  while (!self->lost_) {
    while (self->in_.size() - self->taken_ > limit && !self->lost_) co_await self->room_.next();
    auto [failure, count] = co_await self->socket_->async_read_some(
        asio::buffer(buffer), asio::as_tuple(asio::use_awaitable));
    if (self->lost_) break;
    if (failure) {
      self->closed_by_host_ = failure == asio::error::eof;
      self->lose(!self->reason_.empty()          ? "the host says '" + self->reason_ + "'"
                 : self->closed_by_host_         ? "closed by the host"
                 : failure.value() == ECONNRESET ? "reset by peer"
                                                 : failure.message());
      break;
    }
    self->heard_ = Deadline::Clock::now();
    self->received_ += count;
    self->in_.erase(0, std::exchange(self->taken_, 0));
    self->in_.append(buffer.data(), count);
    if (self->first_bytes_.size() < evidence)
      self->first_bytes_.append(buffer.data(),
                                std::min(count, evidence - self->first_bytes_.size()));
    self->progress_.pulse();
  }
}

Task<void> Session::write(std::shared_ptr<Session> self) {
  while (!self->lost_) {
    if (self->out_.empty()) {
      co_await self->outgoing_.next();
      continue;
    }
    // What is being sent stays in out_ for congested() until it is gone.
    const auto size = self->out_.size();
    std::string bytes = self->out_;
    auto [failure, count] = co_await asio::async_write(*self->socket_, asio::buffer(bytes),
                                                       asio::as_tuple(asio::use_awaitable));
    self->out_.erase(0, size);
    if (failure && !self->lost_) {
      // The reader finds out, too, and knows more: what the host said before it closed.
      co_await self->lost_event_.wait();
    }
    self->progress_.pulse();
  }
}

Task<void> Session::look_for_life(std::shared_ptr<Session> self, std::chrono::seconds interval) {
  libssh2_keepalive_config(self->raw_, 1, 2);
  // Misses are counted, not computed from the clock: a test that was stopped for a while, in a
  // debugger, must not take that for the host's silence.
  int missed = 0;
  auto since = self->heard_;
  while (!self->lost_) {
    self->alarm_.expires_at(since + interval * (missed + 1));
    co_await self->alarm_.async_wait(asio::as_tuple(asio::use_awaitable));
    if (self->lost_) break;
    if (self->heard_ > since) {
      since = self->heard_;
      missed = 0;
      continue;
    }
    if (++missed == silent_intervals) {
      self->lose("no sign of life for " + base::human(interval * silent_intervals));
      break;
    }
    int next = 0;
    libssh2_keepalive_send(self->raw_, &next);
  }
}

Task<void> Session::flushed(std::shared_ptr<Session> self) {
  while (!self->out_.empty() && !self->lost_) co_await self->progress_.next();
}

Task<void> Session::disconnect(Deadline deadline) {
  if (lost_) co_return;
  auto self = shared_from_this();
  libssh2_session_disconnect(raw_, "done");
  std::exception_ptr late;
  try {
    co_await async::within(deadline, "saying goodbye to " + peer_, flushed(self));
  } catch (...) {
    late = std::current_exception();
  }
  drop("it was closed by attest");
  if (late) std::rethrow_exception(late);
}

void Session::drop(const std::string& cause) noexcept { lose(cause); }

void Session::lose(std::string cause) noexcept {
  if (lost_) return;
  try {
    lost_ = "the connection to " + peer_ + " was lost: " + base::printable(cause);
    boost::system::error_code ignored;
    socket_->close(ignored);
    alarm_.cancel();
    outgoing_.pulse();
    room_.pulse();
    progress_.pulse();
    lost_event_.set();
  } catch (...) {  // out of memory: operations end at their deadlines
  }
}

ssize_t Session::on_send(libssh2_socket_t, const void* bytes, size_t size, int, void** abstract) {
  auto& self = *static_cast<Session*>(*abstract);
  if (self.freeing_ || self.lost_) return ssize_t(size);
  self.out_.append(static_cast<const char*>(bytes), size);
  self.outgoing_.pulse();
  return ssize_t(size);
}

ssize_t Session::on_receive(libssh2_socket_t, void* bytes, size_t size, int, void** abstract) {
  auto& self = *static_cast<Session*>(*abstract);
  if (self.freeing_) return 0;
  const auto count = std::min(size, self.in_.size() - self.taken_);
  if (count == 0) return -EAGAIN;
  std::memcpy(bytes, self.in_.data() + self.taken_, count);
  self.taken_ += count;
  self.consumed_ = true;
  if (self.in_.size() - self.taken_ <= limit) self.room_.pulse();
  return ssize_t(count);
}

// NOLINTNEXTLINE(readability-function-size): libssh2 says how many parameters it has.
void Session::on_disconnect(LIBSSH2_SESSION*, int, const char* message, int size, const char*, int,
                            void** abstract) {
  auto& self = *static_cast<Session*>(*abstract);
  if (size > 0) self.reason_.assign(message, std::min<std::size_t>(std::size_t(size), 500));
}

}  // namespace attest::ssh
