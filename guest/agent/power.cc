// power: the machine's end. In order through systemd, so that services stop and disks are clean;
// by the kernel where there is no systemd, or where nobody wants to wait for it.
#include "guest/agent/bus.h"
#include "guest/agent/files.h"

#include <sys/reboot.h>
#include <unistd.h>

#include <cerrno>

namespace attest::agent {
namespace {

class Power : public Operation {
 public:
  Power(const AgentFields& fields, Output& out, Loop& loop)
      : Operation(out),
        loop_(loop),
        action_(fields.get("action")),
        force_(fields.get("force") == "1") {}

  void start() override {
    if (action_ != "poweroff" && action_ != "reboot" && action_ != "halt")
      return out_.error("usage", "'" + action_ + "' is none of poweroff, reboot, halt");
    if (force_ || !systemd_runs()) return end_now();
    bus_ = std::make_unique<Bus>(
        loop_, [](const dbus::Message&) {},
        // It has gone down before it could say so.
        [this](const std::string& why) { asked_ ? out_.done() : fail(why); });
    auto paths = BusPaths::system();
    int code = bus_->connect_direct(paths.direct);
    if (code != 0 && bus_->connect_bus(paths.bus) != 0) return fail(error_text(code));
    asked_ = true;
    const char* method = action_ == "reboot" ? "Reboot" : action_ == "halt" ? "Halt" : "PowerOff";
    bus_->call(systemd_path, manager_interface, method, {}, [this](const dbus::Message& answer) {
      if (answer.type == dbus::Message::Type::error) return fail(answer.text(0));
      out_.done();
    });
  }
  void on_cancel() override { out_.error("timeout", "systemd did not answer to " + action_); }

 private:
  void fail(std::string_view why) {
    out_.error("guest", "cannot ask systemd to " + action_ + ": " + std::string(why));
  }

  // In a child: writing back all that is dirty may take long, and done has to get away before.
  void end_now() {
    out_.done();
    int how = action_ == "reboot" ? RB_AUTOBOOT : action_ == "halt" ? RB_HALT_SYSTEM : RB_POWER_OFF;
    if (fork() != 0) return;
    sync();
    usleep(100'000);
    reboot(how);
    _exit(1);
  }

  Loop& loop_;
  std::string action_;
  bool force_, asked_ = false;
  std::unique_ptr<Bus> bus_;
};

}  // namespace

std::unique_ptr<Operation> make_power(const AgentFields& fields, Output& out, Services services) {
  return std::make_unique<Power>(fields, out, services.loop);
}

}  // namespace attest::agent
