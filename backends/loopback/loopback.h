// A machine that is attest-agent (or a shell) on this host, in mount, pid and network namespaces of
// its own where they are permitted. It sees the host's files, with a /tmp and a /run of its own,
// and has no systemd. For attest's own tests, and to try a test body without booting anything.
#pragma once
#include "attest/backend.h"

#include <memory>
#include <string>
#include <vector>

namespace attest::loopback {

/// Throws Error{unsupported} for the first key that a shell cannot honour. Nothing that was asked
/// for is ignored in silence; `vlans` and the sizes have defaults and are passed over.
void check_config(const std::string& machine, const MachineConfig& config);

/// See the file comment. `config.loopback` says what answers. 'mounts' are bound and 'files' copied
/// before it starts; a directory at the top that they need is covered by an overlay, so the host
/// keeps its own. Throws as check_config() does.
std::unique_ptr<Backend> make_loopback(BackendContext context);

/// The command line that runs `shell` behind the banner. With `terminal` the shell reads its
/// standard input by name, as the nixpkgs backdoor does. Pure.
std::vector<std::string> shell_command_line(const std::string& shell, bool terminal = false);

}  // namespace attest::loopback
