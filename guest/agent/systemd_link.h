// Staying in touch with a systemd: waits until its socket is there, prefers its own one to the
// message bus, and connects again when systemd starts anew (daemon-reexec).
#pragma once
#include "guest/agent/bus.h"
#include "guest/agent/path_watch.h"

#include <functional>
#include <memory>
#include <string>

namespace attest::agent {

/// One waiter's link. Destroy it anywhere but in its callbacks.
class SystemdLink {
 public:
  struct Callbacks {
    std::function<void()> connected;  ///< also after each new start
    std::function<void(const dbus::Message&)> signal;
    std::function<void(const std::string& why)> apart;  ///< there is no connection now
  };

  SystemdLink(Loop& loop, BusPaths paths, Callbacks callbacks);
  SystemdLink(const SystemdLink&) = delete;
  SystemdLink& operator=(const SystemdLink&) = delete;
  ~SystemdLink() { loop_.cancel(timer_); }

  /// Connects as soon as that is possible.
  void begin();
  /// Valid between connected() and apart().
  Bus& bus() { return *bus_; }

 private:
  int connect();
  void lost(const std::string& why);
  void later();

  Loop& loop_;
  BusPaths paths_;
  Callbacks callbacks_;
  std::unique_ptr<Bus> bus_;
  std::unique_ptr<PathWatch> watch_;
  Loop::Timer timer_ = 0;
  bool direct_refused_ = false;
  int tries_ = 0;
};

}  // namespace attest::agent
