#include "lib/net/switching/datagram_port.h"

#include "lib/net/switching/frames.h"
#include "lib/net/switching/packet_socket.h"

#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <optional>
#include <utility>

namespace attest::net {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t tag_bytes = 4;
constexpr std::size_t both_addresses = 12;  // a frame's tag comes behind them
// In front of each frame: its length, and room for the tag that the kernel took out.
constexpr std::size_t headroom = length_bytes + tag_bytes;
constexpr std::size_t slot_size = headroom + DatagramPort::longest_frame;
constexpr std::size_t max_slots = 28;  // as many as the 256 KiB of a caller hold
constexpr std::size_t max_batch = 128;
// What the kernel may hold for a peer on top of our own queue; it cuts this to its own limit.
constexpr int socket_buffer = 1 << 20;
// An interface that is down tells nobody that it is removed or up again.
constexpr auto link_check_period = 10ms;

std::string_view without_length(std::string_view framed) { return framed.substr(length_bytes); }

void write_length(char* at, std::size_t length) {
  auto big_endian = htonl(static_cast<std::uint32_t>(length));
  std::memcpy(at, &big_endian, length_bytes);
}

struct Tag {
  std::uint16_t type, control;
};

// The 802.1Q tag that the kernel took out of a frame that came by a packet socket.
std::optional<Tag> stripped_tag(msghdr& message) {
  for (auto* item = CMSG_FIRSTHDR(&message); item; item = CMSG_NXTHDR(&message, item)) {
    if (item->cmsg_level != SOL_PACKET || item->cmsg_type != PACKET_AUXDATA) continue;
    tpacket_auxdata about;
    std::memcpy(&about, CMSG_DATA(item), sizeof about);
    if (!(about.tp_status & TP_STATUS_VLAN_VALID)) return std::nullopt;
    bool typed = (about.tp_status & TP_STATUS_VLAN_TPID_VALID) != 0;
    return Tag{.type = typed ? about.tp_vlan_tpid : std::uint16_t{ETH_P_8021Q},
               .control = about.tp_vlan_tci};
  }
  return std::nullopt;
}

// Puts a tag back into the frame of `length` bytes behind the headroom of `slot`.
std::string_view with_tag(char* slot, std::size_t length, Tag tag) {
  std::memmove(slot + length_bytes, slot + headroom, both_addresses);
  const std::uint16_t words[] = {htons(tag.type), htons(tag.control)};
  std::memcpy(slot + length_bytes + both_addresses, words, sizeof words);
  write_length(slot, length + tag_bytes);
  return {slot, length_bytes + tag_bytes + length};
}

std::string_view with_length(char* slot, std::size_t length) {
  write_length(slot + tag_bytes, length);
  return {slot + tag_bytes, length_bytes + length};
}

bool is_end(int code) {
  switch (code) {
    case ECONNREFUSED:
    case ECONNRESET:
    case ENOTCONN:
    case EDESTADDRREQ:
    case EPIPE:
    case ENXIO:
    case ENODEV:
    case EBADF:
      return true;
    default:
      return false;
  }
}

}  // namespace

struct DatagramPort::Slots {
  struct alignas(cmsghdr) Control {
    char bytes[CMSG_SPACE(sizeof(tpacket_auxdata))];
  };

  // The kernel writes into all of a message: prepared anew for each call.
  void prepare(std::span<char> buffer, std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) {
      parts[i] = {.iov_base = buffer.data() + i * slot_size + headroom, .iov_len = longest_frame};
      messages[i] = {};
      messages[i].msg_hdr.msg_iov = &parts[i];
      messages[i].msg_hdr.msg_iovlen = 1;
      messages[i].msg_hdr.msg_control = controls[i].bytes;
      messages[i].msg_hdr.msg_controllen = sizeof controls[i].bytes;
    }
  }

  std::array<mmsghdr, max_slots> messages;
  std::array<iovec, max_slots> parts;
  std::array<Control, max_slots> controls;
};

DatagramPort::DatagramPort(const asio::any_io_executor& loop, base::Fd socket)
    : socket_(loop, socket.release()),
      link_check_(loop),
      pause_(loop),
      slots_(std::make_unique<Slots>()) {
  ::setsockopt(socket_.native_handle(), SOL_SOCKET, SO_SNDBUF, &socket_buffer,
               sizeof socket_buffer);
}

DatagramPort::~DatagramPort() = default;

Port::Received DatagramPort::receive(std::span<char> buffer,
                                     std::vector<std::string_view>& framed) {
  if (down_ && check_link() == Received::end) return Received::end;
  auto slots = std::min(buffer.size() / slot_size, max_slots);
  slots_->prepare(buffer, slots);
  int count = ::recvmmsg(socket_.native_handle(), slots_->messages.data(),
                         static_cast<unsigned>(slots), MSG_DONTWAIT, nullptr);
  if (count < 0) return no_frames(errno);
  for (std::size_t i = 0; i < static_cast<std::size_t>(count); ++i) {
    auto& message = slots_->messages[i];
    char* slot = buffer.data() + i * slot_size;
    std::size_t length = message.msg_len;
    if (message.msg_hdr.msg_flags & MSG_TRUNC) {
      ++too_long_;
      continue;
    }
    if (length == 0) continue;
    auto tag = stripped_tag(message.msg_hdr);
    framed.push_back(tag && length >= both_addresses ? with_tag(slot, length, *tag)
                                                     : with_length(slot, length));
  }
  return Received::frames;
}

// What a failure to receive means. Once the port has ended, it is that all has been read.
Port::Received DatagramPort::no_frames(int code) noexcept {
  if (code == ENETDOWN) return check_link();
  if (is_end(code)) ended_ = true;
  return ended_ ? Received::end : Received::nothing_yet;
}

// An interface goes down before it is removed, and the socket hears of the former only.
Port::Received DatagramPort::check_link() noexcept {
  auto state = link_state(socket_.native_handle());
  down_ = state == LinkState::down;
  if (state == LinkState::gone) ended_ = true;
  return ended_ ? Received::end : Received::nothing_yet;
}

Task<void> DatagramPort::readable() {
  if (ended_) co_return;
  if (down_) {
    link_check_.expires_after(link_check_period);
    co_await link_check_.async_wait(asio::as_tuple(asio::use_awaitable));
  } else {
    co_await socket_.async_wait(asio::posix::descriptor_base::wait_read,
                                asio::as_tuple(asio::use_awaitable));
  }
}

void DatagramPort::add(std::string_view framed) {
  if (ended_) return;
  ++frames_out_;
  if (batch_.size() == max_batch) flush();
  batch_.push_back(framed);
}

void DatagramPort::flush() {
  if (batch_.empty()) return;
  // Behind a queue everything has to queue up.
  std::size_t done = queue_.empty() ? send(batch_) : 0;
  for (; done < batch_.size() && !ended_; ++done)
    if (!queue_.push(batch_[done])) lose();
  batch_.clear();
  if (draining_ || queue_.empty() || ended_) return;
  draining_ = true;
  auto self = std::static_pointer_cast<DatagramPort>(shared_from_this());
  asio::co_spawn(socket_.get_executor(), drain(self), [](std::exception_ptr failure) {
    if (failure) std::rethrow_exception(failure);
  });
}

void DatagramPort::lose() noexcept {
  ++dropped_;
  --frames_out_;
}

// Returns how many are done with, sent or lost; the socket takes no more for now behind them.
std::size_t DatagramPort::send(std::span<const std::string_view> frames) {
  std::array<mmsghdr, max_batch> messages;
  std::array<iovec, max_batch> parts;
  auto all = std::min(frames.size(), max_batch);
  for (std::size_t i = 0; i < all; ++i) {
    auto frame = without_length(frames[i]);
    parts[i] = {.iov_base = const_cast<char*>(frame.data()), .iov_len = frame.size()};
    messages[i] = {};
    messages[i].msg_hdr.msg_iov = &parts[i];
    messages[i].msg_hdr.msg_iovlen = 1;
  }
  std::size_t done = 0;
  while (done < all && !ended_) {
    int count = ::sendmmsg(socket_.native_handle(), &messages[done],
                           static_cast<unsigned>(all - done), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (count > 0) {
      done += static_cast<std::size_t>(count);
      continue;
    }
    if (errno == EINTR) continue;
    if (errno == EAGAIN || errno == ENOBUFS) break;
    if (is_end(errno)) {
      end();
      break;
    }
    // Too long or too short for the carrier, or its link is down: only this frame is lost.
    lose();
    ++done;
  }
  return done;
}

// False if the socket took nothing.
bool DatagramPort::send_queued() {
  std::vector<std::string_view> frames;
  auto bytes = queue_.front();
  while (!bytes.empty() && frames.size() < max_batch) {
    frames.push_back(bytes.substr(0, length_bytes + read_length(bytes)));
    bytes.remove_prefix(frames.back().size());
  }
  std::size_t gone = 0, done = send(frames);
  for (std::size_t i = 0; i < done; ++i) gone += frames[i].size();
  queue_.pop(gone);
  return done > 0;
}

Task<void> DatagramPort::drain(std::shared_ptr<DatagramPort> self) {
  // A packet socket counts as writable while its interface takes nothing, and Asio may report what
  // was true before: a wait that brought nothing is followed by a pause.
  bool waited = false;
  while (!self->queue_.empty() && !self->ended_) {
    if (self->send_queued()) {
      waited = false;
    } else if (!waited) {
      waited = true;
      co_await self->socket_.async_wait(asio::posix::descriptor_base::wait_write,
                                        asio::as_tuple(asio::use_awaitable));
    } else {
      waited = false;
      self->pause_.expires_after(1ms);
      co_await self->pause_.async_wait(asio::as_tuple(asio::use_awaitable));
    }
  }
  self->draining_ = false;
}

void DatagramPort::end() noexcept {
  ended_ = true;
  boost::system::error_code ignored;
  socket_.cancel(ignored);
  link_check_.cancel();
  pause_.cancel();
}

void DatagramPort::close() noexcept {
  end();
  batch_.clear();
  boost::system::error_code ignored;
  socket_.close(ignored);
}

PortStats DatagramPort::sent() const {
  return {.frames_out = frames_out_,
          .dropped = dropped_,
          .discarded = too_long_,
          .queued_bytes = queue_.size()};
}

std::shared_ptr<Port> make_datagram_port(asio::any_io_executor loop, base::Fd socket) {
  return std::make_shared<DatagramPort>(loop, std::move(socket));
}

}  // namespace attest::net
