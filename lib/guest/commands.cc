#include "lib/guest/commands.h"

#include "attest/error.h"
#include "lib/base/text.h"
#include "lib/guest/poll.h"
#include "lib/guest/span.h"

#include <cstdio>

namespace attest::guest {
namespace {

Task<std::string> wait_until(Guest& guest, std::string command, Probe::Contract contract,
                             Deadline deadline, std::optional<std::chrono::milliseconds> interval) {
  const auto span = span_words(deadline);
  const std::string goal = "'" + base::last_lines(command, 5) + "' to " +
                           (contract == Probe::Contract::succeeds ? "succeed" : "fail");
  Probe probe{"if [ \"${BASH_VERSION-}\" ];then set -euo pipefail;else set -eu;fi\n" + command,
              contract, command, interval};
  Polled polled;
  try {
    polled = co_await poll(guest, probe, deadline);
  } catch (Error& error) {
    if (error.kind() == Error::Kind::timeout)
      throw Error(Error::Kind::timeout,
                  "waited " + span + " for " + goal + "; the guest did not tell what it saw")
          .attach("how it ended", error.what());
    error.during("waiting for " + goal);
    throw;
  }
  if (polled.outcome == Polled::Outcome::done) co_return std::move(polled.output);
  std::string tries =
      polled.attempts == 1 ? "1 attempt" : std::to_string(polled.attempts) + " attempts";
  std::string last = polled.code < 0
                         ? "the last one still ran and was ended"
                         : "the last one exited with code " + std::to_string(polled.code);
  throw Error(Error::Kind::timeout, "waited " + span + " for " + goal + ": " + tries + ", " + last)
      .attach("its stdout, last lines", base::last_lines(polled.output, 20))
      .attach("its stderr, last lines", base::last_lines(polled.error_output, 20));
}

}  // namespace

Task<std::string> wait_until_succeeds(Guest& guest, std::string command, Deadline deadline,
                                      std::optional<std::chrono::milliseconds> interval) {
  return wait_until(guest, std::move(command), Probe::Contract::succeeds, deadline, interval);
}

Task<std::string> wait_until_fails(Guest& guest, std::string command, Deadline deadline,
                                   std::optional<std::chrono::milliseconds> interval) {
  return wait_until(guest, std::move(command), Probe::Contract::fails, deadline, interval);
}

Task<void> sleep(Guest& guest, std::chrono::milliseconds span, Deadline deadline) {
  char seconds[40];
  std::snprintf(seconds, sizeof seconds, "%lld.%03lld", static_cast<long long>(span.count() / 1000),
                static_cast<long long>(span.count() % 1000));
  Command command;
  command.argv = {"sleep", seconds};
  auto result = co_await guest.run(command, deadline);
  if (result.exit_code != 0)
    throw Error(Error::Kind::guest,
                "sleeping in the guest failed: " + std::string(base::trim(result.error_output)));
}

}  // namespace attest::guest
