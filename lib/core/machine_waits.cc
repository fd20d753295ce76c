// Machine: waits for what happens inside it. Those for texts are in machine_console.cc.
#include "attest/machine.h"
#include "lib/core/machine_impl.h"
#include "lib/guest/poll.h"

namespace attest {
namespace {

// The session's target is NixOS's own; where the guest is another one, a server that answers is all
// that can be known.
constexpr auto x_probe = R"sh(
[ -S /tmp/.X11-unix/X0 ] || { echo 'there is no /tmp/.X11-unix/X0'; exit 1; }
[ -e /run/current-system ] || exit 0
journalctl -b SYSLOG_IDENTIFIER=systemd 2>/dev/null | grep -q 'Reached target Current graphical' ||
  { echo 'the X server runs, no graphical session has begun'; exit 1; }
)sh";

}  // namespace

void Machine::wait_for_unit(std::string_view unit, UnitOptions options, Here here) {
  impl_->wait_for({guest::UnitActive{std::string(unit), options.user}}, options.timeout, here);
}

void Machine::wait_for_open_port(int port, PortOptions options, Here here) {
  impl_->wait_for({guest::PortOpen{port, options.address, options.udp, false}}, options.timeout,
                  here);
}

void Machine::wait_for_closed_port(int port, PortOptions options, Here here) {
  impl_->wait_for({guest::PortOpen{port, options.address, options.udp, true}}, options.timeout,
                  here);
}

void Machine::wait_for_file(std::string_view path, WaitOptions options, Here here) {
  impl_->wait_for({guest::FileExists{std::string(path)}}, options.timeout, here);
}

void Machine::wait_for_open_unix_socket(std::string_view path, SocketOptions options, Here here) {
  impl_->wait_for({guest::SocketAccepts{std::string(path), options.is_datagram}}, options.timeout,
                  here);
}

void Machine::wait_for_x(WaitOptions options, Here here) {
  impl_->in_guest(impl_->wait_limit(options.timeout), Evidence::units_and_journal, here,
                  [](guest::Guest& guest, Deadline deadline) -> Task<void> {
                    std::string goal = "the X server of display :0";
                    co_await guest::wait_for(guest, goal, x_probe, deadline);
                    guest::Condition accepts = guest::SocketAccepts{"/tmp/.X11-unix/X0", false};
                    co_await guest.wait_for(accepts, deadline);
                  });
}

}  // namespace attest
