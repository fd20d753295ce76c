// with_hosts NAME... -- COMMAND...: boots a container of the default guest for each NAME, with an
// sshd, in a network that this program makes, runs COMMAND beside them, and ends as it ends. A host
// that powers off or reboots comes up again, as one does whose power button is held. In COMMAND's
// environment ATTEST_CONFIG names a config file with the machines NAME... on backend ssh; an
// argument @sets stands for the same as --attest_set=machines.NAME.ssh.host=... and so on.
#include <attest/driver.h>
#include <attest/sandbox.h>

#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

int run(const std::vector<std::string>& words) {
  std::vector<char*> argv;
  for (auto& word : words) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  pid_t pid = ::fork();
  if (pid == 0) {
    ::execvp(argv[0], argv.data());
    std::perror(argv[0]);
    ::_exit(127);
  }
  int status = 0;
  ::waitpid(pid, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

std::string read(const fs::path& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

fs::path make_key(const fs::path& path) {
  if (run({"ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "attest-test", "-f", path}) != 0)
    throw std::runtime_error("ssh-keygen failed");
  return path;
}

// The hosts, each kept up by a thread of its own.
class Hosts {
 public:
  Hosts(const std::vector<std::string>& names, const fs::path& dir)
      : names_(names), user_key_(make_key(dir / "user")), known_(dir / "known_hosts") {
    auto host_key = make_key(dir / "host");
    attest::Config config;
    config.name = "hosts";
    config.timeouts.global = 3h;
    for (auto& name : names) {
      auto& machine = config.machines[name];
      machine.backend = "nspawn";
      machine.files = {{user_key_.string() + ".pub", "/root/.ssh/authorized_keys", "0600"},
                       {host_key.string(), "/etc/ssh/ssh_host_ed25519_key", "0600"}};
    }
    // Node numbers follow the alphabet.
    int node = 0;
    std::ofstream known(known_);
    for (auto& [name, machine] : config.machines) {
      addresses_[name] = "192.168.1." + std::to_string(++node);
      known << addresses_[name] << ' ' << read(host_key.string() + ".pub");
    }
    driver_ = attest::make_driver(config);
    driver_->serial_stdout_off();
    driver_->start_all();
    for (auto* machine : driver_->machines()) {
      serve(*machine);
      keepers_.emplace_back([this, machine] { keep_up(*machine); });
    }
  }
  Hosts(const Hosts&) = delete;
  Hosts& operator=(const Hosts&) = delete;
  ~Hosts() {
    ending_ = true;
    for (auto* machine : driver_->machines()) machine->crash();
    for (auto& keeper : keepers_) keeper.join();
  }

  /// "machines.NAME.ssh.KEY" and its value, for each host.
  std::vector<std::pair<std::string, std::string>> settings() const {
    std::vector<std::pair<std::string, std::string>> all;
    for (auto& name : names_) {
      auto path = "machines." + name + ".ssh.";
      all.emplace_back(path + "host", addresses_.at(name));
      all.emplace_back(path + "key_file", user_key_);
      all.emplace_back(path + "known_hosts", known_);
      all.emplace_back(path + "allow_power", "true");
    }
    return all;
  }
  std::string config() const {
    attest::Config config;
    for (auto& name : names_) config.machines[name].backend = "ssh";
    for (auto& [path, value] : settings()) config.set(path + "=" + value);
    return config.to_json();
  }

 private:
  static void serve(attest::Machine& machine) { machine.succeed("systemctl start ssh.service"); }
  void keep_up(attest::Machine& machine) {
    while (!ending_) {
      try {
        machine.wait_for_shutdown({.timeout = 3h});
        if (!ending_) serve(machine);
      } catch (const attest::Error& e) {
        if (!ending_) std::cerr << "with_hosts: " << e.what() << std::endl;
        return;
      }
    }
  }

  std::vector<std::string> names_;
  fs::path user_key_, known_;
  std::map<std::string, std::string> addresses_;
  std::unique_ptr<attest::Driver> driver_;
  std::atomic<bool> ending_ = false;
  std::vector<std::thread> keepers_;
};

}  // namespace

int main(int argc, char** argv) {
  std::vector<std::string> names, command;
  auto* into = &names;
  for (int i = 1; i < argc; ++i) {
    if (into == &names && std::string(argv[i]) == "--")
      into = &command;
    else
      into->push_back(argv[i]);
  }
  if (names.empty() || command.empty()) {
    std::cerr << "usage: with_hosts NAME... -- COMMAND...\n";
    return 2;
  }
  auto sandbox = attest::enter_sandbox();
  if (sandbox.level == attest::SandboxLevel::none || ::geteuid() != 0) {
    std::cerr << "with_hosts: " << sandbox.sentence << '\n';
    return 77;
  }
  try {
    // Not the sandbox's work directory: COMMAND's own sandbox will cover that one. Nothing of this
    // is seen by the host, or left.
    const fs::path dir = "/mnt";
    if (::mount("hosts", dir.c_str(), "tmpfs", 0, "mode=700") != 0)
      throw std::runtime_error("no tmpfs can be mounted on /mnt");
    Hosts hosts(names, dir);
    std::ofstream(dir / "ssh.json") << hosts.config();
    ::setenv("ATTEST_CONFIG", (dir / "ssh.json").c_str(), 1);
    std::vector<std::string> words;
    for (auto& word : command) {
      if (word != "@sets") {
        words.push_back(word);
        continue;
      }
      for (auto& [path, value] : hosts.settings())
        words.push_back("--attest_set=" + path + "=" + value);
    }
    return run(words);
  } catch (const std::exception& e) {
    std::cerr << "with_hosts: " << e.what() << '\n';
    return 1;
  }
}
