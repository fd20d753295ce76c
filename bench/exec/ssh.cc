// succeed("true") over SSH against `ssh` with a ControlMaster connection to the same sshd: what a
// person would script.
#include "exec.h"

#include "lib/base/file.h"

#include <attest/driver.h>

#include <fcntl.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <stdexcept>
#include <thread>

namespace {

constexpr int port = 2222;

// Runs `words` with nothing on its descriptors; it dies with us.
pid_t start(const std::vector<std::string>& words) {
  std::vector<char*> argv;
  for (auto& word : words) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  pid_t pid = ::fork();
  if (pid != 0) return pid;
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  int null = ::open("/dev/null", O_RDWR);
  for (int fd : {0, 1, 2}) ::dup2(null, fd);
  ::execvp(argv[0], argv.data());
  ::_exit(127);
}

int run(const std::vector<std::string>& words) {
  int status = 0;
  ::waitpid(start(words), &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

std::vector<std::string> client(const SshPeers& peers, const std::vector<std::string>& more) {
  std::vector<std::string> words = {"ssh",
                                    "-F",
                                    "none",
                                    "-S",
                                    peers.dir + "/master",
                                    "-i",
                                    peers.dir + "/user",
                                    "-p",
                                    std::to_string(peers.port),
                                    "-o",
                                    "UserKnownHostsFile=" + peers.dir + "/known_hosts",
                                    "-o",
                                    "BatchMode=yes",
                                    "root@127.0.0.1"};
  words.insert(words.end() - 1, more.begin(), more.end());
  return words;
}

}  // namespace

SshPeers start_ssh_peers() {
  if (::unshare(CLONE_NEWNET | CLONE_NEWNS) != 0 || run({"ip", "link", "set", "lo", "up"}) != 0 ||
      run({"mount", "--make-rprivate", "/"}) != 0)
    throw std::runtime_error("the SSH rows need root: no network namespace can be made");
  // In a mount namespace of its own, so nothing is left; sshd wants its /run/sshd.
  run({"mount", "-t", "tmpfs", "-o", "mode=755", "bench", "/mnt"});
  run({"mount", "-t", "tmpfs", "-o", "mode=755", "bench", "/run"});
  std::filesystem::create_directory("/run/sshd");
  SshPeers peers{.dir = "/mnt", .port = port, .pids = {}};
  for (auto* key : {"host", "user"})
    if (run({"ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", peers.dir + "/" + key}) != 0)
      throw std::runtime_error("ssh-keygen failed (Debian: openssh-client)");
  attest::base::write_file(peers.dir + "/known_hosts",
                           "[127.0.0.1]:" + std::to_string(port) + " " +
                               attest::base::read_file(peers.dir + "/host.pub"));
  attest::base::write_file(peers.dir + "/config",
                           "Port " + std::to_string(port) +
                               "\nListenAddress 127.0.0.1\nHostKey /mnt/host\nStrictModes no\n"
                               "AuthorizedKeysFile /mnt/user.pub\nPermitRootLogin yes\n"
                               "Subsystem sftp internal-sftp\n");
  peers.pids.push_back(start({"/usr/sbin/sshd", "-D", "-f", peers.dir + "/config"}));
  peers.pids.push_back(start(client(peers, {"-M", "-N", "-o", "ConnectionAttempts=20"})));
  for (int i = 0; run(client(peers, {"-O", "check"})) != 0; ++i) {
    if (i == 200) throw std::runtime_error("no connection to the sshd of this bench");
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  return peers;
}

void end_ssh_peers(const SshPeers& peers) {
  for (int pid : peers.pids) {
    ::kill(pid, SIGKILL);
    ::waitpid(pid, nullptr, 0);
  }
}

std::vector<bench::Metric> exec_ssh(const SshPeers& peers, int count) {
  attest::Config config;
  auto& host = config.machines["host"];
  host.backend = "ssh";
  host.ready = attest::Ready::agent;  // this machine need not have booted with systemd
  host.ssh.host = "127.0.0.1";
  host.ssh.port = peers.port;
  host.ssh.key_file = peers.dir + "/user";
  host.ssh.known_hosts = peers.dir + "/known_hosts";
  auto driver = attest::make_driver(config);
  auto& machine = driver->machine("host");
  auto command = client(peers, {});
  command.push_back("true");
  std::vector<double> ours, theirs;
  for (int i = -5; i < count; ++i) {
    double a = bench::time_ms([&] { machine.succeed("true"); });
    double b = bench::time_ms([&] {
      if (run(command) != 0) throw std::runtime_error("ssh over the master connection failed");
    });
    if (i < 0) continue;
    ours.push_back(a);
    theirs.push_back(b);
  }
  double mine = bench::median(ours), master = bench::median(theirs);
  return {{"exec.ssh_true_ms", mine, "ms", count, "succeed(\"true\")"},
          {"exec.controlmaster_true_ms", master, "ms", count, "ssh -S MASTER host true"},
          {"exec.ssh_vs_controlmaster", mine / master, "ratio", count, "goal <= 1.5"}};
}
