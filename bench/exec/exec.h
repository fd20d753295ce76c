// The rows of bench/exec, by backend. Each boots what it needs.
#pragma once
#include "bench.h"

#include <attest/machine.h>

#include <string>
#include <vector>

/// exec.true_ms, exec.vs_nixpkgs_protocol, exec.vs_guest_floor, exec.concurrent20_s: in a guest
/// under QEMU.
std::vector<bench::Metric> exec_qemu(const std::string& work_dir, int count);
/// exec.nspawn_true_ms and exec.nspawn_concurrent20_s: in a container.
std::vector<bench::Metric> exec_nspawn(int count);

/// An sshd on 127.0.0.1 and a client's ControlMaster connection to it, in a network of their own.
/// Make it before entering the sandbox, whose outer side then is that network.
struct SshPeers {
  std::string dir;  ///< with the key, known_hosts and the master's socket
  int port = 0;
  std::vector<int> pids;
};
SshPeers start_ssh_peers();
void end_ssh_peers(const SshPeers& peers);
/// exec.ssh_vs_controlmaster and both its sides, call by call in turn.
std::vector<bench::Metric> exec_ssh(const SshPeers& peers, int count);

/// Seconds for twenty one-second commands on one machine at the same time.
double twenty_at_once_s(attest::Machine& machine);
