// One port of the hybrid vsock: a channel of the guest on one side, one connection at a time on the
// other. Part of VsockBridge.
#pragma once
#include "lib/async/event.h"
#include "tests/sims/common/guest_vm.h"
#include "tests/sims/common/trouble.h"

#include <boost/asio/posix/stream_descriptor.hpp>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace attest::sims {

using Descriptor = asio::posix::stream_descriptor;

/// Closed while the machine is paused.
class VsockGate {
 public:
  explicit VsockGate(asio::any_io_executor loop) : opened_(loop) {}
  Task<void> open() { return opened_.wait(); }
  void set_open() { opened_.set(); }
  void close() { opened_.reset(); }

 private:
  async::Event opened_;
};

struct VsockPortRule {
  std::uint32_t number;
  std::string chardev;
  std::string banner;  ///< what the program in the guest says first
  /// It is the agent: connects to the host by itself, greets each new host, and can be asked to.
  bool agent;
};
const std::vector<VsockPortRule>& vsock_port_rules();

class VsockPort : public std::enable_shared_from_this<VsockPort> {
 public:
  struct Place {
    std::shared_ptr<VsockGate> gate;
    GuestVm* vm;       ///< lives until stop()
    bool restored;     ///< see VsockBridge::attach()
    std::string path;  ///< of the bridge's socket
    Trouble* trouble;
  };

  VsockPort(asio::any_io_executor loop, VsockPortRule rule, Place place);
  /// Begins to serve.
  void start();

  std::uint32_t number() const noexcept { return rule_.number; }
  /// Its program has spoken, so the guest is up.
  bool heard() const noexcept { return heard_; }
  /// True as soon as the program listens and nobody is connected; false at `until` or the end.
  Task<bool> wait_free(Deadline until);
  /// Connects `socket`, which gets `answer` first. Only when free.
  void take(std::shared_ptr<Descriptor> socket, std::string answer);
  /// Ends the connection.
  void reset();
  /// Ends everything.
  void stop();

 private:
  using Self = std::shared_ptr<VsockPort>;
  static Task<void> run(Self self);
  static Task<void> read_channel(Self self, std::shared_ptr<Descriptor> channel);
  std::size_t banner() const;
  static Task<void> ask_to_greet(Self self, std::shared_ptr<Descriptor> channel);
  static Task<void> dial(Self self);
  static Task<void> write_out(Self self, std::shared_ptr<Descriptor> peer);
  static Task<void> serve_peer(Self self, std::shared_ptr<Descriptor> peer, std::string answer);
  bool free() const noexcept { return heard_ && !peer_ && channel_; }

  asio::any_io_executor loop_;
  VsockPortRule rule_;
  Place place_;
  async::Event changed_, said_;
  std::shared_ptr<Descriptor> channel_, peer_;
  std::string asked_;    ///< of the question that the agent has not answered yet
  std::string outbox_;   ///< for the host; a console that is not read at once loses output
  std::string pending_;  ///< said by the guest to nobody yet, from the banner on
  bool heard_ = false, peer_ready_ = false, stopped_ = false;
};

}  // namespace attest::sims
