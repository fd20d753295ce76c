#include "lib/guest/ready.h"

#include "lib/guest/poll.h"

namespace attest::guest {

Task<void> wait_ready(Guest& guest, Ready ready, Deadline deadline) {
  if (ready == Ready::agent) co_return;
  const std::string target = ready == Ready::basic ? "basic.target" : "multi-user.target";
  std::string goal = "the guest to reach " + target;
  std::string probe =
      "[ -d /run/systemd/system ]||exit 0\n"
      "a=$(systemctl is-active " +
      target +
      " 2>&1)&&exit 0\n"
      "e=$(systemctl is-active emergency.target rescue.target 2>&1)&&"
      "{ echo 'the guest is in emergency mode';exit 2;}\n"
      "echo \"" +
      target + " is $a\";exit 1\n";
  co_await wait_for(guest, goal, probe, deadline);
}

}  // namespace attest::guest
