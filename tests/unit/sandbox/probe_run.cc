#include "tests/unit/sandbox/probe_run.h"

#include "lib/base/file.h"
#include "lib/base/sys_error.h"
#include "lib/base/text.h"

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <grp.h>
#include <charconv>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdlib>
#include <filesystem>
#include <thread>

namespace attest::sandbox {
namespace fs = std::filesystem;

namespace {

// A copy in /tmp, because an ordinary user may not reach the build directory.
const std::string& probe_path() {
  static const base::TempDir dir("sandbox-test-", "/tmp");
  static const std::string path = [] {
    std::string copy = dir.path() / "sandbox_probe";
    fs::copy_file(SANDBOX_PROBE, copy);
    fs::permissions(dir.path(), fs::perms(0755));
    fs::permissions(copy, fs::perms(0755));
    return copy;
  }();
  return path;
}

}  // namespace

Probe::Probe(std::vector<std::string> arguments, ProbeOptions options) {
  std::string path = probe_path();
  std::string token = base::random_hex(8);
  mark_ = "ATTEST_TEST_MARK=" + token;
  auto [in_read, in_write] = base::make_pipe();
  auto [out_read, out_write] = base::make_pipe();
  pid_ = base::check(::fork(), "forking the probe");
  if (pid_ == 0) {
    ::dup2(in_read.get(), 0);
    ::dup2(out_write.get(), 1);
    ::setenv("ATTEST_TEST_MARK", token.c_str(), 1);
    for (const auto& [name, value] : options.env) ::setenv(name.c_str(), value.c_str(), 1);
    if (options.before_exec) options.before_exec();
    std::vector<char*> argv{path.data()};
    for (auto& argument : arguments) argv.push_back(argument.data());
    argv.push_back(nullptr);
    ::execv(path.c_str(), argv.data());
    ::_exit(127);
  }
  input_ = std::move(in_write);
  output_ = std::move(out_read);
}

Probe::~Probe() {
  if (pid_ < 0) return;
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
}

std::string Probe::line() {
  std::string line;
  for (char c; ::read(output_.get(), &c, 1) == 1 && c != '\n';) line.push_back(c);
  return line;
}

std::string Probe::rest() {
  std::string text;
  char buffer[4096];
  for (ssize_t n; (n = ::read(output_.get(), buffer, sizeof buffer)) > 0;)
    text.append(buffer, static_cast<std::size_t>(n));
  return text;
}

int Probe::wait() {
  int status = 0;
  base::check(::waitpid(pid_, &status, 0), "waiting for the probe");
  pid_ = -1;
  return status;
}

std::string Outcome::value(const std::string& key) const {
  for (const auto& line : base::split(output, '\n'))
    if (line.starts_with(key + "=")) return line.substr(key.size() + 1);
  return {};
}

Outcome run_probe(std::vector<std::string> arguments, ProbeOptions options) {
  Probe probe(std::move(arguments), std::move(options));
  Outcome outcome;
  outcome.output = probe.rest();
  outcome.status = probe.wait();
  return outcome;
}

void become_nobody() {
  if (::setgroups(0, nullptr) || ::setresgid(65534, 65534, 65534) ||
      ::setresuid(65534, 65534, 65534))
    ::_exit(126);
}

std::function<void()> refuse_namespaces(unsigned flags) {
  return [flags] {
    auto number = static_cast<unsigned>(offsetof(seccomp_data, nr));
    auto first = static_cast<unsigned>(offsetof(seccomp_data, args));  // little endian: low half
    sock_filter code[]{
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, number),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone3, 5, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_unshare, 1, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone, 0, 4),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, first),
        BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, flags, 0, 2),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    sock_fprog program{sizeof code / sizeof *code, code};
    if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
        ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
      ::_exit(126);
  };
}

std::vector<pid_t> marked_processes(const std::string& mark) {
  std::vector<pid_t> pids;
  for (const auto& entry : fs::directory_iterator("/proc")) {
    std::string name = entry.path().filename();
    pid_t pid = 0;
    if (std::from_chars(name.data(), name.data() + name.size(), pid).ec != std::errc{}) continue;
    auto environment = base::try_read_file(entry.path() / "environ");
    if (environment && environment->find(mark) != std::string::npos) pids.push_back(pid);
  }
  return pids;
}

int inner_pid(pid_t pid) {
  auto status = base::try_read_file("/proc/" + std::to_string(pid) + "/status").value_or("");
  for (const auto& line : base::split(status, '\n'))
    if (line.starts_with("NSpid:")) return std::atoi(line.substr(line.rfind('\t') + 1).c_str());
  return 0;
}

bool eventually(const std::function<bool()>& condition) {
  auto until = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (!condition()) {
    if (std::chrono::steady_clock::now() > until) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return true;
}

}  // namespace attest::sandbox
