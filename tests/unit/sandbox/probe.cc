// A program for the sandbox's tests: enters the sandbox, does one thing, says what it saw.
//   sandbox_probe auto|auto_without_network|require|off COMMAND [ARGUMENTS]
#include "attest/error.h"
#include "attest/sandbox.h"
#include "lib/base/fd.h"
#include "lib/base/file.h"
#include "lib/sandbox/doorman.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <thread>
#include <vector>

using attest::base::Fd;
using std::chrono::milliseconds;
using Arguments = std::vector<std::string>;

// gdb stops here.
extern "C" void probe_entered();
extern "C" void probe_entered() { __asm__ volatile(""); }

namespace {

attest::Sandbox sandbox;

void say(const std::string& line) {
  std::printf("%s\n", line.c_str());
  std::fflush(stdout);
}

std::string read_line(int fd) {
  std::string line;
  for (char c; ::read(fd, &c, 1) == 1 && c != '\n';) line.push_back(c);
  return line;
}

void info(const Arguments&) {
  say("level=" + std::to_string(static_cast<int>(sandbox.level)));
  say("dir=" + sandbox.work_dir);
  say("sentence=" + sandbox.sentence);
  say("pid=" + std::to_string(::getpid()));
  say("parent=" + std::to_string(::getppid()));
  say("uid=" + std::to_string(::geteuid()));
  std::string comm = attest::base::try_read_file("/proc/1/comm").value_or("?\n");
  say("init=" + comm.substr(0, comm.size() - 1));
  std::string names;
  if (auto* all = if_nameindex()) {
    for (auto* one = all; one->if_index; ++one) names += std::string(one->if_name) + " ";
    if_freenameindex(all);
  }
  say("interfaces=" + names);
  Fd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  ifreq lo{};
  std::strcpy(lo.ifr_name, "lo");
  ::ioctl(socket.get(), SIOCGIFFLAGS, &lo);
  say(std::string("lo=") + (lo.ifr_flags & IFF_UP ? "up" : "down"));
  say("id_range=" + std::to_string(sandbox.id_range));
  say("why_no_id_range=" + sandbox.why_no_id_range);
  std::string owned = sandbox.work_dir + "/owned";
  attest::base::write_file(owned, "");
  say("chown=" + std::to_string(::chown(owned.c_str(), 65535, 1000) == 0));
  struct stat mode{};
  ::stat(sandbox.work_dir.c_str(), &mode);
  char octal[16];
  std::snprintf(octal, sizeof octal, "%o", mode.st_mode & 07777);
  say(std::string("mode=") + octal);
  std::filesystem::create_directory(sandbox.work_dir + "/a-machine-with-a-long-name");
  attest::base::listen_unix(sandbox.work_dir + "/a-machine-with-a-long-name/qmp");
  say("cgroup=" + std::to_string(std::filesystem::exists("/sys/fs/cgroup") &&
                                 !std::filesystem::is_empty("/sys/fs/cgroup")));
}

void exit_with(const Arguments& arguments) { std::exit(std::stoi(arguments.at(0))); }

void die_by(const Arguments& arguments) {
  ::signal(std::stoi(arguments.at(0)), SIG_DFL);
  ::raise(std::stoi(arguments.at(0)));
}

// Says each signal that comes; SIGTERM ends it with code 9.
void report_signals(const Arguments&) {
  sigset_t all;
  ::sigfillset(&all);
  ::sigdelset(&all, SIGTSTP);
  ::sigprocmask(SIG_SETMASK, &all, nullptr);
  say("ready");
  for (int number = 0; number != SIGTERM;) {
    ::sigwait(&all, &number);
    if (number != SIGCONT && number != SIGWINCH) say("signal " + std::to_string(number));
  }
  ::_exit(9);
}

// An orphan's parent is pid 1, which reaps it.
void orphan(const Arguments&) {
  auto [out, in] = attest::base::make_pipe();
  auto [gate, opener] = attest::base::make_pipe();
  pid_t middle = ::fork();
  if (middle == 0) {
    if (::fork() != 0) ::_exit(0);
    opener.reset();
    char c;
    (void)!::read(gate.get(), &c, 1);  // until the middle one is gone
    std::string text = std::to_string(::getpid()) + " " + std::to_string(::getppid()) + "\n";
    (void)!::write(in.get(), text.data(), text.size());
    ::_exit(0);
  }
  ::waitpid(middle, nullptr, 0);
  opener.reset();
  in.reset();
  std::string text = read_line(out.get());
  say("orphan=" + text);
  char c;
  (void)!::read(out.get(), &c, 1);  // end of the pipe: it is dying
  std::string proc = "/proc/" + text.substr(0, text.find(' '));
  for (int i = 0; i < 5000 && std::filesystem::exists(proc); ++i) ::usleep(1000);
  say(std::filesystem::exists(proc) ? "not reaped" : "reaped");
}

// Everything that a killed run could leave behind, then waits to be killed.
void busy(const Arguments&) {
  for (int i = 0; i < 3; ++i)
    if (::fork() == 0) {
      ::setsid();
      if (i == 0 && ::fork() == 0) ::setsid();
      for (;;) ::pause();
    }
  attest::base::listen_unix(sandbox.work_dir + "/socket");
  std::filesystem::create_directory(sandbox.work_dir + "/mount");
  ::mount("attestprobe", (sandbox.work_dir + "/mount").c_str(), "tmpfs", 0, nullptr);
  Fd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  ::ioctl(socket.get(), SIOCBRADDBR, "attestprobe0");
  say("ready");
  for (;;) ::pause();
}

std::string dial_and_read(const std::string& host, int port, int limit) {
  try {
    return read_line(sandbox.doorman->dial(host, port, milliseconds(limit)).get());
  } catch (const attest::Error& e) {
    return std::string("error: ") + e.what();
  }
}

// HOST PORT MILLISECONDS
void dial(const Arguments& arguments) {
  say(dial_and_read(arguments.at(0), std::stoi(arguments.at(1)), std::stoi(arguments.at(2))));
}

// PORT SLOW-PORT: twenty threads dial PORT while another waits for SLOW-PORT.
void dial_many(const Arguments& arguments) {
  int port = std::stoi(arguments.at(0));
  int slow_port = std::stoi(arguments.at(1));
  std::thread slow([&] {
    std::string text = dial_and_read("127.0.0.1", slow_port, 1500);
    say("slow " + text);
  });
  std::vector<std::thread> quick;
  for (int i = 0; i < 20; ++i)
    quick.emplace_back([&] { say(dial_and_read("127.0.0.1", port, 10000)); });
  for (auto& thread : quick) thread.join();
  say("quick done");
  slow.join();
}

// PORT, without the doorman
void direct(const Arguments& arguments) {
  Fd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(std::stoi(arguments.at(0))));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  int result = ::connect(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof address);
  say(result == 0 ? "connected" : ::strerror(errno));
}

// ADDRESS: says the port, then the line that a client sends.
void listen_outside(const Arguments& arguments) {
  try {
    auto [socket, port] = sandbox.doorman->listen(arguments.at(0), 0);
    say("port=" + std::to_string(port));
    Fd client(::accept4(socket.get(), nullptr, nullptr, SOCK_CLOEXEC));
    say(read_line(client.get()));
  } catch (const attest::Error& e) {
    say(std::string("error: ") + e.what());
  }
}

void agent(const Arguments&) {
  try {
    say(read_line(sandbox.doorman->ssh_agent().get()));
  } catch (const attest::Error& e) {
    say(std::string("error: ") + e.what());
  }
}

// COMMAND: sends it a line, says its answer, then holds the socket until killed.
void run_outside(const Arguments& arguments) {
  Fd socket = sandbox.doorman->run(arguments.at(0));
  (void)!::write(socket.get(), "hello\n", 6);
  say(read_line(socket.get()));
  for (;;) ::pause();
}

// DIRECTORY: has it swept after us, and waits to be killed or for the end of stdin.
void sweep(const Arguments& arguments) {
  try {
    Fd socket = sandbox.doorman->sweep_cgroup(arguments.at(0));
    say("ready");
    char c;
    (void)!::read(0, &c, 1);
  } catch (const attest::Error& e) {
    say(std::string("error: ") + e.what());
  }
}

// FILE: writes to it.
void write_to(const Arguments& arguments) {
  Fd file(::open(arguments.at(0).c_str(), O_WRONLY | O_CLOEXEC));
  say(::write(file.get(), "inside", 6) == 6 ? "written" : ::strerror(errno));
}

// Enters a second sandbox inside the first.
void nested(const Arguments& arguments) {
  sandbox = attest::enter_sandbox();
  info(arguments);
}

// Waits for the end of its stdin.
void sandbox_wait(const Arguments&) {
  say("ready");
  char c;
  (void)!::read(0, &c, 1);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) return 2;
  const std::map<std::string, attest::SandboxOptions> modes{
      {"auto", {}},
      {"auto_without_network", {.needs_network = false}},
      {"require", {.mode = attest::SandboxMode::require}},
      {"off", {.mode = attest::SandboxMode::off}}};
  const std::map<std::string, std::function<void(const Arguments&)>> commands{
      {"info", info},         {"exit", exit_with},
      {"die", die_by},        {"signals", report_signals},
      {"orphan", orphan},     {"busy", busy},
      {"dial", dial},         {"dial_many", dial_many},
      {"direct", direct},     {"listen", listen_outside},
      {"agent", agent},       {"nested", nested},
      {"wait", sandbox_wait}, {"write", write_to},
      {"run", run_outside},   {"sweep", sweep}};
  try {
    sandbox = attest::enter_sandbox(modes.at(argv[1]));
  } catch (const attest::Error& e) {
    say(std::string("error: ") + e.what());
    return 3;
  }
  probe_entered();
  commands.at(argv[2])(Arguments(argv + 3, argv + argc));
  sandbox = {};
  return 0;
}
