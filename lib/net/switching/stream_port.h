// The port of a peer on a stream socket in QEMU's framing (`-netdev stream`).
#pragma once
#include "lib/base/fd.h"
#include "lib/net/switching/frames.h"
#include "lib/net/switching/out_queue.h"
#include "lib/net/switching/port.h"

#include <boost/asio/posix/stream_descriptor.hpp>

#include <sys/uio.h>

#include <memory>
#include <span>
#include <string_view>
#include <vector>

namespace attest::net {

class StreamPort final : public Port {
 public:
  /// `socket` is connected.
  StreamPort(const asio::any_io_executor& loop, base::Fd socket);

  Received receive(std::span<char> buffer, std::vector<std::string_view>& framed) override;
  Task<void> readable() override;
  void add(std::string_view framed) override;
  bool has_unflushed() const noexcept override { return !batch_.empty(); }
  void flush() override;
  void close() noexcept override;
  PortStats sent() const override;

 private:
  std::size_t send(std::span<iovec> parts);
  void fail() noexcept;
  void keep_from(std::size_t sent);
  static Task<void> drain(std::shared_ptr<StreamPort> self);

  asio::posix::stream_descriptor socket_;
  FrameSplitter splitter_;
  OutQueue queue_;
  std::vector<iovec> batch_;  // runs of neighbouring frames
  std::uint64_t frames_out_ = 0, dropped_ = 0;
  bool draining_ = false;
  bool failed_ = false;
};

}  // namespace attest::net
