// A port of a Switch whose carrier is a datagram socket: a packet socket on an interface of the
// kernel, a connected unix datagram socket. Each datagram is one Ethernet frame, as it is.
#pragma once
#include "lib/base/fd.h"
#include "lib/net/switching/out_queue.h"
#include "lib/net/switching/port.h"

#include <boost/asio/posix/stream_descriptor.hpp>

#include <sys/socket.h>

#include <array>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

namespace attest::net {

/// Loop thread only. An interface that is down costs the frames meanwhile and is no end; one that
/// is removed is. A unix peer that is gone shows when something is sent to it.
class DatagramPort final : public Port {
 public:
  /// A longer frame than this is dropped on arrival: longer than any MTU of 9000 needs.
  static constexpr std::size_t longest_frame = 9 << 10;

  DatagramPort(const asio::any_io_executor& loop, base::Fd socket);
  ~DatagramPort() override;

  Received receive(std::span<char> buffer, std::vector<std::string_view>& framed) override;
  Task<void> readable() override;
  void add(std::string_view framed) override;
  bool has_unflushed() const noexcept override { return !batch_.empty(); }
  void flush() override;
  void close() noexcept override;
  /// `discarded` has the frames that were too long to receive.
  PortStats sent() const override;

  /// Nothing is sent from now on, readable() returns, and receive() finds the end behind the frames
  /// that have arrived.
  void end() noexcept;

 private:
  struct Slots;

  Received no_frames(int code) noexcept;
  Received check_link() noexcept;
  void lose() noexcept;
  std::size_t send(std::span<const std::string_view> frames);
  bool send_queued();
  static Task<void> drain(std::shared_ptr<DatagramPort> self);

  asio::posix::stream_descriptor socket_;
  asio::steady_timer link_check_, pause_;
  std::unique_ptr<Slots> slots_;
  std::vector<std::string_view> batch_;  // with the length in front, as all frames here
  OutQueue queue_;
  std::uint64_t frames_out_ = 0, dropped_ = 0, too_long_ = 0;
  bool draining_ = false;
  bool down_ = false;
  bool ended_ = false;
};

/// A port on `socket`, which carries one whole frame a datagram and needs no destination: see
/// open_packet_socket(), or a unix datagram socket that is connected.
std::shared_ptr<Port> make_datagram_port(asio::any_io_executor loop, base::Fd socket);

}  // namespace attest::net
