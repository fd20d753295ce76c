// The port of one VDE client: its datagram socket carries the frames, its control connection says
// how long.
#pragma once
#include "lib/net/switching/datagram_port.h"

#include <boost/asio/posix/stream_descriptor.hpp>

#include <filesystem>
#include <functional>
#include <memory>

namespace attest::net {

/// Loop thread only.
class VdePort final : public Port {
 public:
  using Control = asio::posix::stream_descriptor;

  /// `data` is connected to the client; `left` is called once, when the port is closed or gone.
  VdePort(std::shared_ptr<DatagramPort> data, Control control, std::function<void()> left);
  ~VdePort() override { close(); }

  /// Returns when the client's connection has ended or the port is closed; the port has ended then.
  static Task<void> watch(std::shared_ptr<VdePort> self);

  Received receive(std::span<char> buffer, std::vector<std::string_view>& framed) override {
    return data_->receive(buffer, framed);
  }
  Task<void> readable() override { return data_->readable(); }
  void add(std::string_view framed) override { data_->add(framed); }
  bool has_unflushed() const noexcept override { return data_->has_unflushed(); }
  void flush() override { data_->flush(); }
  /// Shows the client that its switch is gone.
  void close() noexcept override;
  PortStats sent() const override { return data_->sent(); }

 private:
  std::shared_ptr<DatagramPort> data_;
  Control control_;
  std::function<void()> left_;
};

}  // namespace attest::net
