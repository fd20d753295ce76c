#include "lib/guest/ready.h"

#include "attest/error.h"

#include <optional>

namespace attest::guest {
namespace {

// Whether `test`, a shell text, exits with 0 in the guest.
Task<bool> is(Guest& guest, std::string test, Deadline deadline) {
  Command command;
  command.shell = std::move(test);
  command.strict = false;
  auto result = co_await guest.run(command, deadline);
  co_return result.exit_code == 0;
}

}  // namespace

Task<void> wait_ready(Guest& guest, Ready ready, Deadline deadline) {
  if (ready == Ready::agent) co_return;
  const std::string target = ready == Ready::basic ? "basic.target" : "multi-user.target";
  const bool systemd = co_await is(guest, "[ -d /run/systemd/system ]", deadline);
  if (!systemd) co_return;
  std::optional<Error> failure;
  Condition condition = UnitActive{target, ""};
  try {
    co_await guest.wait_for(condition, deadline);
  } catch (const Error& error) {
    if (error.kind() != Error::Kind::guest) throw;
    failure = error;
  }
  if (!failure) co_return;
  const bool emergency = co_await is(
      guest, "systemctl is-active emergency.target rescue.target | grep -qx active", deadline);
  if (emergency)
    throw Error(Error::Kind::guest, "the guest is in emergency mode")
        .during("waiting for the guest to reach " + target);
  throw Error(*failure).during("waiting for the guest to reach " + target);
}

}  // namespace attest::guest
