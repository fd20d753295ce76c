// One peer of a Switch: its socket, the frames on their way to it, its counters. Sending never
// waits: what the socket does not take is queued, what the queue does not take is dropped.
#pragma once
#include "lib/async/net.h"
#include "lib/base/fd.h"
#include "lib/net/switching/frames.h"
#include "lib/net/switching/out_queue.h"
#include "lib/net/switching/port.h"

#include <boost/asio/posix/stream_descriptor.hpp>

#include <sys/uio.h>

#include <memory>
#include <span>
#include <vector>

namespace attest::net {

/// Made by a Switch only. All calls happen on the loop thread.
class StreamPort : public std::enable_shared_from_this<StreamPort> {
 public:
  StreamPort(const asio::any_io_executor& loop, base::Fd socket, int number);

  /// What one receive() came to.
  enum class Received { bytes, nothing_yet, end };
  /// Reads what there is, without waiting; `bytes` becomes the part of `buffer` that was filled.
  Received receive(std::span<char> buffer, std::string_view& bytes);
  /// Returns when receive() is worth a call, also after close().
  Task<void> readable();

  /// Notes a frame (its length in front) for the next flush(), until when it must stay valid.
  void add(std::string_view framed);
  bool has_unflushed() const noexcept { return !batch_.empty(); }
  /// Sends what was added, in few system calls, and keeps what the peer does not take.
  void flush();
  void close() noexcept;

  PortStats stats() const;

  const int number;
  FrameSplitter splitter;
  std::uint64_t frames_in = 0, discarded = 0;

 private:
  std::size_t send(std::span<iovec> parts);
  void fail() noexcept;
  void keep_from(std::size_t sent);
  static Task<void> drain(std::shared_ptr<StreamPort> self);

  asio::posix::stream_descriptor socket_;
  OutQueue queue_;
  std::vector<iovec> batch_;  // runs of neighbouring frames
  std::uint64_t frames_out_ = 0, dropped_ = 0;
  bool draining_ = false;
  bool failed_ = false;
};

}  // namespace attest::net
