// Staying in touch with a systemd: waits until its socket is there, prefers its own one to the
// message bus, and connects again when systemd starts anew (daemon-reexec). All who wait share one
// connection, since systemd makes each of its many signals anew for each connection.
#pragma once
#include "guest/agent/bus.h"

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

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
  ~SystemdLink();

  /// As Bus has them, between connected() and apart(). No answer comes once this is destroyed.
  void call(std::string_view path, std::string_view interface, std::string_view member,
            const std::vector<std::string_view>& arguments, Bus::Reply reply);
  void get(std::string_view path, std::string_view interface, std::string_view property,
           std::function<void(const dbus::Value* value)> value);

 private:
  class Shared;

  std::shared_ptr<Shared> shared_;
  std::shared_ptr<Callbacks> callbacks_;
};

}  // namespace attest::agent
