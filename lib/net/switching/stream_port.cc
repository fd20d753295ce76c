#include "lib/net/switching/stream_port.h"

#include <sys/socket.h>

#include <cerrno>

namespace attest::net {
namespace {

// More parts than this are sent in several calls (the kernel's limit is 1024).
constexpr std::size_t max_parts = 512;
// What the kernel may hold for a peer on top of our own queue; it cuts this to its own limit.
constexpr int socket_buffer = 1 << 20;

std::string_view text(const iovec& part) {
  return {static_cast<const char*>(part.iov_base), part.iov_len};
}

}  // namespace

StreamPort::StreamPort(const asio::any_io_executor& loop, base::Fd socket)
    : socket_(loop, socket.release()) {
  ::setsockopt(socket_.native_handle(), SOL_SOCKET, SO_SNDBUF, &socket_buffer,
               sizeof socket_buffer);
}

Port::Received StreamPort::receive(std::span<char> buffer, std::vector<std::string_view>& framed) {
  ssize_t count;
  do count = ::recv(socket_.native_handle(), buffer.data(), buffer.size(), MSG_DONTWAIT);
  while (count < 0 && errno == EINTR);
  if (count < 0 && errno == EAGAIN) return Received::nothing_yet;
  if (count <= 0) return Received::end;
  splitter_.feed({buffer.data(), static_cast<std::size_t>(count)});
  while (auto next = splitter_.next()) framed.push_back(*next);
  return splitter_.broken() ? Received::broken : Received::frames;
}

Task<void> StreamPort::readable() {
  co_await socket_.async_wait(asio::posix::descriptor_base::wait_read,
                              asio::as_tuple(asio::use_awaitable));
}

void StreamPort::add(std::string_view framed) {
  if (failed_) return;
  ++frames_out_;
  if (!batch_.empty()) {
    auto& last = batch_.back();
    if (static_cast<const char*>(last.iov_base) + last.iov_len == framed.data()) {
      last.iov_len += framed.size();
      return;
    }
  }
  if (batch_.size() == max_parts) flush();
  batch_.push_back({.iov_base = const_cast<char*>(framed.data()), .iov_len = framed.size()});
}

void StreamPort::flush() {
  if (batch_.empty()) return;
  std::size_t total = 0, sent = 0;
  for (auto& part : batch_) total += part.iov_len;
  // Behind a queue everything has to queue up.
  if (queue_.empty()) sent = send(batch_);
  if (sent < total && !failed_) keep_from(sent);
  batch_.clear();
}

// One call: a short count means that the socket takes no more for now.
std::size_t StreamPort::send(std::span<iovec> parts) {
  msghdr message{};
  message.msg_iov = parts.data();
  message.msg_iovlen = parts.size();
  ssize_t count;
  do count = ::sendmsg(socket_.native_handle(), &message, MSG_DONTWAIT | MSG_NOSIGNAL);
  while (count < 0 && errno == EINTR);
  if (count >= 0) return static_cast<std::size_t>(count);
  if (errno != EAGAIN && errno != ENOBUFS) fail();
  return 0;
}

// The peer is gone. Whoever reads from the port finds its end and closes it; closing it here would
// pull it from under a switch that is just going through its ports.
void StreamPort::fail() noexcept {
  failed_ = true;
  ::shutdown(socket_.native_handle(), SHUT_RDWR);
}

// Queues the batch but for its first `sent` bytes, frame by frame, so that what does not fit is
// lost in whole frames and the stream stays readable.
void StreamPort::keep_from(std::size_t sent) {
  for (auto& part : batch_) {
    for (auto rest = text(part); !rest.empty();) {
      auto framed = rest.substr(0, length_bytes + read_length(rest));
      rest.remove_prefix(framed.size());
      if (sent >= framed.size()) {
        sent -= framed.size();
      } else if (sent > 0) {
        queue_.push_rest(framed.substr(sent));
        sent = 0;
      } else if (!queue_.push(framed)) {
        ++dropped_;
        --frames_out_;
      }
    }
  }
  if (draining_ || queue_.empty()) return;
  draining_ = true;
  auto self = std::static_pointer_cast<StreamPort>(shared_from_this());
  asio::co_spawn(socket_.get_executor(), drain(std::move(self)), [](std::exception_ptr failure) {
    if (failure) std::rethrow_exception(failure);
  });
}

Task<void> StreamPort::drain(std::shared_ptr<StreamPort> self) {
  while (!self->queue_.empty() && !self->failed_) {
    auto [failure] = co_await self->socket_.async_wait(asio::posix::descriptor_base::wait_write,
                                                       asio::as_tuple(asio::use_awaitable));
    if (failure || self->failed_) break;
    for (std::size_t sent = 1; sent > 0 && !self->queue_.empty();) {
      auto bytes = self->queue_.front();
      iovec part{.iov_base = const_cast<char*>(bytes.data()), .iov_len = bytes.size()};
      sent = self->send({&part, 1});
      self->queue_.pop(sent);
    }
  }
  self->draining_ = false;
}

void StreamPort::close() noexcept {
  failed_ = true;
  boost::system::error_code ignored;
  socket_.close(ignored);
}

PortStats StreamPort::sent() const {
  return {.frames_out = frames_out_, .dropped = dropped_, .queued_bytes = queue_.size()};
}

}  // namespace attest::net
