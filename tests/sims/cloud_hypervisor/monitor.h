// The monitor itself: its VM's states, its endpoints.
#pragma once
#include "lib/async/event.h"
#include "tests/sims/cloud_hypervisor/events.h"
#include "tests/sims/cloud_hypervisor/machine.h"
#include "tests/sims/cloud_hypervisor/serial.h"
#include "tests/sims/common/guest_vm.h"
#include "tests/sims/common/http_server.h"
#include "tests/sims/common/spec_check.h"
#include "tests/sims/common/version.h"
#include "tests/sims/common/vsock_bridge.h"

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace attest::sims::cloud_hypervisor {

class Monitor {
 public:
  /// `finish` is called once, with the exit code of the process, on the loop. `stays`: a guest that
  /// powers off does not end the process (--no-shutdown).
  Monitor(asio::any_io_executor loop, Version version, bool stays, Trouble& trouble,
          std::function<void(int)> finish);

  /// One request of the API, after all that came before.
  Task<HttpReply> handle(HttpRequest request);
  /// As flags ask for it. Throws Refusal.
  Task<void> create_and_boot(json config);
  Events& events() noexcept { return events_; }
  /// The guest is no more; what it has said last goes where it belongs.
  void end();

 private:
  using Fds = std::vector<std::shared_ptr<base::Fd>>;

  // What they return is the body of a 200; null for a 204. They throw Refusal.
  Task<json> serve(std::string method, std::string name, json body, Fds fds);
  json info() const;
  void create(json config);
  Task<void> boot();
  Task<void> pause();
  Task<void> resume();
  Task<void> shut_down();
  Task<void> reboot();
  Task<void> resize(json body);
  json add_net(json body, Fds fds);
  json add_device(const char* list, json body);
  void remove_device(const json& body);
  Task<void> snapshot(const json& body);
  Task<void> restore(json body, Fds fds);

  void must_exist() const;
  void must_be_booted(const char* what) const;
  Task<void> launch(std::optional<std::pair<std::string, std::string>> restored);
  void forget_guest(bool orderly);
  void on_guest(GuestEvent event);
  Task<void> restart();

  asio::any_io_executor loop_;
  Version version_;
  bool stays_;
  Trouble& trouble_;
  std::function<void(int)> finish_;
  SpecCheck spec_;
  async::Mutex one_at_a_time_;
  Events events_;
  json config_;  ///< null: no VM
  Taps taps_;
  bool paused_ = false;
  bool launching_ = false;  ///< whoever asked for it hears of a failure
  std::unique_ptr<GuestVm> vm_;
  std::unique_ptr<VsockBridge> vsock_;
  std::unique_ptr<SerialEnd> serial_;
  base::Fd copied_memory_;  ///< of a restore that reads all of it
};

}  // namespace attest::sims::cloud_hypervisor
