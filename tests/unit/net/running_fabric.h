// A fabric on a loop of its own, for tests: made, started and ended there, as a driver does.
#pragma once
#include "attest/deadline.h"
#include "attest/error.h"
#include "lib/base/file.h"
#include "lib/net/fabric.h"
#include "tests/unit/net/peer.h"

#include <chrono>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace attest::net {

/// The loop's thread, and with it all interfaces, is in the network namespace of whoever makes
/// this.
class RunningFabric {
 public:
  using Machines = std::map<std::string, std::vector<int>>;

  explicit RunningFabric(const Machines& machines, std::map<std::string, Wiring> wirings = {},
                         FabricSetup setup = {}, const std::vector<int>& extra_vlans = {}) {
    setup.work_dir = dir_.path();
    setup.say = [this](std::string_view line) { said_.emplace_back(line); };
    fabric_ = std::make_unique<Fabric>(loop_.executor(), make_plan(machines, extra_vlans),
                                       std::move(wirings), std::move(setup));
  }
  RunningFabric(const RunningFabric&) = delete;
  ~RunningFabric() { stop(); }

  /// Runs `function(fabric)` on the loop.
  template <class Function>
  auto loop(Function function) {
    return on_loop(loop_, [&] {
      if constexpr (std::is_void_v<decltype(function(*fabric_))>) {
        function(*fabric_);
        return 0;
      } else {
        return function(*fabric_);
      }
    });
  }
  void start() {
    loop([](Fabric& fabric) { fabric.start(); });
  }
  void stop() {
    on_loop(loop_, [&] {
      fabric_.reset();
      return 0;
    });
  }
  NetworkAttachment attachment(const std::string& machine, std::size_t index = 0) {
    return fabric_->attachments(machine).at(index);
  }

  /// A machine that joins by a stream, joined.
  Peer join_stream(const std::string& machine, std::size_t index = 0) {
    auto nic = attachment(machine, index);
    Peer peer(base::connect_unix(nic.socket));
    auto before = received(machine, nic.vlan);
    peer.send(frame(0xfe, 0xfd, "hello"));  // to nobody: others see it, and skip() it
    for (auto end = Deadline::after(std::chrono::seconds(30));
         received(machine, nic.vlan) == before; std::this_thread::yield())
      if (end.passed())
        throw Error(Error::Kind::timeout, "the switch took no frame of '" + machine + "'");
    return peer;
  }
  std::uint64_t received(const std::string& machine, int vlan) {
    return loop([&](Fabric& fabric) { return fabric.stats(machine, vlan).from_machine; });
  }

  Fabric& fabric() { return *fabric_; }
  const std::filesystem::path& dir() const { return dir_.path(); }
  async::Loop& executor() { return loop_; }
  const std::vector<std::string>& said() const { return said_; }

 private:
  base::TempDir dir_;
  async::Loop loop_;
  std::vector<std::string> said_;
  std::unique_ptr<Fabric> fabric_;
};

/// The next frame that is not the hello of a peer that has joined.
inline std::string next(Peer& peer) {
  for (;;) {
    auto received = peer.receive();
    if (!received) return "(end)";
    if (*received != frame(0xfe, 0xfd, "hello")) return *received;
  }
}

}  // namespace attest::net
