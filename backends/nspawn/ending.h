// How a container ended, in words, and what its notifications say. Pure.
#pragma once
#include "attest/backend.h"
#include "lib/async/child.h"

#include <string>
#include <string_view>

namespace attest::nspawn {

/// The exit code with which systemd-nspawn asks to be started again: the container rebooted.
inline constexpr int reboot_code = 133;

/// True if a message on NOTIFY_SOCKET ("READY=1\nSTATUS=...") says that the machine is up.
bool says_ready(std::string_view message);

/// "fs.inotify.max_user_instances is 128 ...; run 'sysctl ...'" if what a container has printed
/// shows that it got no inotify instance (each has 5 or more), else "". `limit` is the present
/// value.
std::string inotify_advice(std::string_view output, int limit);

/// What was seen of a container that is no more.
struct Ending {
  async::ExitStatus status;
  bool started = false;   ///< the container's systemd had said that it is up
  std::string output;     ///< the end of what nspawn and the console said
  int inotify_limit = 0;  ///< fs.inotify.max_user_instances
};

/// "the container powered off", "systemd-nspawn exited with code 1: <its output>", ...
Gone explain(const Ending& ending);

}  // namespace attest::nspawn
