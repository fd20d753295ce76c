#include "unit/ssh/sshd.h"

#include "fakes/run_program.h"
#include "lib/async/fd_stream.h"
#include "lib/async/lines.h"
#include "lib/base/fd.h"
#include "lib/base/sys_error.h"
#include "lib/base/text.h"

#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <map>
#include <set>
#include <sstream>
#include <stdexcept>

namespace attest::ssh {
namespace {

namespace fs = std::filesystem;

std::string missing = "the test program has not entered its namespaces";

// openssl passwd -6 sesame
constexpr const char* password_hash =
    "$6$attest$BBgXm4zXq0ZPba6fcNF1siAVr0IQeo6MLpq90Ryen.OjxCPHEsYWY/"
    ".ypdocXEEks450hSU18s3serWL3k/m71";

void mount_tmpfs(const char* where) {
  base::check(::mount("tmpfs", where, "tmpfs", 0, "mode=755"), std::string("mounting ") + where);
}

// The host's users, with a password that is known here.
void give_passwords() {
  std::string shadow;
  for (auto& line : base::split(base::read_file("/etc/shadow"), '\n')) {
    auto fields = base::split(line, ':');
    if (fields.size() > 1 && (fields[0] == "root" || fields[0] == "attester"))
      fields[1] = password_hash;
    shadow += base::join(fields, ":") + "\n";
  }
  base::write_file("/run/shadow", shadow);
  ::chmod("/run/shadow", 0600);
  base::check(::mount("/run/shadow", "/etc/shadow", nullptr, MS_BIND, nullptr),
              "covering /etc/shadow");
}

void loopback_up() {
  base::Fd socket(base::check(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), "a socket"));
  ifreq request{};
  std::strcpy(request.ifr_name, "lo");
  request.ifr_flags = IFF_UP | IFF_RUNNING;
  base::check(::ioctl(socket.get(), SIOCSIFFLAGS, &request), "setting lo up");
}

void furnish() {
  base::check(::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr), "making / private");
  base::check(::mount("proc", "/proc", "proc", 0, nullptr), "mounting /proc");
  mount_tmpfs("/run");
  fs::create_directories("/run/sshd");
  fs::create_directories("/run/keys");
  // What a killed test leaves ends with the namespace.
  fs::create_directories("/run/tmp");
  ::setenv("TMPDIR", "/run/tmp", 1);
  give_passwords();
  loopback_up();
  for (auto* name : {"user", "other", "host", "host2"})
    fakes::run_program(
        {"ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", key_path(name)});
  base::write_file("/run/keys/authorized", public_line("user") + "\n");
}

Task<void> drain(std::unique_ptr<Stream> stream) {
  std::vector<char> buffer(4096);
  while (co_await stream->read_some(buffer)) {
  }
}

}  // namespace

void enter_test_namespaces() {
  if (::geteuid() != 0) {
    missing = "sshd that lets users in needs root";
    return;
  }
  if (::access("/usr/sbin/sshd", X_OK) != 0) {
    missing = "there is no /usr/sbin/sshd: install openssh-server";
    return;
  }
  if (::unshare(CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWPID) != 0) {
    missing = std::string("namespaces are not permitted: ") + std::strerror(errno);
    return;
  }
  if (const pid_t child = ::fork(); child != 0) {
    int status = 0;
    while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    std::_Exit(WIFEXITED(status) ? WEXITSTATUS(status) : 1);
  }
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  furnish();
  missing.clear();
}

const std::string& can_run_sshd() { return missing; }

std::string key_path(const std::string& name) { return "/run/keys/" + name; }

std::string fingerprint_of(const std::string& name) {
  auto words = base::split(fakes::run_program({"ssh-keygen", "-lf", key_path(name)}).output, ' ');
  return words.at(1);
}

std::string public_line(const std::string& name) {
  auto words = base::split(base::read_file(key_path(name) + ".pub"), ' ');
  return words.at(0) + " " + words.at(1);
}

Sshd::Sshd(async::Loop& loop, Options options) : loop_(loop), options_(std::move(options)) {
  base::write_file(dir_.path() / "config",
                   options_.more + "\nPort " + std::to_string(options_.port) + "\nListenAddress " +
                       options_.address + "\nHostKey " + key_path(options_.host_key) +
                       "\nAuthorizedKeysFile /run/keys/authorized\nStrictModes no\nUsePAM no\n"
                       "PidFile none\nUseDNS no\nPermitRootLogin yes\n" +
                       (options_.subsystem.empty() ? "" : "Subsystem " + options_.subsystem) +
                       "\n");
  loop_.run(run());
}

Sshd::~Sshd() { kill(); }

Task<void> Sshd::run() {
  auto [ours, theirs] = base::make_pipe();
  async::ChildSpec spec;
  spec.argv = {"/usr/sbin/sshd", "-D", "-e", "-f", (dir_.path() / "config").string()};
  spec.fds.emplace(2, std::move(theirs));
  child_ = std::make_unique<async::Child>(loop_.executor(), std::move(spec));
  auto log = async::make_stream(loop_.executor(), std::move(ours));
  async::Lines lines(*log);
  std::string said;
  while (auto line = co_await lines.next()) {
    said += *line + "\n";
    if (line->find("Server listening") == line->npos) continue;
    asio::co_spawn(loop_.executor(), drain(std::move(log)), [](std::exception_ptr) {});
    co_return;
  }
  throw std::runtime_error("sshd did not start: " + said);
}

SshConfig Sshd::config() const {
  SshConfig config;
  config.host = options_.address;
  config.port = options_.port;
  config.key_file = key_path("user");
  config.fingerprint = fingerprint_of(options_.host_key);
  config.known_hosts = "/nonexistent/known_hosts";
  return config;
}

std::vector<int> Sshd::sessions() const {
  std::multimap<int, int> children;
  for (auto& entry : fs::directory_iterator("/proc")) {
    const int pid = std::atoi(entry.path().filename().c_str());
    auto stat = pid > 0 ? base::try_read_file(entry.path() / "stat") : std::nullopt;
    if (!stat) continue;
    std::istringstream rest(stat->substr(stat->rfind(')') + 1));
    std::string state;
    int parent = 0;
    rest >> state >> parent;
    children.emplace(parent, pid);
  }
  std::vector<int> found, left{child_->pid()};
  while (!left.empty()) {
    auto [from, to] = children.equal_range(left.back());
    left.pop_back();
    for (auto one = from; one != to; ++one) {
      found.push_back(one->second);
      left.push_back(one->second);
    }
  }
  return found;
}

void Sshd::signal_sessions(int number) const {
  for (int pid : sessions()) ::kill(pid, number);
}

Task<void> Sshd::end() {
  child_.reset();
  co_return;
}

void Sshd::kill() {
  if (!child_) return;
  auto left = sessions();
  loop_.run(end());
  for (int pid : left) ::kill(pid, SIGKILL);
}

}  // namespace attest::ssh
