// The monitor itself: its phases, its endpoints.
#pragma once
#include "lib/async/event.h"
#include "tests/sims/common/guest_vm.h"
#include "tests/sims/common/http_server.h"
#include "tests/sims/common/spec_check.h"
#include "tests/sims/common/vsock_bridge.h"
#include "tests/sims/firecracker/log.h"
#include "tests/sims/firecracker/options.h"
#include "tests/sims/firecracker/resources.h"
#include "tests/sims/firecracker/serial.h"

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace attest::sims::firecracker {

/// The major of the format of state files, as --snapshot-version tells it.
int snapshot_version(const Version& version);

class Monitor {
 public:
  /// `finish` is called once, with the exit code of the process, on the loop.
  Monitor(asio::any_io_executor loop, Options options, Version version, Trouble& trouble,
          std::function<void(int)> finish);

  /// One request of the API, after all that came before.
  Task<HttpReply> handle(HttpRequest request);
  /// --config-file: configures and starts. Throws Fault.
  Task<void> run_config(std::string text);
  Log& log() noexcept { return log_; }
  Metrics& metrics() noexcept { return metrics_; }
  /// The guest's last output goes where it belongs; then the guest is no more.
  void end();

 private:
  struct Request {
    std::string method;
    std::vector<std::string> path;  ///< {"drives", "root"}
    std::string text;               ///< the body
    json body;                      ///< null if there is none
    bool has_body = false;
    bool deprecated = false;
    std::string word(std::size_t index) const { return index < path.size() ? path[index] : ""; }
  };

  // Throw Fault. What they return is the body of a 200; null for a 204.
  Task<json> serve(Request& request);
  json get(Request& request);
  Task<json> put(Request& request);
  Task<json> patch(Request& request);
  Task<json> act(Request& request);
  json configure(Request& request);
  json mmds(Request& request);
  Task<json> patch_balloon(Request& request);
  Task<json> patch_device(Request& request);

  void parse(Request& request, const std::string& endpoint);
  void check_id(Request& request, const char* member);
  bool started() const noexcept { return vm_ != nullptr; }
  void must_not_run() const;
  void must_run() const;

  Task<void> start();
  Task<void> pause();
  Task<void> resume();
  Task<void> create_snapshot(const json& body);
  Task<void> load_snapshot(const json& body);
  /// `restored`: from these files.
  Task<void> launch(std::optional<std::pair<std::string, std::string>> restored);
  void forget_guest();
  void on_guest(GuestEvent event);
  Task<void> flush_regularly();

  asio::any_io_executor loop_;
  Options options_;
  Version version_;
  Trouble& trouble_;
  std::function<void(int)> finish_;
  SpecCheck spec_;
  async::Mutex one_at_a_time_;
  Log log_;
  Metrics metrics_;
  Resources resources_;
  json mmds_data_;
  bool boot_path_ = false;  ///< something was configured that a snapshot would bring
  bool paused_ = false;
  bool launching_ = false;  ///< whoever asked for it hears of a failure
  bool button_ = false;     ///< SendCtrlAltDel, which a power-off obeys here
  std::unique_ptr<GuestVm> vm_;
  std::unique_ptr<VsockBridge> vsock_;
  std::unique_ptr<Serial> serial_;
};

}  // namespace attest::sims::firecracker
