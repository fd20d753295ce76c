// What one command costs, on each backend: --only=qemu, nspawn or ssh for the rows of one.
#include "exec.h"

#include <attest/sandbox.h>

#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <exception>
#include <optional>
#include <thread>

double twenty_at_once_s(attest::Machine& machine) {
  return bench::time_ms([&] {
           std::vector<std::jthread> threads;
           for (int i = 0; i < 20; ++i) threads.emplace_back([&] { machine.succeed("sleep 1"); });
         }) /
         1000;
}

namespace {

int measure(const std::optional<SshPeers>& peers, int argc, char** argv) {
  auto sandbox = attest::enter_sandbox();
  int count = bench::samples(argc, argv, 60);
  std::vector<bench::Metric> all;
  auto add = [&](const std::vector<bench::Metric>& rows) {
    all.insert(all.end(), rows.begin(), rows.end());
  };
  if (peers) add(exec_ssh(*peers, count));
  if (bench::wanted("nspawn", argc, argv)) add(exec_nspawn(count));
  if (bench::wanted("qemu", argc, argv)) add(exec_qemu(sandbox.work_dir, count));
  return bench::print(all, argc, argv);
}

}  // namespace

int main(int argc, char** argv) try {
  if (!bench::wanted("ssh", argc, argv)) return measure(std::nullopt, argc, argv);
  // The sshd must outlive the sandbox, and be outside of it.
  auto peers = start_ssh_peers();
  pid_t inside = ::fork();
  if (inside == 0) return measure(peers, argc, argv);
  int status = 0;
  ::waitpid(inside, &status, 0);
  end_ssh_peers(peers);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
} catch (const std::exception& e) {
  std::fprintf(stderr, "bench/exec: %s\n", e.what());
  return 1;
}
